//! What stands in a box, and how much room it takes.

use super::graph::{Label, Trigger};
use super::scene::{Anchor, Frame, Part, Rect, Text};
use super::text::{Font, shortened, width};

/// The height of the line with the name.
pub(super) const HEAD: i32 = 28;
/// The height of each other line.
pub(super) const LINE: i32 = 18;
/// The room at the left and the right.
pub(super) const PAD: i32 = 10;
/// The room of a sender's sign.
pub(super) const SIGN: i32 = 16;
/// The room for the number of instances, so that the picture does not change with it.
const COUNT: i32 = 46;
/// The room for the letter of shared requests.
const TAG: i32 = 20;
/// The room between two things in one line.
const GAP: i32 = 14;
/// The longest text of a line, in characters; the rest is in its tip.
const LONGEST: usize = 44;
/// A box without anything but a short name.
const LEAST_WIDTH: i32 = 150;

/// One thing in a line: a reason, and where it leads if no line shows that.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) label: Label,
    /// A state's name, and the class of its kind.
    pub(super) target: Option<(String, &'static str)>,
    /// The ways whose lines begin here.
    pub(super) ways: Vec<usize>,
}

impl Item {
    pub(super) fn new(label: &Label) -> Self {
        Self { label: label.clone(), target: None, ways: Vec::new() }
    }

    fn signs(&self) -> i32 {
        SIGN * i32::try_from(self.label.senders.len()).unwrap_or(0)
    }

    /// The text as it is shown: what stands without a sender is ours, and was broken into lines already.
    fn text(&self) -> String {
        if self.label.senders.is_empty() {
            self.label.text.clone()
        } else {
            shortened(&self.label.text, LONGEST)
        }
    }

    fn target_text(&self) -> String {
        self.target.as_ref().map_or_else(String::new, |(name, _)| format!("→ {name}"))
    }

    pub(super) fn width(&self) -> i32 {
        let target = if self.target.is_some() { 6 + width(&self.target_text(), Font::Line) } else { 0 };
        self.signs() + width(&self.text(), Font::Line) + target
    }

    /// Draws it from `x` on, in the line around `y`.
    pub(super) fn draw(&self, x: i32, y: i32, parts: &mut Vec<Part>) {
        let mut at = x;
        for sender in &self.label.senders {
            parts.push(Part::Sign(*sender, at + SIGN / 2 - 2, y));
            at += SIGN;
        }
        let content = self.text();
        let taken = width(&content, Font::Line);
        let class = self.label.senders.first().map_or("note", |sender| sender.word());
        let mut text = Text::new(at, y, Font::Line, class, content);
        text.tip.clone_from(&self.label.tip);
        parts.push(Part::Text(text));
        if let Some((_, class)) = &self.target {
            parts.push(Part::Text(Text::new(at + taken + 6, y, Font::Line, class, self.target_text())));
        }
    }
}

/// Something that is said without a sender.
pub(super) fn note(text: String) -> Item {
    let label = Label { senders: Vec::new(), text, tip: String::new() };
    Item { label, target: None, ways: Vec::new() }
}

/// Adds an item, or its ways to the one that says the same.
pub(super) fn add(items: &mut Vec<Item>, item: Item) {
    let is_same = |known: &&mut Item| {
        let has_lines = !item.ways.is_empty() && !known.ways.is_empty();
        has_lines && known.label.text == item.label.text && known.label.senders == item.label.senders
    };
    match items.iter_mut().find(is_same) {
        Some(known) => {
            known.ways.extend(item.ways);
            if known.label.tip != item.label.tip {
                known.label.tip = format!("{}; or {}", known.label.tip, item.label.tip);
            }
        }
        None => items.push(item),
    }
}

/// What stands in a box.
#[derive(Debug, Clone, Default)]
pub(super) struct Card {
    pub(super) class: String,
    pub(super) state: Option<String>,
    pub(super) tip: String,
    pub(super) name: String,
    /// The letters of the shared requests that it takes.
    pub(super) tags: Vec<String>,
    /// The lines, from the left.
    pub(super) left: Vec<Item>,
    /// What begins at the right side.
    pub(super) right: Vec<Item>,
}

/// A box's lines, each with something at the left, at the right, or both.
pub(super) type Rows<'c> = Vec<(Option<&'c Item>, Option<&'c Item>)>;

impl Card {
    fn tags_width(&self) -> i32 {
        self.tags.iter().map(|tag| tag_width(tag)).sum()
    }

