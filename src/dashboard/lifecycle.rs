//! `GET /lifecycle`: the diagram of the machine, with the number of boards in each state.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::context::DashboardContext;
use super::error_pages::engine_error_page;
use super::layout::{Layout, uncached};

/// How often the page refreshes itself, in seconds.
const LIFECYCLE_REFRESH_S: u32 = 5;

/// The page.
#[derive(Debug, Template)]
#[template(path = "lifecycle.html", config = "src/dashboard/askama.toml")]
struct LifecyclePage {
    layout: Layout,
    /// An SVG image.
    diagram: String,
}

/// `GET /lifecycle`: the diagram of the machine, with the number of boards in each state.
pub(super) async fn show(
    State(DashboardContext { engine, machine, .. }): State<DashboardContext>,
) -> Response {
    let now = engine.clock().now();
    match engine.draw_diagram(&machine, None).await {
        Ok(diagram) => {
            let layout = Layout { title: "the lifecycle".to_owned(), refresh_s: LIFECYCLE_REFRESH_S, now };
            uncached(&LifecyclePage { layout, diagram })
        }
        Err(error) => engine_error_page(error, now),
    }
}
