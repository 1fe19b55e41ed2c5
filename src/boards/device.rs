//! What is known of a board besides its lifecycle.

use crate::machine::Instance;
use crate::store::instances::InstanceId;

/// What is known of a board besides its lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The host name or address that it answers on.
    pub fqdn: String,
    /// Its network address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Where its power is switched.
    pub power_url: Option<String>,
    /// What answers when it is up.
    pub poll_url: Option<String>,
    /// Its type of hardware, which says what boots on it.
    pub hardware: String,
    /// Which part of the farm it belongs to.
    pub environment: String,
    /// What people wrote about it.
    pub comments: String,
}

/// A board with its lifecycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// Its number.
    pub id: InstanceId,
    /// Its lifecycle; the board's name is the instance's.
    pub instance: Instance,
    /// The rest.
    pub device: Device,
}
