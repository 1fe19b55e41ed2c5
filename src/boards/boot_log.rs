//! Boot logs: the requests of boards while they boot, written as notes into their histories.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::boot::BootProgress;
use super::service::BoardService;
use super::store::{boots, devices};
use crate::engine::{EngineError, InstanceNote};
use crate::formatting::{count, elapsed};
use crate::store::history::{self, NoteId};
use crate::store::instances::InstanceId;

/// The maximum number of requests that are listed in the reason of an entry.
const MAX_REQUESTS_IN_REASON: usize = 4;

/// The requests of a board in one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLog {
    /// The MAC address of the board.
    pub mac: String,
    /// The address that the requests came from.
    pub peer: String,
    /// When the last request arrived or ended.
    pub last_at: DateTime<Utc>,
    /// The number of requests that are not in the list.
    pub omitted: usize,
    /// The requests in order.
    pub requests: Vec<LoggedRequest>,
}

/// One request of a boot log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The requested file name.
    pub file: String,
    /// Whether the file is the board's own boot config.
    pub is_boot_config: bool,
    /// The result in words; `None` while it is in progress.
    pub end: Option<String>,
}

/// The history entry of a boot log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLogEntry {
    instance: InstanceId,
    note: NoteId,
    /// When the power had last come on when the entry was begun.
    powered_at: Option<DateTime<Utc>>,
    /// The time from which on it contains requests.
    pub since: DateTime<Utc>,
    has_asked: bool,
}

impl BootLogEntry {
    /// Creates an entry that does not exist, for tests.
    #[cfg(test)]
    pub(crate) fn of_test(has_asked: bool) -> Self {
        let (instance, at) = (InstanceId(1), DateTime::UNIX_EPOCH);
        let note = NoteId { history_id: 1, at };
        Self { instance, note, powered_at: None, since: DateTime::<Utc>::MIN_UTC, has_asked }
    }
}

impl BoardService {
    /// Writes a boot log into the board's history: as a new entry, or by extending the entry `written` earlier.
    ///
    /// Returns `None` if no board is registered with the MAC address.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when the database fails; writing the log again is harmless.
    pub async fn log_boot(
        &self,
        log: &BootLog,
        written: Option<BootLogEntry>,
    ) -> Result<Option<BootLogEntry>, EngineError> {
        let (instance, boot) = {
            let mut db = self.engine().store().reader().await?;
            let Some(id) = devices::find_by_mac(&mut db, &log.mac).await? else { return Ok(None) };
            (id, boots::read_boot(&mut db, id, self.engine().clock().now()).await?)
        };
        let mut entry = match written {
            Some(entry) if entry.instance == instance => self.extend_entry(log, &boot, entry).await?,
            Some(_) | None => None,
        };
        if entry.is_none() {
            entry = self.begin_entry(log, &boot, instance).await?;
        }
        let Some(mut entry) = entry else { return Ok(None) };
        let asked = log.requests.iter().find(|request| request.is_boot_config && request.at >= entry.since);
        if let Some(asked) = asked.filter(|_| !entry.has_asked) {
            let reason = format!("asked for its boot config{}", after_power(&boot, asked.at));
            let evidence = object([("file", json!(asked.file)), ("at", json!(text(asked.at)))]);
            if !self.write_note(instance, "asked-boot-config", log, evidence, reason).await? {
                return Ok(None);
            }
            entry.has_asked = true;
        }
        Ok(Some(entry))
    }

    /// Rewrites an entry; `None` if another one has to begin: the power came on since, or the entry no longer exists.
    async fn extend_entry(
        &self,
        log: &BootLog,
        boot: &BootProgress,
        entry: BootLogEntry,
    ) -> Result<Option<BootLogEntry>, EngineError> {
        let is_new_boot = boot.powered_at > entry.powered_at
            && log.requests.iter().any(|request| Some(request.at) >= boot.powered_at);
        if is_new_boot {
            return Ok(None);
        }
        let (evidence, reason) = summarize(log, entry.since);
        let mut tx = self.engine().store().begin().await?;
        let is_rewritten =
            history::rewrite_note(&mut tx, entry.instance, entry.note, &evidence, &reason).await?;
        tx.commit().await?;
        Ok(is_rewritten.then_some(entry))
    }

    async fn begin_entry(
        &self,
        log: &BootLog,
        boot: &BootProgress,
        instance: InstanceId,
    ) -> Result<Option<BootLogEntry>, EngineError> {
        let since = boot.powered_at.filter(|at| log.requests.iter().any(|request| request.at >= *at));
        let since = since.unwrap_or(DateTime::<Utc>::MIN_UTC);
        let (evidence, reason) = summarize(log, since);
        if !self.write_note(instance, "fetched", log, evidence, reason).await? {
            return Ok(None);
        }
        let mut db = self.engine().store().reader().await?;
        let note =
            history::find_last_note(&mut db, instance, "fetched", &log.peer, self.engine().clock().now())
                .await?;
        let entry =
            |note| BootLogEntry { instance, note, powered_at: boot.powered_at, since, has_asked: false };
        Ok(note.map(entry))
    }

    /// Appends a note; false if the board was removed meanwhile.
    async fn write_note(
        &self,
        instance: InstanceId,
        name: &'static str,
        log: &BootLog,
        evidence: Map<String, Value>,
        reason: String,
    ) -> Result<bool, EngineError> {
        let note = InstanceNote { name, sender: Some(log.peer.clone()), evidence, reason: Some(reason) };
        match self.engine().note(instance, note).await {
            Err(EngineError::NoInstance(_)) => Ok(false),
            written => written.map(|()| true),
        }
    }
}

/// Summarizes the requests since `since` as evidence and in words.
fn summarize(log: &BootLog, since: DateTime<Utc>) -> (Map<String, Value>, String) {
    let requests: Vec<&LoggedRequest> = log.requests.iter().filter(|request| request.at >= since).collect();
    let words = |request: &&LoggedRequest| {
        let file = if request.is_boot_config { "its boot config" } else { request.file.as_str() };
        format!("{file}: {}", request.end.as_deref().unwrap_or("in progress"))
    };
    let total = requests.len() + log.omitted;
    let reason = if total <= MAX_REQUESTS_IN_REASON {
        requests.iter().map(words).collect::<Vec<_>>().join("; ")
    } else {
        let last = requests.last().map(words).unwrap_or_default();
        let missing = requests.iter().filter(|request| request.end.as_deref() == Some(NO_SUCH_FILE)).count();
        let config = requests.iter().find(|request| request.is_boot_config).map(words);
        let config = config.map(|config| format!("; {config}")).unwrap_or_default();
        format!("{}, {missing} for missing files{config}; the last, {last}", count(total, "request"))
    };
    let list = requests
        .iter()
        .map(|request| json!({ "at": text(request.at), "file": request.file, "end": request.end }));
    let mut evidence = object([("at", json!(text(log.last_at))), ("requests", list.collect())]);
    if log.omitted > 0 {
        evidence.insert("omitted".to_owned(), json!(log.omitted));
    }
    (evidence, reason)
}

/// The result of a request for a missing file.
pub const NO_SUCH_FILE: &str = "no such file";

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn after_power(boot: &BootProgress, at: DateTime<Utc>) -> String {
    let powered_at = boot.powered_at.filter(|powered_at| at >= *powered_at);
    powered_at.map(|powered_at| format!(" {} after power-on", elapsed(at - powered_at))).unwrap_or_default()
}
