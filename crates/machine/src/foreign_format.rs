//! Files of other programs that are mistaken for definitions.

use std::fmt::{self, Display};

use crate::source::{SourceContent, SourceNode};

/// A format in which other programs write state machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignFormat {
    /// A file of `StateService`, which can be imported.
    StateService,
    /// The parameters, or the program, of a machine of Python's `transitions` package.
    Transitions,
    /// An `XState` machine, as JSON or as a program.
    XState,
    /// The Amazon States Language.
    AmazonStates,
    /// The input of the State Machine Compiler.
    Smc,
    /// State Chart XML.
    Scxml,
}

impl ForeignFormat {
    /// Recognizes the format of `text`, parsed as `root` if it is YAML; `None` if it may be a definition.
    #[must_use]
    pub fn recognize(text: &str, root: Option<&SourceNode>) -> Option<Self> {
        if root.is_some_and(|root| root.child("machine").is_some()) {
            return None;
        }
        root.and_then(Self::of_shape).or_else(|| Self::of_text(text))
    }

    fn of_shape(root: &SourceNode) -> Option<Self> {
        let has = |key| root.child(key).is_some();
        let has_function =
            |state: &SourceNode| state.child("func").is_some() || state.child("target").is_some();
        match root.child("states").map(|(_, states)| &states.content) {
            Some(SourceContent::List(states)) if has("current_state") || states.iter().any(has_function) => {
                Some(Self::StateService)
            }
            Some(SourceContent::List(_)) if has("transitions") => Some(Self::Transitions),
            Some(SourceContent::Map(_))
                if has("id") || has("context") || has("predictableActionArguments") =>
            {
                Some(Self::XState)
            }
            _ if has("StartAt") && has("States") => Some(Self::AmazonStates),
            _ => None,
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        let begins = |words: &[&str]| {
            text.lines().map(str::trim_start).any(|line| words.iter().any(|word| line.starts_with(word)))
        };
        let contains = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if begins(&["%start ", "%map ", "%fsmclass "]) {
            Some(Self::Smc)
        } else if contains(&["createMachine(", "from 'xstate'", "from \"xstate\""]) {
            Some(Self::XState)
        } else if contains(&["<scxml", "http://www.w3.org/2005/07/scxml"]) {
            Some(Self::Scxml)
        } else if contains(&["from transitions import"]) {
            Some(Self::Transitions)
        } else {
            None
        }
    }

    /// What to do with such a file.
    fn advice(self) -> &'static str {
        match self {
            Self::StateService => "`lifeguard machine import FILE` translates it",
            Self::Transitions | Self::XState | Self::AmazonStates | Self::Smc | Self::Scxml => {
                "it cannot be imported; write a definition with `machine`, `initial` and `states`, as `lifeguard machine \
                 check --explain form` shows"
            }
        }
    }
}

/// A sentence that names the format, with advice.
impl Display for ForeignFormat {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::StateService => "a StateService file",
            Self::Transitions => "a state machine of Python's `transitions` package",
            Self::XState => "an XState machine",
            Self::AmazonStates => "an Amazon States Language file",
            Self::Smc => "a State Machine Compiler (SMC) file",
            Self::Scxml => "an SCXML file",
        };
        write!(to, "this is {name}: {}", self.advice())
    }
}
