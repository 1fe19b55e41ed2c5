//! Contents and sizes of boxes.

use super::graph::{EdgeLabel, TransitionTrigger};
use super::scene::{Rect, SceneBox, ScenePart, SceneText, TextAnchor};
use super::text::{TextFont, shortened, text_width};

/// Height of the line with the name.
pub(super) const TITLE_HEIGHT: i32 = 28;
/// Height of the other lines.
pub(super) const LINE_HEIGHT: i32 = 18;
/// Padding at the left and the right.
pub(super) const CARD_PADDING: i32 = 10;
/// Width of a sender's sign.
pub(super) const SIGN_WIDTH: i32 = 16;
/// Width reserved for the number of instances, so that the layout does not depend on it.
const COUNT_WIDTH: i32 = 46;
/// Width of the letter of shared requests.
const TAG_WIDTH: i32 = 20;
/// Distance of two items in a line.
const ITEM_GAP: i32 = 14;
/// Maximum length of an item's text, in characters; the tooltip has the whole.
const MAX_LINE_CHARS: usize = 44;
/// Minimum width of a box.
const MIN_CARD_WIDTH: i32 = 150;

/// An item of a line: a label, and its target if no line is drawn to it.
#[derive(Debug, Clone)]
pub(super) struct CardItem {
    pub(super) label: EdgeLabel,
    /// Name of the target, and the class of its kind.
    pub(super) target: Option<(String, &'static str)>,
    /// Edges whose lines begin here.
    pub(super) edges: Vec<usize>,
}

impl CardItem {
    pub(super) fn new(label: &EdgeLabel) -> Self {
        Self { label: label.clone(), target: None, edges: Vec::new() }
    }

    fn signs(&self) -> i32 {
        SIGN_WIDTH * i32::try_from(self.label.senders.len()).unwrap_or(0)
    }

    /// The shown text. Texts without a sender have been broken into lines already.
    fn text(&self) -> String {
        if self.label.senders.is_empty() {
            self.label.text.clone()
        } else {
            shortened(&self.label.text, MAX_LINE_CHARS)
        }
    }

    fn target_text(&self) -> String {
        self.target.as_ref().map_or_else(String::new, |(name, _)| format!("→ {name}"))
    }

    pub(super) fn width(&self) -> i32 {
        let target =
            if self.target.is_some() { 6 + text_width(&self.target_text(), TextFont::Line) } else { 0 };
        self.signs() + text_width(&self.text(), TextFont::Line) + target
    }

    /// Draws the item from `x` on, vertically centred at `y`.
    pub(super) fn draw(&self, x: i32, y: i32, parts: &mut Vec<ScenePart>) {
        let mut at = x;
        for sender in &self.label.senders {
            parts.push(ScenePart::Sign(*sender, at + SIGN_WIDTH / 2 - 2, y));
            at += SIGN_WIDTH;
        }
        let content = self.text();
        let taken = text_width(&content, TextFont::Line);
        let class = self.label.senders.first().map_or("note", |sender| sender.word());
        let mut text = SceneText::new(at, y, TextFont::Line, class, content);
        text.tip.clone_from(&self.label.tip);
        parts.push(ScenePart::Text(text));
        if let Some((_, class)) = &self.target {
            parts.push(ScenePart::Text(SceneText::new(
                at + taken + 6,
                y,
                TextFont::Line,
                class,
                self.target_text(),
            )));
        }
    }
}

/// An item without a sender.
pub(super) fn note(text: String) -> CardItem {
    let label = EdgeLabel { senders: Vec::new(), text, tip: String::new() };
    CardItem { label, target: None, edges: Vec::new() }
}

/// Adds an item, or its edges to an equal item.
pub(super) fn add(items: &mut Vec<CardItem>, item: CardItem) {
    let is_same = |known: &&mut CardItem| {
        let has_lines = !item.edges.is_empty() && !known.edges.is_empty();
        has_lines && known.label.text == item.label.text && known.label.senders == item.label.senders
    };
    match items.iter_mut().find(is_same) {
        Some(known) => {
            known.edges.extend(item.edges);
            if known.label.tip != item.label.tip {
                known.label.tip = format!("{}; or {}", known.label.tip, item.label.tip);
            }
        }
        None => items.push(item),
    }
}

/// The contents of a box.
#[derive(Debug, Clone, Default)]
pub(super) struct Card {
    pub(super) class: String,
    pub(super) state: Option<String>,
    pub(super) tip: String,
    pub(super) name: String,
    /// The letters of the shared requests that it takes.
    pub(super) tags: Vec<String>,
    /// Items at the left.
    pub(super) left: Vec<CardItem>,
    /// Items at the right, whose lines begin there.
    pub(super) right: Vec<CardItem>,
}

/// The lines of a box, each with an item at the left, at the right, or both.
pub(super) type CardRows<'c> = Vec<(Option<&'c CardItem>, Option<&'c CardItem>)>;

impl Card {
    fn tags_width(&self) -> i32 {
        self.tags.iter().map(|tag| tag_width(tag)).sum()
    }

