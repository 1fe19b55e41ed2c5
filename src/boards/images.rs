//! Images come, change and go.

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
    /// Whether there was none of this name.
    pub is_new: bool,
    /// What is odd about it, in sentences.
    pub warnings: Vec<String>,
}

impl BoardService {
    /// Registers an image, or writes it anew.
    ///
    /// # Errors
    ///
    /// [`EngineError::QueueRefusal`] when boards are being given it and it would have no boot config for them any
    /// more; nothing was written. [`EngineError::Store`] when the database fails.
    pub async fn put_image(&self, image: &Image) -> Result<ImageWritten, EngineError> {
        let mut tx = self.engine().store().begin().await?;
        let kept: Vec<String> = image.boot_configs.keys().cloned().collect();
        refuse_in_use(&mut tx, self.machine(), &image.name, &kept).await?;
        let known = devices::list_hardware(&mut tx).await?;
        let is_new = images::put(&mut tx, image, self.engine().clock().now()).await?;
        tx.commit().await?;
        // Where there are no boards yet, nobody can tell.
        let strange = kept.iter().filter(|hardware| !known.is_empty() && !known.contains(hardware));
        let warnings = strange.map(|hardware| {
            format!(
                "no board has hardware `{hardware}`{}",
                suggestion(hardware, known.iter().map(String::as_str))
            )
        });
        Ok(ImageWritten { is_new, warnings: warnings.collect() })
    }

    /// Forgets an image; false when there was none.
    ///
    /// # Errors
    ///
    /// [`EngineError::QueueRefusal`] when boards are being given it; nothing was written.
    /// [`EngineError::Store`] when the database fails.
    pub async fn remove_image(&self, name: &str) -> Result<bool, EngineError> {
        let mut tx = self.engine().store().begin().await?;
        refuse_in_use(&mut tx, self.machine(), name, &[]).await?;
        let was_there = images::delete(&mut tx, name).await?;
        tx.commit().await?;
        Ok(was_there)
    }

    /// Says what is odd about a board's hardware, if anything is: no image can be installed on it.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn warn_of_hardware(&self, hardware: &str) -> Result<Option<String>, EngineError> {
        let known = images::list_by_hardware(&mut *self.engine().store().reader().await?).await?;
        let known: Vec<&str> = known.iter().map(|one| one.hardware.as_str()).collect();
        let is_strange = !known.is_empty() && !known.contains(&hardware);
        Ok(is_strange.then(|| {
            let suggestion = suggestion(hardware, known.iter().copied());
            format!("no image has a boot config for hardware `{hardware}`{suggestion}")
        }))
    }
}

/// Refuses what would take the boot config of `image` away from boards that are being given it: each further try would
/// fail.
async fn refuse_in_use(
    tx: &mut Tx,
    machine: &MachineName,
    image: &str,
    kept: &[String],
) -> Result<(), EngineError> {
    let boards = images::list_recipients(tx, machine, image, kept).await?;
    if boards.is_empty() { Ok(()) } else { Err(image_in_use_refusal(image, &boards).into()) }
}
