use super::*;
use crate::testing::vocabulary;

#[test]
fn names_that_are_taken_or_invalid_are_not_registered() {
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
