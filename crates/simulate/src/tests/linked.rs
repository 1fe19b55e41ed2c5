//! Linked machines: raised events are decided at the same time.

use super::{Actions, definition};
use crate::{MachineReport, Profile, Simulation, SimulationError, SimulationReport, SimulationSize};
use machine::{Definition, EventName};

/// A lease claims a thing at once and ends after an hour.
const LEASE: &str = "{ machine: lease, initial: Asking, links: { thing: thing },
    events: { ready: { from: { machine: thing }, args: [thing] } },
    states: {
      Asking: { resting: true, about: it asks,
        entry: { raise: { event: claim, to: thing, args: { by: $instance.name } } },
        on: { claim-refused: Refused,
          ready: { target: Leased, do: { link: { thing: { name: $args.thing } } } } } },
      Leased: { about: it has it, timeout: { after: 1h, target: Ended } },
      Ended: { resting: true, about: it is over, entry: { raise: { event: release, to: thing } } },
      Refused: { resting: true, about: somebody else has it } } }";
/// A thing is prepared within a minute, for one lease at a time.
const THING: &str = "{ machine: thing, initial: Free, links: { lease: lease },
    events: { claim: { from: { machine: lease }, args: [by] }, release: { from: { machine: lease } } },
    states: {
      Free: { resting: true, about: nobody has it,
        on: { claim: { target: Preparing, do: { link: { lease: { name: $args.by } } } } } },
      Preparing: { about: it is made ready, timeout: { after: 1m, target: Held } },
      Held: { resting: true, about: somebody has it, entry: { raise: { event: ready, to: lease, args: { thing: $instance.name } } },
        on: { release: { target: Free, do: { unlink: lease } } } } } }";

fn simulate(texts: &[&str], profile: &str, instances: u32) -> Result<SimulationReport, SimulationError> {
    let definitions: Vec<Definition> = texts.iter().map(|text| definition(text)).collect();
    let definitions: Vec<&Definition> = definitions.iter().collect();
    let profile = Profile::read(profile, &definitions, &Actions).unwrap();
    let size = SimulationSize { instances, days: 1, seed: 7, sample_interval_s: Some(60) };
    let simulation = Simulation::new(&definitions, &profile, size)?;
    let mut all = simulation.run(0)?;
    for shard in 1..simulation.shards() {
        all.merge(&simulation.run(shard)?);
    }
    Ok(simulation.report(&all))
}

fn present(report: &MachineReport, state: &str, at_s: usize) -> u32 {
    let column = report.series.states.iter().position(|name| name.as_str() == state);
    column.map_or(0, |column| report.series.instances[at_s / 60][column])
}

fn entries(report: &MachineReport, state: &str) -> u64 {
    report.states.iter().find(|share| share.state.as_str() == state).map_or(0, |share| share.entries)
}

/// Raised events with their counts and the counts of refusals.
fn raised(report: &SimulationReport) -> Vec<(String, u64, u64)> {
    let raised = report.raised.iter();
    raised
        .map(|event| (format!("{}:{}>{}", event.machine, event.event, event.to), event.times, event.refused))
        .collect()
}

#[test]
fn without_a_profile_each_instance_has_its_own_linked_one() {
    let report = simulate(&[LEASE, THING], "operators: []\nclasses: {}", 10).unwrap();
    let thing = &report.linked[0];
    assert_eq!((report.first.instances, thing.instances, thing.machine.as_str()), (10, 10, "thing"));
    let ten_of = |event: &str| (event.to_owned(), 10, 0);
    assert_eq!(
        raised(&report),
        [ten_of("lease:claim>thing"), ten_of("lease:release>thing"), ten_of("thing:ready>lease")]
    );
    // At the same time: a thing is ready after a minute, and free again with the end of its lease an hour later.
    assert_eq!((present(&report.first, "Asking", 0), present(thing, "Preparing", 0)), (10, 10));
    assert_eq!((present(&report.first, "Leased", 60), present(thing, "Held", 60)), (10, 10));
    assert_eq!((present(&report.first, "Ended", 3660), present(thing, "Free", 3660)), (10, 10));
    // Held is the available state: it lasted an hour.
    assert!((thing.availability.share - 3600.0 / 86_400.0).abs() < 1e-9);
    let time = &thing.times_to_available[1];
    assert_eq!(
        (time.after.as_deref(), time.times, time.p99_s.to_string()),
        (Some("claim"), 10, "60".to_owned())
    );
}