    /// The least width that it fits in.
    pub(super) fn least_width(&self) -> i32 {
        let count = if self.state.is_some() { COUNT } else { 0 };
        let head = width(&self.name, Font::Name) + 8 + self.tags_width() + count;
        let items = self.left.iter().chain(&self.right).map(Item::width);
        items.chain([head]).max().unwrap_or(head).max(LEAST_WIDTH) + 2 * PAD
    }

    /// Its lines in a box of this width: what begins at the left and what begins at the right share one where they fit.
    pub(super) fn rows(&self, within: i32) -> Rows<'_> {
        let mut rows: Rows<'_> = Vec::new();
        let mut right = self.right.iter().peekable();
        for left in &self.left {
            let fits = |item: &&Item| left.width() + GAP + item.width() + 2 * PAD <= within;
            rows.push((Some(left), right.next_if(|item| fits(item))));
        }
        rows.extend(right.map(|item| (None, Some(item))));
        rows
    }

    pub(super) fn height(&self, within: i32) -> i32 {
        let lines = i32::try_from(self.rows(within).len()).unwrap_or(i32::MAX);
        if lines == 0 { HEAD } else { HEAD + lines.saturating_mul(LINE) + 5 }
    }

    /// How far below its top the line of each way begins.
    pub(super) fn ports(&self, within: i32) -> Vec<(usize, i32)> {
        let rows = self.rows(within);
        let mut ports = Vec::new();
        for (at, (left, right)) in offsets().zip(rows) {
            let ways = [left, right].into_iter().flatten().flat_map(|item| &item.ways);
            ports.extend(ways.map(|way| (*way, at)));
        }
        ports
    }

    /// Draws it.
    pub(super) fn draw(&self, rect: Rect) -> Frame {
        let middle = rect.y + HEAD / 2;
        let mut parts =
            vec![Part::Text(Text::new(rect.x + PAD, middle, Font::Name, "name", self.name.clone()))];
        let mut at = rect.x + PAD + width(&self.name, Font::Name) + 8;
        for tag in &self.tags {
            let badge = Rect { x: at, y: middle - 8, width: tag_width(tag) - 4, height: 17 };
            parts.push(Part::Badge(badge, "tag", centred(badge, tag)));
            at += tag_width(tag);
        }
        let count_at = parts.len();
        for (offset, (left, right)) in offsets().zip(self.rows(rect.width)) {
            if let Some(item) = left {
                item.draw(rect.x + PAD, rect.y + offset, &mut parts);
            }
            if let Some(item) = right {
                item.draw(rect.right() - PAD - item.width(), rect.y + offset, &mut parts);
            }
        }
        let (class, state, tip) = (self.class.clone(), self.state.clone(), self.tip.clone());
        Frame { rect, class, state, tip, parts, count_at }
    }
}

/// How far below the top of a box the middle of each line is.
fn offsets() -> impl Iterator<Item = i32> {
    (0..).map(|index| HEAD + index * LINE + LINE / 2)
}

fn tag_width(tag: &str) -> i32 {
    TAG.max(width(tag, Font::Line) + 10)
}

fn centred(rect: Rect, content: &str) -> Text {
    let anchor = Anchor::Middle;
    let (x, y) = (rect.x + rect.width / 2, rect.y + rect.height / 2);
    Text { anchor, ..Text::new(x, y, Font::Line, "badge", content) }
}

/// The number of instances in the box of a state, which has room for that whether there are any or not.
pub(super) fn count_badge(state: Rect, count: u64) -> Part {
    let (x, y) = (state.right() - PAD - COUNT + 6, state.y + HEAD / 2 - 9);
    let badge = Rect { x, y, width: COUNT, height: 18 };
    Part::Badge(badge, "count", centred(badge, &short_count(count)))
}

/// A number of instances in five characters at most.
pub(super) fn short_count(count: u64) -> String {
    match count {
        0..=99_999 => count.to_string(),
        100_000..=9_999_999 => format!("{}k", count / 1000),
        _ => format!("{}M", (count / 1_000_000).min(9999)),
    }
}

/// The sign and the words of each trigger, for the legend; `reporters` send reports.
pub(super) fn triggers(reporters: &str) -> [(Trigger, String); 5] {
    let reporter = if reporters.is_empty() { "a face" } else { reporters };
    [
        (Trigger::Report, format!("the {reporter} reports")),
        (Trigger::Operator, "an operator asks".to_owned()),
        (Trigger::Action, "an action ended".to_owned()),
        (Trigger::Time, "time passed".to_owned()),
        (Trigger::Entry, "at once, on entry".to_owned()),
    ]
}
