use std::collections::BTreeSet;

use super::{Rule, Severity};

#[test]
fn rules_are_found_by_their_names() {
    for rule in Rule::ALL {
        assert_eq!(Rule::find(rule.id()), Some(*rule));
        assert!(!rule.summary().is_empty());
    }
    assert_eq!(Rule::find("endless"), None);
    let ids: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    assert_eq!(ids.len(), Rule::ALL.len());
    assert_eq!(Rule::EndlessLoop.severity(), Severity::Error);
}
