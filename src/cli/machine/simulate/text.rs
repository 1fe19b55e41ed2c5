//! The report of a simulation as text.

use std::time::Duration;

use super::super::super::output::table;
use crate::formatting::{count, duration, measured};
use crate::simulate::{
    FailedStateReport, MachineReport, RaisedEventReport, SimulationReport, StateSeries, StateShare,
    TimeToAvailable, UnsimulatedRaises,
};

/// How many times the table of states over time shows.
const MAX_TIME_COLUMNS: usize = 9;

/// Writes all sections.
pub(super) fn write(report: &SimulationReport) -> String {
    let mut sections = vec![head(report)];
    sections.extend(machine(&report.first));
    sections.extend(power(report));
    sections.extend(resources(report));
    sections.extend(raised(report));
    for linked in &report.linked {
        sections.push(format!("LINKED MACHINE {}\n{}", linked.machine, count(linked.instances, "instance")));
        sections.extend(machine(linked));
    }
    sections.extend(not_simulated(report));
    sections.join("\n\n")
}

fn head(report: &SimulationReport) -> String {
    let SimulationReport { first, relay_boards, circuits, breakdowns, .. } = report;
    let parts = [(relay_boards, "relay board"), (circuits, "circuit")];
    let parts = parts.into_iter().filter_map(|(number, noun)| Some(count((*number)?, noun)));
    let parts = parts.collect::<Vec<_>>().join(" and ");
    format!(
        "SIMULATION\n{} of machine {}{}{parts}, {}, seed {}\n{}; {}, {}; {}",
        count(first.instances, "instance"),
        first.machine,
        if parts.is_empty() { "" } else { " on " },
        count(u64::from(report.days), "day"),
        report.seed,
        count(report.decisions, "decision"),
        count(breakdowns.broken, "breakdown"),
        count(breakdowns.repaired, "repair"),
        count(breakdowns.outages, "outage")
    )
}

/// The sections of one machine.
fn machine(report: &MachineReport) -> Vec<String> {
    let sections = [availability(report), states(report), times_to_available(report)];
    sections.into_iter().chain(failed(report)).chain(ignored(report)).collect()
}

fn availability(report: &MachineReport) -> String {
    let states: Vec<String> = report.availability.states.iter().map(ToString::to_string).collect();
    if states.is_empty() {
        return "AVAILABILITY\nno state counts as available: name them in a profile, `available: [Ready]`"
            .to_owned();
    }
    let (share, states) = (percent(report.availability.share), states.join(", "));
    format!("AVAILABILITY\n{share} of the instances' time in {states}")
}

fn states(report: &MachineReport) -> String {
    let StateSeries { sample_interval_s, states, instances } = &report.series;
    let last = instances.len().saturating_sub(1);
    let mut shown: Vec<usize> = (0..=MAX_TIME_COLUMNS).map(|part| part * last / MAX_TIME_COLUMNS).collect();
    shown.dedup();
    let mut head = vec!["STATE".to_owned(), "SHARE".to_owned(), "ENTERED".to_owned()];
    head.extend(shown.iter().map(|sample| when(*sample as u64 * sample_interval_s)));
    let mut rows = vec![head];
    for StateShare { state, share, entries, .. } in &report.states {
        let column = states.iter().position(|name| name == state);
        let mut row = vec![state.to_string(), percent(*share), entries.to_string()];
        row.extend(shown.iter().map(|sample| {
            let instances =
                column.and_then(|column| instances.get(*sample)?.get(column)).copied().unwrap_or(0);
            if instances == 0 { ".".to_owned() } else { instances.to_string() }
        }));
        rows.push(row);
    }
    format!("INSTANCES IN EACH STATE OVER TIME\n{}", table(&rows))
}

