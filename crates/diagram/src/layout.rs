//! Sizes and positions, before drawing.

use std::collections::BTreeMap;

use super::cards::{CARD_PADDING, Card, CardItem, LINE_HEIGHT, TITLE_HEIGHT};
use super::contents::{DiagramTexts, LaneExit};
use super::graph::DiagramGraph;
use super::grid::LaneGrid;
use super::lanes::{LaneRole, Lanes};
use super::routes::{ChannelSide, LineChannel, LineRoutes};
use super::scene::Rect;
use super::text::{TextFont, text_width};
use super::wording::kind_word;

/// Margin around the page.
pub(super) const PAGE_MARGIN: i32 = 24;
/// Distance of the line from above to the left edge of a box.
pub(super) const STEM_OFFSET: i32 = 18;
/// Distance of the texts beside that line to the left edge of a box.
pub(super) const STEM_TEXT_OFFSET: i32 = 30;
/// Distance of parallel lines.
const TRACK_SPACING: i32 = 8;
/// Distance of a box and the nearest line beside it: the size of an arrowhead.
const ARROW_GAP: i32 = 16;
/// Distance of a line and the elements on its other side.
const CHANNEL_GAP: i32 = 9;
/// Minimum length of a line from above.
const MIN_STEM_LENGTH: i32 = 26;
/// Distance of failed states, and space below a lane.
const SIDE_STATE_GAP: i32 = 10;
/// Space above the first state of a lane.
const LANE_GAP: i32 = 22;
/// Distance of columns.
const COLUMN_GAP: i32 = 22;
/// Height of the box that stands for a resting state.
pub(super) const EXIT_HEIGHT: i32 = 26;

/// Horizontal positions of a column.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LayoutColumn {
    pub(super) left: i32,
    card: i32,
    pub(super) card_width: i32,
    side: i32,
    side_width: i32,
    pub(super) right: i32,
}

/// Vertical positions of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LayoutRow {
    /// Top of the horizontal lines.
    tracks: i32,
    pub(super) cards: i32,
    pub(super) bottom: i32,
}

/// The layout of a diagram.
pub(super) struct DiagramLayout<'g, 'd> {
    pub(super) graph: &'g DiagramGraph<'d>,
    pub(super) lanes: &'g Lanes,
    pub(super) grid: LaneGrid,
    pub(super) routes: LineRoutes,
    pub(super) contents: DiagramTexts,
    pub(super) columns: Vec<LayoutColumn>,
    pub(super) rows: Vec<LayoutRow>,
    /// Distance of each failed state from the top of the state that it is beside.
    sides: BTreeMap<usize, i32>,
}

impl<'g, 'd> DiagramLayout<'g, 'd> {
    /// Lays out the lanes in `columns` columns.
    pub(super) fn new(graph: &'g DiagramGraph<'d>, lanes: &'g Lanes, columns: usize) -> Self {
        let grid = LaneGrid::new(graph, lanes, columns);
        let routes = LineRoutes::new(graph, lanes, &grid);
        let contents = DiagramTexts::new(graph, lanes, &routes);
        let (columns, rows, sides) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut layout = Self { graph, lanes, grid, routes, contents, columns, rows, sides };
        layout.place_columns();
        layout.place_sides();
        layout.place_rows();
        layout
    }

    /// The states of lanes with their cells.
    fn cells(&self) -> impl Iterator<Item = (usize, (usize, usize))> {
        let lanes = self.lanes.all.iter().flatten();
        lanes.filter_map(|node| self.grid.cell(self.lanes, *node).map(|cell| (*node, cell)))
    }

    fn place_columns(&mut self) {
        let mut columns = vec![LayoutColumn::default(); self.grid.columns];
        for (node, card) in self.contents.cards.iter().enumerate() {
            let Some((column, _)) = self.grid.cell(self.lanes, node) else { continue };
            let column = &mut columns[column];
            if self.lanes.roles[node] != LaneRole::Lane {
                column.side_width = column.side_width.max(card.min_width());
                continue;
            }
            let entry = self.contents.entries.get(&node).into_iter().flatten();
            let exit = self.contents.exits.get(&node).map(|exit| self.exit_width(exit));
            let beside = entry.map(|item| item.width() + STEM_TEXT_OFFSET);
            let wanted = beside.chain(exit).chain([card.min_width()]);
            column.card_width = wanted.max().unwrap_or(0).max(column.card_width);
        }
        let mut at = PAGE_MARGIN;
        for (index, column) in columns.iter_mut().enumerate() {
            let tracks = |side| self.routes.width.get(&(index, side)).copied().unwrap_or(0);
            column.left = at;
            column.card = at + channel_width(tracks(ChannelSide::Left)).max(CHANNEL_GAP);
            let middle = tracks(ChannelSide::Middle);
            let middle =
                if middle == 0 && column.side_width == 0 { CHANNEL_GAP } else { channel_width(middle) };
            column.side = column.card + column.card_width + middle;
            column.right =
                column.side + column.side_width + if column.side_width == 0 { 0 } else { CHANNEL_GAP };
            at = column.right + COLUMN_GAP;
        }
        self.columns = columns;
    }

