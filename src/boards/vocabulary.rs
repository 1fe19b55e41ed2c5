//! What boards add to the kernel's vocabulary for definitions: the sender `board`, the facts `device`.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::action_kinds::action_kinds;
use super::field::DEVICE_FIELDS;
use crate::actions::{NotifyPolicy, PowerSettings};
use crate::machine::{BadVocabulary, EventSource, FactKind, FactObject, SenderName, Vocabulary};

/// The source of events that boards send, while they boot and run.
pub const BOARD_SOURCE: EventSource = EventSource::Face(SENDER);
const SENDER: SenderName = SenderName::of("board");

/// The facts of a board, which guards read as `device.FIELD`.
fn device() -> FactObject {
    let conditions = DEVICE_FIELDS.iter().filter_map(|field| field.guard_fact);
    let known = conditions.map(|condition| (condition.name, condition.kind));
    let more = [("images", FactKind::List), ("name", FactKind::Text)];
    FactObject::new("device", &known.chain(more).collect::<Vec<_>>())
}

/// Returns the vocabulary of boards' definitions.
#[must_use]
pub fn vocabulary() -> &'static Vocabulary {
    #[expect(clippy::expect_used, reason = "its names are constants, and a test checks them")]
    static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| build().expect("valid names"));
    &VOCABULARY
}

fn build() -> Result<Vocabulary, BadVocabulary> {
    Vocabulary::new(Arc::new(action_kinds(Path::new(""), NotifyPolicy::default(), &PowerSettings::default())))
        .with_sender(SENDER)?
        .with_facts(device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_registered_names_are_valid() {
        assert_eq!(build().map(|vocabulary| vocabulary.facts().len()), Ok(1));
    }
}
