//! Conformance tests of `tasmota://`, at a fake device that implements `/cm`. Its answers are those of a strip with
//! firmware 12, and of older plugs where noted.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use power::{PowerOperation, PowerRunErrorKind, PowerState, operate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::conformance::{self, DeviceBehaviour, TestDevice, context, run, run_with};

const LOCKED: &str = r#"{"WARNING":"Need user=<username>&password=<password>"}"#;

/// Returns the answer to a request for this target, given whether the channel is on.
type AnswerFn = fn(&str, bool) -> Vec<u8>;

struct TasmotaState {
    behaviour: DeviceBehaviour,
    is_on: bool,
    orders: Vec<PowerState>,
    connections: usize,
    answer: AnswerFn,
    /// Where it serves one client: how long it rests afterwards. It closes other connections at once.
    rest: Option<Duration>,
    has_client: bool,
    rests_until: Instant,
    /// Connections closed at once.
    turned_away: usize,
}

#[derive(Clone)]
struct SharedTasmota(Arc<Mutex<TasmotaState>>);

struct Tasmota {
    addr: SocketAddr,
    shared: SharedTasmota,
    _server: JoinSet<()>,
}

/// Formats an answer as the firmware sends it.
fn chunked(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nServer: Tasmota/12.4.0 (ESP8285)\r\nCache-Control: \
         no-cache, no-store, must-revalidate\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{body}\r\n\
         0\r\n\r\n",
        body.len()
    )
    .into_bytes()
}

/// Answers of a strip's channel 1.
fn strip(target: &str, is_on: bool) -> Vec<u8> {
    let state = if is_on { "ON" } else { "OFF" };
    let is_channel = ["/cm?cmnd=Power1", "/cm?cmnd=Power1%20ON", "/cm?cmnd=Power1%20OFF"].contains(&target);
    let body =
        if is_channel { format!(r#"{{"POWER1":"{state}"}}"#) } else { r#"{"Command":"Error"}"#.to_owned() };
    chunked("200 OK", &body)
}

impl SharedTasmota {
    fn state(&self) -> MutexGuard<'_, TasmotaState> {
        self.0.lock().unwrap()
    }

    /// Counts a connection; returns whether it is served.
    fn admits(&self) -> bool {
        let mut state = self.state();
        state.connections += 1;
        let is_free = !state.has_client && state.rests_until <= Instant::now();
        if state.rest.is_some() && !is_free {
            state.turned_away += 1;
            return false;
        }
        state.has_client = true;
        true
    }

    async fn serve(self, stream: TcpStream) {
        self.answer(stream).await;
        let mut state = self.state();
        state.has_client = false;
        state.rests_until = Instant::now() + state.rest.unwrap_or_default();
    }

    async fn answer(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            request.push(byte);
        }
        let request = String::from_utf8(request).unwrap();
        let target = request.strip_prefix("GET ").unwrap().split(' ').next().unwrap();
        let answer = self.execute(target);
        let Some(answer) = answer else { return std::future::pending().await };
        stream.write_all(&answer).await.ok();
    }

    /// Executes a command; returns the answer, if any.
    fn execute(&self, target: &str) -> Option<Vec<u8>> {
        let mut state = self.state();
        let order = [("%20ON", PowerState::On), ("%20OFF", PowerState::Off)];
        let order = order.iter().find(|(end, _)| target.ends_with(&format!("cmnd=Power1{end}")));
        let order = order.map(|(_, order)| *order);
        if state.behaviour == DeviceBehaviour::Hangs {
            return None;
        }
        state.orders.extend(order);
        let reported_on = order.map_or(state.is_on, |order| order == PowerState::On);
        if state.behaviour != DeviceBehaviour::Lies {
            state.is_on = reported_on;
        }
        match state.behaviour {
            DeviceBehaviour::Mute if order.is_some() => None,
            DeviceBehaviour::Foreign => Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            DeviceBehaviour::Normal
            | DeviceBehaviour::Refuses
            | DeviceBehaviour::Hangs
            | DeviceBehaviour::Mute
            | DeviceBehaviour::Lies => Some((state.answer)(target, reported_on)),
        }
    }
}

impl Tasmota {
    async fn with(behaviour: DeviceBehaviour, state: PowerState, answer: AnswerFn) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let is_on = state == PowerState::On;
        let state = TasmotaState {
            behaviour,
            is_on,
            orders: Vec::new(),
            connections: 0,
            answer,
            rest: None,
            has_client: false,
            rests_until: Instant::now(),
            turned_away: 0,
        };
        let shared = SharedTasmota(Arc::new(Mutex::new(state)));
        let (mut server, accepting) = (JoinSet::new(), shared.clone());
        if behaviour != DeviceBehaviour::Refuses {
            server.spawn(async move {
                let mut served = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    if accepting.admits() {
                        served.spawn(accepting.clone().serve(stream));
                    }
                }
            });
        }
        Self { addr, shared, _server: server }
    }
}

