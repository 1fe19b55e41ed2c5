//! Observes TFTP requests, and writes the boot logs of boards.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client_logs::{BootClientLogs, BootRequest, BootRequester, DueBootLog, LogWriteOutcome};
use super::describe_end::describe_end;
use super::line_budget::LogLineBudget;
use crate::boards::{BoardService, BootCoverage, Mac};
use crate::formatting::with_causes;
use crate::store::Store;
use crate::tftp::{TftpFetch, TftpObserver, TransferEnd};

/// The interval of checks for due logs, while there are any.
const WRITE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of concurrent writes: more would take connections that operators need for reading.
const MAX_CONCURRENT_WRITES: usize = 3;
/// The timeout of the last writes when the server stops.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Identifies boards by their TFTP requests, and writes their boot logs.
pub(in crate::cli::serve) struct BootWatch {
    boards: BoardService,
    state: Mutex<BootWatchState>,
    changed: Notify,
}

struct BootWatchState {
    logs: BootClientLogs,
    coverage: BootCoverage,
    line_budget: LogLineBudget,
    is_failing: bool,
}

impl BootWatch {
    /// Creates a watch for `boards`.
    pub(in crate::cli::serve) fn new(boards: BoardService) -> Self {
        let coverage =
            BootCoverage { served_since: Some(boards.engine().clock().now()), unknown_sender_at: None };
        boards.set_boot_coverage(coverage);
        let state = BootWatchState {
            logs: BootClientLogs::default(),
            coverage,
            line_budget: LogLineBudget::new(Instant::now()),
            is_failing: false,
        };
        Self { boards, state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, BootWatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_request(&self, fetch: &TftpFetch, end: Option<String>) {
        let (at, now, peer) = (self.boards.engine().clock().now(), Instant::now(), fetch.peer.ip());
        let mut state = self.state();
        let request = BootRequest { number: fetch.number, peer, file: &fetch.file, end };
        match state.logs.note_request(request, at, now) {
            BootRequester::Board(_) => {}
            BootRequester::UnknownAddress { is_new } => {
                state.coverage.unknown_sender_at = state.coverage.unknown_sender_at.max(Some(at));
                self.boards.set_boot_coverage(state.coverage);
                if is_new && state.line_budget.take_line(now) {
                    tracing::info!(%peer, file = fetch.file, "TFTP request from unknown address");
                }
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Writes due logs until `stop`, and all logs once more at the end.
    pub(in crate::cli::serve) async fn run(&self, stop: CancellationToken) {
        let mut has_more = false;
        loop {
            #[expect(
                clippy::disallowed_methods,
                reason = "the rate of database writes is in real time, however fast a demo's clock runs"
            )]
            let tick = async {
                if has_more {
                    tokio::time::sleep(WRITE_CHECK_INTERVAL).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
                () = tick => {}
            }
            has_more = self.write_due(Instant::now()).await;
        }
        #[expect(clippy::disallowed_methods, reason = "an unavailable database must not delay the end")]
        tokio::time::timeout(LAST_WRITE_TIMEOUT, self.write_due(Instant::now() + Duration::from_hours(1)))
            .await
            .ok();
    }

    /// Writes the logs that are due by `now`. Returns whether any logs remain in memory.
    async fn write_due(&self, now: Instant) -> bool {
        self.look_up_unknown_addresses().await;
        let due = self.state().logs.due_logs(now);
        futures_util::stream::iter(due)
            .for_each_concurrent(MAX_CONCURRENT_WRITES, |due| self.write_log(due))
            .await;
        let at = self.boards.engine().clock().now();
        let mut state = self.state();
        let has_more = state.logs.forget(at);
        state.coverage.unknown_sender_at = state.logs.unknown_address_at();
        self.boards.set_boot_coverage(state.coverage);
        has_more
    }

    async fn write_log(&self, DueBootLog { mac, version, log, written }: DueBootLog) {
        let result = self
            .boards
            .engine()
            .store()
            .within(Store::MAX_STATEMENT_TIME, self.boards.log_boot(&log, written))
            .await;
        let mut state = self.state();
        let is_failing = result.is_err();
        let outcome = match result {
            Ok(Some(entry)) => LogWriteOutcome::At(entry),
            Ok(None) => {
                if state.line_budget.take_line(Instant::now()) {
                    tracing::info!(%mac, peer = log.peer, "TFTP requests from unregistered board");
                }
                LogWriteOutcome::NoBoard
            }
            Err(error) => {
                if !state.is_failing {
                    tracing::warn!(error = %with_causes(&error), "cannot write boot logs, retrying");
                }
                LogWriteOutcome::Failed
            }
        };
        if state.is_failing && !is_failing {
            tracing::info!("boot logs written again");
        }
        state.is_failing = is_failing;
        state.logs.note_written(mac, version, outcome);
    }

    /// Looks up the boards at unknown addresses: in the kernel's neighbour table, and among boards that are registered by
    /// address.
    async fn look_up_unknown_addresses(&self) {
        let unknown = self.state().logs.unknown_addresses();
        if unknown.is_empty() {
            return;
        }
        let neighbours = tokio::task::spawn_blocking(|| fs_err::read_to_string("/proc/net/arp")).await;
        let neighbours = neighbours.ok().and_then(Result::ok).unwrap_or_default();
        let neighbours = parse_neighbours(&neighbours);
        for peer in unknown {
            let mac = match neighbours.get(&peer) {
                Some(mac) => Some(*mac),
                None => {
                    match self
                        .boards
                        .engine()
                        .store()
                        .within(Store::MAX_STATEMENT_TIME, self.boards.mac_at(peer))
                        .await
                    {
                        Ok(mac) => mac.and_then(|mac| mac.parse().ok()),
                        // A failing database is logged where boot logs are written.
                        Err(_) => None,
                    }
                }
            };
            if let Some(mac) = mac {
                let (at, now) = (self.boards.engine().clock().now(), Instant::now());
                self.state().logs.identify(peer, mac, at, now);
            }
        }
    }
}

/// The MAC addresses of the kernel's neighbour table by IP address. Columns: IP address, hardware type, flags, MAC address.
///
/// Source: proc(5), `/proc/net/arp`; flag 2 is a complete entry.
fn parse_neighbours(table: &str) -> HashMap<IpAddr, Mac> {
    let entries = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        let flags = words.nth(1)?.strip_prefix("0x").and_then(|flags| u32::from_str_radix(flags, 16).ok())?;
        let mac = words.next()?.parse().ok()?;
        (flags & 2 != 0).then_some((address, mac))
    });
    entries.collect()
}

impl TftpObserver for BootWatch {
    fn on_request(&self, fetch: &TftpFetch) {
        self.note_request(fetch, None);
    }

    fn on_end(&self, fetch: &TftpFetch, end: TransferEnd) {
        let (at, now) = (self.boards.engine().clock().now(), Instant::now());
        let mut state = self.state();
        let mac = state.logs.note_end(fetch.number, describe_end(&end), at);
        let board = mac.map(tracing::field::display);
        match &end {
            TransferEnd::Refused(refusal) if state.line_budget.take_line(now) => {
                tracing::info!(peer = %fetch.peer, file = fetch.file, board, error = %refusal, "TFTP request refused");
            }
            TransferEnd::ServerError { reason } if state.line_budget.take_line(now) => {
                tracing::error!(peer = %fetch.peer, file = fetch.file, board, reason, "TFTP request not answered");
            }
            TransferEnd::Sent { .. }
            | TransferEnd::NotFound
            | TransferEnd::Refused(_)
            | TransferEnd::Silent { .. }
            | TransferEnd::Aborted { .. }
            | TransferEnd::Dropped { .. }
            | TransferEnd::ServerError { .. } => {}
        }
        drop(state);
        self.changed.notify_one();
    }

    fn on_drop(&self, fetch: &TftpFetch) {
        self.note_request(fetch, Some("not answered: too many transfers".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_entries_of_the_kernel_s_table_are_neighbours() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device
10.0.0.7         0x1         0x2         02:00:00:00:00:07     *        eth0
10.0.0.8         0x1         0x0         00:00:00:00:00:00     *        eth0
garbage
";
        let neighbours = parse_neighbours(table);
        assert_eq!(neighbours.len(), 1);
        assert_eq!(neighbours[&IpAddr::from([10, 0, 0, 7])].to_string(), "02:00:00:00:00:07");
    }
}
