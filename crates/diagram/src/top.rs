//! What stands above the lanes: the machine's name, the legend, the requests that states share, the states of rest.

use super::cards::{Card, Item, PAD, SIGN, note, triggers};
use super::contents::Contents;
use super::graph::Graph;
use super::lanes::{Lanes, Role};
use super::layout::MARGIN;
use super::scene::{Frame, Part, Rect, Scene, Text};
use super::text::{Font, width, wrapped};
use super::words::{kind_word, summary};
use machine::Kind;

/// The room between two boxes.
const GAP: i32 = 14;
/// The width at which the list of the states that share requests is broken into lines.
const WHO_WIDTH: i32 = 290;
/// The height of a line of the legend.
const KEY: i32 = 26;

/// Draws it into `scene`, whose width is the page's.
pub(super) fn draw(graph: &Graph<'_>, lanes: &Lanes, contents: &Contents, scene: &mut Scene) {
    let name = graph.definition.machine.as_str();
    let mut flow = Flow { x: MARGIN, y: MARGIN, bottom: MARGIN, page: scene.width - MARGIN };
    let at = flow.place(width(name, Font::Title) + 6, KEY);
    scene.parts.push(Part::Text(Text::new(at.x, at.y + KEY / 2, Font::Title, "name", name)));
    let summary = summary(graph.definition);
    let at = flow.place(width(&summary, Font::Line), KEY);
    scene.parts.push(Part::Text(Text::new(at.x, at.y + KEY / 2 + 3, Font::Line, "note", summary)));
    flow.begin_line(6);
    draw_legend(graph, &mut flow, scene);
    flow.begin_line(12);
    let top = (0..graph.nodes.len()).filter(|node| lanes.roles[*node] == Role::Top);
    let mut top: Vec<usize> = top.collect();
    top.sort_by_key(|node| (*node != graph.initial, graph.kind(*node) == Kind::Failed, *node));
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
    scene.height = flow.y - MARGIN;
}

/// The requests that several states take, in a box of their own.
fn shared(graph: &Graph<'_>, index: usize) -> Card {
    let shared = &graph.shared[index];
    let who = wrapped(&format!("taken in {}", shared.who), Font::Line, WHO_WIDTH);
    let mut left: Vec<Item> = who.into_iter().map(note).collect();
    for (label, targets) in &shared.ways {
        left.extend(targets.iter().map(|target| {
            let target = (graph.name(*target).to_owned(), kind_word(graph.kind(*target)));
            Item { target: Some(target), ..Item::new(label) }
        }));
    }
    let tags = vec![shared.tag.clone()];
    Card { class: "shared".to_owned(), name: "Requests".to_owned(), tags, left, ..Card::default() }
}

fn draw_legend(graph: &Graph<'_>, flow: &mut Flow, scene: &mut Scene) {
    for (kind, text) in [
        (Kind::Resting, "at rest"),
        (Kind::Working, "at work"),
        (Kind::Failed, "failed: a person looks"),
        (Kind::Final, "the end"),
    ] {
        if !graph.nodes.iter().any(|node| node.state.kind == kind) {
            continue;
        }
        let place = flow.place(width(text, Font::Line) + 2 * PAD, KEY);
        let rect = Rect { y: place.y + 2, height: KEY - 4, ..place };
        let text = Text::new(rect.x + PAD, rect.y + rect.height / 2, Font::Line, "note", text);
        let class = format!("key {}", kind_word(kind));
        let (state, tip) = (None, String::new());
        scene.frames.push(Frame { rect, class, state, tip, parts: vec![Part::Text(text)], count_at: 0 });
    }
    for (sender, text) in triggers(&graph.reporters()) {
        let rect = flow.place(SIGN + width(&text, Font::Line), KEY);
        let y = rect.y + KEY / 2;
        scene.parts.push(Part::Sign(sender, rect.x + SIGN / 2 - 2, y));
        scene.parts.push(Part::Text(Text::new(rect.x + SIGN, y, Font::Line, sender.word(), text)));
    }
    let text = "?  on a condition";
    let rect = flow.place(width(text, Font::Line), KEY);
    scene.parts.push(Part::Text(Text::new(rect.x, rect.y + KEY / 2, Font::Line, "note", text)));
}

/// Places for one box after the other, line by line.
struct Flow {
    x: i32,
    y: i32,
    bottom: i32,
    page: i32,
}

impl Flow {
    fn has_room(&self, width: i32) -> bool {
        self.x + width <= self.page
    }

    fn place(&mut self, width: i32, height: i32) -> Rect {
        if self.x > MARGIN && !self.has_room(width) {
            self.begin_line(GAP);
        }
        let rect = Rect { x: self.x, y: self.y, width, height };
        self.x = rect.right() + GAP;
        self.bottom = self.bottom.max(rect.bottom());
        rect
    }

    fn begin_line(&mut self, gap: i32) {
        self.x = MARGIN;
        self.y = self.bottom + gap;
        self.bottom = self.y;
    }
}
