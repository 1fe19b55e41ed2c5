//! What boards ask for while they boot, and what that tells of a board that falls silent.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::work::Note;
use super::{Engine, EngineError};
use crate::store::devices;
use crate::store::history::{self, Boot, Entry, NoteId, Told};
use crate::store::instances::InstanceId;

/// How many requests are told one by one in the words of an entry.
const TOLD_REQUESTS: usize = 4;

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
pub struct LoggedAt {
    instance: InstanceId,
    note: NoteId,
    /// When the power had last come on.
    powered_at: Option<DateTime<Utc>>,
    /// From when on its requests are.
    pub since: DateTime<Utc>,
    has_asked: bool,
}

impl LoggedAt {
    /// A place that stands for none, for tests.
    #[cfg(test)]
    pub(crate) fn of_test(has_asked: bool) -> Self {
        let (instance, at) = (InstanceId(1), DateTime::UNIX_EPOCH);
        let note = NoteId { history_id: 1, at };
        Self { instance, note, powered_at: None, since: DateTime::<Utc>::MIN_UTC, has_asked }
    }
}

/// What this process can have missed of boards' requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Since when it has served the boot tree by TFTP; nothing where it does not.
    pub served_since: Option<DateTime<Utc>>,
    /// When there last was a request of which it is not known whose it was.
    pub stranger_at: Option<DateTime<Utc>>,
}

/// What is known of this process's own part in boots, for whoever tells of them.
#[derive(Debug, Default)]
pub(super) struct Booting {
    coverage: Mutex<Coverage>,
    fault: Mutex<Option<String>>,
}

impl Engine {
    /// Learns what can have been missed of boards' requests.
    pub fn cover_boots(&self, coverage: Coverage) {
        *self.inner.booting.coverage.lock().unwrap_or_else(PoisonError::into_inner) = coverage;
    }

