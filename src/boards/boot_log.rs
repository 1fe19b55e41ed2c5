//! What boards ask for while they boot, and what that tells of a board that falls silent.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::boot::BootProgress;
use super::service::BoardService;
use super::store::{boots, devices};
use crate::engine::{EngineError, InstanceNote};
use crate::formatting::{count, elapsed};
use crate::store::history::{self, NoteId};
use crate::store::instances::InstanceId;

/// How many requests are told one by one in the words of an entry.
const MAX_REQUESTS_IN_REASON: usize = 4;

/// What a board asked for in one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLog {
    /// The board's network address.
    pub mac: String,
    /// Where the requests came from.
    pub peer: String,
    /// When something was last heard of them: a request, or how one ended.
    pub last_at: DateTime<Utc>,
    /// How many requests are not in the list.
    pub omitted: usize,
    /// The requests in their order.
    pub requests: Vec<LoggedRequest>,
}

/// One request of a boot log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// When it came.
    pub at: DateTime<Utc>,
    /// The file, as it was asked for.
    pub file: String,
    /// Whether it is the board's own boot config.
    pub is_boot_config: bool,
    /// How it ended, in words; nothing while it goes on.
    pub end: Option<String>,
}

/// Where a boot log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLogEntry {
    instance: InstanceId,
    note: NoteId,
    /// When the power had last come on.
    powered_at: Option<DateTime<Utc>>,
    /// From when on its requests are.
    pub since: DateTime<Utc>,
    has_asked: bool,
}

impl BootLogEntry {
    /// A place that stands for none, for tests.
    #[cfg(test)]
    pub(crate) fn of_test(has_asked: bool) -> Self {
        let (instance, at) = (InstanceId(1), DateTime::UNIX_EPOCH);
        let note = NoteId { history_id: 1, at };
        Self { instance, note, powered_at: None, since: DateTime::<Utc>::MIN_UTC, has_asked }
    }
}

impl BoardService {
    /// Writes a boot log into the board's history: a new entry, or the one that is `written` already, which then tells more.
    /// A board that nobody registered has none.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when the database fails; to write it again then is harmless.
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
        let mut place = match written {
            Some(place) if place.instance == instance => self.extend_entry(log, &boot, place).await?,
            Some(_) | None => None,
        };
        if place.is_none() {
            place = self.begin_entry(log, &boot, instance).await?;
        }
        let Some(mut place) = place else { return Ok(None) };
        let asked = log.requests.iter().find(|one| one.is_boot_config && one.at >= place.since);
        if let Some(asked) = asked.filter(|_| !place.has_asked) {
            let remark = format!("asked for its boot config{}", after_power(&boot, asked.at));
            let evidence = object([("file", json!(asked.file)), ("at", json!(text(asked.at)))]);
            if !self.write_note(instance, "asked-boot-config", log, evidence, remark).await? {
                return Ok(None);
            }
            place.has_asked = true;
        }
        Ok(Some(place))
    }

    /// Tells more in an entry; nothing where another one has to begin: the power came on, or the entry is gone.
    async fn extend_entry(
        &self,
        log: &BootLog,
        boot: &BootProgress,
        place: BootLogEntry,
    ) -> Result<Option<BootLogEntry>, EngineError> {
        let is_new_boot = boot.powered_at > place.powered_at
            && log.requests.iter().any(|one| Some(one.at) >= boot.powered_at);
        if is_new_boot {
            return Ok(None);
        }
        let (evidence, remark) = summarize(log, place.since);
        let mut tx = self.engine().store().begin().await?;
        let is_there = history::rewrite_note(&mut tx, place.instance, place.note, &evidence, &remark).await?;
        tx.commit().await?;
        Ok(is_there.then_some(place))
    }

    async fn begin_entry(
        &self,
        log: &BootLog,
        boot: &BootProgress,
        instance: InstanceId,
    ) -> Result<Option<BootLogEntry>, EngineError> {
        let since = boot.powered_at.filter(|at| log.requests.iter().any(|one| one.at >= *at));
        let since = since.unwrap_or(DateTime::<Utc>::MIN_UTC);
        let (evidence, remark) = summarize(log, since);
        if !self.write_note(instance, "fetched", log, evidence, remark).await? {
            return Ok(None);
        }
        let mut db = self.engine().store().reader().await?;
        let note =
            history::find_last_note(&mut db, instance, "fetched", &log.peer, self.engine().clock().now())
                .await?;
        let place =
            |note| BootLogEntry { instance, note, powered_at: boot.powered_at, since, has_asked: false };
        Ok(note.map(place))
    }

    /// Adds a note; false where the board was removed while it booted.
    async fn write_note(
        &self,
        instance: InstanceId,
        name: &'static str,
        log: &BootLog,
        evidence: Map<String, Value>,
        remark: String,
    ) -> Result<bool, EngineError> {
        let note = InstanceNote { name, sender: Some(log.peer.clone()), evidence, reason: Some(remark) };
        match self.engine().note(instance, note).await {
            Err(EngineError::NoInstance(_)) => Ok(false),
            written => written.map(|()| true),
        }
    }
}

/// A boot log's requests since `since` as evidence and in words.
fn summarize(log: &BootLog, since: DateTime<Utc>) -> (Map<String, Value>, String) {
    let requests: Vec<&LoggedRequest> = log.requests.iter().filter(|one| one.at >= since).collect();
    let words = |one: &&LoggedRequest| {
        let what = if one.is_boot_config { "its boot config" } else { one.file.as_str() };
        format!("{what}: {}", one.end.as_deref().unwrap_or("is being fetched"))
    };
    let total = requests.len() + log.omitted;
    let remark = if total <= MAX_REQUESTS_IN_REASON {
        requests.iter().map(words).collect::<Vec<_>>().join("; ")
    } else {
        let last = requests.last().map(words).unwrap_or_default();
        let missing = requests.iter().filter(|one| one.end.as_deref() == Some(NO_SUCH_FILE)).count();
        let config = requests.iter().find(|one| one.is_boot_config).map(words);
        let config = config.map(|config| format!("; {config}")).unwrap_or_default();
        format!(
            "{}, {missing} for files that there are not{config}; the last, {last}",
            count(total, "request")
        )
    };
    let list = requests.iter().map(|one| json!({ "at": text(one.at), "file": one.file, "end": one.end }));
    let mut evidence = object([("at", json!(text(log.last_at))), ("requests", list.collect())]);
    if log.omitted > 0 {
        evidence.insert("omitted".to_owned(), json!(log.omitted));
    }
    (evidence, remark)
}

/// How a request for a file ends that there is not.
pub const NO_SUCH_FILE: &str = "there is none";

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
