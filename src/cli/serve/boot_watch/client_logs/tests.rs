//! Assignment of requests to boards, and the times of writes.

use super::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 6));
const LINK_A: &str = "pxelinux.cfg/01-02-00-00-00-00-0a";
const LINK_B: &str = "pxelinux.cfg/01-02-00-00-00-00-0b";

/// Logs with a clock.
struct Case {
    logs: BootClientLogs,
    number: u64,
    at: DateTime<Utc>,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        Self { logs: BootClientLogs::default(), number: 0, at: DateTime::UNIX_EPOCH, now: Instant::now() }
    }

    fn pass(&mut self, seconds: u32) {
        self.at += TimeDelta::seconds(seconds.into());
        self.now += Duration::from_secs(seconds.into());
    }

    fn request(&mut self, peer: IpAddr, file: &str) -> BootRequester {
        self.number += 1;
        let request = BootRequest { number: self.number, peer, file, end: None };
        self.logs.note_request(request, self.at, self.now)
    }

    /// Requests a file and fetches it at once.
    fn fetch(&mut self, peer: IpAddr, file: &str) -> BootRequester {
        let sender = self.request(peer, file);
        self.logs.note_end(self.number, "fetched".to_owned(), self.at);
        sender
    }

    /// The due logs as `mac: files`; all are marked as written.
    fn due(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for due in self.logs.due_logs(self.now) {
            let files = due.log.requests.iter().map(|request| request.file.clone()).collect::<Vec<_>>();
            let last = due.mac.to_string().split_off(15);
            lines.push(format!("{last}: {}", files.join(" ")));
            let entry = BootLogEntry::of_test(due.written.is_some());
            self.logs.note_written(due.mac, due.version, LogWriteOutcome::At(entry));
        }
        lines.sort();
        lines
    }
}

fn board(last: u8) -> BootRequester {
    BootRequester::Board(format!("02:00:00:00:00:{last:02x}").parse().unwrap())
}

#[test]
fn requests_before_an_address_names_its_board_are_in_that_board_s_log_in_order() {
    let mut case = Case::new();
    assert_eq!(case.fetch(PEER, "pxelinux.0"), BootRequester::UnknownAddress { is_new: true });
    assert_eq!(case.fetch(PEER, "ldlinux.c32"), BootRequester::UnknownAddress { is_new: false });
    assert_eq!(case.logs.unknown_address_at(), Some(case.at));
    assert!(case.due().is_empty());
    assert_eq!(case.fetch(PEER, LINK_A), board(10));
    assert_eq!(case.fetch(PEER, "kernel"), board(10));
    assert_eq!(case.due(), [format!("0a: pxelinux.0 ldlinux.c32 {LINK_A} kernel")]);
    assert_eq!(case.logs.unknown_address_at(), None);
}

#[test]
fn a_mac_address_in_a_file_name_takes_precedence_over_the_sender_s_address() {
    let mut case = Case::new();
    case.fetch(PEER, LINK_B);
    assert_eq!(case.fetch(PEER, "grub/grub.cfg-01-02-00-00-00-00-0a"), board(10));
    assert_eq!(case.fetch(PEER, "kernel"), board(10));
    // The board has another address, so the old one is unknown again.
    assert_eq!(case.fetch(OTHER, LINK_A), board(10));
    assert_eq!(case.fetch(PEER, "kernel"), BootRequester::UnknownAddress { is_new: true });
}

#[test]
fn an_address_is_forgotten_after_an_hour_without_requests() {
    let mut case = Case::new();
    case.fetch(PEER, LINK_A);
    case.pass(3600);
    assert_eq!(case.fetch(PEER, "kernel"), board(10));
    case.pass(3601);
    assert_eq!(case.fetch(PEER, "kernel"), BootRequester::UnknownAddress { is_new: true });
}

