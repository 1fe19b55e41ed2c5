//! What came of a simulation, for people.

use std::time::Duration;

use super::super::super::output::table;
use crate::simulate::{
    FailedStateReport, MachineReport, RaisedEventReport, SimulationReport, StateSeries, StateShare,
    TimeToAvailable, UnsimulatedRaises,
};

/// How many times the table of states over time shows.
const MAX_TIME_COLUMNS: usize = 9;

/// All of it, a section each.
pub(super) fn write(report: &SimulationReport) -> String {
    let mut sections = vec![head(report)];
    sections.extend(machine(&report.first));
    sections.extend(power(report));
    sections.extend(resources(report));
    sections.extend(raised(report));
    for linked in &report.linked {
        sections.push(format!(
            "LINKED MACHINE {}\n{}",
            linked.machine,
            with_count(linked.instances, "instance")
        ));
        sections.extend(machine(linked));
    }
    sections.extend(left_out(report));
    sections.join("\n\n")
}

fn head(report: &SimulationReport) -> String {
    let SimulationReport { first, relay_boards, circuits, troubles, .. } = report;
    let parts = [(relay_boards, "relay board"), (circuits, "circuit")];
    let parts = parts.into_iter().filter_map(|(count, thing)| Some(with_count((*count)?, thing)));
    let parts = parts.collect::<Vec<_>>().join(" and ");
    format!(
        "SIMULATION\n{} of machine {}{}{parts}, {}, seed {}\n{}; {} got broken, {} repaired; {}",
        with_count(first.instances, "instance"),
        first.machine,
        if parts.is_empty() { "" } else { " on " },
        with_count(u64::from(report.days), "day"),
        report.seed,
        with_count(report.decisions, "decision"),
        troubles.broken,
        troubles.mended,
        with_count(troubles.outages, "outage")
    )
}

/// What came of one machine's instances.
fn machine(report: &MachineReport) -> Vec<String> {
    let sections = [availability(report), states(report), ready(report)];
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
    let StateSeries { every_s, states, instances } = &report.series;
    let last = instances.len().saturating_sub(1);
    let mut shown: Vec<usize> = (0..=MAX_TIME_COLUMNS).map(|part| part * last / MAX_TIME_COLUMNS).collect();
    shown.dedup();
    let mut head = vec!["STATE".to_owned(), "SHARE".to_owned(), "ENTERED".to_owned()];
    head.extend(shown.iter().map(|sample| when(*sample as u64 * every_s)));
    let mut rows = vec![head];
    for StateShare { state, share, entries, .. } in &report.states {
        let column = states.iter().position(|seen| seen == state);
        let mut row = vec![state.to_string(), percent(*share), entries.to_string()];
        row.extend(shown.iter().map(|sample| {
            let present = column.and_then(|column| instances.get(*sample)?.get(column)).copied().unwrap_or(0);
            if present == 0 { ".".to_owned() } else { present.to_string() }
        }));
        rows.push(row);
    }
    format!("INSTANCES IN EACH STATE OVER TIME\n{}", table(&rows))
}

