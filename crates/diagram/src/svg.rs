//! A scene as SVG; colours follow the browser's light or dark scheme.

use std::fmt::{self, Write};

use super::draw;
use super::escape::escape_xml;
use super::graph::TransitionTrigger;
use super::instance_overlay::InstanceOverlay;
use super::scene::{DiagramScene, Rect, SceneBox, SceneLine, ScenePart, SceneText, TextAnchor};
use super::text::TextFont;
use super::wording::summary;
use machine::Definition;

/// The style sheet of each diagram.
pub const SVG_STYLE: &str = concat!("\n", include_str!("style.css"));

/// Radius of the corners of lines.
const CORNER_RADIUS: i32 = 5;

/// The laid-out diagram of a definition.
///
/// Layout takes long for many states and does not depend on the overlay, so callers that draw repeatedly keep it.
#[derive(Debug)]
pub struct DiagramPicture {
    scene: DiagramScene,
    title: String,
}

impl DiagramPicture {
    /// Lays out `definition`.
    #[must_use]
    pub fn new(definition: &Definition) -> Self {
        let title = format!("{} ({})", definition.machine, summary(definition));
        Self { scene: draw::draw(definition), title }
    }

    /// Writes an SVG document, which can also be embedded in HTML.
    ///
    /// Each state is a group of the classes `state` and its kind, with its name in `data-state`; the present state has the
    /// class `present` as well. Positions do not depend on the overlay.
    #[must_use]
    pub fn svg(&self, overlay: &InstanceOverlay) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = write_scene(&mut out, &self.scene.with_overlay(overlay), &self.title);
        out
    }
}

/// Draws `definition` as an SVG document; see [`DiagramPicture`] for drawing repeatedly.
#[must_use]
pub fn svg(definition: &Definition, overlay: &InstanceOverlay) -> String {
    DiagramPicture::new(definition).svg(overlay)
}

fn write_scene(out: &mut String, scene: &DiagramScene, title: &str) -> fmt::Result {
    let DiagramScene { width, height, .. } = scene;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"machine-diagram\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">"
    )?;
    writeln!(out, "<title>{}</title>\n<style>{SVG_STYLE}</style>", escape_xml(title))?;
    for Rect { x, y, width, height } in &scene.panels {
        writeln!(
            out,
            "<rect class=\"panel\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>"
        )?;
    }
    for line in &scene.lines {
        write_line(out, line)?;
    }
    for frame in &scene.frames {
        write_frame(out, frame)?;
    }
    for part in &scene.parts {
        write_part(out, part)?;
    }
    writeln!(out, "</svg>")
}

fn write_frame(out: &mut String, frame: &SceneBox) -> fmt::Result {
    let state = frame.state.as_ref().map(|name| format!(" data-state=\"{}\"", escape_xml(name)));
    write!(out, "<g class=\"{}\"{}>", escape_xml(&frame.class), state.unwrap_or_default())?;
    write_tip(out, &frame.tip)?;
    let has = |word: &str| frame.class.split(' ').any(|class| class == word);
    if has("failed") {
        write_chamfered(out, frame.rect)?;
    } else {
        let round = if has("resting") { 13 } else { 3 };
        write_rect(out, "frame", frame.rect, round)?;
    }
    if has("final") {
        let Rect { x, y, width, height } = frame.rect;
        let inner = Rect { x: x + 3, y: y + 3, width: width - 6, height: height - 6 };
        write_rect(out, "frame", inner, 2)?;
    }
    for part in &frame.parts {
        write_part(out, part)?;
    }
    writeln!(out, "</g>")
}

fn write_rect(out: &mut String, class: &str, rect: Rect, round: i32) -> fmt::Result {
    let Rect { x, y, width, height } = rect;
    write!(
        out,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\"/>"
    )
}

/// A box with cut corners for failed states, recognizable without colours.
fn write_chamfered(out: &mut String, rect: Rect) -> fmt::Result {
    const CHAMFER_SIZE: i32 = 8;
    let Rect { x, y, width, height } = rect;
    let (across, down) = (width - 2 * CHAMFER_SIZE, height - 2 * CHAMFER_SIZE);
    write!(
        out,
        "<path class=\"frame\" d=\"M{} {y}h{across}l{CHAMFER_SIZE} {CHAMFER_SIZE}v{down}l-{CHAMFER_SIZE} {CHAMFER_SIZE}h-{across}l-{CHAMFER_SIZE} -{CHAMFER_SIZE}v-{down}z\"/>",
        x + CHAMFER_SIZE
    )
}

