//! The pages that explain the rules of definitions, each with a wrong and a right example.
//!
//! They are here and not beside the rules because their examples are about boards, which the kernel does not know.

use crate::machine::Rule;

/// The page that explains `rule`.
pub(super) fn page(rule: Rule) -> &'static str {
    match rule {
        Rule::Yaml => include_str!("yaml.txt"),
        Rule::Form => include_str!("form.txt"),
        Rule::Name => include_str!("name.txt"),
        Rule::Label => include_str!("label.txt"),
        Rule::UnknownTarget => include_str!("unknown-target.txt"),
        Rule::UnknownEvent => include_str!("unknown-event.txt"),
        Rule::UnknownAction => include_str!("unknown-action.txt"),
        Rule::UnknownCounter => include_str!("unknown-counter.txt"),
        Rule::UnknownVariable => include_str!("unknown-variable.txt"),
        Rule::UnknownLink => include_str!("unknown-link.txt"),
        Rule::UnknownResource => include_str!("unknown-resource.txt"),
        Rule::Settings => include_str!("settings.txt"),
        Rule::GuardForm => include_str!("guard-form.txt"),
        Rule::GuardType => include_str!("guard-type.txt"),
        Rule::TwoSenders => include_str!("two-senders.txt"),
        Rule::TwoGroups => include_str!("two-groups.txt"),
        Rule::Shadowed => include_str!("shadowed.txt"),
        Rule::AlwaysLoop => include_str!("always-loop.txt"),
        Rule::Unreachable => include_str!("unreachable.txt"),
        Rule::NoWayOut => include_str!("no-way-out.txt"),
        Rule::FailedForEver => include_str!("failed-for-ever.txt"),
        Rule::FinalGoesOn => include_str!("final-goes-on.txt"),
        Rule::NoDeadline => include_str!("no-deadline.txt"),
        Rule::EndlessLoop => include_str!("endless-loop.txt"),
        Rule::UnclaimedHold => include_str!("unclaimed-hold.txt"),
        Rule::HoldOrder => include_str!("hold-order.txt"),
        Rule::UnhandledOk => include_str!("unhandled-ok.txt"),
        Rule::UnhandledFailed => include_str!("unhandled-failed.txt"),
        Rule::NeverHolds => include_str!("never-holds.txt"),
        Rule::UnusedEvent => include_str!("unused-event.txt"),
        Rule::UnusedResource => include_str!("unused-resource.txt"),
        Rule::IdleCounter => include_str!("idle-counter.txt"),
        Rule::NoAbout => include_str!("no-about.txt"),
        Rule::LongDuration => include_str!("long-duration.txt"),
    }
}