    /// Minimum width.
    pub(super) fn min_width(&self) -> i32 {
        let count = if self.state.is_some() { COUNT_WIDTH } else { 0 };
        let head = text_width(&self.name, TextFont::Name) + 8 + self.tags_width() + count;
        let items = self.left.iter().chain(&self.right).map(CardItem::width);
        items.chain([head]).max().unwrap_or(head).max(MIN_CARD_WIDTH) + 2 * CARD_PADDING
    }

    /// The lines in a box of this width; left and right items share a line where they fit.
    pub(super) fn rows(&self, within: i32) -> CardRows<'_> {
        let mut rows: CardRows<'_> = Vec::new();
        let mut right = self.right.iter().peekable();
        for left in &self.left {
            let fits = |item: &&CardItem| left.width() + ITEM_GAP + item.width() + 2 * CARD_PADDING <= within;
            rows.push((Some(left), right.next_if(|item| fits(item))));
        }
        rows.extend(right.map(|item| (None, Some(item))));
        rows
    }

    pub(super) fn height(&self, within: i32) -> i32 {
        let lines = i32::try_from(self.rows(within).len()).unwrap_or(i32::MAX);
        if lines == 0 { TITLE_HEIGHT } else { TITLE_HEIGHT + lines.saturating_mul(LINE_HEIGHT) + 5 }
    }

    /// Distance from the top at which the line of each edge begins.
    pub(super) fn ports(&self, within: i32) -> Vec<(usize, i32)> {
        let rows = self.rows(within);
        let mut ports = Vec::new();
        for (at, (left, right)) in offsets().zip(rows) {
            let edges = [left, right].into_iter().flatten().flat_map(|item| &item.edges);
            ports.extend(edges.map(|edge| (*edge, at)));
        }
        ports
    }

    /// Draws the box.
    pub(super) fn draw(&self, rect: Rect) -> SceneBox {
        let middle = rect.y + TITLE_HEIGHT / 2;
        let mut parts = vec![ScenePart::Text(SceneText::new(
            rect.x + CARD_PADDING,
            middle,
            TextFont::Name,
            "name",
            self.name.clone(),
        ))];
        let mut at = rect.x + CARD_PADDING + text_width(&self.name, TextFont::Name) + 8;
        for tag in &self.tags {
            let badge = Rect { x: at, y: middle - 8, width: tag_width(tag) - 4, height: 17 };
            parts.push(ScenePart::Badge(badge, "tag", centred(badge, tag)));
            at += tag_width(tag);
        }
        let count_at = parts.len();
        for (offset, (left, right)) in offsets().zip(self.rows(rect.width)) {
            if let Some(item) = left {
                item.draw(rect.x + CARD_PADDING, rect.y + offset, &mut parts);
            }
            if let Some(item) = right {
                item.draw(rect.right() - CARD_PADDING - item.width(), rect.y + offset, &mut parts);
            }
        }
        let (class, state, tip) = (self.class.clone(), self.state.clone(), self.tip.clone());
        SceneBox { rect, class, state, tip, parts, count_at }
    }
}

/// Distance of the middle of each line from the top of a box.
fn offsets() -> impl Iterator<Item = i32> {
    (0..).map(|index| TITLE_HEIGHT + index * LINE_HEIGHT + LINE_HEIGHT / 2)
}

fn tag_width(tag: &str) -> i32 {
    TAG_WIDTH.max(text_width(tag, TextFont::Line) + 10)
}

fn centred(rect: Rect, content: &str) -> SceneText {
    let anchor = TextAnchor::Middle;
    let (x, y) = (rect.x + rect.width / 2, rect.y + rect.height / 2);
    SceneText { anchor, ..SceneText::new(x, y, TextFont::Line, "badge", content) }
}

/// The number of instances, drawn into the space that the box of a state reserves for it.
pub(super) fn count_badge(state: Rect, count: u64) -> ScenePart {
    let (x, y) = (state.right() - CARD_PADDING - COUNT_WIDTH + 6, state.y + TITLE_HEIGHT / 2 - 9);
    let badge = Rect { x, y, width: COUNT_WIDTH, height: 18 };
    ScenePart::Badge(badge, "count", centred(badge, &short_count(count)))
}

/// A number of instances in at most five characters.
pub(super) fn short_count(count: u64) -> String {
    match count {
        0..=99_999 => count.to_string(),
        100_000..=9_999_999 => format!("{}k", count / 1000),
        _ => format!("{}M", (count / 1_000_000).min(9999)),
    }
}

/// The sign and the text of each trigger, for the legend; `reporters` send reports.
pub(super) fn triggers(reporters: &str) -> [(TransitionTrigger, String); 5] {
    let reporter = if reporters.is_empty() { "a face" } else { reporters };
    [
        (TransitionTrigger::Report, format!("the {reporter} reports")),
        (TransitionTrigger::Operator, "an operator asks".to_owned()),
        (TransitionTrigger::Action, "an action ended".to_owned()),
        (TransitionTrigger::Time, "time passed".to_owned()),
        (TransitionTrigger::Entry, "at once, on entry".to_owned()),
    ]
}