#[test]
fn a_log_is_written_at_once_then_each_second_and_less_often_if_it_lasts_long() {
    let mut case = Case::new();
    case.fetch(PEER, LINK_A);
    assert_eq!(case.due().len(), 1);
    assert!(case.due().is_empty(), "nothing has changed");
    case.fetch(PEER, "kernel");
    assert!(case.due().is_empty(), "too soon");
    case.pass(1);
    assert_eq!(case.due().len(), 1);
    for _ in 0..60 {
        case.pass(10);
        case.fetch(PEER, "kernel");
        case.due();
    }
    case.fetch(PEER, "kernel");
    case.pass(10);
    assert!(case.due().is_empty(), "after ten minutes the interval is a minute");
    case.pass(55);
    assert_eq!(case.due().len(), 1);
}

#[test]
fn a_pause_of_a_minute_begins_another_boot() {
    let mut case = Case::new();
    case.fetch(PEER, LINK_A);
    case.due();
    case.pass(61);
    case.fetch(PEER, "pxelinux.0");
    assert_eq!(case.due(), ["0a: pxelinux.0"]);
    // A running transfer is no pause, and a log that is not written yet is kept.
    case.request(PEER, "kernel");
    case.pass(120);
    case.fetch(PEER, "initrd");
    assert_eq!(case.due(), ["0a: pxelinux.0 kernel initrd"]);
}

#[test]
fn a_log_keeps_its_beginning_and_its_end_and_memory_is_bounded() {
    let mut case = Case::new();
    case.fetch(PEER, LINK_A);
    for number in 0..500 {
        case.fetch(PEER, &format!("{number}"));
    }
    let due = case.logs.due_logs(case.now);
    let log = &due[0].log;
    assert_eq!((log.requests.len(), log.omitted), (100, 401));
    assert_eq!((log.requests[0].file.as_str(), log.requests[99].file.as_str()), (LINK_A, "499"));
    for number in 0..2000_u32 {
        case.request(IpAddr::from(number.to_be_bytes()), "x");
    }
    assert_eq!(case.logs.clients.len(), 1001);
    assert_eq!(case.logs.unknown_address_at(), Some(case.at));
}

#[test]
fn the_log_of_an_unknown_address_is_shorter() {
    let mut case = Case::new();
    for number in 0..50 {
        case.fetch(PEER, &format!("{number}"));
    }
    case.fetch(PEER, LINK_A);
    let due = case.logs.due_logs(case.now);
    assert_eq!((due[0].log.requests.len(), due[0].log.omitted), (16 + 1, 34));
}

#[test]
fn beyond_ten_thousand_boards_no_log_is_kept_and_the_gap_is_reported() {
    let mut case = Case::new();
    let link = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        format!("pxelinux.cfg/01-02-00-{a:02x}-{b:02x}-{c:02x}-{d:02x}")
    };
    for number in 0..10_000 {
        assert!(matches!(case.fetch(PEER, &link(number)), BootRequester::Board(_)), "{number}");
    }
    assert_eq!((case.logs.clients.len(), case.logs.unknown_address_at()), (10_000, None));
    assert_eq!(case.fetch(PEER, &link(10_000)), BootRequester::UnknownAddress { is_new: false });
    assert_eq!((case.logs.clients.len(), case.logs.unknown_address_at()), (10_000, Some(case.at)));
}

#[test]
fn requests_of_unknown_addresses_are_dropped_and_their_time_is_kept() {
    let mut case = Case::new();
    case.fetch(PEER, "pxelinux.0");
    let requested_at = case.at;
    case.pass(301);
    assert!(!case.logs.forget(case.at));
    assert_eq!(case.logs.unknown_address_at(), Some(requested_at));
}

#[test]
fn each_unknown_address_is_looked_up_once() {
    let mut case = Case::new();
    case.fetch(PEER, "../x");
    assert_eq!(case.logs.unknown_addresses(), [PEER]);
    assert!(case.logs.unknown_addresses().is_empty());
    case.logs.identify(PEER, "02:00:00:00:00:0a".parse().unwrap(), case.at, case.now);
    assert_eq!(case.due(), ["0a: ../x"]);
}
