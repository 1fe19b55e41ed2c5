//! Whose requests are whose, and what is written when.

use super::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 6));
const LINK_A: &str = "pxelinux.cfg/01-02-00-00-00-00-0a";
const LINK_B: &str = "pxelinux.cfg/01-02-00-00-00-00-0b";

/// Logs, and a clock for them.
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

    fn ask(&mut self, peer: IpAddr, file: &str) -> BootRequester {
        self.number += 1;
        let asked = BootRequest { number: self.number, peer, file, end: None };
        self.logs.note_request(asked, self.at, self.now)
    }

    /// Asks and has it at once.
    fn fetch(&mut self, peer: IpAddr, file: &str) -> BootRequester {
        let sender = self.ask(peer, file);
        self.logs.note_end(self.number, "fetched".to_owned(), self.at);
        sender
    }

    /// What is due, as `mac: files`; all of it is then written.
    fn due(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for due in self.logs.due_logs(self.now) {
            let files = due.log.requests.iter().map(|one| one.file.clone()).collect::<Vec<_>>();
            let last = due.mac.to_string().split_off(15);
            told.push(format!("{last}: {}", files.join(" ")));
            let place = BootLogEntry::of_test(due.written.is_some());
            self.logs.note_written(due.mac, due.version, LogWriteOutcome::At(place));
        }
        told.sort();
        told
    }
}

fn board(last: u8) -> BootRequester {
    BootRequester::Board(format!("02:00:00:00:00:{last:02x}").parse().unwrap())
}

#[test]
fn what_an_address_asked_for_before_it_named_its_board_is_that_board_s_in_order() {
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
fn the_network_address_in_a_name_wins_over_where_it_comes_from_and_the_old_board_is_forgotten() {
    let mut case = Case::new();
    case.fetch(PEER, LINK_B);
    assert_eq!(case.fetch(PEER, "grub/grub.cfg-01-02-00-00-00-00-0a"), board(10));
    assert_eq!(case.fetch(PEER, "kernel"), board(10));
    // The board has another address: the old one is nobody's.
    assert_eq!(case.fetch(OTHER, LINK_A), board(10));
    assert_eq!(case.fetch(PEER, "kernel"), BootRequester::UnknownAddress { is_new: true });
}

#[test]
fn an_address_is_forgotten_after_an_hour_of_silence() {
    let mut case = Case::new();
    case.fetch(PEER, LINK_A);
    case.pass(3600);
    assert_eq!(case.fetch(PEER, "kernel"), board(10));
    case.pass(3601);
    assert_eq!(case.fetch(PEER, "kernel"), BootRequester::UnknownAddress { is_new: true });
}

#[test]
fn a_log_is_written_at_once_then_each_second_and_more_rarely_where_it_goes_on_for_long() {
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
    assert!(case.due().is_empty(), "ten minutes of it");
    case.pass(55);
    assert_eq!(case.due().len(), 1);
}

#[test]
fn after_a_quiet_minute_another_boot_begins() {
    let mut case = Case::new();
    case.fetch(PEER, LINK_A);
    case.due();
    case.pass(61);
    case.fetch(PEER, "pxelinux.0");
    assert_eq!(case.due(), ["0a: pxelinux.0"]);
    // A fetch that goes on is no silence, and what is not written yet is kept.
    case.ask(PEER, "kernel");
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
        case.ask(IpAddr::from(number.to_be_bytes()), "x");
    }
    assert_eq!(case.logs.clients.len(), 1001);
    assert_eq!(case.logs.unknown_address_at(), Some(case.at));
}

#[test]
fn of_an_address_that_nobody_knows_yet_less_is_kept() {
    let mut case = Case::new();
    for number in 0..50 {
        case.fetch(PEER, &format!("{number}"));
    }
    case.fetch(PEER, LINK_A);
    let due = case.logs.due_logs(case.now);
    assert_eq!((due[0].log.requests.len(), due[0].log.omitted), (16 + 1, 34));
}

#[test]
fn of_very_many_boards_further_ones_have_no_log_and_it_is_known_that_something_is_missing() {
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
fn requests_that_no_board_claims_are_forgotten_but_not_that_there_were_some() {
    let mut case = Case::new();
    case.fetch(PEER, "pxelinux.0");
    let asked_at = case.at;
    case.pass(301);
    assert!(!case.logs.forget(case.at));
    assert_eq!(case.logs.unknown_address_at(), Some(asked_at));
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
