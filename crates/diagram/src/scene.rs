//! The scene: boxes, texts and lines with their positions, in pixels.

use super::graph::TransitionTrigger;
use super::text::TextFont;

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl Rect {
    pub(super) fn right(self) -> i32 {
        self.x + self.width
    }

    pub(super) fn bottom(self) -> i32 {
        self.y + self.height
    }
}

/// Alignment of a text at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextAnchor {
    Start,
    Middle,
}

/// A line of text.
#[derive(Debug, Clone)]
pub(super) struct SceneText {
    /// Its start or its middle, depending on the anchor.
    pub(super) x: i32,
    /// Its vertical middle.
    pub(super) y: i32,
    pub(super) anchor: TextAnchor,
    pub(super) font: TextFont,
    pub(super) class: &'static str,
    pub(super) content: String,
    /// Tooltip, or empty.
    pub(super) tip: String,
}

impl SceneText {
    /// A text that starts at `x`, vertically centred at `y`.
    pub(super) fn new(
        x: i32,
        y: i32,
        font: TextFont,
        class: &'static str,
        content: impl Into<String>,
    ) -> Self {
        let content = content.into();
        Self { x, y, anchor: TextAnchor::Start, font, class, content, tip: String::new() }
    }
}

/// A part of a box or of the scene.
#[derive(Debug, Clone)]
pub(super) enum ScenePart {
    Text(SceneText),
    /// The sign of a sender, centred at a position.
    Sign(TransitionTrigger, i32, i32),
    /// A small box with a text.
    Badge(Rect, &'static str, SceneText),
}

impl ScenePart {
    fn lower(&mut self, down: i32) {
        match self {
            Self::Text(text) => text.y += down,
            Self::Sign(_, _, y) => *y += down,
            Self::Badge(rect, _, text) => {
                rect.y += down;
                text.y += down;
            }
        }
    }
}

/// A box.
#[derive(Debug, Clone)]
pub(super) struct SceneBox {
    pub(super) rect: Rect,
    /// `state working`, `shared`, `exit resting`.
    pub(super) class: String,
    /// The state that it represents.
    pub(super) state: Option<String>,
    /// Tooltip, or empty.
    pub(super) tip: String,
    pub(super) parts: Vec<ScenePart>,
    /// Index of the part before which the number of instances is inserted.
    pub(super) count_at: usize,
}

/// A polyline.
#[derive(Debug, Clone)]
pub(super) struct SceneLine {
    /// The source state, or empty.
    pub(super) from: String,
    pub(super) points: Vec<(i32, i32)>,
    pub(super) class: String,
    /// Tooltip: source, target and labels.
    pub(super) tip: String,
}

/// All elements of a diagram.
#[derive(Debug, Clone, Default)]
pub(super) struct DiagramScene {
    pub(super) width: i32,
    pub(super) height: i32,
    /// Background panels.
    pub(super) panels: Vec<Rect>,
    pub(super) lines: Vec<SceneLine>,
    pub(super) frames: Vec<SceneBox>,
    pub(super) parts: Vec<ScenePart>,
}

impl DiagramScene {
    /// Grows the scene to include a box.
    pub(super) fn place(&mut self, rect: Rect) {
        self.width = self.width.max(rect.right());
        self.height = self.height.max(rect.bottom());
    }

    /// Adds `other`, moved down by `down`.
    pub(super) fn append(&mut self, mut other: Self, down: i32) {
        other.panels.iter_mut().for_each(|rect| rect.y += down);
        other.lines.iter_mut().flat_map(|line| &mut line.points).for_each(|(_, y)| *y += down);
        for frame in &mut other.frames {
            frame.rect.y += down;
            frame.parts.iter_mut().for_each(|part| part.lower(down));
        }
        other.parts.iter_mut().for_each(|part| part.lower(down));
        self.panels.append(&mut other.panels);
        self.lines.append(&mut other.lines);
        self.frames.append(&mut other.frames);
        self.parts.append(&mut other.parts);
        self.width = self.width.max(other.width);
        self.height = self.height.max(other.height + down);
    }
}
