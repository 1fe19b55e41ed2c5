//! A relay, as its URL names it.

use crate::credential::DeviceLogin;
use crate::endpoint::DeviceEndpoint;
use crate::wiring::RelayWiring;

/// A relay of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumatoRelay {
    pub(super) endpoint: DeviceEndpoint,
    /// From 0.
    pub(super) number: u8,
    /// The same, as commands spell it.
    pub(super) digit: char,
    pub(super) wiring: RelayWiring,
    pub(super) login: Option<DeviceLogin>,
}
