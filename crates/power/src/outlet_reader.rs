//! The interfaces by which the outlets of a device are found: reading them in order, or asking the device for its list.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::error::OutletError;
use crate::outlet::OutletReading;

/// The time after which a reading of a search that failed is not repeated, in addition to the rests of the device.
pub(crate) const SEARCH_RETRY_TIME: Duration = Duration::from_secs(2);

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

/// An outlet that a device has, by its own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedOutlet {
    /// The outlet as in the path of its power URL.
    pub(crate) path: String,
    /// A parameter that the power URL needs, unless it has it.
    pub(crate) parameter: Option<(&'static str, &'static str)>,
}

impl ListedOutlet {
    /// An outlet whose power URL has the parameters of the device's URL.
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), parameter: None }
    }
}

/// Asks a device which outlets it has. It switches nothing.
#[async_trait]
pub(crate) trait OutletLister: Send {
    /// Returns the number of connection attempts so far.
    fn attempts(&self) -> u32;

    /// Lists the outlets of the device, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`OutletError`], where the device does not answer or has no list of outlets.
    async fn list(&mut self, limit: usize) -> Result<Vec<ListedOutlet>, OutletError>;
}
