//! A device with Tasmota firmware, as far as its `/cm` goes. Its answers are those of a strip with firmware 12, and of plugs
//! before that where it is said.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clock::SystemClock;
use device_io::Lease;
use power::{CALL_LIMIT, Context, Ending, Evidence, Operation, Supply, Unfinished, operate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::conformance::{self, Conduct, TestDevice};

const LOCKED: &str = r#"{"WARNING":"Need user=<username>&password=<password>"}"#;

/// What a device answers to a request for this target, given whether its channel gives power.
type Answer = fn(&str, bool) -> Vec<u8>;

struct State {
    conduct: Conduct,
    is_on: bool,
    orders: Vec<Supply>,
    connections: usize,
    answer: Answer,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

struct Tasmota {
    addr: SocketAddr,
    shared: Shared,
    _server: JoinSet<()>,
}

/// An answer in the form in which the firmware sends it.
fn chunked(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nServer: Tasmota/12.4.0 (ESP8285)\r\nCache-Control: \
         no-cache, no-store, must-revalidate\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{body}\r\n\
         0\r\n\r\n",
        body.len()
    )
    .into_bytes()
}

/// Channel 1 of several.
fn strip(target: &str, is_on: bool) -> Vec<u8> {
    let state = if is_on { "ON" } else { "OFF" };
    let is_channel = ["/cm?cmnd=Power1", "/cm?cmnd=Power1%20ON", "/cm?cmnd=Power1%20OFF"].contains(&target);
    let body =
        if is_channel { format!(r#"{{"POWER1":"{state}"}}"#) } else { r#"{"Command":"Error"}"#.to_owned() };
    chunked("200 OK", &body)
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            request.push(byte);
        }
        let request = String::from_utf8(request).unwrap();
        let target = request.strip_prefix("GET ").unwrap().split(' ').next().unwrap();
        let answer = self.carry_out(target);
        let Some(answer) = answer else { return std::future::pending().await };
        stream.write_all(&answer).await.ok();
    }

    /// What it answers, if it does.
    fn carry_out(&self, target: &str) -> Option<Vec<u8>> {
        let mut state = self.state();
        let order = [("%20ON", Supply::On), ("%20OFF", Supply::Off)];
        let order = order.iter().find(|(end, _)| target.ends_with(&format!("cmnd=Power1{end}")));
        let order = order.map(|(_, order)| *order);
        if state.conduct == Conduct::Hangs {
            return None;
        }
        state.orders.extend(order);
        let said = order.map_or(state.is_on, |order| order == Supply::On);
        if state.conduct != Conduct::Lies {
            state.is_on = said;
        }
        match state.conduct {
            Conduct::Mute if order.is_some() => None,
            Conduct::Foreign => Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            Conduct::Normal | Conduct::Refuses | Conduct::Hangs | Conduct::Mute | Conduct::Lies => {
                Some((state.answer)(target, said))
            }
        }
    }
}

impl Tasmota {
    async fn with(conduct: Conduct, supply: Supply, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let is_on = supply == Supply::On;
        let state = State { conduct, is_on, orders: Vec::new(), connections: 0, answer };
        let shared = Shared(Arc::new(Mutex::new(state)));
        let (mut server, accepting) = (JoinSet::new(), shared.clone());
        if conduct != Conduct::Refuses {
            server.spawn(async move {
                let mut served = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    accepting.state().connections += 1;
                    served.spawn(accepting.clone().serve(stream));
                }
            });
        }
        Self { addr, shared, _server: server }
    }
}

impl TestDevice for Tasmota {
    async fn start(conduct: Conduct, supply: Supply) -> Self {
        Self::with(conduct, supply, strip).await
    }

    fn url(&self, options: &str) -> String {
        format!("tasmota://{}/1?{options}", self.addr)
    }

    fn url_of_nothing(&self) -> String {
        format!("tasmota://{}/9", self.addr)
    }

    fn supply(&self) -> Supply {
        if self.shared.state().is_on { Supply::On } else { Supply::Off }
    }

    fn orders(&self) -> Vec<Supply> {
        self.shared.state().orders.clone()
    }

    fn connections(&self) -> usize {
        self.shared.state().connections
    }

    async fn conduct(&self, conduct: Conduct) {
        self.shared.state().conduct = conduct;
    }
}

#[tokio::test]
async fn tasmota_outlets_do_what_every_outlet_does() {
    Box::pin(conformance::all::<Tasmota>()).await;
}

