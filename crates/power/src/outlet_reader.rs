//! The interface by which the outlets of a device are read to find which it has.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::error::OutletError;
use crate::outlet::OutletReading;

/// Reads the outlets of a device, one or several at once. It switches nothing.
#[async_trait]
pub(crate) trait OutletReader: Send {
    /// Returns the number of connection attempts so far.
    fn attempts(&self) -> u32;

    /// Returns a parameter that the URLs of the outlets need, as found by reading.
    fn required_parameter(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Reads the outlet number `first` in the list of outlets, and those after it that are read with it; at least one.
    ///
    /// # Errors
    ///
    /// [`OutletError`], where the device does not have this outlet or does not answer.
    async fn read_from(
        &mut self,
        first: usize,
        cancel: &CancellationToken,
    ) -> Result<Vec<OutletReading>, OutletError>;
}
