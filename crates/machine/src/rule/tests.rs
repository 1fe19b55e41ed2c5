use std::collections::BTreeSet;

use super::{Rule, Severity};
use crate::check;
use crate::testing::vocabulary;

const ACTIONS: [&str; 1] = ["power-cycle"];

/// The example below `heading`, without its indentation.
fn example(page: &str, heading: &str) -> String {
    let below = page.split(&format!("\n{heading}\n\n")).nth(1).unwrap_or_default();
    let lines = below.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_page_shows_what_its_rule_finds_and_what_is_right() {
    for rule in Rule::ALL {
        let page = rule.page();
        assert!(page.starts_with(&format!("{rule} ({})\n", rule.severity())), "{rule}: {page}");
        for heading in ["Why it matters", "Wrong", "Right", "Meant so?"] {
            assert!(page.contains(&format!("\n\n{heading}\n\n")), "{rule}: {heading}");
        }
        let found = |heading| {
            let faults = check(&example(page, heading), &vocabulary(&ACTIONS)).faults;
            faults.iter().map(|fault| fault.rule).collect::<BTreeSet<_>>()
        };
        assert_eq!(found("Wrong"), BTreeSet::from([*rule]), "{rule}");
        assert_eq!(found("Right"), BTreeSet::new(), "{rule}");
        assert!(page.lines().all(|line| line.chars().count() <= 120), "{rule}");
    }
}

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
