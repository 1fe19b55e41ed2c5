//! The vocabulary of the kernel's tests.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::names::{ActionName, SelectorName};
use crate::sender::{EventSource, SenderName};
use crate::vocabulary::{ActionCatalogue, FactKind, FactObject, NamedActions, SettingFault, Vocabulary};

/// The reporter in the kernel's tests.
pub const REPORTER: EventSource = EventSource::Face(BOARD);
const BOARD: SenderName = SenderName::of("board");

/// Returns a vocabulary as a face registers it, with the actions `actions`.
///
/// # Panics
///
/// If a name is invalid.
#[must_use]
pub fn vocabulary(actions: &[&str]) -> Vocabulary {
    let (text, list) = (FactKind::Text, FactKind::List);
    let fields = [
        ("environment", text),
        ("fqdn", text),
        ("hardware", text),
        ("images", list),
        ("mac", text),
        ("name", text),
        ("power", FactKind::Boolean),
    ];
    Vocabulary::new(Arc::new(Picky(NamedActions::new(actions))))
        .with_sender(BOARD)
        .unwrap()
        .with_facts(FactObject::new("device", &fields))
        .unwrap()
        .with_selector(SelectorName::new("idle-workers").unwrap())
        .unwrap()
}

/// Actions that refuse the setting `no-such-setting`.
#[derive(Debug)]
struct Picky(NamedActions);

impl ActionCatalogue for Picky {
    fn names(&self) -> Vec<&str> {
        self.0.names()
    }

    fn check_settings(&self, action: &ActionName, settings: &Map<String, Value>) -> Vec<SettingFault> {
        let unknown = settings.keys().filter(|key| *key == "no-such-setting");
        let fault = |key: &String| SettingFault {
            key: Some(key.clone()),
            message: format!("`{action}` has no setting `{key}`"),
        };
        unknown.map(fault).collect()
    }
}
