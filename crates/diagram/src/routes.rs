//! Which channels the lines run in, and on which track of each.
//!
//! A line leaves its state at the side, runs up or down in the channel there, along above the row of its target if that
//! is in another column, and up or down again in the channel of its target. All lines to one target share its track, and
//! no others do where they could meet, so that lines that join lead to the same place, and lines that cross do not.

use std::collections::BTreeMap;

use super::graph::DiagramGraph;
use super::grid::LaneGrid;
use super::lanes::{LaneRole, Lanes};

/// A side of a column's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChannelSide {
    /// Left of them: what leads to them.
    Left,
    /// Between them and the failed states beside them: what leads to those.
    Middle,
}

/// Where lines run up and down: a bank of a column.
pub(super) type LineChannel = (usize, ChannelSide);

/// A line's way through the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineRoute {
    pub(super) exit: LineChannel,
    pub(super) entry: LineChannel,
    source_row: usize,
    pub(super) target_row: usize,
}

/// All lines' ways, and the tracks that they take.
#[derive(Debug)]
pub(super) struct LineRoutes {
    /// The routes of those ways that have one, by the way's index.
    pub(super) by_way: BTreeMap<usize, LineRoute>,
    /// The track up and down for each target in each channel; 0 is the nearest to the states, or to what has failed.
    pub(super) vertical: BTreeMap<(LineChannel, usize), usize>,
    /// How many tracks a channel has, where it has any.
    pub(super) width: BTreeMap<LineChannel, usize>,
    /// The track along for each target, above its row.
    pub(super) horizontal: BTreeMap<usize, usize>,
    /// How many tracks there are above each row.
    pub(super) height: Vec<usize>,
}

/// From where to where a line runs in a channel: twice the row for the space above it, one more for the row itself.
type ChannelSegment = (usize, usize);

impl LineRoutes {
    pub(super) fn new(graph: &DiagramGraph<'_>, lanes: &Lanes, grid: &LaneGrid) -> Self {
        let below = lanes.below();
        let mut by_way = BTreeMap::new();
        let mut stretches: BTreeMap<(LineChannel, usize), ChannelSegment> = BTreeMap::new();
        let mut horizontal = BTreeMap::new();
        let mut height = vec![0; grid.rows];
        for (index, way) in graph.edges.iter().enumerate() {
            if !lanes.is_drawn(way) || below.get(&way.from) == Some(&way.to) {
                continue;
            }
            let cells = (grid.cell(lanes, way.from), grid.cell(lanes, way.to));
            let (Some(source), Some(target)) = cells else { continue };
            let route = route(source, target, lanes.roles[way.to]);
            for (channel, stretch) in route.channel_segments() {
                let known = stretches.entry((channel, way.to)).or_insert(stretch);
                *known = (known.0.min(stretch.0), known.1.max(stretch.1));
            }
            if route.exit != route.entry {
                horizontal.entry(way.to).or_insert_with(|| {
                    height[route.target_row] += 1;
                    height[route.target_row] - 1
                });
            }
            by_way.insert(index, route);
        }
        let (vertical, width) = tracks(stretches);
        Self { by_way, vertical, width, horizontal, height }
    }
}

fn route(source: (usize, usize), target: (usize, usize), role: LaneRole) -> LineRoute {
    let bank = if matches!(role, LaneRole::Side(_)) { ChannelSide::Middle } else { ChannelSide::Left };
    let entry = (target.0, bank);
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

/// Gives each stretch a track, the short ones those that are nearest to the states.
fn tracks(
    stretches: BTreeMap<(LineChannel, usize), ChannelSegment>,
) -> (BTreeMap<(LineChannel, usize), usize>, BTreeMap<LineChannel, usize>) {
    let mut stretches: Vec<_> = stretches.into_iter().collect();
    stretches.sort_by_key(|((channel, target), (from, to))| (*channel, to - from, *from, *target));
    let mut vertical = BTreeMap::new();
    let mut width: BTreeMap<LineChannel, usize> = BTreeMap::new();
    let mut taken: BTreeMap<(LineChannel, usize), Vec<ChannelSegment>> = BTreeMap::new();
    for ((channel, target), (from, to)) in stretches {
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
