//! Names in definitions: machines, states, events, actions, counters.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The maximum length of a name, in characters: names are columns of tables.
pub const MAX_NAME_CHARS: usize = 64;

/// The text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: a name is 1 to 64 letters, digits, `-` and `_`, and begins with a letter")]
pub struct BadName(pub String);

/// Whether `text` is a valid name.
pub(super) fn is_name(text: &str) -> bool {
    let begins = text.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
    let goes_on = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    begins && goes_on && text.len() <= MAX_NAME_CHARS
}

/// Whether `text` is a valid instance name: one or more host name labels, because it is part of URL paths and file
/// names.
#[must_use]
pub fn is_instance_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| {
        label.chars().all(is_plain) && label.starts_with(|first: char| first.is_ascii_alphanumeric())
    };
    text.len() <= MAX_NAME_CHARS && text.split('.').all(is_label)
}

fn checked(text: &str) -> Result<Arc<str>, BadName> {
    if is_name(text) {
        Ok(Arc::from(text))
    } else {
        Err(BadName(text.chars().take(2 * MAX_NAME_CHARS).collect()))
    }
}

/// Returns `text` with `_` for each invalid character.
fn replaced(text: &str) -> Arc<str> {
    let kept = text.chars().take(MAX_NAME_CHARS - 1).map(|c| {
        let is_part = c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if is_part { c } else { '_' }
    });
    let kept: String = kept.collect();
    if kept.starts_with(|first: char| first.is_ascii_alphabetic()) {
        Arc::from(kept)
    } else {
        format!("x{kept}").into()
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            ///
            /// [`BadName`] if it is empty, too long, or contains an invalid character.
            pub fn new(text: &str) -> Result<Self, BadName> {
                checked(text).map(Self)
            }

            /// Converts a name that another program stored, with `_` for each invalid character: for display only.
            #[must_use]
            pub fn lossy(text: &str) -> Self {
                Self::new(text).unwrap_or_else(|_| Self(replaced(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )+};
}

names! {
    /// Names a machine definition: `reservation`.
    MachineName,
    /// Names a state: `Ready`.
    StateName,
    /// Names an event: `rq-cancel`.
    EventName,
    /// Names an action: `notify`.
    ActionName,
    /// Names a link to another instance: `reservation`.
    LinkName,
    /// Names a resource that states hold, in the definition: `installations`.
    ResourceName,
    /// Names a selector of resources, which a face registers: `idle-workers`.
    SelectorName,
    /// Names a counter; by default the counter of a state's time limit has the state's name.
    CounterName,
}

/// Whether a state's name says that an operator is needed: it begins with `Failed` or `failed`.
#[must_use]
pub fn is_failed_state_name(state: &str) -> bool {
    state.starts_with("Failed") || state.starts_with("failed")
}
