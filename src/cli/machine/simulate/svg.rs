//! The number of instances in each state over time, as SVG: all of them, and enlarged below, those in working or failed states.

use std::fmt::Write as _;

use super::text::{percent, when};
use crate::diagram::escape_xml;
use crate::formatting::count;
use crate::machine::StateKind;
use crate::simulate::{MachineReport, SimulationReport, StateSeries, StateShare};

/// Positions and sizes, in pixels.
const IMAGE_WIDTH: f64 = 1080.0;
const PLOT_LEFT: f64 = 64.0;
const PLOT_WIDTH: f64 = 700.0;
const LEGEND_LEFT: f64 = 790.0;
const LEGEND_LINE_HEIGHT: f64 = 18.0;
/// The top and the height of both parts.
const ALL_AREA: (f64, f64) = (84.0, 230.0);
const ENLARGED_AREA: (f64, f64) = (394.0, 230.0);

/// Colours of each kind of state, reused cyclically.
const AVAILABLE_COLOURS: [&str; 3] = ["#4caf7a", "#2e8b57", "#86cfa5"];
const RESTING_COLOURS: [&str; 4] = ["#a9b1bd", "#8a94a3", "#c3c9d1", "#6f7a8a"];
const WORKING_COLOURS: [&str; 12] = [
    "#4e79a7", "#f2b447", "#7c6bb0", "#5fb7c6", "#d98b3a", "#94b6e0", "#b08fd8", "#2f6f87", "#ecd27a",
    "#3d5a98", "#c7a252", "#8ed0d8",
];
const FAILED_COLOURS: [&str; 6] = ["#d64545", "#a32638", "#f08080", "#7b1e2b", "#e0667a", "#c0392b"];

