//! A picture with what is known of instances.

use super::cards::count_badge;
use super::instance_overlay::InstanceOverlay;
use super::scene::DiagramScene;

impl DiagramScene {
    /// The same with what is known of instances: everything stands where it stood.
    pub(super) fn with_overlay(&self, marks: &InstanceOverlay) -> Self {
        let mut scene = self.clone();
        let is_present = |name: &str| marks.present.as_ref().is_some_and(|present| present.as_str() == name);
        for frame in &mut scene.frames {
            let Some(state) = &frame.state else { continue };
            if is_present(state) {
                frame.class.push_str(" present");
            }
            if let Some(count) = marks.counts.get(state.as_str()).filter(|count| **count > 0) {
                frame.parts.insert(frame.count_at, count_badge(frame.rect, *count));
            }
        }
        for line in scene.lines.iter_mut().filter(|line| is_present(&line.from)) {
            line.class.push_str(" present");
        }
        // What leads on from the present state lies above the lines that it shares tracks with.
        scene.lines.sort_by_key(|line| is_present(&line.from));
        scene
    }
}
