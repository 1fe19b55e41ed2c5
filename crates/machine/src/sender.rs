//! Senders of events: those that a definition allows (`from:`), and the actual source of an event.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::link::InstanceAddress;
use super::names::{BadName, MachineName};

/// The name of a sender that a face registers, such as `sensor`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderName(Cow<'static, str>);

impl SenderName {
    /// Creates the name of a sender. [`Vocabulary`](super::Vocabulary) refuses invalid names.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The senders that every definition may name.
pub(super) const OPERATOR_SENDER: &str = "operator";
pub(super) const ACTION_SENDER: &str = "action";

/// A sender that a definition allows for an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// A reporter of a face, such as the thing that the instance represents.
    Face(SenderName),
    /// A person, or a program on behalf of one.
    Operator,
    /// An action that finished.
    Action,
    /// An instance of this machine, which raises the event.
    Machine(MachineName),
}

impl Sender {
    /// Returns the event source for it; `None` for a machine, which stands for many instances.
    #[must_use]
    pub fn source(&self) -> Option<EventSource> {
        match self {
            Self::Face(name) => Some(EventSource::Face(name.clone())),
            Self::Operator => Some(EventSource::Operator),
            Self::Action => Some(EventSource::Action),
            Self::Machine(_) => None,
        }
    }

    /// Whether it reports, as opposed to an operator's request or an action's outcome.
    #[must_use]
    pub fn is_reporter(&self) -> bool {
        match self {
            Self::Face(_) | Self::Machine(_) => true,
            Self::Operator | Self::Action => false,
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Face(name) => f.pad(name.as_str()),
            Self::Operator => f.pad(OPERATOR_SENDER),
            Self::Action => f.pad(ACTION_SENDER),
            Self::Machine(name) => write!(f, "machine {name}"),
        }
    }
}

impl Serialize for Sender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The source of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventSource {
    /// A reporter that a face represents.
    Face(SenderName),
    /// A person, or a program on behalf of one.
    Operator,
    /// An action that finished.
    Action,
    /// Another instance, which raised it.
    Instance(InstanceAddress),
}

impl EventSource {
    /// Whether `sender` allows this source.
    #[must_use]
    pub fn accepts_sender(&self, sender: &Sender) -> bool {
        match (self, sender) {
            (Self::Face(one), Sender::Face(other)) => one == other,
            (Self::Operator, Sender::Operator) | (Self::Action, Sender::Action) => true,
            (Self::Instance(address), Sender::Machine(machine)) => address.machine == *machine,
            (Self::Face(_) | Self::Operator | Self::Action | Self::Instance(_), _) => false,
        }
    }

    /// Returns the source as text, as stored in history.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Face(name) => Cow::Borrowed(name.as_str()),
            Self::Operator => Cow::Borrowed(OPERATOR_SENDER),
            Self::Action => Cow::Borrowed(ACTION_SENDER),
            Self::Instance(address) => Cow::Owned(address.to_string()),
        }
    }

    /// Parses [`text`](Self::text).
    ///
    /// # Errors
    ///
    /// [`BadName`] if it is neither a built-in sender, a valid name nor the address of an instance.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        // Only the address of an instance contains a slash.
        if let Some((machine, name)) = text.split_once('/') {
            let machine = MachineName::new(machine)?;
            return Ok(Self::Instance(InstanceAddress { machine, name: name.to_owned() }));
        }
        match text {
            OPERATOR_SENDER => Ok(Self::Operator),
            ACTION_SENDER => Ok(Self::Action),
            name if super::names::is_name(name) => Ok(Self::Face(SenderName(Cow::Owned(name.to_owned())))),
            other => Err(BadName(other.to_owned())),
        }
    }
}

impl fmt::Display for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl From<EventSource> for Sender {
    fn from(source: EventSource) -> Self {
        match source {
            EventSource::Face(name) => Self::Face(name),
            EventSource::Operator => Self::Operator,
            EventSource::Action => Self::Action,
            EventSource::Instance(address) => Self::Machine(address.machine),
        }
    }
}

impl Serialize for EventSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