    fn exit_width(&self, exit: &LaneExit) -> i32 {
        let items = exit.items.iter().map(|item| item.width() + STEM_TEXT_OFFSET);
        items.chain([self.exit_box_width(exit)]).max().unwrap_or(0)
    }

    fn exit_box_width(&self, exit: &LaneExit) -> i32 {
        text_width(self.graph.name(exit.target), TextFont::Name) + 2 * CARD_PADDING + 8
    }

    /// Places failed states beside their states, at the start of their line if possible.
    fn place_sides(&mut self) {
        let mut beside: BTreeMap<usize, Vec<(i32, usize)>> = BTreeMap::new();
        for (node, role) in self.lanes.roles.iter().enumerate() {
            let LaneRole::Side(owner) = *role else { continue };
            let leads_here = |index: &usize| {
                let edge = &self.graph.edges[*index];
                edge.from == owner && edge.to == node
            };
            let ports = self.card(owner).ports(self.width(owner));
            let port = ports.iter().find(|(index, _)| leads_here(index)).map_or(i32::MAX / 2, |(_, at)| *at);
            beside.entry(owner).or_default().push((port, node));
        }
        for (_, mut nodes) in beside {
            nodes.sort_unstable();
            let mut free = 0;
            for (port, node) in nodes {
                let top = if port < i32::MAX / 2 { free.max(port - TITLE_HEIGHT / 2) } else { free };
                free = top + self.card(node).height(self.width(node)) + SIDE_STATE_GAP;
                self.sides.insert(node, top);
            }
        }
    }

    fn place_rows(&mut self) {
        let count = self.grid.rows;
        let (mut texts, mut heights) = (vec![0; count], vec![0; count]);
        let mut begins_lane = vec![false; count];
        for (node, (_, row)) in self.cells() {
            let entry = self.contents.entries.get(&node).map_or(0, Vec::len);
            texts[row] = texts[row].max(LINE_HEIGHT * to_pixels(entry));
            heights[row] =
                heights[row].max(self.card(node).height(self.width(node)) + self.exit_height(node));
            let is_first = self.lanes.all.iter().any(|lane| lane.first() == Some(&node));
            begins_lane[row] |= is_first;
        }
        for (node, top) in &self.sides {
            if let Some((_, row)) = self.grid.cell(self.lanes, *node) {
                heights[row] = heights[row].max(top + self.card(*node).height(self.width(*node)));
            }
        }
        let mut at = PAGE_MARGIN;
        for row in 0..count {
            let top = at + if begins_lane[row] && row > 0 { LANE_GAP } else { 0 };
            let tracks = top + texts[row] + 3;
            let cards =
                (tracks + 7 + TRACK_SPACING * to_pixels(self.routes.height[row])).max(top + MIN_STEM_LENGTH);
            at = cards + heights[row] + SIDE_STATE_GAP;
            self.rows.push(LayoutRow { tracks, cards, bottom: cards + heights[row] });
        }
    }

    /// Top of the texts above a state of a lane.
    pub(super) fn entry_top(&self, node: usize) -> Option<i32> {
        let (_, row) = self.grid.cell(self.lanes, node)?;
        Some(self.rows[row].tracks - 3 - LINE_HEIGHT * to_pixels(self.entry(node).len()))
    }

    /// Bottom of a state of a lane with all that belongs to it.
    pub(super) fn end(&self, node: usize) -> Option<i32> {
        let bottom = self.rect(node)?.bottom() + self.exit_height(node);
        let beside =
            (0..self.lanes.roles.len()).filter(|side| self.lanes.roles[*side] == LaneRole::Side(node));
        beside.filter_map(|side| self.rect(side)).map(Rect::bottom).chain([bottom]).max()
    }

    /// Height of the exit from the last state of a lane to a resting state.
    fn exit_height(&self, node: usize) -> i32 {
        let exit = self.contents.exits.get(&node);
        exit.map_or(0, |exit| {
            (LINE_HEIGHT * to_pixels(exit.items.len()) + 10).max(MIN_STEM_LENGTH) + EXIT_HEIGHT
        })
    }

    pub(super) fn card(&self, node: usize) -> &Card {
        &self.contents.cards[node]
    }

    /// Width of a state's box.
    fn width(&self, node: usize) -> i32 {
        let Some((column, _)) = self.grid.cell(self.lanes, node) else {
            return self.card(node).min_width();
        };
        let column = self.columns[column];
        if self.lanes.roles[node] == LaneRole::Lane { column.card_width } else { column.side_width }
    }

