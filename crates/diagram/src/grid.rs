//! Positions of the lanes: a grid of columns and rows with one state of a lane per cell.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::DiagramGraph;
use super::lanes::{LaneRole, Lanes};

/// Column and row of each state of a lane; failed states beside it share its cell.
#[derive(Debug)]
pub(super) struct LaneGrid {
    pub(super) columns: usize,
    pub(super) rows: usize,
    cells: BTreeMap<usize, (usize, usize)>,
}

impl LaneGrid {
    /// Places the lanes in `columns` columns, each near its source and as high as possible.
    pub(super) fn new(graph: &DiagramGraph<'_>, lanes: &Lanes, columns: usize) -> Self {
        let mut grid = Self { columns, rows: 0, cells: BTreeMap::new() };
        let mut taken = BTreeSet::new();
        for lane in &lanes.all {
            let (row, near) = grid.preferred_cell(graph, lanes, lane);
            let candidate = |column: usize| {
                let is_free = |start: &usize| (0..lane.len()).all(|i| !taken.contains(&(column, start + i)));
                // All rows below the last one are free.
                let start = (row..=row.max(grid.rows)).find(is_free).unwrap_or(row.max(grid.rows));
                (start, near.map_or(0, |near| column.abs_diff(near)), column)
            };
            let (start, _, column) = (0..columns).map(candidate).min().unwrap_or((row, 0, 0));
            for (index, &node) in lane.iter().enumerate() {
                taken.insert((column, start + index));
                grid.cells.insert(node, (column, start + index));
            }
            grid.rows = grid.rows.max(start + lane.len());
        }
        grid
    }

    /// The row below the last source of `lane`, and its column; the first row for lanes without a source.
    fn preferred_cell(
        &self,
        graph: &DiagramGraph<'_>,
        lanes: &Lanes,
        lane: &[usize],
    ) -> (usize, Option<usize>) {
        let forward = graph.edges.iter().enumerate().filter(|(index, _)| !lanes.is_back[*index]);
        let sources = forward.filter(|(_, edge)| lane.first() == Some(&edge.to));
        let sources = sources.filter_map(|(_, edge)| self.cells.get(&edge.from));
        let last = sources.max_by_key(|(_, row)| *row);
        last.map_or((0, None), |(column, row)| (row + 1, Some(*column)))
    }

    /// The cell of `node`, or of the state that it is beside.
    pub(super) fn cell(&self, lanes: &Lanes, node: usize) -> Option<(usize, usize)> {
        match lanes.roles[node] {
            LaneRole::Top => None,
            LaneRole::Lane => self.cells.get(&node).copied(),
            LaneRole::Side(owner) => self.cells.get(&owner).copied(),
        }
    }
}
