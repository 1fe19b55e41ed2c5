//! Where the lanes stand: a grid of columns and rows, a state of a lane to each cell.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::DiagramGraph;
use super::lanes::{LaneRole, Lanes};

/// The column and the row of each state of a lane; what fails beside it has no cell of its own.
#[derive(Debug)]
pub(super) struct LaneGrid {
    pub(super) columns: usize,
    pub(super) rows: usize,
    cells: BTreeMap<usize, (usize, usize)>,
}

impl LaneGrid {
    /// Places the lanes in `columns` columns, each near to what it is connected with and as high up as there is room.
    pub(super) fn new(graph: &DiagramGraph<'_>, lanes: &Lanes, columns: usize) -> Self {
        let mut grid = Self { columns, rows: 0, cells: BTreeMap::new() };
        let mut taken = BTreeSet::new();
        for lane in &lanes.all {
            let (row, near) = grid.preferred_cell(graph, lanes, lane);
            let place = |column: usize| {
                let is_free = |start: &usize| (0..lane.len()).all(|i| !taken.contains(&(column, start + i)));
                // Below all that there is, everything is free.
                let start = (row..=row.max(grid.rows)).find(is_free).unwrap_or(row.max(grid.rows));
                (start, near.map_or(0, |near| column.abs_diff(near)), column)
            };
            let (start, _, column) = (0..columns).map(place).min().unwrap_or((row, 0, 0));
            for (index, &node) in lane.iter().enumerate() {
                taken.insert((column, start + index));
                grid.cells.insert(node, (column, start + index));
            }
            grid.rows = grid.rows.max(start + lane.len());
        }
        grid
    }

    /// The row below what leads to `lane`, and the column of that; otherwise the first row.
    fn preferred_cell(
        &self,
        graph: &DiagramGraph<'_>,
        lanes: &Lanes,
        lane: &[usize],
    ) -> (usize, Option<usize>) {
        let ahead = graph.edges.iter().enumerate().filter(|(index, _)| !lanes.is_back[*index]);
        let before = ahead.filter(|(_, way)| lane.first() == Some(&way.to));
        let before = before.filter_map(|(_, way)| self.cells.get(&way.from));
        let last = before.max_by_key(|(_, row)| *row);
        last.map_or((0, None), |(column, row)| (row + 1, Some(*column)))
    }

    /// The cell of `node`, or of the state that it stands beside.
    pub(super) fn cell(&self, lanes: &Lanes, node: usize) -> Option<(usize, usize)> {
        match lanes.roles[node] {
            LaneRole::Top => None,
            LaneRole::Lane => self.cells.get(&node).copied(),
            LaneRole::Side(owner) => self.cells.get(&owner).copied(),
        }
    }
}
