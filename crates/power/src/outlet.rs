//! The interface of a driver: an outlet that can be read and set.

use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;

use crate::error::OutletError;

/// The longest time that a power cycle may keep an outlet off.
pub const MAX_OFF_TIME: Duration = Duration::from_secs(50);
/// The longest settle time that a power URL may set.
pub(crate) const MAX_SETTLE_TIME: Duration = Duration::from_secs(5);

/// The longest time that a device may need until its reading shows an order.
pub(crate) const MAX_EFFECT_TIME: Duration = Duration::from_secs(15);

/// State of an outlet. Unknown is represented by `None`, never by one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// The outlet is on.
    On,
    /// The outlet is off.
    Off,
}

impl PowerState {
    /// `on` or `off`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Result of reading an outlet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutletReading {
    /// The state; `None` where the answer means neither on nor off.
    pub power_state: Option<PowerState>,
    /// The device's answer, verbatim, where it belongs into the evidence.
    pub answer: Option<String>,
}

/// How the state of an outlet is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readback {
    /// Alone.
    #[default]
    Alone,
    /// Together with its bank, where the device reads only whole banks.
    Bank,
    /// Not at all. The set state is accepted without observation.
    None,
}

/// Who times a power cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CycleTiming {
    /// The caller, with one [`Outlet::set`] for each half.
    Caller,
    /// The device, by one [`Outlet::cycle`], for off times within these bounds. The device restores the power even if
    /// the caller is gone.
    Device {
        /// The shortest off time: long enough to read the outlet during it.
        shortest: Duration,
        /// The longest off time.
        longest: Duration,
    },
}

/// How many clients a device serves at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCapacity {
    /// One: the device is a resource of capacity 1.
    One,
    /// Any number.
    Many,
}

/// Capabilities and needs of an outlet, as known from its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutletCapabilities {
    /// How its state is read.
    pub readback: Readback,
    /// Who times a power cycle.
    pub cycle_timing: CycleTiming,
    /// How many clients its device serves.
    pub client_capacity: ClientCapacity,
    /// How long the device needs after a connection before it accepts the next one. The driver waits for it.
    pub settle_for: Duration,
    /// How long after an order its reading may still show the state before; zero where a reading shows it at once.
    /// Until then the outlet is read again, and no opposite order is sent.
    pub effect_within: Duration,
}

/// One outlet of a device, used by one run.
///
/// A driver checks its lease before each request; `DeviceSession` does so for drivers that use TCP. Each call may be
/// dropped at any time; nothing is sent afterwards.
#[async_trait]
pub trait Outlet: Send {
    /// Returns which outlet of the device it is, in the driver's terms, for the evidence.
    fn evidence(&self) -> Evidence;

    /// Returns the number of connection attempts so far.
    fn attempts(&self) -> u32;

    /// Returns how its state is read, where that depends on more than its URL.
    fn readback(&self) -> Option<Readback> {
        None
    }

    /// Prepares for the next call; nothing is switched.
    ///
    /// # Errors
    ///
    /// [`OutletError`], usually [`OutletErrorKind::NotConnected`](crate::OutletErrorKind::NotConnected).
    async fn connect(&mut self) -> Result<(), OutletError>;

    /// Reads the state. Not called where the outlet cannot be read.
    ///
    /// # Errors
    ///
    /// [`OutletError`], where there is no answer.
    async fn read(&mut self) -> Result<OutletReading, OutletError>;

    /// Switches the outlet. Success means that the device confirmed, not that the state was observed.
    ///
    /// # Errors
    ///
    /// [`OutletError`], whose kind says whether the outlet may have been switched nevertheless.
    async fn set(&mut self, state: PowerState) -> Result<(), OutletError>;

    /// Starts a cycle that the device times itself: off for `off_for`, then on. Called only with
    /// [`CycleTiming::Device`]. It returns when the power is off.
    ///
    /// # Errors
    ///
    /// [`OutletError`], as with [`set`](Self::set).
    async fn cycle(&mut self, off_for: Duration) -> Result<(), OutletError> {
        let _ = off_for;
        Err(OutletError::unable_to_cycle())
    }
}