async fn run(operation: Operation, url: &str) -> Result<Evidence, Unfinished> {
    let context = Context {
        clock: Arc::new(SystemClock),
        lease: Lease::default(),
        call_limit: CALL_LIMIT,
        interrupted: 0,
    };
    operate(&url.parse().unwrap(), operation, &context, &CancellationToken::new()).await
}

#[tokio::test]
async fn a_whole_cycle_has_the_devices_words_beside_what_they_mean() {
    let device = Tasmota::start(Conduct::Normal, Supply::On).await;
    let evidence = run(Operation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!((&evidence["channel"], &evidence["observed"]), (&1.into(), &"on".into()));
    assert_eq!(evidence["answer"], r#"{"POWER1":"ON"}"#);
    // It is read, switched off, read, switched on, read: each on a connection of its own.
    assert_eq!((&evidence["attempts"], device.connections()), (&5.into(), 5));
    assert_eq!(device.orders(), [Supply::Off, Supply::On]);
}

#[tokio::test]
async fn a_plug_with_one_channel_leaves_its_number_out_and_may_say_more() {
    let plug: Answer = |_, is_on| {
        let state = if is_on { "ON" } else { "OFF" };
        // What it tells MQTT meanwhile is in the answer, too.
        chunked(
            "200 OK",
            &format!(r#"{{"Time":"2026-12-01T01:02:03","Wifi":{{"RSSI":76}},"POWER":"{state}"}}"#),
        )
    };
    let device = Tasmota::with(Conduct::Normal, Supply::Off, plug).await;
    assert_eq!(run(Operation::On, &device.url("")).await.unwrap()["observed"], "on");
    let second = run(Operation::On, &format!("tasmota://{}/2", device.addr)).await.unwrap_err();
    assert!(second.reason.ends_with("gave another answer than was asked for"), "{second}");
}

#[tokio::test]
async fn what_a_device_says_instead_of_a_state_is_told_apart_and_kept() {
    let unknown: Answer = |_, _| chunked("200 OK", r#"{"Command":"Unknown"}"#);
    let no_answers: Answer =
        |_, _| chunked("200 OK", r#"{"WARNING":"Enable weblog 2 if response expected"}"#);
    let blinks: Answer = |_, _| chunked("200 OK", r#"{"POWER1":"BLINK"}"#);
    let page: Answer = |_, _| chunked("200 OK", "<!DOCTYPE html><html>");
    let missing: Answer = |_, _| chunked("404 Not Found", "File Not Found");
    let starts: Answer = |_, _| chunked("503 Service Unavailable", "Busy");
    let closes: Answer = |_, _| Vec::new();
    let breaks_off: Answer =
        |_, _| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{\"POW".to_vec();
    let foreign = "answered, but not with what Tasmota says";
    for (answer, reason, ending, words) in [
        (unknown, "has no channel 1", Ending::Misconfigured, r#"{"Command":"Unknown"}"#),
        (no_answers, "`WebLog 2` mends that", Ending::Misconfigured, "weblog"),
        (blinks, "what was read is neither on nor off", Ending::Failed, r#"{"POWER1":"BLINK"}"#),
        (page, foreign, Ending::Misconfigured, "<!DOCTYPE"),
        (missing, ": HTTP status 404", Ending::Misconfigured, "File Not Found"),
        (starts, "answered with HTTP status 503", Ending::Failed, "Busy"),
        (closes, "closed the connection without an answer", Ending::Failed, ""),
        (breaks_off, "closed the connection in the middle of an answer", Ending::Failed, r#"{"POW"#),
    ] {
        let device = Tasmota::with(Conduct::Normal, Supply::On, answer).await;
        let failed = run(Operation::Off, &device.url("")).await.unwrap_err();
        assert!(failed.reason.contains(reason) && failed.ending == ending, "{failed:?}");
        assert_eq!(failed.evidence["observed"], "unknown");
        let answer = failed.evidence.get("answer").and_then(|answer| answer.as_str()).unwrap_or_default();
        assert!(answer.contains(words) && answer.is_empty() == words.is_empty(), "{failed:?}");
        assert!(device.orders().is_empty(), "no power is taken away: {reason}");
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_its_order_is_read_again() {
    // Its buttons and rules may switch, too.
    let contradicts: Answer = |target, is_on| strip("/cm?cmnd=Power1", is_on && !target.contains("%20"));
    let device = Tasmota::with(Conduct::Normal, Supply::Off, contradicts).await;
    let evidence = run(Operation::On, &device.url("")).await.unwrap();
    assert_eq!((&evidence["observed"], device.orders()), (&"on".into(), vec![Supply::On]));
}

#[tokio::test]
async fn slow_answers_are_waited_for_as_long_as_a_call_may_take() {
    let device = Tasmota::start(Conduct::Hangs, Supply::On).await;
    let hasty = Context {
        clock: Arc::new(SystemClock),
        lease: Lease::default(),
        call_limit: Duration::from_millis(200),
        interrupted: 0,
    };
    let (url, cancel) = (device.url("").parse().unwrap(), CancellationToken::new());
    let failed = operate(&url, Operation::On, &hasty, &cancel).await.unwrap_err();
    let reason = format!("no answer from {} within 200ms", device.addr);
    assert_eq!((failed.reason, failed.ending), (reason, Ending::Failed));
}

#[tokio::test]
async fn a_device_with_a_password_gets_it_and_nobody_else_sees_it() {
    const PASSWORD: &str = "se cr+t&";
    const QUERY: &str = "/cm?user=admin&password=se%20cr%2Bt%26&cmnd=Power1";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plug.password");
    fs_err::write(&path, PASSWORD).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let locked: Answer = |target, is_on| match target.strip_prefix(QUERY) {
        Some(order) => strip(&format!("/cm?cmnd=Power1{order}"), is_on),
        None => chunked("401 Unauthorized", LOCKED),
    };
    let device = Tasmota::with(Conduct::Normal, Supply::On, locked).await;
    let with_password = device.url(&format!("off=20ms&password-file={}", path.display()));
    let evidence = run(Operation::Cycle, &with_password).await.unwrap();
    assert_eq!((&evidence["observed"], device.orders().len()), (&"on".into(), 2));

    // Without it, and with another user, by new firmware and by old.
    let old: Answer = |_, _| chunked("200 OK", LOCKED);
    let other_user = format!("{with_password}&user=me");
    for (device, url, words) in [
        (device.addr, device.url(""), "asks for a password: write `password-file`"),
        (device.addr, other_user, "does not take user `me` with the password in /"),
    ] {
        let failed = run(Operation::Cycle, &url).await.unwrap_err();
        assert!(
            failed.reason.contains(words) && failed.ending == Ending::Misconfigured,
            "{device}: {failed:?}"
        );
        assert_eq!(failed.evidence["answer"], LOCKED);
    }
    let device = Tasmota::with(Conduct::Normal, Supply::On, old).await;
    let failed = run(Operation::On, &device.url("")).await.unwrap_err();
    assert!(failed.reason.contains("asks for a password"), "{failed:?}");
    assert_eq!(failed.ending, Ending::Misconfigured, "{failed:?}");

    // An error page repeats what it was asked for.
    let repeats: Answer =
        |target, _| chunked("404 Not Found", &format!("URI: {target}\nArguments: password: {PASSWORD}"));
    let device = Tasmota::with(Conduct::Normal, Supply::On, repeats).await;
    let url = device.url(&format!("password-file={}", path.display()));
    let shown = format!("{:?}", run(Operation::On, &url).await.unwrap_err());
    assert!(shown.contains("URI: /cm?user=admin&password=…&cmnd") && !shown.contains("cr"), "{shown}");

    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let failed = run(Operation::On, &url).await.unwrap_err();
    assert!(failed.reason.contains("can be read by others"), "{failed}");
}

#[test]
fn a_bad_url_is_refused_with_what_would_be_right() {
    for (text, right) in [
        ("tasmota://plug.lab", "1 to 32: `tasmota://HOST[:80]/CHANNEL["),
        ("tasmota://plug.lab/0", "1 to 32"),
        ("tasmota://plug.lab/33", "1 to 32"),
        ("tasmota://plug.lab:0/1", "1 to 65535"),
        ("tasmota://plug.lab/1?user=me", "`user` needs `password-file`"),
        ("tasmota://plug.lab/1?password-file=/etc/shadow", "whose name ends in `.password`"),
        ("tasmota://plug.lab/1?password=secret", "there is no parameter `password`"),
        ("tasmota://me:secret@plug.lab/1", "no user"),
    ] {
        let error = text.parse::<power::PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right) && !error.contains("secret"), "{text}: {error}");
    }
    let error = power::PowerUrl::read_new("tasmota://plug.lab/1?off=46s").unwrap_err().to_string();
    assert!(error.contains("`off` is 46s") && error.ends_with("45s is the longest"), "{error}");
    let url: power::PowerUrl = "tasmota://Plug.lab.:80/01?off=5s".parse().unwrap();
    assert_eq!(
        (url.resource(), url.outlet().as_str()),
        (Some("tasmota://plug.lab:80"), "tasmota://plug.lab:80/1")
    );
}