fn write_part(out: &mut String, part: &ScenePart) -> fmt::Result {
    match part {
        ScenePart::Text(text) => write_text(out, text),
        ScenePart::Sign(sender, x, y) => write_sign(out, *sender, *x, *y),
        ScenePart::Badge(rect, class, text) => {
            write_rect(out, class, *rect, rect.height / 2)?;
            write_text(out, text)
        }
    }
}

fn write_text(out: &mut String, text: &SceneText) -> fmt::Result {
    let class = match text.font {
        TextFont::Title => "title",
        TextFont::Name | TextFont::Line => text.class,
    };
    let anchor = match text.anchor {
        TextAnchor::Start => "",
        TextAnchor::Middle => " text-anchor=\"middle\"",
    };
    let base_line = text.y + (text.font.size() * 36 + 50) / 100;
    write!(out, "<text class=\"{class}\" x=\"{}\" y=\"{base_line}\"{anchor}>", text.x)?;
    write_tip(out, &text.tip)?;
    write!(out, "{}</text>", escape_xml(&text.content))
}

/// Draws the sign of a sender: each has its own shape and colour.
fn write_sign(out: &mut String, sender: TransitionTrigger, x: i32, y: i32) -> fmt::Result {
    let word = sender.word();
    let shape = match sender {
        TransitionTrigger::Report => format!("<circle class=\"sign {word}\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>"),
        TransitionTrigger::Operator => {
            format!("<path class=\"sign {word}\" d=\"M{x} {}l6 6l-6 6l-6 -6z\"/>", y - 6)
        }
        TransitionTrigger::Action => {
            format!("<rect class=\"sign {word}\" x=\"{}\" y=\"{}\" width=\"9\" height=\"9\"/>", x - 4, y - 4)
        }
        TransitionTrigger::Time => {
            let hands = format!("M{x} {}V{y}H{}", y - 3, x + 3);
            format!(
                "<path class=\"sign {word}\" d=\"M{} {y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0{hands}\"/>",
                x - 5
            )
        }
        TransitionTrigger::Entry => {
            format!(
                "<path class=\"sign {word}\" d=\"M{} {}l4 5l-4 5M{} {}l4 5l-4 5\"/>",
                x - 4,
                y - 5,
                x,
                y - 5
            )
        }
    };
    out.write_str(&shape)
}

fn write_line(out: &mut String, line: &SceneLine) -> fmt::Result {
    let Some((first, last)) = line.points.first().zip(line.points.last()) else { return Ok(()) };
    let mut path = format!("M{} {}", first.0, first.1);
    for corner in line.points.windows(3) {
        let [before, at, after] = [corner[0], corner[1], corner[2]];
        let (begin, end) = (towards(at, before), towards(at, after));
        write!(path, "L{} {}Q{} {} {} {}", begin.0, begin.1, at.0, at.1, end.0, end.1)?;
    }
    write!(path, "L{} {}", last.0, last.1)?;
    write!(out, "<g><path class=\"{}\" d=\"{path}\">", escape_xml(&line.class))?;
    write_tip(out, &line.tip)?;
    write!(out, "</path>")?;
    let (x, y) = *last;
    let is_downward = line.points.iter().rev().nth(1).is_some_and(|before| before.0 == x);
    let head = if is_downward { format!("M{x} {y}l-4 -8h8z") } else { format!("M{x} {y}l-8 -4v8z") };
    writeln!(out, "<path class=\"head\" d=\"{head}\"/></g>")
}

/// The point at which a line begins to bend around the corner `at`: at most half of the distance to `other`.
fn towards(at: (i32, i32), other: (i32, i32)) -> (i32, i32) {
    let step = |from: i32, to: i32| from + ((to - from) / 2).clamp(-CORNER_RADIUS, CORNER_RADIUS);
    (step(at.0, other.0), step(at.1, other.1))
}

fn write_tip(out: &mut String, tip: &str) -> fmt::Result {
    if tip.is_empty() { Ok(()) } else { write!(out, "<title>{}</title>", escape_xml(tip)) }
}