/// Style sheet for light and dark colour schemes.
const IMAGE_STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}\
                     .note{fill:#57606a}.end{text-anchor:end}.mid{text-anchor:middle}.back{fill:#fff}\
                     .grid{stroke:#d0d7de;stroke-width:1}.area{stroke:none}\
                     @media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.back{fill:#0d1117}\
                     .grid{stroke:#30363d}}";

/// The area of one state.
struct StateLayer<'a> {
    share: &'a StateShare,
    colour: &'static str,
    /// Number of instances in it, sample by sample.
    instances: Vec<f64>,
}

/// Draws the machines one below the other.
pub(super) fn draw(report: &SimulationReport) -> String {
    let mut body = String::new();
    let mut height = 0.0;
    for machine in std::iter::once(&report.first).chain(&report.linked) {
        let _ = writeln!(body, "<g transform=\"translate(0 {height:.1})\">");
        height += draw_machine(&mut body, report, machine);
        body.push_str("</g>\n");
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {IMAGE_WIDTH} {height}\" width=\"{IMAGE_WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Instances in each state over time\">\n\
         <style>{IMAGE_STYLE}</style>\n<rect class=\"back\" width=\"{IMAGE_WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n"
    )
}

/// Draws one machine; returns its height.
fn draw_machine(svg: &mut String, report: &SimulationReport, machine: &MachineReport) -> f64 {
    let layers = layers(machine);
    let legend_end =
        ALL_AREA.0 + LEGEND_LINE_HEIGHT * f64::from(u32::try_from(layers.len()).unwrap_or(u32::MAX));
    let MachineReport { machine: name, instances, availability, series, .. } = machine;
    let title = format!(
        "{name}: {}, {}, seed {}",
        count(*instances, "instance"),
        count(report.days, "day"),
        report.seed
    );
    text(svg, 20.0, 30.0, "title", &title);
    let about = format!("{} of the instances' time available", percent(availability.share));
    text(svg, 20.0, 50.0, "note", &about);
    let time = TimeAxis { days: report.days, series };
    part(svg, &time, ALL_AREA, "instances in each state", &layers.iter().collect::<Vec<_>>());
    let is_busy =
        |layer: &&StateLayer<'_>| matches!(layer.share.kind, StateKind::Working | StateKind::Failed);
    let busy: Vec<&StateLayer<'_>> = layers.iter().filter(is_busy).collect();
    part(svg, &time, ENLARGED_AREA, "working or failed states only", &busy);
    legend(svg, &layers);
    (ENLARGED_AREA.0 + ENLARGED_AREA.1 + 40.0).max(legend_end + 20.0)
}

/// The time axis.
struct TimeAxis<'a> {
    days: u32,
    series: &'a StateSeries,
}

/// The states that had instances, from the bottom to the top.
fn layers(report: &MachineReport) -> Vec<StateLayer<'_>> {
    let mut shares: Vec<&StateShare> = report.states.iter().collect();
    shares.sort_by_key(|share| rank(share));
    let mut used = [0_usize; 4];
    let mut layers = Vec::new();
    let series = &report.series;
    for share in shares {
        let Some(column) = series.states.iter().position(|state| *state == share.state) else { continue };
        let rank = rank(share);
        let colours: &[&'static str] =
            [&AVAILABLE_COLOURS[..], &RESTING_COLOURS, &WORKING_COLOURS, &FAILED_COLOURS][rank];
        let colour = colours[used[rank] % colours.len()];
        used[rank] += 1;
        let in_state = |row: &Vec<u32>| row.get(column).copied().map_or(0.0, f64::from);
        layers.push(StateLayer { share, colour, instances: series.instances.iter().map(in_state).collect() });
    }
    layers
}

/// The order of the areas from the bottom: available, resting, working, failed.
fn rank(share: &StateShare) -> usize {
    match share.kind {
        _ if share.is_available => 0,
        StateKind::Resting | StateKind::Final => 1,
        StateKind::Working => 2,
        StateKind::Failed => 3,
    }
}

/// Draws one plot: axes and areas.
fn part(
    svg: &mut String,
    time: &TimeAxis<'_>,
    (top, height): (f64, f64),
    about: &str,
    layers: &[&StateLayer<'_>],
) {
    let samples = time.series.instances.len();
    let mut stack = vec![0.0; samples];
    for layer in layers {
        stack.iter_mut().zip(&layer.instances).for_each(|(sum, instances)| *sum += instances);
    }
    let max_instances = stack.iter().copied().fold(1.0, f64::max);
    let step = round_step(max_instances / 4.0);
    let scale = (max_instances / step).ceil() * step;
    let y = |instances: f64| top + height - height * instances / scale;
    text(svg, PLOT_LEFT, top - 10.0, "note", about);
    let mut mark = 0.0;
    while mark <= scale {
        grid(svg, (PLOT_LEFT, y(mark)), (PLOT_LEFT + PLOT_WIDTH, y(mark)));
        text(svg, PLOT_LEFT - 8.0, y(mark) + 4.0, "end note", &format!("{mark:.0}"));
        mark += step;
    }
    areas(svg, time, layers, &y);
    let end_s = u64::from(time.days) * 86_400;
    let steps = [10_800, 21_600, 86_400, 172_800, 432_000, 864_000, 2_592_000, 7_776_000, 15_552_000];
    let step_s = steps.into_iter().find(|step| end_s / step <= 10).unwrap_or(31_536_000);
    for at_s in (0..=end_s).step_by(usize::try_from(step_s).unwrap_or(usize::MAX)) {
        let x = PLOT_LEFT + PLOT_WIDTH * part_of(at_s, end_s);
        grid(svg, (x, top + height), (x, top + height + 5.0));
        text(svg, x, top + height + 19.0, "mid note", &when(at_s));
    }
}

/// Draws the stacked areas.
fn areas(svg: &mut String, time: &TimeAxis<'_>, layers: &[&StateLayer<'_>], y: &dyn Fn(f64) -> f64) {
    let end_s = u64::from(time.days) * 86_400;
    let x = |sample: usize| {
        PLOT_LEFT + PLOT_WIDTH * part_of(sample as u64 * time.series.sample_interval_s, end_s)
    };
    let mut below = vec![0.0; time.series.instances.len()];
    for layer in layers {
        let above: Vec<f64> =
            below.iter().zip(&layer.instances).map(|(below, instances)| below + instances).collect();
        let _ = write!(svg, "<path class=\"area\" fill=\"{}\" d=\"", layer.colour);
        let upper_edge = above.iter().enumerate();
        let lower_edge = below.iter().enumerate().rev();
        for (index, (sample, instances)) in upper_edge.chain(lower_edge).enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(svg, "{command}{:.1} {:.1}", x(sample), y(*instances));
        }
        let _ = writeln!(svg, "Z\"><title>{}</title></path>", layer.share.state);
        below = above;
    }
}

/// Draws the legend, in the order of the areas from the top.
fn legend(svg: &mut String, layers: &[StateLayer<'_>]) {
    let mut top = ALL_AREA.0;
    for layer in layers.iter().rev() {
        let _ = writeln!(
            svg,
            "<rect x=\"{LEGEND_LEFT}\" y=\"{top}\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{}\"/>",
            layer.colour
        );
        text(svg, LEGEND_LEFT + 18.0, top + 10.5, "", &shortened(layer.share.state.as_str()));
        text(svg, IMAGE_WIDTH - 14.0, top + 10.5, "end note", &percent(layer.share.share));
        top += LEGEND_LINE_HEIGHT;
    }
}

/// A name shortened to leave space for the share.
fn shortened(name: &str) -> String {
    const MAX_LEGEND_CHARS: usize = 27;
    if name.chars().count() <= MAX_LEGEND_CHARS {
        name.to_owned()
    } else {
        name.chars().take(MAX_LEGEND_CHARS - 1).chain(['…']).collect()
    }
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, content: &str) {
    let content = escape_xml(content);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{content}</text>");
}

fn grid(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ =
        writeln!(svg, "<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

/// The smallest of 1, 2, 5, 10, 20, 50, … that is at least `min_step`.
fn round_step(min_step: f64) -> f64 {
    let mut power = 1.0;
    loop {
        for digit in [1.0, 2.0, 5.0] {
            if digit * power >= min_step {
                return digit * power;
            }
        }
        power *= 10.0;
    }
}

fn part_of(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a position in the image has four digits")]
    let part = part as f64 / whole as f64;
    part
}
