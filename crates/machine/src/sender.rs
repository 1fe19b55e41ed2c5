//! Who sends events: what a definition allows (`from:`), and who it was in fact.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::link::InstanceAddress;
use super::names::{BadName, MachineName};

/// Names a sender outside the kernel that a face registers, such as `sensor`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderName(Cow<'static, str>);

impl SenderName {
    /// The name that a face registers. A [`Vocabulary`](super::Vocabulary) with a text that is no name is refused.
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

/// The senders that every definition may name; no face registers these.
pub(super) const OPERATOR_SENDER: &str = "operator";
pub(super) const ACTION_SENDER: &str = "action";

/// Who a definition lets send an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// What a face speaks for, such as the thing itself that the instance stands for.
    Face(SenderName),
    /// A person, or a program in a person's place.
    Operator,
    /// An action that ended.
    Action,
    /// An instance of this machine, which raises it.
    Machine(MachineName),
}

impl Sender {
    /// The source that it is; nothing where that is one of many instances.
    #[must_use]
    pub fn source(&self) -> Option<EventSource> {
        match self {
            Self::Face(name) => Some(EventSource::Face(name.clone())),
            Self::Operator => Some(EventSource::Operator),
            Self::Action => Some(EventSource::Action),
            Self::Machine(_) => None,
        }
    }

    /// Whether it is what reports, rather than one who asks or an action.
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

/// Who an event comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventSource {
    /// What a face speaks for.
    Face(SenderName),
    /// A person, or a program in a person's place.
    Operator,
    /// An action that ended.
    Action,
    /// Another instance, which raised it.
    Instance(InstanceAddress),
}

impl EventSource {
    /// Whether it is one that `sender` allows.
    #[must_use]
    pub fn accepts_sender(&self, sender: &Sender) -> bool {
        match (self, sender) {
            (Self::Face(one), Sender::Face(other)) => one == other,
            (Self::Operator, Sender::Operator) | (Self::Action, Sender::Action) => true,
            (Self::Instance(address), Sender::Machine(machine)) => address.machine == *machine,
            (Self::Face(_) | Self::Operator | Self::Action | Self::Instance(_), _) => false,
        }
    }

    /// It as text, as history keeps it.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Face(name) => Cow::Borrowed(name.as_str()),
            Self::Operator => Cow::Borrowed(OPERATOR_SENDER),
            Self::Action => Cow::Borrowed(ACTION_SENDER),
            Self::Instance(address) => Cow::Owned(address.to_string()),
        }
    }

    /// Reads [`source_text`](Self::source_text).
    ///
    /// # Errors
    ///
    /// [`BadName`] when it is none of the kernel's own senders, no name and no instance.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        // A machine's name has no slash; an instance's may.
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
