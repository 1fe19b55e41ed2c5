//! Finds elements of a scene that overlap.

use crate::scene::{DiagramScene, Rect, ScenePart, SceneText, TextAnchor};
use crate::text::text_width;

fn overlap(one: Rect, other: Rect) -> bool {
    one.x < other.right() && other.x < one.right() && one.y < other.bottom() && other.y < one.bottom()
}

fn holds(outer: Rect, inner: Rect) -> bool {
    outer.x <= inner.x
        && inner.right() <= outer.right()
        && outer.y <= inner.y
        && inner.bottom() <= outer.bottom()
}

/// The area of a text.
fn rect(text: &SceneText) -> Rect {
    let width = text_width(&text.content, text.font);
    let x = match text.anchor {
        TextAnchor::Start => text.x,
        TextAnchor::Middle => text.x - width / 2,
    };
    let height = text.font.size() + 4;
    Rect { x, y: text.y - height / 2, width, height }
}

/// The areas of `parts` with their texts.
fn covered(parts: &[ScenePart]) -> Vec<(Rect, String)> {
    let cover = |part: &ScenePart| match part {
        ScenePart::Text(text) => (rect(text), text.content.clone()),
        ScenePart::Sign(sender, x, y) => {
            (Rect { x: x - 6, y: y - 6, width: 12, height: 12 }, format!("sign of {}", sender.word()))
        }
        ScenePart::Badge(area, _, text) => {
            assert!(
                text_width(&text.content, text.font) <= area.width,
                "{} is wider than its badge",
                text.content
            );
            (*area, text.content.clone())
        }
    };
    parts.iter().map(cover).collect()
}

/// The segments of a line.
fn segments(points: &[(i32, i32)]) -> Vec<Rect> {
    let segment = |pair: &[(i32, i32)]| {
        let (from, to) = (pair[0], pair[1]);
        assert!(from.0 == to.0 || from.1 == to.1, "{points:?} is not drawn along the axes");
        let (x, y) = (from.0.min(to.0), from.1.min(to.1));
        Rect { x, y, width: (from.0 - to.0).abs().max(1), height: (from.1 - to.1).abs().max(1) }
    };
    points.windows(2).map(segment).collect()
}

/// All overlaps in a scene.
pub(super) fn faults(scene: &DiagramScene) -> Vec<String> {
    let mut faults = Vec::new();
    let mut texts = covered(&scene.parts);
    for (index, frame) in scene.frames.iter().enumerate() {
        let name = frame.state.as_deref().unwrap_or(&frame.class);
        let own = covered(&frame.parts);
        for (rect, text) in own.iter().filter(|(rect, _)| !holds(frame.rect, *rect)) {
            faults.push(format!("`{text}` at {rect:?} is outside of {name}, {:?}", frame.rect));
        }
        for other in scene.frames[..index].iter().filter(|other| overlap(frame.rect, other.rect)) {
            faults.push(format!("{name} overlaps {:?}", other.state));
        }
        for (rect, text) in covered(&scene.parts).iter().filter(|(rect, _)| overlap(frame.rect, *rect)) {
            faults.push(format!("`{text}` at {rect:?} overlaps {name}, {:?}", frame.rect));
        }
        texts.extend(own);
    }
    for (index, (rect, text)) in texts.iter().enumerate() {
        for (other, found) in texts[..index].iter().filter(|(other, _)| overlap(*rect, *other)) {
            faults.push(format!("`{text}` at {rect:?} overlaps `{found}` at {other:?}"));
        }
        if !holds(Rect { x: 0, y: 0, width: scene.width, height: scene.height }, *rect) {
            faults.push(format!("`{text}` at {rect:?} is off the page"));
        }
    }
    let lines: Vec<Vec<Rect>> = scene.lines.iter().map(|line| segments(&line.points)).collect();
    for (line, rects) in scene.lines.iter().zip(&lines) {
        for rect in rects {
            for (_, text) in texts.iter().filter(|(text, _)| overlap(*rect, *text)) {
                faults.push(format!("the line `{}` runs through `{text}`", line.tip));
            }
            for frame in &scene.frames {
                let Rect { x, y, width, height } = frame.rect;
                let within = Rect { x: x + 1, y: y + 1, width: width - 2, height: height - 2 };
                if overlap(*rect, within) {
                    faults.push(format!("the line `{}` runs through {:?}", line.tip, frame.state));
                }
            }
        }
    }
    for (index, (line, rects)) in scene.lines.iter().zip(&lines).enumerate() {
        for (other, others) in scene.lines[..index].iter().zip(&lines) {
            // Lines with the same target join, and lines of one event branch.
            let may_share =
                line.points.last() == other.points.last() || line.points.first() == other.points.first();
            let is_along = |rect: &Rect| {
                others.iter().any(|other| {
                    let is_parallel = (rect.width > 1) == (other.width > 1);
                    is_parallel && overlap(*rect, *other)
                })
            };
            if !may_share && rects.iter().any(is_along) {
                faults.push(format!("`{}` overlaps `{}`", line.tip, other.tip));
            }
        }
    }
    faults
}
