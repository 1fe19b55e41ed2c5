//! The fuzz targets. Each function takes arbitrary bytes, must neither panic nor take long, and checks properties of
//! its result. The fuzzer's binaries and the tests run the same functions.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::DateTime;
use lifeguard::actions::{ActionKind, Job, JobSubject, PowerAction, PowerOperation};
use lifeguard::clock::{ScaledClock, local_to_utc};
use lifeguard::machine::{
    self, ActionName, Cause, Definition, EventName, EventSource, Instance, MachineName, Outcome, StateName,
    Stimulus, Visit, storable,
};
use lifeguard::tftp;
use lifeguard::tftp::packet::{MalformedPacket, TftpPacket};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// A target's name and function.
pub(crate) type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: &[FuzzTarget] = &[
    ("tftp_packets", tftp_packets),
    ("tftp_clients", tftp_clients),
    ("modbus_answers", modbus_answers),
    ("board_reports", board_reports),
    ("definitions", definitions),
    ("guards", guards),
    ("state_service_files", state_service_files),
];

static BOARD: LazyLock<Definition> = LazyLock::new(|| {
    machine::load(include_str!("../../states/board.yaml"), lifeguard::boards::vocabulary())
        .expect("the shipped definition loads")
});

/// A parsed packet is encoded and parsed back to the same packet.
pub(crate) fn tftp_packets(bytes: &[u8]) {
    if let Ok(packet) = TftpPacket::parse(bytes) {
        let sent = packet.to_bytes();
        // Invalid UTF-8 becomes longer, and requests are limited in length.
        let is_longer =
            matches!(TftpPacket::parse(&sent), Err(MalformedPacket::Long)) && sent.len() > bytes.len();
        assert!(is_longer || TftpPacket::parse(&sent).as_ref() == Ok(&packet), "{packet:?}");
    }
}

/// Splits the bytes into datagrams, each preceded by a length byte.
fn datagrams(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (datagram, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        Some(datagram)
    })
}

/// The runtime of the targets with sockets.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"));

struct Unwatched;

impl tftp::TftpObserver for Unwatched {
    fn on_request(&self, _: &tftp::TftpFetch) {}
    fn on_end(&self, _: &tftp::TftpFetch, _: tftp::TransferEnd) {}
    fn on_drop(&self, _: &tftp::TftpFetch) {}
}

/// A TFTP server for the whole process, and its directory.
static TFTP: LazyLock<(SocketAddr, TempDir)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::File::create(folder.path().join("f"))
        .and_then(|mut file| file.write_all(&[7; 5000]))
        .expect("a file");
    let (root, listen) = (folder.path().to_owned(), ([127, 0, 0, 1], 0).into());
    let server =
        RUNTIME.block_on(tftp::TftpServer::bind(listen, root, Arc::new(Unwatched))).expect("a server");
    let address = server.local_addr();
    RUNTIME.spawn(server.run(CancellationToken::new()));
    (address, folder)
});

/// Whatever a client sends to the server and its transfer, other clients are served, and an answer is no larger than a
/// client may request.
pub(crate) fn tftp_clients(bytes: &[u8]) {
    let (server, _) = &*TFTP;
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.set_read_timeout(Some(Duration::from_millis(2))).expect("a time limit");
    let (mut answer, mut transfer) = (vec![0; 65536], *server);
    for datagram in datagrams(bytes).take(64) {
        // The transfer's port, once the server has answered from one.
        _ = client.send_to(datagram, transfer);
        while let Ok((length, from)) = client.recv_from(&mut answer) {
            assert!(from.ip() == server.ip() && length <= 65_468, "{length} bytes from {from}");
            transfer = from;
        }
    }
    let other = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    other.set_read_timeout(Some(Duration::from_secs(1))).expect("a time limit");
    // Datagrams may be lost when a queue is full, and the fuzzer's timer interrupts waits, so the request is repeated
    // as a client does.
    let answered = (0..10).find_map(|_| {
        other.send_to(b"\0\x01f\0octet\0", server).ok()?;
        other.recv_from(&mut answer).ok()
    });
    let (length, from) = answered.expect("others are served");
    assert_eq!(
        answer.get(..length).map(TftpPacket::parse),
        Some(Ok(TftpPacket::Data { block: 1, payload: &[7; 512] }))
    );
    _ = other.send_to(b"\0\x05\0\0enough\0", from);
    _ = client.send_to(b"\0\x05\0\0enough\0", transfer);
}

