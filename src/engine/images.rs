//! Images come, change and go.

use super::{Engine, EngineError};
use crate::store::images::{self, Image};

impl Engine {
    /// Registers an image, or writes it anew; true when it is new.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn put_image(&self, image: &Image) -> Result<bool, EngineError> {
        let mut tx = self.store().begin().await?;
        let is_new = images::put(&mut tx, image, self.clock().now()).await?;
        tx.commit().await?;
        Ok(is_new)
    }

    /// Forgets an image; false when there was none.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn remove_image(&self, name: &str) -> Result<bool, EngineError> {
        let mut tx = self.store().begin().await?;
        let was_there = images::delete(&mut tx, name).await?;
        tx.commit().await?;
        Ok(was_there)
    }
}
