//! The part above the lanes: the machine's name, the legend, shared requests, resting states.

use super::cards::{CARD_PADDING, Card, CardItem, SIGN_WIDTH, note, triggers};
use super::contents::DiagramTexts;
use super::graph::DiagramGraph;
use super::lanes::{LaneRole, Lanes};
use super::layout::PAGE_MARGIN;
use super::scene::{DiagramScene, Rect, SceneBox, ScenePart, SceneText};
use super::text::{TextFont, text_width, wrapped};
use super::wording::{kind_word, summary};
use machine::StateKind;

/// Distance of boxes.
const BOX_GAP: i32 = 14;
/// Width at which the list of states that share requests is broken into lines.
const STATE_LIST_WIDTH: i32 = 290;
/// Height of a line of the legend.
const LEGEND_LINE_HEIGHT: i32 = 26;

/// Draws the header into `scene`, which has the width of the page.
pub(super) fn draw(
    graph: &DiagramGraph<'_>,
    lanes: &Lanes,
    contents: &DiagramTexts,
    scene: &mut DiagramScene,
) {
    let name = graph.definition.machine.as_str();
    let mut flow =
        BoxFlow { x: PAGE_MARGIN, y: PAGE_MARGIN, bottom: PAGE_MARGIN, page: scene.width - PAGE_MARGIN };
    let at = flow.place(text_width(name, TextFont::Title) + 6, LEGEND_LINE_HEIGHT);
    scene.parts.push(ScenePart::Text(SceneText::new(
        at.x,
        at.y + LEGEND_LINE_HEIGHT / 2,
        TextFont::Title,
        "name",
        name,
    )));
    let summary = summary(graph.definition);
    let at = flow.place(text_width(&summary, TextFont::Line), LEGEND_LINE_HEIGHT);
    scene.parts.push(ScenePart::Text(SceneText::new(
        at.x,
        at.y + LEGEND_LINE_HEIGHT / 2 + 3,
        TextFont::Line,
        "note",
        summary,
    )));
    flow.begin_line(6);
    draw_legend(graph, &mut flow, scene);
    flow.begin_line(12);
    let top = (0..graph.nodes.len()).filter(|node| lanes.roles[*node] == LaneRole::Top);
    let mut top: Vec<usize> = top.collect();
    top.sort_by_key(|node| (*node != graph.initial, graph.kind(*node) == StateKind::Failed, *node));
    let shared = (0..graph.shared.len()).map(|index| shared(graph, index));
    let states = top.into_iter().map(|node| contents.cards[node].clone());
    let mut left: Vec<Card> = shared.chain(states).collect();
    while !left.is_empty() {
        // Takes the next box that fits, so that lines are full.
        let next = left.iter().position(|card| flow.fits(card.min_width())).unwrap_or(0);
        let card = left.remove(next);
        let width = card.min_width();
        let rect = flow.place(width, card.height(width));
        scene.frames.push(card.draw(rect));
        scene.place(rect);
    }
    flow.begin_line(20);
    scene.height = flow.y - PAGE_MARGIN;
}

/// The box of requests that several states share.
fn shared(graph: &DiagramGraph<'_>, index: usize) -> Card {
    let shared = &graph.shared[index];
    let states = wrapped(&format!("taken in {}", shared.states), TextFont::Line, STATE_LIST_WIDTH);
    let mut left: Vec<CardItem> = states.into_iter().map(note).collect();
    for (label, targets) in &shared.edges {
        left.extend(targets.iter().map(|target| {
            let target = (graph.name(*target).to_owned(), kind_word(graph.kind(*target)));
            CardItem { target: Some(target), ..CardItem::new(label) }
        }));
    }
    let tags = vec![shared.tag.clone()];
    Card { class: "shared".to_owned(), name: "Requests".to_owned(), tags, left, ..Card::default() }
}

fn draw_legend(graph: &DiagramGraph<'_>, flow: &mut BoxFlow, scene: &mut DiagramScene) {
    for (kind, text) in [
        (StateKind::Resting, "resting"),
        (StateKind::Working, "working"),
        (StateKind::Failed, "failed: needs an operator"),
        (StateKind::Final, "final"),
    ] {
        if !graph.nodes.iter().any(|node| node.state.kind == kind) {
            continue;
        }
        let slot = flow.place(text_width(text, TextFont::Line) + 2 * CARD_PADDING, LEGEND_LINE_HEIGHT);
        let rect = Rect { y: slot.y + 2, height: LEGEND_LINE_HEIGHT - 4, ..slot };
        let text =
            SceneText::new(rect.x + CARD_PADDING, rect.y + rect.height / 2, TextFont::Line, "note", text);
        let class = format!("key {}", kind_word(kind));
        let (state, tip) = (None, String::new());
        scene.frames.push(SceneBox {
            rect,
            class,
            state,
            tip,
            parts: vec![ScenePart::Text(text)],
            count_at: 0,
        });
    }
    for (sender, text) in triggers(&graph.reporters()) {
        let rect = flow.place(SIGN_WIDTH + text_width(&text, TextFont::Line), LEGEND_LINE_HEIGHT);
        let y = rect.y + LEGEND_LINE_HEIGHT / 2;
        scene.parts.push(ScenePart::Sign(sender, rect.x + SIGN_WIDTH / 2 - 2, y));
        scene.parts.push(ScenePart::Text(SceneText::new(
            rect.x + SIGN_WIDTH,
            y,
            TextFont::Line,
            sender.word(),
            text,
        )));
    }
    let text = "?  conditional";
    let rect = flow.place(text_width(text, TextFont::Line), LEGEND_LINE_HEIGHT);
    scene.parts.push(ScenePart::Text(SceneText::new(
        rect.x,
        rect.y + LEGEND_LINE_HEIGHT / 2,
        TextFont::Line,
        "note",
        text,
    )));
}

/// Positions of boxes, line by line.
struct BoxFlow {
    x: i32,
    y: i32,
    bottom: i32,
    page: i32,
}

impl BoxFlow {
    fn fits(&self, width: i32) -> bool {
        self.x + width <= self.page
    }

    fn place(&mut self, width: i32, height: i32) -> Rect {
        if self.x > PAGE_MARGIN && !self.fits(width) {
            self.begin_line(BOX_GAP);
        }
        let rect = Rect { x: self.x, y: self.y, width, height };
        self.x = rect.right() + BOX_GAP;
        self.bottom = self.bottom.max(rect.bottom());
        rect
    }

    fn begin_line(&mut self, gap: i32) {
        self.x = PAGE_MARGIN;
        self.y = self.bottom + gap;
        self.bottom = self.y;
    }
}