/// For any answers of a relay board, a power cycle ends in time with its evidence.
pub(crate) fn modbus_answers(bytes: &[u8]) {
    let bytes = bytes.to_owned();
    RUNTIME.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let url = format!("modbus://{}/3?off=500ms", listener.local_addr().expect("an address"));
        let relay = async {
            let mut answers = datagrams(&bytes);
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                let mut request = [0; 260];
                while let Ok(1..) = stream.read(&mut request).await {
                    // Without a further answer the connection is closed; an empty answer means no answer.
                    let Some(answer) = answers.next() else { break };
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            }
        };
        let driver = PowerAction::new(PowerOperation::Cycle);
        let subject = JobSubject {
            machine: MachineName::new("board").expect("a name"),
            name: "b1".to_owned(),
            state: StateName::new("Working").expect("a name"),
            visit: Visit(1),
        };
        let facts = Map::from_iter([("power_url".to_owned(), Value::from(url))]);
        let mut job = Job::new(1, ActionName::new("power-cycle").expect("a name"), subject, facts);
        job.clock = Arc::new(ScaledClock::new(2000.0));
        let cancel = CancellationToken::new();
        let ended = tokio::select! {
            ended = driver.run(&job, &cancel) => ended,
            () = relay => unreachable!("a relay board listens for ever"),
        };
        let evidence = match ended {
            Ok(evidence) => {
                assert_eq!(evidence["observed"], "on");
                evidence
            }
            Err(unfinished) => {
                assert!(!unfinished.reason.is_empty());
                unfinished.evidence
            }
        };
        assert!(evidence.contains_key("observed"), "{evidence:?}");
    });
}

/// A board's report is either refused or unchanged by formatting and parsing; the kernel accepts it.
pub(crate) fn board_reports(bytes: &[u8]) {
    let Ok(mut report) = serde_json::from_slice::<Value>(bytes) else { return };
    if storable::check(&mut report).is_err() {
        return;
    }
    let written = report.to_string();
    assert!(
        written.len() <= 8 * bytes.len() + storable::MAX_NUMBERS_BYTES,
        "{} bytes of {}",
        written.len(),
        bytes.len()
    );
    let mut read: Value = serde_json::from_str(&written).expect("what was accepted can be read");
    assert_eq!(read, report);
    storable::check(&mut read).expect("what was accepted is accepted again");
    assert_eq!(read, report);
    let Value::Object(args) = report else { return };
    let board = machine::create(&BOARD, "b1", Map::new(), DateTime::UNIX_EPOCH).instance;
    for name in ["image-failed", "image-running", "rq-reimage"] {
        happen(&BOARD, board.clone(), name, &args);
    }
}

/// A definition is refused with valid positions, or an instance of it runs.
pub(crate) fn definitions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let checked = machine::check(text, lifeguard::boards::vocabulary());
    for fault in &checked.faults {
        assert!(fault.line >= 1 && fault.column >= 1, "{fault:?}");
    }
    let Some(definition) = checked.definition else { return };
    let mut instance = machine::create(&definition, "one", Map::new(), DateTime::UNIX_EPOCH).instance;
    let names: Vec<EventName> = definition.events.keys().cloned().collect();
    for name in names.iter().cycle().take(names.len() * 3) {
        instance = happen(&definition, instance, name.as_str(), &Map::new());
    }
}

/// A condition is refused or can be evaluated for any event: the text before the first line break is the condition, the
/// rest its arguments.
pub(crate) fn guards(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (condition, args) = text.split_once('\n').unwrap_or((text, "{}"));
    let definition = format!(
        "machine: m\ninitial: A\nevents: {{ go: {{ from: board }} }}\nstates:\n  A:\n    resting: true\n    on: {{ go: [{{ if: {}, \
         target: B }}] }}\n  B: {{ resting: true, on: {{ go: A }} }}\n",
        json!(condition)
    );
    let Ok(definition) = machine::load(&definition, lifeguard::boards::vocabulary()) else { return };
    let Ok(mut args) = serde_json::from_str::<Value>(args) else { return };
    if storable::check(&mut args).is_err() {
        return;
    }
    let Value::Object(args) = args else { return };
    let instance = machine::create(&definition, "one", Map::new(), DateTime::UNIX_EPOCH).instance;
    happen(&definition, instance, "go", &args);
}

/// A file of StateService is refused with valid positions, or becomes a definition that loads again.
pub(crate) fn state_service_files(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let machine = MachineName::new("states").expect("a name");
    match lifeguard::import::import(text, &machine, &local_to_utc, lifeguard::boards::vocabulary()) {
        Ok(imported) => {
            machine::load(&imported.source, lifeguard::boards::vocabulary())
                .expect("what was imported loads again");
        }
        Err(faults) => assert!(faults.iter().next().is_some()),
    }
}

/// Applies an event; an ignored one changes nothing.
fn happen(definition: &Definition, before: Instance, name: &str, args: &Map<String, Value>) -> Instance {
    let name = EventName::new(name).expect("a name");
    for source in [lifeguard::boards::BOARD_SOURCE, EventSource::Operator, EventSource::Action] {
        let cause = Cause::Event { name: name.clone(), source, args: args.clone(), visit: None };
        let decision = machine::decide(definition, &before, &Stimulus::new(cause), DateTime::UNIX_EPOCH);
        match decision.outcome {
            Outcome::Ignored(_) => assert_eq!(decision.instance, before),
            Outcome::Moved { .. } | Outcome::Stayed => return decision.instance,
        }
    }
    before
}
