//! The rules that definitions are checked against.

use std::fmt;

use serde::{Serialize, Serializer};

/// The severity of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The definition is refused.
    Error,
    /// Questionable, but harmless.
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
            /// All rules: parse errors, unknown names, proofs, and warnings.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)+];

            /// Returns its name.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$rule => $id,)+ }
            }

            /// Returns its severity.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$rule => Severity::$severity,)+ }
            }

            /// Returns a one-line summary of what it reports.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$rule => $summary,)+ }
            }
        }
    };
}

rules! {
    Yaml = "yaml", Error, "the text is not YAML";
    Form = "form", Error, "something has the wrong form, is missing, or is present twice";
    Name = "name", Error, "a name contains an invalid character";
    Label = "label", Error, "a state's label is too long, or contains control characters";

    UnknownTarget = "unknown-target", Error, "a state is named that does not exist";
    UnknownEvent = "unknown-event", Error, "an event is named that cannot occur";
    UnknownAction = "unknown-action", Error, "an action is named that does not exist";
    UnknownCounter = "unknown-counter", Error, "a condition names a counter that nothing counts";
    UnknownVariable = "unknown-variable", Error, "a condition names a variable that does not exist";

    UnknownLink = "unknown-link", Error, "a link is named that is not declared";
    UnknownResource = "unknown-resource", Error, "a resource is named that is not declared, or a selector that does not exist";
    Settings = "settings", Error, "an action has settings that it does not accept";

    GuardForm = "guard-form", Error, "a condition cannot be parsed, or contains what conditions may not";
    GuardType = "guard-type", Error, "a condition uses a value of the wrong type, such as a text for a number";
    TwoSenders = "two-senders", Error, "both an operator and a reporter may send an event";
    TwoGroups = "two-groups", Error, "two groups define what an event does in a state";
    Shadowed = "shadowed", Error, "a transition is never taken, because one before it always is";
    AlwaysLoop = "always-loop", Error, "`always` transitions form a cycle";

    Unreachable = "unreachable", Error, "nothing leads to a state";
    NoWayOut = "no-way-out", Error, "a working state cannot be left";
    FailedForEver = "failed-for-ever", Error, "no operator's event leads out of a failed state";
    FinalGoesOn = "final-goes-on", Error, "a final state does something, or can be left";
    NoDeadline = "no-deadline", Error, "a working state may last forever";
    EndlessLoop = "endless-loop", Error, "working states can follow one another endlessly";
    UnclaimedHold = "unclaimed-hold", Error, "a state holds a resource that nothing claims before it is entered";
    HoldOrder = "hold-order", Error, "states claim the resources that they hold in different orders";
    UnhandledOk = "unhandled-ok", Error, "no state awaits an action's success";
    UnhandledFailed = "unhandled-failed", Error, "a state does not handle its action's failure";

    NeverHolds = "never-holds", Warning, "a condition never holds";
    UnusedEvent = "unused-event", Warning, "no state handles an event";
    UnusedResource = "unused-resource", Warning, "a resource is declared, and no state holds it";
    IdleCounter = "idle-counter", Warning, "a counter is counted or cleared without effect";
    NoAbout = "no-about", Warning, "a state has no description (`about`)";
    LongDuration = "long-duration", Warning, "a duration is in months or years";
}

impl Rule {
    /// Finds a rule by name.
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