impl TestDevice for Tasmota {
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        Self::with(behaviour, state, strip).await
    }

    fn url(&self, options: &str) -> String {
        format!("tasmota://{}/1?{options}", self.addr)
    }

    fn url_of_missing_outlet(&self) -> Option<String> {
        Some(format!("tasmota://{}/9", self.addr))
    }

    fn state(&self) -> PowerState {
        if self.shared.state().is_on { PowerState::On } else { PowerState::Off }
    }

    fn received_orders(&self) -> Vec<PowerState> {
        self.shared.state().orders.clone()
    }

    fn connections(&self) -> usize {
        self.shared.state().connections
    }

    async fn set_behaviour(&self, behaviour: DeviceBehaviour) {
        self.shared.state().behaviour = behaviour;
    }
}

#[tokio::test]
async fn tasmota_outlets_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<Tasmota>()).await;
}

#[tokio::test]
async fn a_power_cycle_records_the_devices_answer_as_evidence() {
    let device = Tasmota::start(DeviceBehaviour::Normal, PowerState::On).await;
    let evidence = run(PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!((&evidence["channel"], &evidence["observed"]), (&1.into(), &"on".into()));
    assert_eq!(evidence["answer"], r#"{"POWER1":"ON"}"#);
    // Read, off, read, on, read: each on its own connection.
    assert_eq!((&evidence["attempts"], device.connections()), (&5.into(), 5));
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
}

#[tokio::test]
async fn a_plug_that_serves_one_client_and_rests_afterwards_is_given_its_rest() {
    let device = Tasmota::with(DeviceBehaviour::Normal, PowerState::On, strip).await;
    device.shared.state().rest = Some(Duration::from_millis(40));
    let evidence = run(PowerOperation::Cycle, &device.url("off=20ms&rest=200ms")).await.unwrap();
    assert_eq!((&evidence["observed"], device.state()), (&"on".into(), PowerState::On));
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
    assert_eq!(device.shared.state().turned_away, 0);
}

#[tokio::test]
async fn a_plug_with_one_channel_omits_its_number_and_may_send_more_fields() {
    let plug: AnswerFn = |_, is_on| {
        let state = if is_on { "ON" } else { "OFF" };
        // The answer also contains what the device publishes by MQTT.
        chunked(
            "200 OK",
            &format!(r#"{{"Time":"2026-12-01T01:02:03","Wifi":{{"RSSI":76}},"POWER":"{state}"}}"#),
        )
    };
    let device = Tasmota::with(DeviceBehaviour::Normal, PowerState::Off, plug).await;
    assert_eq!(run(PowerOperation::On, &device.url("")).await.unwrap()["observed"], "on");
    let second = run(PowerOperation::On, &format!("tasmota://{}/2", device.addr)).await.unwrap_err();
    assert!(second.reason.starts_with("unexpected answer from"), "{second}");
}

#[tokio::test]
async fn answers_without_a_state_are_distinguished_and_recorded() {
    let unknown: AnswerFn = |_, _| chunked("200 OK", r#"{"Command":"Unknown"}"#);
    let no_answers: AnswerFn =
        |_, _| chunked("200 OK", r#"{"WARNING":"Enable weblog 2 if response expected"}"#);
    let blinks: AnswerFn = |_, _| chunked("200 OK", r#"{"POWER1":"BLINK"}"#);
    let page: AnswerFn = |_, _| chunked("200 OK", "<!DOCTYPE html><html>");
    let missing: AnswerFn = |_, _| chunked("404 Not Found", "File Not Found");
    let starts: AnswerFn = |_, _| chunked("503 Service Unavailable", "Busy");
    let closes: AnswerFn = |_, _| Vec::new();
    let breaks_off: AnswerFn =
        |_, _| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{\"POW".to_vec();
    let not_tasmota = "answered, but not as Tasmota firmware";
    for (answer, reason, kind, answer_text) in [
        (unknown, "has no channel 1", PowerRunErrorKind::Misconfigured, r#"{"Command":"Unknown"}"#),
        (no_answers, "set `WebLog 2`", PowerRunErrorKind::Misconfigured, "weblog"),
        (blinks, "the outlet reads neither on nor off", PowerRunErrorKind::Failed, r#"{"POWER1":"BLINK"}"#),
        (page, not_tasmota, PowerRunErrorKind::Misconfigured, "<!DOCTYPE"),
        (missing, ": HTTP status 404", PowerRunErrorKind::Misconfigured, "File Not Found"),
        (starts, "answered with HTTP status 503", PowerRunErrorKind::Failed, "Busy"),
        (closes, "closed the connection without an answer", PowerRunErrorKind::Failed, ""),
        (
            breaks_off,
            "closed the connection in the middle of an answer",
            PowerRunErrorKind::Failed,
            r#"{"POW"#,
        ),
    ] {
        let device = Tasmota::with(DeviceBehaviour::Normal, PowerState::On, answer).await;
        let failed = run(PowerOperation::Off, &device.url("")).await.unwrap_err();
        assert!(failed.reason.contains(reason) && failed.kind == kind, "{failed:?}");
        assert_eq!(failed.evidence["observed"], "unknown");
        let answer = failed.evidence.get("answer").and_then(|answer| answer.as_str()).unwrap_or_default();
        assert!(answer.contains(answer_text) && answer.is_empty() == answer_text.is_empty(), "{failed:?}");
        assert!(device.received_orders().is_empty(), "the outlet is not switched off: {reason}");
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_its_order_is_checked_by_reading() {
    // The device's buttons and rules may switch the outlet too.
    let contradicts: AnswerFn = |target, is_on| strip("/cm?cmnd=Power1", is_on && !target.contains("%20"));
    let device = Tasmota::with(DeviceBehaviour::Normal, PowerState::Off, contradicts).await;
    let evidence = run(PowerOperation::On, &device.url("")).await.unwrap();
    assert_eq!((&evidence["observed"], device.received_orders()), (&"on".into(), vec![PowerState::On]));
}

#[tokio::test]
async fn slow_answers_are_waited_for_up_to_the_call_timeout() {
    let device = Tasmota::start(DeviceBehaviour::Hangs, PowerState::On).await;
    let context = context(Duration::from_millis(200));
    let (url, cancel) = (device.url("").parse().unwrap(), CancellationToken::new());
    let failed = operate(&url, PowerOperation::On, &context, &cancel).await.unwrap_err();
    let reason = format!("no answer from {} within 200ms", device.addr);
    assert_eq!((failed.reason, failed.kind), (reason, PowerRunErrorKind::Failed));
}

#[tokio::test]
async fn a_password_is_sent_to_the_device_and_shown_nowhere_else() {
    const PASSWORD: &str = "se cr+t&";
    const QUERY: &str = "/cm?user=admin&password=se%20cr%2Bt%26&cmnd=Power1";
    let locked: AnswerFn = |target, is_on| match target.strip_prefix(QUERY) {
        Some(order) => strip(&format!("/cm?cmnd=Power1{order}"), is_on),
        None => chunked("401 Unauthorized", LOCKED),
    };
    let device = Tasmota::with(DeviceBehaviour::Normal, PowerState::On, locked).await;
    let with_password = device.url("off=20ms&credential=plugs");
    let evidence = run_with((None, PASSWORD), PowerOperation::Cycle, &with_password).await.unwrap();
    assert_eq!((&evidence["observed"], device.received_orders().len()), (&"on".into(), 2));

    // Without the password and with another user, with new and old firmware.
    let old: AnswerFn = |_, _| chunked("200 OK", LOCKED);
    for (url, reason) in [
        (device.url(""), "requires a password: write `credential=NAME`"),
        (with_password, "rejects user and password of credential `plugs`"),
    ] {
        let failed = run_with((Some("me"), PASSWORD), PowerOperation::Cycle, &url).await.unwrap_err();
        assert!(failed.reason.contains(reason), "{failed:?}");
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured);
        assert_eq!(failed.evidence["answer"], LOCKED);
    }
    let device = Tasmota::with(DeviceBehaviour::Normal, PowerState::On, old).await;
    let failed = run(PowerOperation::On, &device.url("")).await.unwrap_err();
    assert!(failed.reason.contains("requires a password"), "{failed:?}");
    assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed:?}");

    // An error page repeats the request.
    let repeats: AnswerFn =
        |target, _| chunked("404 Not Found", &format!("URI: {target}\nArguments: password: {PASSWORD}"));
    let device = Tasmota::with(DeviceBehaviour::Normal, PowerState::On, repeats).await;
    let url = device.url("credential=plugs");
    let failed = run_with((None, PASSWORD), PowerOperation::On, &url).await.unwrap_err();
    let shown = format!("{failed:?}");
    assert!(shown.contains("URI: /cm?user=admin&password=…&cmnd") && !shown.contains("cr"), "{shown}");
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (text, right) in [
        ("tasmota://plug.lab", "1 to 32: `tasmota://HOST[:80]/CHANNEL["),
        ("tasmota://plug.lab/0", "1 to 32"),
        ("tasmota://plug.lab/33", "1 to 32"),
        ("tasmota://plug.lab:0/1", "1 to 65535"),
        ("tasmota://plug.lab/1?user=me", "unknown parameter `user`; valid are `credential`"),
        ("tasmota://plug.lab/1?credential=", "`` is not the name of a credential"),
        ("tasmota://plug.lab/1?credential=/etc/shadow", "`/etc/shadow` is not the name of a credential"),
        ("tasmota://plug.lab/1?password=secret", "unknown parameter `password`"),
        ("tasmota://me:secret@plug.lab/1", "no user"),
    ] {
        let error = text.parse::<power::PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right) && !error.contains("secret"), "{text}: {error}");
    }
    let error = power::PowerUrl::read_new("tasmota://plug.lab/1?off=46s").unwrap_err().to_string();
    assert!(
        error.contains("`off` and 5 times `rest` add up to 46s") && error.ends_with("the maximum is 45s"),
        "{error}"
    );
    let url: power::PowerUrl = "tasmota://Plug.lab.:80/01?off=5s".parse().unwrap();
    assert_eq!(
        (url.resource(), url.outlet().as_str()),
        (Some("tasmota://plug.lab:80"), "tasmota://plug.lab:80/1")
    );
}
