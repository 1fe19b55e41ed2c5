use super::super::sender::Source;
use super::*;

/// Who reports in the kernel's tests.
pub(crate) const REPORTER: Source = Source::Face(BOARD);
const BOARD: SenderName = SenderName::of("board");

/// A vocabulary as a face registers it, with the actions `actions`.
pub(crate) fn vocabulary(actions: &[&str]) -> Vocabulary {
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

#[test]
fn what_means_something_already_or_cannot_be_written_is_not_registered() {
    let known = vocabulary(&[]);
    let sender = |name| known.clone().with_sender(SenderName::of(name)).err();
    let taken = |name: &str| Some(BadVocabulary::Taken(name.to_owned()));
    let not_a_name = |name: &str| Some(BadVocabulary::NotAName(name.to_owned()));
    assert_eq!(sender("brewer"), None);
    assert_eq!([sender("board"), sender("operator")], [taken("board"), taken("operator")]);
    assert_eq!([sender("a b"), sender("")], [not_a_name("a b"), not_a_name("")]);
    let facts = |name| known.clone().with_facts(FactObject::new(name, &[])).err();
    assert_eq!(facts("brewer"), None);
    assert_eq!([facts("device"), facts("data")], [taken("device"), taken("data")]);
    assert_eq!([facts("a-b"), facts("1")], [not_a_name("a-b"), not_a_name("1")]);
}
