//! Draws a definition in the layout with the fewest rows that fits the page width.

use super::cards::{CARD_PADDING, LINE_HEIGHT};
use super::contents::edge_text;
use super::graph::{DiagramGraph, EdgeKind};
use super::header;
use super::lanes::{LaneRole, Lanes};
use super::layout::{DiagramLayout, PAGE_MARGIN, STEM_OFFSET, STEM_TEXT_OFFSET};
use super::scene::{DiagramScene, Rect, SceneBox, SceneLine, ScenePart, SceneText};
use super::text::TextFont;
use machine::Definition;

/// Maximum width, if a layout fits it.
const MAX_PAGE_WIDTH: i32 = 1360;
/// Minimum width: the legend in two lines.
const MIN_PAGE_WIDTH: i32 = 640;
/// Maximum number of columns that is tried.
const MAX_COLUMNS: usize = 4;

/// Draws `definition` without instances.
pub(super) fn draw(definition: &Definition) -> DiagramScene {
    let graph = DiagramGraph::new(definition);
    let lanes = Lanes::new(&graph);
    let layouts = (1..=MAX_COLUMNS).map(|columns| DiagramLayout::new(&graph, &lanes, columns));
    // If none fits, the narrowest is used.
    let layout = layouts.min_by_key(|layout| {
        let (right, bottom) = layout.extent();
        let is_wide = right + PAGE_MARGIN > MAX_PAGE_WIDTH;
        (is_wide, if is_wide { right } else { bottom })
    });
    let mut scene = DiagramScene::default();
    let Some(layout) = layout else { return scene };
    draw_lanes(&layout, &mut scene);
    let width = (layout.extent().0 + PAGE_MARGIN).max(MIN_PAGE_WIDTH);
    let mut page = DiagramScene { width, ..DiagramScene::default() };
    header::draw(&graph, &lanes, &layout.contents, &mut page);
    let down = page.height;
    page.append(scene, down);
    page.width = page.width.max(width);
    page.height += PAGE_MARGIN;
    page
}

fn draw_lanes(layout: &DiagramLayout<'_, '_>, scene: &mut DiagramScene) {
    for lane in &layout.lanes.all {
        draw_panel(layout, lane, scene);
    }
    for (index, edge) in layout.graph.edges.iter().enumerate() {
        let class = match (edge.kind, layout.lanes.roles[edge.to]) {
            (_, LaneRole::Side(_)) => "fails",
            (EdgeKind::Progress, _) => "progress",
            (EdgeKind::TimedOut | EdgeKind::LimitExceeded, _) => "timed-out",
        };
        for points in layout.lines(index) {
            let (from, class) = (layout.graph.name(edge.from).to_owned(), format!("edge {class}"));
            scene.lines.push(SceneLine { from, points, class, tip: edge_text(layout.graph, edge) });
        }
    }
    for lane in &layout.lanes.all {
        for pair in lane.windows(2) {
            draw_stem(layout, pair[0], pair[1], scene);
        }
        if let Some(first) = lane.first() {
            draw_beginning(layout, *first, scene);
        }
        if let Some(last) = lane.last() {
            draw_exit(layout, *last, scene);
        }
    }
    for node in 0..layout.graph.nodes.len() {
        let Some(rect) = layout.rect(node) else { continue };
        scene.place(rect);
        scene.frames.push(layout.card(node).draw(rect));
    }
}

/// Draws the background of a lane.
fn draw_panel(layout: &DiagramLayout<'_, '_>, lane: &[usize], scene: &mut DiagramScene) {
    let Some((column, _)) = lane.first().and_then(|node| layout.grid.cell(layout.lanes, *node)) else {
        return;
    };
    let column = layout.columns[column];
    let top = lane.first().and_then(|first| layout.entry_top(*first)).unwrap_or_default() - 8;
    let bottom = lane.iter().filter_map(|node| layout.end(*node)).max().unwrap_or(top) + 8;
    let rect = Rect { x: column.left, y: top, width: column.right - column.left, height: bottom - top };
    scene.place(rect);
    scene.panels.push(rect);
}

/// Draws the line from a state to the next one of its lane.
fn draw_stem(layout: &DiagramLayout<'_, '_>, above: usize, below: usize, scene: &mut DiagramScene) {
    let (Some(from), Some(to)) = (layout.rect(above), layout.rect(below)) else { return };
    let x = to.x + STEM_OFFSET;
    let edge = layout.graph.edges.iter().find(|edge| edge.from == above && edge.to == below);
    let tip = edge.map_or_else(String::new, |edge| edge_text(layout.graph, edge));
    let (name, points) = (layout.graph.name(above).to_owned(), vec![(x, from.bottom()), (x, to.y)]);
    scene.lines.push(SceneLine { from: name, points, class: "edge main".to_owned(), tip });
    draw_entry(layout, below, scene);
}

/// Draws the line into the first state of a lane.
fn draw_beginning(layout: &DiagramLayout<'_, '_>, node: usize, scene: &mut DiagramScene) {
    let Some(rect) = layout.rect(node) else { return };
    if layout.entry(node).is_empty() {
        return;
    }
    let x = rect.x + STEM_OFFSET;
    let top = layout.entry_top(node).unwrap_or(rect.y);
    let (points, class) = (vec![(x, top), (x, rect.y)], "edge main begins".to_owned());
    scene.lines.push(SceneLine { from: String::new(), points, class, tip: String::new() });
    draw_entry(layout, node, scene);
}

fn draw_entry(layout: &DiagramLayout<'_, '_>, node: usize, scene: &mut DiagramScene) {
    let Some((rect, top)) = layout.rect(node).zip(layout.entry_top(node)) else { return };
    let mut y = top + LINE_HEIGHT / 2;
    for item in layout.entry(node) {
        item.draw(rect.x + STEM_TEXT_OFFSET, y, &mut scene.parts);
        y += LINE_HEIGHT;
    }
}

/// Draws the line from the last state of a lane to a resting state.
fn draw_exit(layout: &DiagramLayout<'_, '_>, node: usize, scene: &mut DiagramScene) {
    let (Some(card), Some((rect, kind))) = (layout.rect(node), layout.exit_rect(node)) else { return };
    let Some(exit) = layout.contents.exits.get(&node) else { return };
    let name = layout.graph.name(exit.target);
    let x = card.x + STEM_OFFSET;
    let points = vec![(x, card.bottom()), (x, rect.y)];
    let edge = layout.graph.edges.iter().find(|edge| edge.from == node && edge.to == exit.target);
    let tip = edge.map_or_else(String::new, |edge| edge_text(layout.graph, edge));
    let (from, class) = (String::new(), "edge main".to_owned());
    scene.lines.push(SceneLine { from, points, class, tip: tip.clone() });
    let mut y = card.bottom() + 2 + LINE_HEIGHT / 2;
    for item in &exit.items {
        item.draw(rect.x + STEM_TEXT_OFFSET, y, &mut scene.parts);
        y += LINE_HEIGHT;
    }
    let text =
        SceneText::new(rect.x + CARD_PADDING + 4, rect.y + rect.height / 2, TextFont::Name, "name", name);
    let class = format!("exit {kind}");
    scene.frames.push(SceneBox {
        rect,
        class,
        state: None,
        tip,
        parts: vec![ScenePart::Text(text)],
        count_at: 0,
    });
}
