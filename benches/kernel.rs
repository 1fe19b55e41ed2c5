//! How long the kernel takes to decide: `cargo bench --bench kernel`.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use lifeguard::clock::{Clock, SystemClock};
use lifeguard::machine::{self, Cause, Definition, EventName, EventSource, Instance, StateName, Stimulus};
use serde_json::{Map, Value, json};
use statistics::MeasurementSummary;

/// How many decisions are timed together, and how often; the cases take turns.
const DECISIONS: u32 = 100_000;
const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let definition = machine::load(include_str!("../states/board.yaml"), lifeguard::boards::vocabulary())?;
    let cases = [
        (
            "an event that moves",
            "RebootComplete",
            event("image-running", lifeguard::boards::BOARD_SOURCE, json!({}))?,
        ),
        (
            "an event that a guard looks at",
            "Ready",
            event("rq-reimage", EventSource::Operator, json!({ "image": "a" }))?,
        ),
        (
            "an event that changes nothing",
            "Ready",
            event("image-running", lifeguard::boards::BOARD_SOURCE, json!({}))?,
        ),
        ("a deadline", "RebootComplete", Cause::Deadline { visit: machine::Visit(1) }),
    ];
    let mut found = vec![Vec::new(); cases.len()];
    for _ in 0..REPEATS {
        for ((_, state, cause), found) in cases.iter().zip(&mut found) {
            found.push(nanoseconds(&definition, StateName::new(state)?, cause.clone()));
        }
    }
    let mut out = std::io::stdout().lock();
    for ((what, state, _), found) in cases.iter().zip(found) {
        let Some(MeasurementSummary { median, min, max }) = MeasurementSummary::of(&found) else { continue };
        writeln!(out, "decide: {what} in {state}: {median:.0} ns ({min:.0}–{max:.0})")?;
    }
    Ok(())
}

fn event(name: &str, source: EventSource, args: Value) -> Result<Cause, Box<dyn Error>> {
    let args: Map<String, Value> = serde_json::from_value(args)?;
    Ok(Cause::Event { name: EventName::new(name)?, source, args, visit: None })
}

/// The mean time of a decision.
fn nanoseconds(definition: &Definition, state: StateName, cause: Cause) -> f64 {
    let now = SystemClock.now();
    let created = machine::create(definition, "b1", Map::new(), now).instance;
    let instance = Instance { state, deadline_at: Some(now), ..created };
    let facts = Map::from_iter([("images".to_owned(), json!(["a", "b"]))]);
    let stimulus = Stimulus { facts, ..Stimulus::new(cause) };
    let began = Instant::now();
    for _ in 0..DECISIONS {
        black_box(machine::decide(black_box(definition), black_box(&instance), black_box(&stimulus), now));
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(DECISIONS)
}