    /// What can have been missed of boards' requests.
    #[must_use]
    pub fn boot_coverage(&self) -> Coverage {
        *self.inner.booting.coverage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns why the boot tree cannot be read, or that it can.
    pub fn tell_boot_fault(&self, fault: Option<String>) {
        *self.inner.booting.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Why the boot tree cannot be read, in words for the operator; nothing where it can.
    #[must_use]
    pub fn boot_fault(&self) -> Option<String> {
        self.inner.booting.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The network address of the one board that is registered as being at the address `peer`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn mac_at(&self, peer: IpAddr) -> Result<Option<String>, EngineError> {
        let mut db = self.store().reader().await?;
        Ok(devices::find_mac_at(&mut db, &peer.to_string()).await?)
    }

    /// Writes a boot log into the board's history: a new entry, or the one that is `written` already, which then tells more.
    /// A board that nobody registered has none.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when the database fails; to write it again then is harmless.
    pub async fn log_boot(
        &self,
        log: &BootLog,
        written: Option<LoggedAt>,
    ) -> Result<Option<LoggedAt>, EngineError> {
        let (instance, boot) = {
            let mut db = self.store().reader().await?;
            let Some(id) = devices::find_by_mac(&mut db, &log.mac).await? else { return Ok(None) };
            (id, history::read_boot(&mut db, id, self.clock().now()).await?)
        };
        let mut place = match written {
            Some(place) if place.instance == instance => self.log_on(log, &boot, place).await?,
            Some(_) | None => None,
        };
        if place.is_none() {
            place = self.log_anew(log, &boot, instance).await?;
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
    async fn log_on(
        &self,
        log: &BootLog,
        boot: &Boot,
        place: LoggedAt,
    ) -> Result<Option<LoggedAt>, EngineError> {
        let is_new_boot = boot.powered_at > place.powered_at
            && log.requests.iter().any(|one| Some(one.at) >= boot.powered_at);
        if is_new_boot {
            return Ok(None);
        }
        let (evidence, remark) = told(log, place.since);
        let mut tx = self.store().begin().await?;
        let is_there = history::rewrite_note(&mut tx, place.instance, place.note, &evidence, &remark).await?;
        tx.commit().await?;
        Ok(is_there.then_some(place))
    }

    async fn log_anew(
        &self,
        log: &BootLog,
        boot: &Boot,
        instance: InstanceId,
    ) -> Result<Option<LoggedAt>, EngineError> {
        let since = boot.powered_at.filter(|at| log.requests.iter().any(|one| one.at >= *at));
        let since = since.unwrap_or(DateTime::<Utc>::MIN_UTC);
        let (evidence, remark) = told(log, since);
        if !self.write_note(instance, "fetched", log, evidence, remark).await? {
            return Ok(None);
        }
        let mut db = self.store().reader().await?;
        let note =
            history::find_last_note(&mut db, instance, "fetched", &log.peer, self.clock().now()).await?;
        let place = |note| LoggedAt { instance, note, powered_at: boot.powered_at, since, has_asked: false };
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
        let note = Note { name, sender: Some(log.peer.clone()), evidence, remark: Some(remark) };
        match self.note(instance, note).await {
            Err(EngineError::NoInstance(_)) => Ok(false),
            written => written.map(|()| true),
        }
    }
}

/// A boot log's requests since `since` as evidence and in words.
fn told(log: &BootLog, since: DateTime<Utc>) -> (Map<String, Value>, String) {
    let requests: Vec<&LoggedRequest> = log.requests.iter().filter(|one| one.at >= since).collect();
    let words = |one: &&LoggedRequest| {
        let what = if one.is_boot_config { "its boot config" } else { one.file.as_str() };
        format!("{what}: {}", one.end.as_deref().unwrap_or("is being fetched"))
    };
    let count = requests.len() + log.omitted;
    let remark = if count <= TOLD_REQUESTS {
        requests.iter().map(words).collect::<Vec<_>>().join("; ")
    } else {
        let last = requests.last().map(words).unwrap_or_default();
        let missing = requests.iter().filter(|one| one.end.as_deref() == Some(NO_FILE)).count();
        let config = requests.iter().find(|one| one.is_boot_config).map(words);
        let config = config.map(|config| format!("; {config}")).unwrap_or_default();
        format!("{count} requests, {missing} for files that there are not{config}; the last, {last}")
    };
    let list = requests.iter().map(|one| json!({ "at": text(one.at), "file": one.file, "end": one.end }));
    let mut evidence = object([("at", json!(text(log.last_at))), ("requests", list.collect())]);
    if log.omitted > 0 {
        evidence.insert("omitted".to_owned(), json!(log.omitted));
    }
    (evidence, remark)
}

/// How a request for a file ends that there is not.
pub const NO_FILE: &str = "there is none";

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn after_power(boot: &Boot, at: DateTime<Utc>) -> String {
    let powered_at = boot.powered_at.filter(|powered_at| at >= *powered_at);
    powered_at.map(|powered_at| format!(" {} after power-on", seconds(at - powered_at))).unwrap_or_default()
}

/// When what an entry tells was last heard: a boot log's entry tells more than what was known when it was begun.
pub(super) fn heard_at(entry: &Entry) -> DateTime<Utc> {
    let said = match &entry.told {
        Told::Note(_) => entry.evidence.as_ref().and_then(|evidence| evidence.get("at")),
        Told::Stimulus(_) | Told::Unreadable(_) => None,
    };
    let said = said.and_then(Value::as_str).and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    said.map_or(entry.at, |at| at.to_utc())
}

/// Says in words how far the board's present boot got, and no more than is known; nothing where its power was never seen to
/// come on.
#[must_use]
pub fn describe_boot(boot: &Boot, coverage: Coverage) -> Option<String> {
    let powered_at = boot.powered_at?;
    let after = |at: DateTime<Utc>| format!("{} after power-on", seconds(at - powered_at));
    Some(match (boot.asked_at, boot.heard_at) {
        (None, None) => {
            format!(
                "no request from it has been seen by this server since its power came on{}",
                missed(powered_at, coverage)
            )
        }
        (None, Some(heard_at)) => {
            let missed = missed(powered_at, coverage);
            format!(
                "no request for its boot config has been seen by this server{missed}; last heard {}",
                after(heard_at)
            )
        }
        (Some(asked_at), heard_at) => {
            let asked = format!("it asked for its boot config {}", after(asked_at));
            match heard_at.filter(|heard_at| *heard_at > asked_at) {
                Some(heard_at) => format!("{asked}; last heard {}", after(heard_at)),
                None => format!("{asked} and has not been heard since"),
            }
        }
    })
}

/// Why requests since `powered_at` could have gone unseen.
fn missed(powered_at: DateTime<Utc>, coverage: Coverage) -> String {
    let after = |at: DateTime<Utc>| format!("{} after power-on", seconds(at - powered_at));
    match coverage {
        Coverage { served_since: None, .. } => " (this server serves no boot tree by TFTP)".to_owned(),
        Coverage { stranger_at: Some(at), .. } if at >= powered_at => {
            format!(" (but requests from unknown senders, the last {})", after(at))
        }
        Coverage { served_since: Some(at), .. } if at > powered_at => {
            format!(" (this server serves the boot tree since {})", after(at))
        }
        Coverage { .. } => String::new(),
    }
}

/// A span in whole seconds.
fn seconds(span: chrono::TimeDelta) -> String {
    format!("{} s", span.num_seconds().max(0))
}
