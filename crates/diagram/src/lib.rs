//! Drawings of a definition: for [Mermaid](mermaid()), for [Graphviz](dot()), and a finished picture ([SVG](svg())).
//!
//! A lifecycle is mostly a few long ways with many ways back and many ways to fail, and as a plain graph it becomes a
//! ball of wool. So all three say once what many states share, and the picture is laid out in lanes:
//!
//! ```text
//!   requests that many states take   states of rest
//!
//!   ┌─ lane ─────────────────────┐  ┌─ lane ───────
//!   │        ↓ what leads here   │  │
//!   │  ┌───────────┐  ┌────────┐ │  │    time flows down the lanes;
//!   │ ┌┤ working   ├──┤ failed │ │  │    ways back run on the left,
//!   │ │└─────┬─────┘  └────────┘ │  │    failures stand to the right;
//!   │ │      ↓ event             │  │    what happens within a state
//!   │ │┌───────────┐  ┌────────┐ │  │    is a line in its box
//!   │ └┤ working   ├──┤ failed │ │  │
//! ```
//!
//! Texts stand in boxes and in rows kept for them, lines run in channels kept for them, so that no text can meet another
//! or a line, whatever the definition. Pure: the same definition and marks give the same drawing.

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
