//! Raised events: decided in order, fenced, refused, bounded.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::testing::load_unproved;
use crate::testing::{REPORTER, vocabulary};
use crate::{
    Cause, Definition, EventName, EventSource, Instance, InstanceAddress, Link, LinkName, Links, MachineName,
    Outcome, Stimulus, Visit, create_linked,
};

/// The definitions of a lease of a thing, and of the thing.
const LEASE: &str = "machine: lease
initial: Asking
links: { thing: { machine: thing, about: what is leased } }
events:
  ready: { from: { machine: thing }, args: [visit] }
  rq-end: { from: operator }
states:
  Asking:
    entry: [{ raise: { event: claim, to: thing, args: { by: $instance.name, visit: $instance.visit } } }]
    on:
      claim-refused: { target: Refused, do: { set: { why: $args.reason } } }
      ready: { target: Ready, do: { set: { ready_in: $args.visit } } }
  Refused: { resting: true }
  Ready:
    resting: true
    on: { rq-end: { target: Ended, do: [{ raise: { event: release, to: thing } }, { unlink: thing }] } }
  Ended: { final: true }
";
const THING: &str = "machine: thing
initial: Free
links: { lease: lease }
events:
  claim: { from: { machine: lease }, args: [by] }
  release: { from: { machine: lease } }
  booted: { from: board }
states:
  Free:
    resting: true
    on:
      claim: { target: Booting, do: { link: { lease: { name: $args.by, visit: $args.visit } } } }
  Booting:
    on: { booted: Used }
  Used:
    resting: true
    entry: { raise: { event: ready, to: lease, args: { visit: $instance.visit }, visit: linked } }
    timeout: { after: 5m, target: Used, keep: actions }
    invoke: poll
    on: { release: { target: Free, do: { unlink: lease } } }
";

fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(12)
}

fn definition(text: &str) -> Definition {
    load_unproved(text, &vocabulary(&["poll"])).unwrap_or_else(|faults| panic!("{}", faults.display("text")))
}

fn address(text: &str) -> InstanceAddress {
    let (machine, name) = text.split_once('/').unwrap();
    InstanceAddress { machine: MachineName::new(machine).unwrap(), name: name.to_owned() }
}

fn link(name: &str, to: &str) -> (LinkName, Link) {
    (LinkName::new(name).unwrap(), Link { to: address(to), visit: None })
}

/// Instances in memory.
#[derive(Default)]
struct World {
    definitions: BTreeMap<MachineName, Definition>,
    instances: BTreeMap<InstanceAddress, Instance>,
}

impl LinkedInstances for World {
    fn definition(&self, machine: &MachineName) -> Option<&Definition> {
        self.definitions.get(machine)
    }
    fn find(&self, address: &InstanceAddress) -> Option<&Instance> {
        self.instances.get(address)
    }
    fn facts(&self, _: &InstanceAddress) -> Map<String, Value> {
        Map::new()
    }
    fn put(&mut self, address: &InstanceAddress, instance: Instance) {
        self.instances.insert(address.clone(), instance);
    }
}

impl World {
    fn new(definitions: &[&str]) -> Self {
        let definitions = definitions.iter().map(|text| definition(text));
        let definitions = definitions.map(|definition| (definition.machine.clone(), definition)).collect();
        Self { definitions, instances: BTreeMap::new() }
    }

    /// Creates an instance, and returns the decisions, one per line.
    fn create(&mut self, name: &str, links: Links) -> Vec<String> {
        let to = address(name);
        let unborn =
            create_linked(&self.definitions[&to.machine], &to.name, Links::new(), Map::new(), noon());
        let unborn = Instance { visit: Visit(0), ..unborn.instance };
        self.put(&to, unborn);
        self.happen(name, Cause::Created { links })
    }

    fn happen(&mut self, name: &str, cause: Cause) -> Vec<String> {
        let decided = decide_linked(self, address(name), Stimulus::new(cause), noon());
        decided.iter().map(line).collect()
    }

