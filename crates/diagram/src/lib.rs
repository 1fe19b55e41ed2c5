//! Diagrams of a definition: text for [Mermaid](mermaid()) and [Graphviz](dot()), and a finished image ([SVG](svg())).
//!
//! A lifecycle usually consists of a few long paths with many edges back and many failures; drawn as a plain graph it is
//! unreadable. Therefore all three show requests that many states share only once, and the SVG arranges states in lanes:
//!
//! ```text
//!   requests that many states take   resting states
//!
//!   ┌─ lane ─────────────────────┐  ┌─ lane ───────
//!   │        ↓ incoming edges    │  │
//!   │  ┌───────────┐  ┌────────┐ │  │    time flows down the lanes;
//!   │ ┌┤ working   ├──┤ failed │ │  │    edges back run on the left,
//!   │ │└─────┬─────┘  └────────┘ │  │    failed states are on the right;
//!   │ │      ↓ event             │  │    events that stay in a state
//!   │ │┌───────────┐  ┌────────┐ │  │    are lines in its box
//!   │ └┤ working   ├──┤ failed │ │  │
//! ```
//!
//! Texts have reserved boxes and rows, and lines have reserved channels, so that no text overlaps another one or a line,
//! for any definition. Pure: the same definition and overlay give the same diagram.

mod cards;
mod contents;
mod dot;
mod draw;
mod escape;
mod graph;
mod grid;
mod header;
mod instance_overlay;
mod lanes;
mod layout;
mod mermaid;
mod overlay;
mod routes;
mod scene;
mod svg;
mod text;
mod wording;

pub use dot::dot;
pub use escape::escape_xml;
pub use instance_overlay::InstanceOverlay;
pub use mermaid::mermaid;
pub use svg::{DiagramPicture, SVG_STYLE as DIAGRAM_STYLE, svg};

#[cfg(test)]
mod tests;
