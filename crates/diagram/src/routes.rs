//! Which channels the lines run in, and on which track of each.
//!
//! A line leaves its state at the side, runs up or down in the channel there, along above the row of its target if that
//! is in another column, and up or down again in the channel of its target. All lines to one target share its track, and
//! no others do where they could meet, so that lines that join lead to the same place, and lines that cross do not.

use std::collections::BTreeMap;

use super::graph::Graph;
use super::grid::Grid;
use super::lanes::{Lanes, Role};

/// A side of a column's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bank {
    /// Left of them: what leads to them.
    Left,
    /// Between them and the failed states beside them: what leads to those.
    Middle,
}

/// Where lines run up and down: a bank of a column.
pub(super) type Channel = (usize, Bank);

/// A line's way through the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) exit: Channel,
    pub(super) entry: Channel,
    source_row: usize,
    pub(super) target_row: usize,
}

/// All lines' ways, and the tracks that they take.
#[derive(Debug)]
pub(super) struct Routes {
    /// The routes of those ways that have one, by the way's index.
    pub(super) by_way: BTreeMap<usize, Route>,
    /// The track up and down for each target in each channel; 0 is the nearest to the states, or to what has failed.
    pub(super) vertical: BTreeMap<(Channel, usize), usize>,
    /// How many tracks a channel has, where it has any.
    pub(super) width: BTreeMap<Channel, usize>,
    /// The track along for each target, above its row.
    pub(super) horizontal: BTreeMap<usize, usize>,
    /// How many tracks there are above each row.
    pub(super) height: Vec<usize>,
}

/// From where to where a line runs in a channel: twice the row for the space above it, one more for the row itself.
type Stretch = (usize, usize);

impl Routes {
    pub(super) fn new(graph: &Graph<'_>, lanes: &Lanes, grid: &Grid) -> Self {
        let below = lanes.below();
        let mut by_way = BTreeMap::new();
        let mut stretches: BTreeMap<(Channel, usize), Stretch> = BTreeMap::new();
        let mut horizontal = BTreeMap::new();
        let mut height = vec![0; grid.rows];
        for (index, way) in graph.ways.iter().enumerate() {
            if !lanes.is_drawn(way) || below.get(&way.from) == Some(&way.to) {
                continue;
            }
            let cells = (grid.cell(lanes, way.from), grid.cell(lanes, way.to));
            let (Some(source), Some(target)) = cells else { continue };
            let route = route(source, target, lanes.roles[way.to]);
            for (channel, stretch) in route.stretches() {
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

fn route(source: (usize, usize), target: (usize, usize), role: Role) -> Route {
    let bank = if matches!(role, Role::Side(_)) { Bank::Middle } else { Bank::Left };
    let entry = (target.0, bank);
    let exit = match source.0.cmp(&target.0) {
        std::cmp::Ordering::Equal => entry,
        std::cmp::Ordering::Less => (source.0, Bank::Middle),
        std::cmp::Ordering::Greater => (source.0, Bank::Left),
    };
    Route { exit, entry, source_row: source.1, target_row: target.1 }
}

impl Route {
    fn stretches(self) -> Vec<(Channel, Stretch)> {
        let (from, above, to) = (2 * self.source_row + 1, 2 * self.target_row, 2 * self.target_row + 1);
        if self.exit == self.entry {
            return vec![(self.exit, (from.min(to), from.max(to)))];
        }
        vec![(self.exit, (from.min(above), from.max(above))), (self.entry, (above, to))]
    }
}

/// Gives each stretch a track, the short ones those that are nearest to the states.
fn tracks(
    stretches: BTreeMap<(Channel, usize), Stretch>,
) -> (BTreeMap<(Channel, usize), usize>, BTreeMap<Channel, usize>) {
    let mut stretches: Vec<_> = stretches.into_iter().collect();
    stretches.sort_by_key(|((channel, target), (from, to))| (*channel, to - from, *from, *target));
    let mut vertical = BTreeMap::new();
    let mut width: BTreeMap<Channel, usize> = BTreeMap::new();
    let mut taken: BTreeMap<(Channel, usize), Vec<Stretch>> = BTreeMap::new();
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
