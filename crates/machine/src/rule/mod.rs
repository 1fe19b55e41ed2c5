//! The rules that definitions are checked against.

use std::fmt;

use serde::{Serialize, Serializer};

/// How bad it is to break a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The definition is refused.
    Error,
    /// It is odd, and does no harm.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

macro_rules! rules {
    ($($rule:ident = $id:literal, $severity:ident, $summary:literal;)+) => {
        /// A rule that definitions are checked against.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $summary] $rule,)+
        }

        impl Rule {
            /// All rules: what cannot be read, what is not known, what can be proved, and what is merely odd.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)+];

            /// Its name.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$rule => $id,)+ }
            }

            /// How bad it is to break it.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$rule => Severity::$severity,)+ }
            }

            /// What it finds, in a line.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$rule => $summary,)+ }
            }
        }
    };
}

rules! {
    Yaml = "yaml", Error, "the text is not YAML";
    Form = "form", Error, "something has not the form that belongs there, is missing, or is there twice";
    Name = "name", Error, "a name has other characters than names have";

    UnknownTarget = "unknown-target", Error, "a state is named that there is not";
    UnknownEvent = "unknown-event", Error, "an event is named that nobody sends";
    UnknownAction = "unknown-action", Error, "an action is named that there is not";
    UnknownCounter = "unknown-counter", Error, "a condition names a counter that nothing counts";
    UnknownVariable = "unknown-variable", Error, "a condition names a variable that there is not";

    UnknownLink = "unknown-link", Error, "a link is named that there is not";
    UnknownResource = "unknown-resource", Error, "a resource is named that is not declared, or a selector that there is not";
    Settings = "settings", Error, "an action is given settings that it does not take";

    GuardForm = "guard-form", Error, "a condition is not one: it cannot be parsed, or does what conditions may not";
    GuardType = "guard-type", Error, "a condition takes a text for a number, or the like";
    TwoSenders = "two-senders", Error, "both an operator and what reports may send an event";
    TwoGroups = "two-groups", Error, "two groups say what an event does in a state";
    Shadowed = "shadowed", Error, "a transition is never taken, because one before it always is";
    AlwaysLoop = "always-loop", Error, "`always` leads in a circle";

    Unreachable = "unreachable", Error, "nothing leads to a state";
    NoWayOut = "no-way-out", Error, "a working state cannot be left";
    FailedForEver = "failed-for-ever", Error, "no operator can get an instance out of a failed state";
    FinalGoesOn = "final-goes-on", Error, "a final state does something, or can be left";
    NoDeadline = "no-deadline", Error, "a working state may last for ever";
    EndlessLoop = "endless-loop", Error, "working states can follow one another for ever";
    UnclaimedHold = "unclaimed-hold", Error, "a state holds a resource that nothing claims on the way into it";
    HoldOrder = "hold-order", Error, "states take what they hold in different orders";
    UnhandledOk = "unhandled-ok", Error, "nobody waits for an action's success";
    UnhandledFailed = "unhandled-failed", Error, "a state says nothing of its action's failure";

    NeverHolds = "never-holds", Warning, "a condition never holds";
    UnusedEvent = "unused-event", Warning, "no state takes an event";
    UnusedResource = "unused-resource", Warning, "a resource is declared, and no state holds it";
    IdleCounter = "idle-counter", Warning, "a counter is counted or cleared to no purpose";
    NoAbout = "no-about", Warning, "a state does not say what it is about";
    LongDuration = "long-duration", Warning, "a duration is in months or years";
}

impl Rule {
    /// The rule of this name.
    #[must_use]
    pub fn find(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.id() == id)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests;
