//! Applies an overlay of instances to a scene.

use super::cards::count_badge;
use super::instance_overlay::InstanceOverlay;
use super::scene::DiagramScene;

impl DiagramScene {
    /// Returns the scene with the overlay; no position changes.
    pub(super) fn with_overlay(&self, overlay: &InstanceOverlay) -> Self {
        let mut scene = self.clone();
        let is_present =
            |name: &str| overlay.present.as_ref().is_some_and(|present| present.as_str() == name);
        for frame in &mut scene.frames {
            let Some(state) = &frame.state else { continue };
            if is_present(state) {
                frame.class.push_str(" present");
            }
            if let Some(count) = overlay.counts.get(state.as_str()).filter(|count| **count > 0) {
                frame.parts.insert(frame.count_at, count_badge(frame.rect, *count));
            }
        }
        for line in scene.lines.iter_mut().filter(|line| is_present(&line.from)) {
            line.class.push_str(" present");
        }
        // Edges out of the present state are drawn above lines on the same tracks.
        scene.lines.sort_by_key(|line| is_present(&line.from));
        scene
    }
}
