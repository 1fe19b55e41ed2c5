//! `GET /lifecycle`: the machine, with the number of boards in each state.

use axum::extract::State;
use axum::response::Response;

use super::context::DashboardContext;
use super::error_pages::engine_error_page;
use super::layout::{full_page, uncached};

/// How often the picture of the lifecycle does.
const LIFECYCLE_REFRESH_S: u32 = 5;

/// `GET /lifecycle`: the machine, with the number of boards in each state.
pub(super) async fn show(
    State(DashboardContext { engine, machine, .. }): State<DashboardContext>,
) -> Response {
    let now = engine.clock().now();
    match engine.draw_diagram(&machine, None).await {
        Ok(picture) => {
            let main = format!("<nav><a href=\"/\">All boards</a></nav><div class=\"wide\">{picture}</div>");
            uncached(full_page("the lifecycle", LIFECYCLE_REFRESH_S, &main, now))
        }
        Err(error) => engine_error_page(error, now),
    }
}
