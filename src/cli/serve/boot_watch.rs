//! Tells the engine what boards fetch by TFTP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::action::mac_of_link;
use crate::engine::{self, Engine};
use crate::tftp::packet::ErrorCode;
use crate::tftp::{Abort, End, Fetch, Observer};

/// Knows boards by the boot config that they ask for, and from then on by their address.
pub(super) struct BootWatch {
    engine: Engine,
    seen: Mutex<HashMap<IpAddr, String>>,
}

/// How many addresses are remembered; a farm has fewer, and whoever makes more up is forgotten with the rest.
const MOST: usize = 100_000;

impl BootWatch {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, seen: Mutex::default() }
    }

    /// The board that a request comes from, and whether it asks for its own boot config.
    fn board(&self, fetch: &Fetch) -> Option<(String, bool)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mac) = mac_of_link(&fetch.file) {
            if seen.len() >= MOST {
                seen.clear();
            }
            seen.insert(fetch.peer.ip(), mac.to_string());
            return Some((mac.to_string(), true));
        }
        seen.get(&fetch.peer.ip()).map(|mac| (mac.clone(), false))
    }

    async fn tell(&self, fetch: &Fetch, end: Option<String>) {
        let Some((mac, is_boot_config)) = self.board(fetch) else { return };
        let file = fetch.file.clone();
        let told = engine::Fetch { mac, file, is_boot_config, peer: fetch.peer.ip().to_string(), end };
        if let Err(error) = self.engine.fetched(told).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a fetch is missing in history");
        }
    }
}

#[async_trait]
impl Observer for BootWatch {
    async fn asked(&self, fetch: &Fetch) {
        self.tell(fetch, None).await;
    }

    async fn ended(&self, fetch: &Fetch, end: End) {
        let words = match end {
            End::Sent { bytes, .. } => format!("fetched, {bytes} bytes"),
            End::NotFound => "there is none".to_owned(),
            End::Refused(why) => format!("refused: {why}"),
            End::Silent { bytes_acked } => format!("the board fell silent after {bytes_acked} bytes"),
            // Boot loaders begin a transfer to learn a size, and end it there.
            End::Aborted { bytes_acked: 0, by: Abort::Error { code: ErrorCode::OPTIONS, .. } } => {
                "asked only for its size".to_owned()
            }
            End::Aborted { bytes_acked, .. } => format!("the board gave up after {bytes_acked} bytes"),
            End::Broken { reason } => {
                tracing::error!(reason, file = fetch.file, "a file of the boot tree cannot be served");
                "the server could not read it".to_owned()
            }
        };
        self.tell(fetch, Some(words)).await;
    }
}
