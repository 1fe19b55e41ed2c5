//! Registration and removal of images.

use super::image::Image;
use super::refusals::image_in_use_refusal;
use super::service::BoardService;
use super::store::{devices, images};
use crate::engine::EngineError;
use crate::machine::{MachineName, suggestion};
use crate::store::Tx;

/// An image that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageWritten {
    /// Whether the name is new.
    pub is_new: bool,
    /// Warnings, as sentences.
    pub warnings: Vec<String>,
}

impl BoardService {
    /// Registers an image, or replaces it.
    ///
    /// # Errors
    ///
    /// [`EngineError::Refused`] when it is being installed on boards for which it would have no boot config
    /// any more; nothing was written. [`EngineError::Store`] when the database fails.
    pub async fn put_image(&self, image: &Image) -> Result<ImageWritten, EngineError> {
        let mut tx = self.engine().store().begin().await?;
        let hardware: Vec<String> = image.boot_configs.keys().cloned().collect();
        refuse_in_use(&mut tx, self.machine(), &image.name, &hardware).await?;
        let known = devices::list_hardware(&mut tx).await?;
        let is_new = images::put(&mut tx, image, self.engine().clock().now()).await?;
        tx.commit().await?;
        // Without boards, all hardware is unknown.
        let unknown = hardware.iter().filter(|hardware| !known.is_empty() && !known.contains(hardware));
        let warnings = unknown.map(|hardware| {
            format!(
                "no board has hardware `{hardware}`{}",
                suggestion(hardware, known.iter().map(String::as_str))
            )
        });
        Ok(ImageWritten { is_new, warnings: warnings.collect() })
    }

    /// Removes an image; false if there was none.
    ///
    /// # Errors
    ///
    /// [`EngineError::Refused`] when it is being installed on boards; nothing was written.
    /// [`EngineError::Store`] when the database fails.
    pub async fn remove_image(&self, name: &str) -> Result<bool, EngineError> {
        let mut tx = self.engine().store().begin().await?;
        refuse_in_use(&mut tx, self.machine(), name, &[]).await?;
        let was_there = images::delete(&mut tx, name).await?;
        tx.commit().await?;
        Ok(was_there)
    }

    /// Returns a warning if no image has a boot config for `hardware`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn warn_of_hardware(&self, hardware: &str) -> Result<Option<String>, EngineError> {
        let known = images::list_by_hardware(&mut *self.engine().store().reader().await?).await?;
        let known: Vec<&str> = known.iter().map(|configs| configs.hardware.as_str()).collect();
        let is_unknown = !known.is_empty() && !known.contains(&hardware);
        Ok(is_unknown.then(|| {
            let suggestion = suggestion(hardware, known.iter().copied());
            format!("no image has a boot config for hardware `{hardware}`{suggestion}")
        }))
    }
}

/// Refuses to remove boot configs of `image` while it is being installed on boards of that hardware: each further attempt
/// would fail.
async fn refuse_in_use(
    tx: &mut Tx,
    machine: &MachineName,
    image: &str,
    remaining_hardware: &[String],
) -> Result<(), EngineError> {
    let boards = images::list_recipients(tx, machine, image, remaining_hardware).await?;
    if boards.is_empty() { Ok(()) } else { Err(image_in_use_refusal(image, &boards).into()) }
}