fn ready(report: &MachineReport) -> String {
    let head = ["TIME TO AVAILABLE AFTER", "TIMES", "P50", "P95", "P99"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for TimeToAvailable { after, times, p50_s, p95_s, p99_s } in &report.ready {
        let after = after.clone().unwrap_or_else(|| "anything".to_owned());
        let spans = [p50_s, p95_s, p99_s];
        // What never happened took no time at all, neither long nor short.
        let spans = spans.map(|seconds| if *times == 0 { ".".to_owned() } else { span(*seconds) });
        rows.push([after, times.to_string()].into_iter().chain(spans).collect());
    }
    table(&rows)
}

fn power(report: &SimulationReport) -> Option<String> {
    let (power, queues) = (report.power.as_ref()?, report.queues.as_ref()?);
    let queue = if queues.longest == 0 {
        "nobody ever waited for a relay board".to_owned()
    } else {
        format!(
            "longest queue: {} waited at relay board {}, {} after the beginning; waits: p50 {}, p99 {}, longest {}",
            queues.longest,
            queues.relay_board,
            span(queues.at_s),
            span(queues.p50_s),
            span(queues.p99_s),
            span(queues.most_s)
        )
    };
    Some(format!(
        "POWER\n{}, {} of them failed: {:.1} a day, {:.2} for each relay board, {:.2} for the busiest\n\
         relay boards were held {} of the time, the longest held one {}\n{queue}",
        with_count(power.operations, "operation"),
        power.failed,
        power.a_day,
        power.a_relay_board_and_day,
        power.busiest_a_day,
        percent(power.held),
        percent(power.longest_held)
    ))
}

/// What states hold, how much of it was in use, and how long it was waited for.
fn resources(report: &SimulationReport) -> Option<String> {
    let head =
        ["RESOURCE", "UNITS", "MEAN IN USE", "MOST", "TURNS", "LONGEST QUEUE", "P50", "P99", "LONGEST WAIT"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for used in &report.resources {
        let queue = match used.longest_queue {
            0 => "none".to_owned(),
            queue => format!("{queue} after {}", span(used.at_s)),
        };
        let mut row = vec![
            used.resource.to_string(),
            used.capacity.map_or_else(|| "no limit".to_owned(), |units| units.to_string()),
            format!("{:.2}", used.mean),
            used.most.to_string(),
        ];
        if used.turns == 0 {
            row.extend(std::iter::repeat_n(".".to_owned(), 5));
        } else {
            row.extend([
                used.turns.to_string(),
                queue,
                span(used.p50_s),
                span(used.p99_s),
                span(used.most_s),
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

fn left_out(report: &SimulationReport) -> Option<String> {
    let lines: Vec<String> = report.unsimulated.iter().map(unsimulated).collect();
    (!lines.is_empty()).then(|| format!("LEFT OUT\n{}", lines.join("\n")))
}

/// That something is not simulated, and what would change that.
pub(super) fn unsimulated(one: &UnsimulatedRaises) -> String {
    let UnsimulatedRaises { machine, link, to, events } = one;
    let events: Vec<String> = events.iter().map(|event| format!("`{event}`")).collect();
    format!(
        "what {machine} raises at {to} by its link `{link}` is not simulated ({}): give the definition of {to} as well",
        events.join(", ")
    )
}

fn failed(report: &MachineReport) -> Option<String> {
    if report.failed.is_empty() {
        return None;
    }
    let head = ["FAILED IN", "TIMES", "AT THE END", "AFTER (P50)", "AT MOST"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for FailedStateReport { state, entries, at_end, p50_s, most_s } in &report.failed {
        rows.push(vec![
            state.to_string(),
            entries.to_string(),
            at_end.to_string(),
            span(*p50_s),
            span(*most_s),
        ]);
    }
    Some(table(&rows))
}

fn ignored(report: &MachineReport) -> Option<String> {
    if report.ignored.is_empty() {
        return None;
    }
    let mut rows = vec![vec!["CHANGED NOTHING".to_owned(), "TIMES".to_owned()]];
    rows.extend(report.ignored.iter().map(|one| vec![one.event.to_string(), one.times.to_string()]));
    Some(table(&rows))
}

/// So many of a thing.
fn with_count(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A share as people read it, with more digits where less is missing.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.01 => "<0.01%".to_owned(),
        percent => format!("{percent:.2}%"),
    }
}

/// A span of which people want to know about three digits: `4.20 s`, `48.9 s`, `1h 35m 34s`, `8d 13h 48m`.
fn span(seconds: f64) -> String {
    if seconds < 9.995 {
        return format!("{seconds:.2} s");
    }
    if seconds < 99.95 {
        return format!("{seconds:.1} s");
    }
    let whole = Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX).as_secs();
    let parts = [(whole / 86_400, "d"), (whole / 3600 % 24, "h"), (whole / 60 % 60, "m"), (whole % 60, "s")];
    let shown = parts.iter().skip_while(|(count, _)| *count == 0).take(3);
    shown.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

/// A time after the beginning: days and hours.
pub(super) fn when(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    match (days, rest / 3600, rest % 3600 / 60) {
        (0, 0, 0) => "0".to_owned(),
        (days, 0, 0) => format!("{days}d"),
        (0, hours, 0) => format!("{hours}h"),
        (days, hours, 0) => format!("{days}d{hours}h"),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days, hours, minutes) => format!("{days}d{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times_are_as_long_as_people_want_to_know() {
        let spans = [0.0, 4.2, 48.94, 99.96, 250.0, 5734.0, 100_000.0, 742_080.4].map(span);
        let expected =
            ["0.00 s", "4.20 s", "48.9 s", "1m 40s", "4m 10s", "1h 35m 34s", "1d 3h 46m", "8d 14h 8m"];
        assert_eq!(spans, expected);
        let times = [0, 3600, 86_400, 90_000, 5400, 91_800].map(when);
        assert_eq!(times, ["0", "1h", "1d", "1d1h", "1h30m", "1d1h30m"]);
    }

    #[test]
    fn what_is_there_is_not_said_to_be_nothing() {
        assert_eq!(
            [0.0, 0.000_05, 0.000_2, 0.5, 1.0].map(percent),
            ["0.00%", "<0.01%", "0.02%", "50.00%", "100.00%"]
        );
    }
}
