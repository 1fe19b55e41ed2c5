//! `GET /lifecycle`: the machine, with the number of boards in each state.

use axum::extract::State;
use axum::response::Response;

use super::context::Pages;
use super::faults::at_fault;
use super::layout::{fresh, whole};

/// How often the picture of the lifecycle does.
const REFRESH_S: u32 = 5;

/// `GET /lifecycle`: the machine, with the number of boards in each state.
pub(super) async fn show(State(Pages { engine, machine, .. }): State<Pages>) -> Response {
    let now = engine.clock().now();
    match engine.picture(&machine, None).await {
        Ok(picture) => {
            let main = format!("<nav><a href=\"/\">All boards</a></nav><div class=\"wide\">{picture}</div>");
            fresh(whole("the lifecycle", REFRESH_S, &main, now))
        }
        Err(error) => at_fault(error, now),
    }
}