    fn send(&mut self, name: &str, event: &str, source: EventSource) -> Vec<String> {
        let name_of = EventName::new(event).unwrap();
        self.happen(name, Cause::Event { name: name_of, source, args: Map::new(), visit: None })
    }
}

fn line(decided: &LinkedDecision) -> String {
    let what = match &decided.stimulus.cause {
        Cause::Event { name, source, .. } => format!("{name} from {source}"),
        cause @ (Cause::Created { .. }
        | Cause::Began { .. }
        | Cause::Suspend { .. }
        | Cause::Retry { .. }
        | Cause::Deadline { .. }
        | Cause::Force { .. }) => format!("{cause:?}"),
    };
    let came = match &decided.decision.outcome {
        Outcome::Moved { to, .. } => to.to_string(),
        Outcome::Stayed => "stayed".to_owned(),
        Outcome::Ignored(why) => format!("ignored: {why}"),
    };
    format!("{}: {what}: {came}", decided.address)
}

/// A lease `r` and a thing `t` that it has claimed and that runs.
fn leased() -> World {
    let mut world = World::new(&[LEASE, THING]);
    world.create("thing/t", Links::new());
    world.create("lease/r", Links::from([link("thing", "thing/t")]));
    world
}

#[test]
fn raised_events_are_decided_in_order() {
    let mut world = World::new(&[LEASE, THING]);
    world.create("thing/t", Links::new());
    let decisions = world.create("lease/r", Links::from([link("thing", "thing/t")]));
    assert_eq!(decisions[1..], ["thing/t: claim from lease/r: Booting"]);
    let linked = &world.instances[&address("thing/t")].links["lease"];
    assert_eq!((linked.to.to_string(), linked.visit), ("lease/r".to_owned(), Some(Visit(1))));
    let decisions = world.send("thing/t", "booted", REPORTER);
    assert_eq!(decisions, ["thing/t: booted from board: Used", "lease/r: ready from thing/t: Ready"]);
    assert_eq!(world.instances[&address("lease/r")].data["ready_in"], json!(3));
    let decisions = world.send("lease/r", "rq-end", EventSource::Operator);
    assert_eq!(decisions, ["lease/r: rq-end from operator: Ended", "thing/t: release from lease/r: Free"]);
    assert!(world.instances.values().all(|instance| instance.links.is_empty()));
}

#[test]
fn a_refusal_is_sent_to_the_instance_that_raised_the_event_and_stays_moved() {
    let mut world = leased();
    let decisions = world.create("lease/late", Links::from([link("thing", "thing/t")]));
    let refused = "thing/t: claim from lease/late: ignored: state Booting does not wait for claim";
    assert_eq!(decisions[1..], [refused, "lease/late: claim-refused from thing/t: Refused"]);
    let why = &world.instances[&address("lease/late")].data["why"];
    assert_eq!(why, "state Booting does not wait for claim");
    let decisions = world.create("lease/lost", Links::from([link("thing", "thing/none")]));
    assert_eq!(decisions[1..], ["lease/lost: claim-refused from thing/none: Refused"]);
    assert_eq!(world.instances[&address("lease/lost")].data["why"], "there is no thing/none");
}

#[test]
fn a_fenced_event_is_only_for_the_linked_visit() {
    let mut world = leased();
    let lease = world.instances.get_mut(&address("lease/r")).unwrap();
    lease.visit = lease.visit.next();
    let decisions = world.send("thing/t", "booted", REPORTER);
    let stale = "lease/r: ready from thing/t: ignored: stale: it speaks of visit 1, this is visit 2";
    // The thing ignores it.
    let ignored = "thing/t: ready-refused from lease/r: ignored: state Used does not wait for ready-refused";
    assert_eq!(decisions[1..], [stale, ignored]);
}

