//! Routing of lines: their channels, and their tracks in each.
//!
//! A line leaves its state at the side, runs vertically in the channel there, horizontally above the row of its target if
//! that is in another column, and vertically in the channel of its target. Lines to one target share a track, and other
//! lines do not where they could meet: lines that join have the same target, lines that cross do not.

use std::collections::BTreeMap;

use super::graph::DiagramGraph;
use super::grid::LaneGrid;
use super::lanes::{LaneRole, Lanes};

/// A side of a column's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChannelSide {
    /// Left of the states: lines to them.
    Left,
    /// Between the states and the failed states beside them: lines to those.
    Middle,
}

/// A channel for vertical lines: a side of a column.
pub(super) type LineChannel = (usize, ChannelSide);

/// The route of a line through the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineRoute {
    pub(super) exit: LineChannel,
    pub(super) entry: LineChannel,
    source_row: usize,
    pub(super) target_row: usize,
}

/// The routes of all lines with their tracks.
#[derive(Debug)]
pub(super) struct LineRoutes {
    /// Routes by edge index, for edges that have one.
    pub(super) by_edge: BTreeMap<usize, LineRoute>,
    /// The vertical track of each target in each channel; 0 is nearest to the states.
    pub(super) vertical: BTreeMap<(LineChannel, usize), usize>,
    /// Number of tracks of each channel.
    pub(super) width: BTreeMap<LineChannel, usize>,
    /// The horizontal track of each target, above its row.
    pub(super) horizontal: BTreeMap<usize, usize>,
    /// Number of horizontal tracks above each row.
    pub(super) height: Vec<usize>,
}

/// Start and end of a line in a channel: twice the row for the space above it, plus one for the row itself.
type ChannelSegment = (usize, usize);

impl LineRoutes {
    pub(super) fn new(graph: &DiagramGraph<'_>, lanes: &Lanes, grid: &LaneGrid) -> Self {
        let below = lanes.below();
        let mut by_edge = BTreeMap::new();
        let mut segments: BTreeMap<(LineChannel, usize), ChannelSegment> = BTreeMap::new();
        let mut horizontal = BTreeMap::new();
        let mut height = vec![0; grid.rows];
        for (index, edge) in graph.edges.iter().enumerate() {
            if !lanes.is_drawn(edge) || below.get(&edge.from) == Some(&edge.to) {
                continue;
            }
            let cells = (grid.cell(lanes, edge.from), grid.cell(lanes, edge.to));
            let (Some(source), Some(target)) = cells else { continue };
            let route = route(source, target, lanes.roles[edge.to]);
            for (channel, segment) in route.channel_segments() {
                let known = segments.entry((channel, edge.to)).or_insert(segment);
                *known = (known.0.min(segment.0), known.1.max(segment.1));
            }
            if route.exit != route.entry {
                horizontal.entry(edge.to).or_insert_with(|| {
                    height[route.target_row] += 1;
                    height[route.target_row] - 1
                });
            }
            by_edge.insert(index, route);
        }
        let (vertical, width) = tracks(segments);
        Self { by_edge, vertical, width, horizontal, height }
    }
}

fn route(source: (usize, usize), target: (usize, usize), role: LaneRole) -> LineRoute {
    let side = if matches!(role, LaneRole::Side(_)) { ChannelSide::Middle } else { ChannelSide::Left };
    let entry = (target.0, side);
    let exit = match source.0.cmp(&target.0) {
        std::cmp::Ordering::Equal => entry,
        std::cmp::Ordering::Less => (source.0, ChannelSide::Middle),
        std::cmp::Ordering::Greater => (source.0, ChannelSide::Left),
    };
    LineRoute { exit, entry, source_row: source.1, target_row: target.1 }
}

impl LineRoute {
    fn channel_segments(self) -> Vec<(LineChannel, ChannelSegment)> {
        let (from, above, to) = (2 * self.source_row + 1, 2 * self.target_row, 2 * self.target_row + 1);
        if self.exit == self.entry {
            return vec![(self.exit, (from.min(to), from.max(to)))];
        }
        vec![(self.exit, (from.min(above), from.max(above))), (self.entry, (above, to))]
    }
}

/// Assigns tracks to segments, the nearest ones to short segments.
fn tracks(
    segments: BTreeMap<(LineChannel, usize), ChannelSegment>,
) -> (BTreeMap<(LineChannel, usize), usize>, BTreeMap<LineChannel, usize>) {
    let mut segments: Vec<_> = segments.into_iter().collect();
    segments.sort_by_key(|((channel, target), (from, to))| (*channel, to - from, *from, *target));
    let mut vertical = BTreeMap::new();
    let mut width: BTreeMap<LineChannel, usize> = BTreeMap::new();
    let mut taken: BTreeMap<(LineChannel, usize), Vec<ChannelSegment>> = BTreeMap::new();
    for ((channel, target), (from, to)) in segments {
        let tracks = width.entry(channel).or_insert(0);
        let is_free = |track: &usize| {
            let others = taken.get(&(channel, *track)).map_or(&[][..], Vec::as_slice);
            others.iter().all(|(begin, end)| *end < from || to < *begin)
        };
        let track = (0..*tracks).find(is_free).unwrap_or(*tracks);
        *tracks = (*tracks).max(track + 1);
        taken.entry((channel, track)).or_default().push((from, to));
        vertical.insert((channel, target), track);
    }
    (vertical, width)
}
