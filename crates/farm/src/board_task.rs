//! A board's task, controlled by the power of its coil.
//!
//! ```text
//!        power                     boot.rs: firmware, TFTP, reports, polls
//! Off ──────────► Firmware ─► Booting ─► Running | Live | Silent
//!  ▲                                        │
//!  └──────── power lost, at any moment ─────┘
//! ```
//!
//! Losing power drops everything in progress: a transfer, an unanswered request, an open port.

use std::convert::Infallible;

use tokio::sync::watch;

use super::board::{BoardActivity, SimulatedBoard};
use super::boot;

/// Runs the board until its wire is closed.
pub(super) async fn run_board(board: &SimulatedBoard, mut wire: watch::Receiver<bool>) {
    while wire.wait_for(|is_on| *is_on != board.is_inverted).await.is_ok() {
        board.update(|status| status.power_ons += 1);
        tokio::select! {
            biased;
            // Any change, not only "off": off and on may be observed as one change.
            _ = wire.changed() => {}
            never = run_while_powered(board) => match never {},
        }
        board.update(|status| {
            status.power_offs += 1;
            status.activity = BoardActivity::Off;
        });
    }
}

async fn run_while_powered(board: &SimulatedBoard) -> Infallible {
    let mut dead = board.is_dead.subscribe();
    loop {
        let is_dead = *dead.borrow_and_update();
        let run = async { if is_dead { board.be_silent().await } else { boot::run(board).await } };
        tokio::select! {
            biased;
            _ = dead.changed() => {}
            never = run => match never {},
        }
    }
}
