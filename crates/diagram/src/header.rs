//! What stands above the lanes: the machine's name, the legend, the requests that states share, the states of rest.

use super::cards::{CARD_PADDING, Card, CardItem, SIGN_WIDTH, note, triggers};
use super::contents::DiagramTexts;
use super::graph::DiagramGraph;
use super::lanes::{LaneRole, Lanes};
use super::layout::PAGE_MARGIN;
use super::scene::{DiagramScene, Rect, SceneBox, ScenePart, SceneText};
use super::text::{TextFont, text_width, wrapped};
use super::wording::{kind_word, summary};
use machine::StateKind;

/// The room between two boxes.
const BOX_GAP: i32 = 14;
/// The width at which the list of the states that share requests is broken into lines.
const STATE_LIST_WIDTH: i32 = 290;
/// The height of a line of the legend.
const LEGEND_LINE_HEIGHT: i32 = 26;

/// Draws it into `scene`, whose width is the page's.
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
        // The next that has room in the line, so that lines are full.
        let next = left.iter().position(|card| flow.has_room(card.least_width())).unwrap_or(0);
        let card = left.remove(next);
        let width = card.least_width();
        let rect = flow.place(width, card.height(width));
        scene.frames.push(card.draw(rect));
        scene.place(rect);
    }
    flow.begin_line(20);
    scene.height = flow.y - PAGE_MARGIN;
}

/// The requests that several states take, in a box of their own.
fn shared(graph: &DiagramGraph<'_>, index: usize) -> Card {
    let shared = &graph.shared[index];
    let who = wrapped(&format!("taken in {}", shared.states), TextFont::Line, STATE_LIST_WIDTH);
    let mut left: Vec<CardItem> = who.into_iter().map(note).collect();
    for (label, targets) in &shared.ways {
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
        (StateKind::Resting, "at rest"),
        (StateKind::Working, "at work"),
        (StateKind::Failed, "failed: a person looks"),
        (StateKind::Final, "the end"),
    ] {
        if !graph.nodes.iter().any(|node| node.state.kind == kind) {
            continue;
        }
        let place = flow.place(text_width(text, TextFont::Line) + 2 * CARD_PADDING, LEGEND_LINE_HEIGHT);
        let rect = Rect { y: place.y + 2, height: LEGEND_LINE_HEIGHT - 4, ..place };
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
    let text = "?  on a condition";
    let rect = flow.place(text_width(text, TextFont::Line), LEGEND_LINE_HEIGHT);
    scene.parts.push(ScenePart::Text(SceneText::new(
        rect.x,
        rect.y + LEGEND_LINE_HEIGHT / 2,
        TextFont::Line,
        "note",
        text,
    )));
}

/// Places for one box after the other, line by line.
struct BoxFlow {
    x: i32,
    y: i32,
    bottom: i32,
    page: i32,
}

impl BoxFlow {
    fn has_room(&self, width: i32) -> bool {
        self.x + width <= self.page
    }

    fn place(&mut self, width: i32, height: i32) -> Rect {
        if self.x > PAGE_MARGIN && !self.has_room(width) {
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