fn times_to_available(report: &MachineReport) -> String {
    let head = ["TIME TO AVAILABLE AFTER", "TIMES", "P50", "P95", "P99"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for TimeToAvailable { after, times, p50_s, p95_s, p99_s } in &report.times_to_available {
        let after = after.clone().unwrap_or_else(|| "anything".to_owned());
        let spans = [p50_s, p95_s, p99_s];
        // What never happened has no percentiles.
        let spans = spans.map(|seconds| if *times == 0 { ".".to_owned() } else { measured(*seconds) });
        rows.push([after, times.to_string()].into_iter().chain(spans).collect());
    }
    table(&rows)
}

fn power(report: &SimulationReport) -> Option<String> {
    let (power, queues) = (report.power.as_ref()?, report.queues.as_ref()?);
    let queue = if queues.longest == 0 {
        "no instance waited for a relay board".to_owned()
    } else {
        format!(
            "longest queue: {} at relay board {}, {} after the start; waits: p50 {}, p99 {}, longest {}",
            count(queues.longest, "instance"),
            queues.relay_board,
            measured(queues.at_s),
            measured(queues.p50_s),
            measured(queues.p99_s),
            measured(queues.max_s)
        )
    };
    Some(format!(
        "POWER\n{}, {} failed; per day {:.1}, per relay board {:.2}, busiest relay board {:.2}\n\
         relay boards held {} of the time, the most used one {}\n{queue}",
        count(power.operations, "operation"),
        power.failed,
        power.per_day,
        power.per_relay_board_and_day,
        power.busiest_per_day,
        percent(power.held_share),
        percent(power.max_held_share)
    ))
}

/// Resources that states hold: units in use, queues and waits.
fn resources(report: &SimulationReport) -> Option<String> {
    let head = [
        "RESOURCE",
        "UNITS",
        "MEAN IN USE",
        "MAX IN USE",
        "WAITS",
        "LONGEST QUEUE",
        "P50",
        "P99",
        "LONGEST WAIT",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for used in &report.resources {
        let queue = match used.longest_queue {
            0 => "none".to_owned(),
            queue => format!("{queue} after {}", measured(used.at_s)),
        };
        let mut row = vec![
            used.resource.to_string(),
            used.capacity.map_or_else(|| "no limit".to_owned(), |units| units.to_string()),
            format!("{:.2}", used.mean_in_use),
            used.max_in_use.to_string(),
        ];
        if used.waits == 0 {
            row.extend(std::iter::repeat_n(".".to_owned(), 5));
        } else {
            row.extend([
                used.waits.to_string(),
                queue,
                measured(used.p50_s),
                measured(used.p99_s),
                measured(used.max_s),
            ]);
        }
        rows.push(row);
    }
    (!report.resources.is_empty()).then(|| table(&rows))
}

fn raised(report: &SimulationReport) -> Option<String> {
    let mut rows = vec![["RAISED", "BY", "AT", "TIMES", "REFUSED"].map(str::to_owned).to_vec()];
    for RaisedEventReport { machine, event, to, times, refused } in &report.raised {
        let (machine, event, to) = (machine.to_string(), event.to_string(), to.to_string());
        rows.push(vec![event, machine, to, times.to_string(), refused.to_string()]);
    }
    (!report.raised.is_empty()).then(|| table(&rows))
}

fn not_simulated(report: &SimulationReport) -> Option<String> {
    let lines: Vec<String> = report.unsimulated.iter().map(unsimulated).collect();
    (!lines.is_empty()).then(|| format!("NOT SIMULATED\n{}", lines.join("\n")))
}

/// Says which raised events are not simulated, and how to simulate them.
pub(super) fn unsimulated(raises: &UnsimulatedRaises) -> String {
    let UnsimulatedRaises { machine, link, to, events } = raises;
    let events: Vec<String> = events.iter().map(|event| format!("`{event}`")).collect();
    format!(
        "events that {machine} raises at {to} by the link `{link}` are not simulated ({}): give the definition of {to} too",
        events.join(", ")
    )
}

fn failed(report: &MachineReport) -> Option<String> {
    if report.failed.is_empty() {
        return None;
    }
    let head = ["FAILED IN", "TIMES", "AT THE END", "AFTER (P50)", "AFTER (MAX)"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for FailedStateReport { state, entries, at_end, p50_s, max_s } in &report.failed {
        rows.push(vec![
            state.to_string(),
            entries.to_string(),
            at_end.to_string(),
            measured(*p50_s),
            measured(*max_s),
        ]);
    }
    Some(table(&rows))
}

fn ignored(report: &MachineReport) -> Option<String> {
    if report.ignored.is_empty() {
        return None;
    }
    let mut rows = vec![vec!["IGNORED EVENTS".to_owned(), "TIMES".to_owned()]];
    rows.extend(
        report.ignored.iter().map(|ignored| vec![ignored.event.to_string(), ignored.times.to_string()]),
    );
    Some(table(&rows))
}

/// A share as a percentage with two digits; small shares that are not zero are `<0.01%`.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.01 => "<0.01%".to_owned(),
        percent => format!("{percent:.2}%"),
    }
}

/// A time after the start of the simulation.
pub(super) fn when(seconds: u64) -> String {
    duration(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_share_is_not_shown_as_zero() {
        assert_eq!(
            [0.0, 0.000_05, 0.000_2, 0.5, 1.0].map(percent),
            ["0.00%", "<0.01%", "0.02%", "50.00%", "100.00%"]
        );
    }
}