#[test]
fn without_a_link_nothing_is_raised_and_kept_actions_raise_nothing_again() {
    let mut world = World::new(&[LEASE, THING]);
    assert_eq!(world.create("lease/alone", Links::new()).len(), 1);
    let mut world = leased();
    world.send("thing/t", "booted", REPORTER);
    let thing = world.instances.get_mut(&address("thing/t")).unwrap();
    thing.deadline_at = Some(noon());
    let visit = thing.visit;
    let decisions = world.happen("thing/t", Cause::Deadline { visit });
    assert_eq!(decisions.len(), 1, "{decisions:?}");
    assert_eq!(world.instances[&address("thing/t")].visit, visit.next());
}

const PING: &str = "machine: a
initial: A
links: { other: b }
events: { ping: { from: { machine: b } }, go: { from: board } }
states:
  A:
    resting: true
    on: { go: { do: { raise: { event: ping, to: other } } }, ping: { do: [{ raise: { event: ping, to: other } }] } }
";

fn pong() -> String {
    let text = PING.replace("machine: a\n", "machine: x\n").replace("other: b", "other: a");
    text.replace("{ machine: b }", "{ machine: a }").replace("machine: x\n", "machine: b\n")
}

#[test]
fn a_chain_that_does_not_end_is_cut_off() {
    let mut world = World::new(&[PING, &pong()]);
    world.create("a/1", Links::from([link("other", "b/1")]));
    world.create("b/1", Links::from([link("other", "a/1")]));
    let decisions = world.send("a/1", "go", REPORTER);
    let depth = usize::try_from(MAX_CHAIN_DEPTH).unwrap();
    assert_eq!(decisions.len(), 1 + depth + 1, "{decisions:#?}");
    assert_eq!(
        decisions.last().unwrap(),
        "a/1: ping-refused from b/1: ignored: state A does not wait for ping-refused"
    );
}

#[test]
fn machines_that_fit_together_have_no_faults() {
    let (lease, thing) = (definition(LEASE), definition(THING));
    assert_eq!(check_linked(&[&lease, &thing]), []);
    assert_eq!(lines(&[LEASE]), ["lease: link `thing` leads to the machine `thing`, which does not exist"]);
}

