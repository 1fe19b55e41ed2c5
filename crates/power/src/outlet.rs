//! What a driver is: an outlet that can be read and set.

use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;

use crate::error::OutletError;

/// The longest rest that a device may ask for after a connection.
pub(crate) const MAX_SETTLE_TIME: Duration = Duration::from_secs(5);

/// Whether an outlet gives power; what is not known is no `Supply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// It does.
    On,
    /// It does not.
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

/// What a device said when an outlet was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutletReading {
    /// What that means; `None` where it means neither on nor off. Unknown is never taken for either.
    pub power_state: Option<PowerState>,
    /// The device's own words, where evidence is to have them.
    pub answer: Option<String>,
}

/// How an outlet is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readback {
    /// By itself.
    #[default]
    Alone,
    /// Together with others of the device, which reads no fewer.
    Bank,
    /// Not at all. What it was set to is then accepted and not observed.
    None,
}

/// Who times a power cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CycleTiming {
    /// Whoever switches the outlet, with one [`Outlet::set`] for each half.
    Caller,
    /// The device, by one [`Outlet::cycle_timing`], for off times within these bounds: it gives the power back though whoever
    /// asked for it is gone.
    Device {
        /// The shortest off time: long enough to be read in the middle.
        shortest: Duration,
        /// The longest off time.
        longest: Duration,
    },
}

/// How many clients a device takes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCapacity {
    /// One: the device is a resource of capacity 1.
    One,
    /// Any number.
    Many,
}

/// What an outlet can do and what it needs, as far as its URL tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutletCapabilities {
    /// How it is read.
    pub readback: Readback,
    /// Who times a power cycle.
    pub cycle_timing: CycleTiming,
    /// How many clients its device takes.
    pub client_capacity: ClientCapacity,
    /// How long its device rests after a connection before it takes the next one. The driver sees to it.
    pub settle_for: Duration,
}

/// One outlet of a device, as one run reaches it.
///
/// A driver asks its lease before each thing that it sends: `Session` does so for those that speak
/// TCP. Each call may be dropped at any time; then nothing more is sent.
#[async_trait]
pub trait Outlet: Send {
    /// Which outlet of the device it is, in the driver's own terms. Evidence has it as it is.
    fn evidence(&self) -> Evidence;

    /// How many connections were tried so far.
    fn attempts(&self) -> u32;

    /// Gets ready for the next call; nothing is switched.
    ///
    /// # Errors
    ///
    /// [`OutletError`], mostly [`OutletErrorKind::NotConnected`](crate::OutletErrorKind::NotConnected).
    async fn connect(&mut self) -> Result<(), OutletError>;

    /// Reads whether the outlet gives power. It is not called where it cannot be read.
    ///
    /// # Errors
    ///
    /// [`OutletError`], where there is no answer.
    async fn read(&mut self) -> Result<OutletReading, OutletError>;

    /// Has the device give power or take it away; that the device said so is all that is known then.
    ///
    /// # Errors
    ///
    /// [`OutletError`], whose kind says whether it may have been done all the same.
    async fn set(&mut self, supply: PowerState) -> Result<(), OutletError>;

    /// Has the device take the power away and give it back after `off_for` by itself, where [`CycleTiming::FakeDevice`] says
    /// that it can. It answers when the power is off.
    ///
    /// # Errors
    ///
    /// [`OutletError`], as with [`set`](Self::set).
    async fn cycle(&mut self, off_for: Duration) -> Result<(), OutletError> {
        let _ = off_for;
        Err(OutletError::unable_to_cycle())
    }
}