    /// The box of a state in a lane or beside one.
    pub(super) fn rect(&self, node: usize) -> Option<Rect> {
        let (column, row) = self.grid.cell(self.lanes, node)?;
        let (column, row) = (self.columns[column], self.rows[row]);
        let (x, y) = match self.sides.get(&node) {
            Some(top) => (column.side, row.cards + top),
            None => (column.card, row.cards),
        };
        let width = self.width(node);
        Some(Rect { x, y, width, height: self.card(node).height(width) })
    }

    /// The box that stands for the resting state to which the lane of `node` leads.
    pub(super) fn exit_rect(&self, node: usize) -> Option<(Rect, &'static str)> {
        let exit = self.contents.exits.get(&node)?;
        let card = self.rect(node)?;
        let y = card.bottom() + self.exit_height(node) - EXIT_HEIGHT;
        let rect = Rect { x: card.x, y, width: self.exit_box_width(exit), height: EXIT_HEIGHT };
        Some((rect, kind_word(self.graph.kind(exit.target))))
    }

    /// The items beside the line into `node`.
    pub(super) fn entry(&self, node: usize) -> &[CardItem] {
        self.contents.entries.get(&node).map_or(&[], Vec::as_slice)
    }

    /// The points of the lines of edge `index`, one line for each port.
    pub(super) fn lines(&self, index: usize) -> Vec<Vec<(i32, i32)>> {
        let edge = &self.graph.edges[index];
        let Some(route) = self.routes.by_edge.get(&index) else { return Vec::new() };
        let (Some(source), Some(target)) = (self.rect(edge.from), self.rect(edge.to)) else {
            return Vec::new();
        };
        let begin = if route.exit.1 == ChannelSide::Left { source.x } else { source.right() };
        let exit = self.track(route.exit, edge.to);
        let entry = self.track(route.entry, edge.to);
        let ports = self.card(edge.from).ports(source.width).into_iter().filter(|(edge, _)| *edge == index);
        let mut lines = Vec::new();
        for (_, offset) in ports {
            let from = source.y + offset;
            let to = self.arrival(edge.to, target);
            let mut points = vec![(begin, from)];
            if route.exit != route.entry {
                let along = self.routes.horizontal.get(&edge.to).copied().unwrap_or(0);
                let along = self.rows[route.target_row].tracks + 5 + TRACK_SPACING * to_pixels(along);
                points.extend([(exit, from), (exit, along), (entry, along), (entry, to)]);
            } else if from != to {
                points.extend([(exit, from), (exit, to)]);
            }
            points.push((target.x, to));
            lines.push(points);
        }
        lines
    }

    /// The height at which lines enter a box from the left, apart from lines that lead elsewhere.
    fn arrival(&self, node: usize, rect: Rect) -> i32 {
        let middle = rect.y + TITLE_HEIGHT / 2;
        let LaneRole::Side(owner) = self.lanes.roles[node] else { return middle };
        let Some(beside) = self.rect(owner) else { return middle };
        let ports = self.card(owner).ports(beside.width);
        let overlaps = |index: &usize| {
            let edge = &self.graph.edges[*index];
            let Some(route) = self.routes.by_edge.get(index) else { return false };
            let channel = route.exit;
            let reaches =
                channel.1 == ChannelSide::Middle && self.track(channel, edge.to) >= self.track(channel, node);
            edge.to != node && reaches
        };
        let taken = ports.iter().filter(|(index, _)| overlaps(index)).map(|(_, at)| beside.y + at);
        let taken: Vec<i32> = taken.collect();
        let is_free = |y: &i32| taken.iter().all(|other| (other - y).abs() > 2);
        [0, -4, 4, -8, 8].iter().map(|offset| middle + offset).find(is_free).unwrap_or(middle)
    }

    /// Horizontal position of the vertical lines to `target` in `channel`.
    fn track(&self, channel: LineChannel, target: usize) -> i32 {
        let track = to_pixels(self.routes.vertical.get(&(channel, target)).copied().unwrap_or(0));
        let column = self.columns[channel.0];
        let right = if channel.1 == ChannelSide::Left { column.card } else { column.side };
        right - ARROW_GAP - TRACK_SPACING * track
    }

    /// Right and bottom end.
    pub(super) fn extent(&self) -> (i32, i32) {
        let right = self.columns.last().map_or(PAGE_MARGIN, |column| column.right);
        (right, self.rows.last().map_or(PAGE_MARGIN, |row| row.bottom))
    }
}

/// Width of a channel with this many tracks.
fn channel_width(tracks: usize) -> i32 {
    ARROW_GAP + TRACK_SPACING * (to_pixels(tracks) - 1).max(0) + CHANNEL_GAP
}

/// Converts a small count for pixel arithmetic.
pub(super) fn to_pixels(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX / 1000)
}