fn lines(texts: &[&str]) -> Vec<String> {
    let definitions: Vec<Definition> = texts.iter().map(|text| definition(text)).collect();
    let faults = check_linked(&definitions.iter().collect::<Vec<_>>());
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn raising_an_event_that_the_other_machine_does_not_declare_is_a_fault() {
    for (from, to, expected) in [
        (
            "claim: { from: { machine: lease }, args: [by] }",
            "claim: { from: operator }",
            "lease raises `claim` at thing, which does not declare it `from: { machine: lease }`",
        ),
        (
            "claim: { from: { machine: lease }, args: [by] }",
            "claim: { from: { machine: lease }, args: [by, until] }",
            "lease raises `claim` at thing without the required argument `until`",
        ),
    ] {
        assert_eq!(lines(&[LEASE, &THING.replace(from, to)]), [expected]);
    }
}

#[test]
fn events_that_may_raise_one_another_endlessly_are_a_fault_unless_a_counter_ends_it() {
    let pong = pong();
    assert_eq!(
        lines(&[PING, &pong]),
        [
            "these events may raise one another endlessly, with no time in between: a: ping → b: ping → a: ping"
        ]
    );
    let bounded = PING.replace("ping: { do: [", "ping: { if: counters.tries < 3, do: [{ count: tries }, ");
    assert_eq!(lines(&[&bounded, &pong]), Vec::<String>::new());
    let cleared = bounded
        .replace("go: { do: {", "go: { do: [{ clear: tries }, {")
        .replace("other } } }, ping", "other } }] }, ping");
    // `go` is not sent again meanwhile.
    assert_eq!(lines(&[&cleared, &pong]), Vec::<String>::new());
    let cleared = bounded.replace("[{ count: tries }, ", "[{ count: tries }, { clear: tries }, ");
    assert_eq!(lines(&[&cleared, &pong]).len(), 1);
}

/// A machine that holds `first`, and then both `a` and `b`.
fn growing(machine: &str, first: &str, resources: &str) -> String {
    format!(
        "machine: {machine}\ninitial: Rest\nresources: {{ {resources} }}\nevents: {{ go: {{ from: operator }} }}\nstates:\n  \
         Rest: {{ resting: true, on: {{ go: First }} }}\n  \
         First: {{ hold: {{ {first}: 1 }}, invoke: poll, on: {{ poll-ok: Both }} }}\n  \
         Both: {{ hold: {{ a: 1, b: 1 }}, invoke: poll, on: {{ poll-ok: Rest }} }}\n"
    )
}

#[test]
fn machines_that_claim_resources_in_different_orders_are_refused_together() {
    let of = |machine, first| growing(machine, first, "a: 1, b: 1");
    assert_eq!(lines(&[&of("m", "a"), &of("n", "a")]), Vec::<String>::new());
    assert_eq!(
        lines(&[&of("m", "a"), &of("n", "b")]),
        ["instances may deadlock: in m from `First` to `Both` `a` is held while it waits for `b`, and \
             in n from `First` to `Both` `b` is held while it waits for `a`"]
    );
}

#[test]
fn machines_that_declare_one_resource_differently_are_refused_together() {
    let of = |machine, a: &str| growing(machine, "a", &format!("a: {a}, b: 1"));
    for (first, second, expected) in [
        ("8", "{ capacity: 8, about: the same }", None),
        ("{ any: idle-workers }", "8", None),
        ("8", "4", Some(("{ capacity: 4 }", "{ capacity: 8 }"))),
        ("8", "{ capacity: 8, settle: 2s }", Some(("{ capacity: 8, settle: 2s }", "{ capacity: 8 }"))),
        ("{ gap: 1s }", "{ gap: 2s }", Some(("{ gap: 2s }", "{ gap: 1s }"))),
        // Without limits of its own it shares those of the other.
        ("8", "{}", None),
        ("{ about: it has none }", "8", None),
    ] {
        let expected = expected.map(|(n, m)| format!("n declares `a` as {n}, and m as {m}"));
        assert_eq!(lines(&[&of("m", first), &of("n", second)]), Vec::from_iter(expected));
    }
}

#[test]
fn a_refusal_that_raises_the_event_again_is_a_fault() {
    let text = LEASE.replace("claim-refused: { target: Refused,", "claim-refused: { target: Asking,");
    assert_eq!(
        lines(&[&text, THING]),
        [
            "these events may raise one another endlessly, with no time in between: lease: claim-refused → thing: claim → \
             lease: claim-refused"
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the links and senders are: a chain ends, and is the same each time.
    #[test]
    fn a_chain_ends_and_is_the_same_each_time(
        links in proptest::collection::vec((0_usize..2, 0_usize..3, 0_usize..3), 0..8),
        sent in proptest::collection::vec((0_usize..6, 0_usize..3), 1..6),
    ) {
        let pong = pong();
        let run = || {
            let mut world = World::new(&[PING, &pong]);
            for index in 0..3 {
                world.create(&format!("a/{index}"), Links::new());
                world.create(&format!("b/{index}"), Links::new());
            }
            for (side, from, to) in &links {
                let (from, to) = if *side == 0 { (format!("a/{from}"), format!("b/{to}")) } else { (format!("b/{from}"), format!("a/{to}")) };
                let instance = world.instances.get_mut(&address(&from)).unwrap();
                instance.links.extend([link("other", &to)]);
            }
            let mut all = Vec::new();
            for (to, event) in &sent {
                let to = format!("{}/{}", if to % 2 == 0 { "a" } else { "b" }, to / 2);
                let decisions = world.send(&to, ["go", "ping", "none"][*event], REPORTER);
                assert!(decisions.len() <= 1 + MAX_CHAIN_EVENTS, "{decisions:?}");
                all.extend(decisions);
            }
            all
        };
        prop_assert_eq!(run(), run());
    }
}