#[test]
fn links_lead_back_unless_they_are_set_later() {
    // A lease needs its link as it is created; a thing sets its own as it is claimed.
    let report = simulate(&[THING, LEASE], "operators: []\nclasses: {}", 10).unwrap();
    assert_eq!((report.first.machine.as_str(), entries(&report.first, "Held")), ("thing", 10));
    // A job raises at its workflow, which raises at its job, and neither sets a link.
    let workflow = "{ machine: workflow, initial: New, links: { job: job },
        events: { done: { from: { machine: job } } },
        states: { New: { about: new, timeout: { after: 1m, target: Waiting } },
          Waiting: { about: w, entry: { raise: { event: start, to: job } }, timeout: { after: 1h, target: Waiting },
            on: { done: Done } },
          Done: { final: true, about: done } } }";
    let job = "{ machine: job, initial: New, links: { workflow: workflow },
        events: { start: { from: { machine: workflow } } },
        states: { New: { resting: true, about: new, on: { start: Over } },
          Over: { final: true, about: over, entry: { raise: { event: done, to: workflow } } } } }";
    let report = simulate(&[workflow, job], "operators: []\nclasses: {}", 10).unwrap();
    assert_eq!((entries(&report.first, "Done"), entries(&report.linked[0], "Over")), (10, 10));
    // A listener raises at the speaker that greets it, and none does.
    let speaker = "{ machine: speaker, initial: New, links: { listener: listener },
        events: { heard: { from: { machine: listener } } },
        states: { New: { resting: true, about: new, on: { heard: New } } } }";
    let listener = "{ machine: listener, initial: New, links: { speaker: speaker },
        events: { hello: { from: { machine: speaker }, args: [by] } },
        states: { New: { about: new, timeout: { after: 1m, target: Listening } },
          Listening: { resting: true, about: l, entry: { raise: { event: heard, to: speaker } },
            on: { hello: { target: Listening, do: { link: { speaker: { name: $args.by } } } } } } } }";
    let report = simulate(&[speaker, listener], "operators: []\nclasses: {}", 10).unwrap();
    assert_eq!((raised(&report), entries(&report.linked[0], "Listening")), (Vec::new(), 10));
}

#[test]
fn of_instances_that_share_one_the_first_claims_it_and_the_others_are_refused() {
    let shared = "operators: []\nclasses: {}\nlinks: { thing: { shared_by: 4 } }";
    let report = simulate(&[LEASE, THING], shared, 10).unwrap();
    let thing = &report.linked[0];
    assert_eq!(thing.instances, 3);
    assert_eq!((entries(&report.first, "Leased"), entries(&report.first, "Refused")), (3, 7));
    assert_eq!(raised(&report)[0], ("lease:claim>thing".to_owned(), 10, 7));
    assert_eq!(report.first.states.iter().map(|state| state.at_end).sum::<u32>(), 10);
    assert_eq!(thing.states.iter().map(|state| state.at_end).sum::<u32>(), 3);
}

#[test]
fn a_profile_says_how_the_other_machines_behave() {
    let profile = "operators: []
classes: {}
links: { thing: none }
machines:
  thing: { available: [Held], classes: { dead: { share: 100% } } }";
    let report = simulate(&[LEASE, THING], profile, 10).unwrap();
    assert_eq!(report.linked[0].availability.states[0].as_str(), "Held");
    assert_eq!((raised(&report), present(&report.first, "Asking", 86_400)), (Vec::new(), 10));
}

#[test]
fn events_raised_at_a_missing_machine_are_reported() {
    let report = simulate(&[LEASE], "operators: []", 10).unwrap();
    let [unsimulated] = &report.unsimulated[..] else { panic!("{:?}", report.unsimulated) };
    assert_eq!((unsimulated.machine.as_str(), unsimulated.to.as_str()), ("lease", "thing"));
    assert_eq!(unsimulated.events.iter().map(EventName::as_str).collect::<Vec<_>>(), ["claim", "release"]);
    assert_eq!(simulate(&[LEASE, THING], "operators: []", 1).unwrap().unsimulated, []);
}

#[test]
fn incompatible_definitions_are_refused() {
    let refused = |texts: &[&str]| simulate(texts, "", 1).unwrap_err().to_string();
    assert!(refused(&[LEASE, THING, THING]).contains("two definitions of machine thing"));
    let alone = "{ machine: alone, initial: A, states: { A: { resting: true, about: a rest } } }";
    assert!(refused(&[LEASE, THING, alone]).contains("leads to alone: leave it out"));
    let deaf = THING.replace("release: { from: { machine: lease } }", "release: { from: operator }");
    assert!(refused(&[LEASE, &deaf]).contains("lease raises `release` at thing, which does not declare it"));
}

#[test]
fn unknown_links_and_machines_in_a_profile_are_faults() {
    let definitions = [definition(LEASE), definition(THING)];
    let definitions: Vec<&Definition> = definitions.iter().collect();
    let text =
        "links: { thin: none, thing: 4 }\nmachines:\n  lease: {}\n  thin: {}\nresources: { imaging: {} }";
    let faults = Profile::read(text, &definitions, &Actions).unwrap_err();
    let faults: Vec<String> =
        faults.iter().map(|fault| format!("{}:{}: {}", fault.line, fault.column, fault.message)).collect();
    let expected = [
        ("1:10", "did you mean `thing`?"),
        ("1:29", "expected `none` or `{ shared_by: N }`"),
        ("3:3", "this is the first machine"),
        ("4:3", "did you mean `thing`?"),
        ("5:14", "unknown resource"),
    ];
    for (position, correction) in expected {
        let found = faults
            .iter()
            .any(|fault| fault.starts_with(&format!("{position}: ")) && fault.contains(correction));
        assert!(found, "{position}: {correction}\n{}", faults.join("\n"));
    }
    assert_eq!(faults.len(), expected.len(), "{}", faults.join("\n"));
}
