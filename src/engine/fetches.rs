//! What boards fetch while they boot, and what that tells of a board that falls silent.

use serde_json::{Map, Value};

use super::work::Note;
use super::{Engine, EngineError};
use crate::store::devices;
use crate::store::history::{self, Boot};

/// A file that a board asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The board's network address.
    pub mac: String,
    /// The file, as it was asked for.
    pub file: String,
    /// Whether it is the board's own boot config.
    pub is_boot_config: bool,
    /// Where the request came from.
    pub peer: String,
    /// How it ended, in words; nothing while it goes on.
    pub end: Option<String>,
}

impl Engine {
    /// Writes into the board's history that it asked for a file; a board that nobody registered has none.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn fetched(&self, fetch: Fetch) -> Result<(), EngineError> {
        let (id, boot) = {
            let mut db = self.store().reader().await?;
            let Some(id) = devices::find_by_mac(&mut db, &fetch.mac).await? else { return Ok(()) };
            (id, history::read_boot(&mut db, id, self.clock().now()).await?)
        };
        let now = self.clock().now();
        let what = if fetch.is_boot_config { "its boot config" } else { fetch.file.as_str() };
        let when =
            boot.powered_at.map(|at| format!(" {} after power-on", seconds(now - at))).unwrap_or_default();
        let remark = match &fetch.end {
            None => format!("asked for {what}{when}"),
            Some(end) => format!("{what}: {end}"),
        };
        let name = match (&fetch.end, fetch.is_boot_config) {
            (Some(_), _) => "fetched",
            (None, true) => "asked-boot-config",
            (None, false) => "asked",
        };
        let evidence = Map::from_iter([("file".to_owned(), Value::from(fetch.file))]);
        let note = Note { name, sender: Some(fetch.peer), evidence, remark: Some(remark) };
        match self.note(id, note).await {
            // It was removed while it booted.
            Err(EngineError::NoInstance(_)) => Ok(()),
            told => told,
        }
    }
}

/// Says in words how far the board's present boot got; nothing where its power was never seen to come on.
#[must_use]
pub fn describe_boot(boot: &Boot) -> Option<String> {
    let powered_at = boot.powered_at?;
    Some(match (boot.asked_at, boot.heard_at) {
        (None, None) => "it has not asked for anything since its power came on".to_owned(),
        (None, Some(heard_at)) => {
            format!(
                "it never asked for its boot config; last heard {} after power-on",
                seconds(heard_at - powered_at)
            )
        }
        (Some(asked_at), heard_at) => {
            let asked =
                format!("it asked for its boot config {} after power-on", seconds(asked_at - powered_at));
            match heard_at.filter(|heard_at| *heard_at > asked_at) {
                Some(heard_at) => {
                    format!("{asked}; last heard {} after power-on", seconds(heard_at - powered_at))
                }
                None => format!("{asked} and then fell silent"),
            }
        }
    })
}

/// A span in whole seconds.
fn seconds(span: chrono::TimeDelta) -> String {
    format!("{} s", span.num_seconds().max(0))
}
