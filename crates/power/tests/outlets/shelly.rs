//! Conformance tests of `shelly://`, at fake devices of both generations. The answers are shaped like the examples of
//! Shelly's documentation; the fake computes Digest authentication by RFC 7616 itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use power::{CycleTiming, PowerContext, PowerOperation, PowerRunErrorKind, PowerState, PowerUrl, operate};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::conformance::{self, DeviceBehaviour, TestDevice, context, run, run_with};
use crate::http_device::{HttpDevice, HttpProtocol, Order, Reported, Request, answer, unauthorized};

const PASSWORD: &str = "se cr\"t:&";
const CHALLENGE: &str =
    r#"Digest qop="auth", realm="shellyplus1pm-a8032ab1", nonce="6123abcd", algorithm=SHA-256"#;

/// A device of generation 2.
struct Rpc {
    password: Option<&'static str>,
    /// Whether it keeps the time of its cycle when another order arrives.
    keeps_timer: bool,
    /// The time of a cycle as it reports it, in seconds.
    timer_s: f64,
}

const PLUG: Rpc = Rpc { password: None, keeps_timer: false, timer_s: 2.0 };

fn sha256(text: &str) -> String {
    let bytes = Sha256::digest(text);
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

impl Rpc {
    fn is_authorized(&self, request: &Request) -> bool {
        let Some(password) = self.password else { return true };
        let header = request.header("authorization");
        let field = |name: &str| {
            let (_, rest) = header.split_once(&format!("{name}=\"")).unwrap_or_default();
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let login = sha256(&format!("admin:{}:{password}", field("realm")));
        let wanted = sha256(&format!("{}:{}", request.method, request.target));
        let all = format!("{login}:{}:00000001:{}:auth:{wanted}", field("nonce"), field("cnonce"));
        header.starts_with("Digest username=\"admin\"")
            && field("uri") == request.target
            && field("nonce") == "6123abcd"
            && !field("cnonce").is_empty()
            && field("response") == sha256(&all)
    }
}

impl HttpProtocol for Rpc {
    fn order(&self, request: &Request) -> Option<Order> {
        let frame: Value = serde_json::from_str(&request.body).ok()?;
        let params = &frame["params"];
        let is_order = frame["method"] == "Switch.Set" && params["id"] == 0 && self.is_authorized(request);
        let on = params["on"].as_bool().filter(|_| is_order)?;
        let toggle_after = params["toggle_after"].as_f64().map(Duration::from_secs_f64);
        Some(Order { state: if on { PowerState::On } else { PowerState::Off }, toggle_after })
    }

    fn keeps_timer(&self) -> bool {
        self.keeps_timer
    }

    fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
        if !self.is_authorized(request) {
            return unauthorized(CHALLENGE);
        }
        if (request.method.as_str(), request.target.as_str()) != ("POST", "/rpc") {
            return answer("404 Not Found", "Not Found");
        }
        let frame: Value = serde_json::from_str(&request.body).unwrap();
        let number = frame["params"]["id"].as_u64().unwrap();
        let mut result = match frame["method"].as_str().unwrap() {
            "Switch.Set" => json!({ "was_on": !reported.is_on }),
            _ => json!({ "id": number, "source": "HTTP_in", "output": reported.is_on, "apower": 0.0 }),
        };
        if reported.is_on {
            result["apower"] = json!(8.9);
        }
        if reported.has_timer {
            result["timer_started_at"] = json!(1_626_935_739.79);
            result["timer_duration"] = json!(self.timer_s);
        }
        let mut reply = json!({ "id": frame["id"], "src": "shellyplus1pm-a8032ab1", "dst": frame["src"] });
        if number == 0 {
            reply["result"] = result;
        } else {
            let message = format!("Argument 'id', value {number} not found!");
            reply["error"] = json!({ "code": -105, "message": message });
        }
        answer("200 OK", &reply.to_string())
    }
}

/// A device of the first generation.
struct Relay;

impl HttpProtocol for Relay {
    fn order(&self, request: &Request) -> Option<Order> {
        let query = request.target.strip_prefix("/relay/0?turn=")?;
        let (turn, timer) = query.split_once("&timer=").map_or((query, None), |(turn, s)| (turn, Some(s)));
        let state = if turn == "on" { PowerState::On } else { PowerState::Off };
        Some(Order { state, toggle_after: timer.map(|s| Duration::from_secs(s.parse().unwrap())) })
    }

    fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
        if !request.target.starts_with("/relay/0") {
            return answer("404 Not Found", "Not Found");
        }
        let status = json!({ "ison": reported.is_on, "has_timer": reported.has_timer, "overpower": false });
        answer("200 OK", &status.to_string())
    }
}

struct SecondGeneration(HttpDevice);
struct FirstGeneration(HttpDevice);

macro_rules! shelly_device {
    ($device:ident, $protocol:expr, $generation:literal) => {
        impl TestDevice for $device {
            async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
                Self(HttpDevice::start(behaviour, state, $protocol).await)
            }

            fn url(&self, options: &str) -> String {
                format!("shelly://{}/0?generation={}&{options}", self.0.addr, $generation)
            }

            fn url_of_missing_outlet(&self) -> Option<String> {
                Some(format!("shelly://{}/3?generation={}", self.0.addr, $generation))
            }

            fn state(&self) -> PowerState {
                self.0.state()
            }

            fn received_orders(&self) -> Vec<PowerState> {
                self.0.received_orders()
            }

            fn connections(&self) -> usize {
                self.0.connections()
            }

            async fn set_behaviour(&self, behaviour: DeviceBehaviour) {
                self.0.set_behaviour(behaviour);
            }
        }
    };
}

shelly_device!(SecondGeneration, PLUG, "2");
shelly_device!(FirstGeneration, Relay, "1");

#[tokio::test]
async fn shelly_outlets_of_both_generations_pass_the_conformance_tests() {
    tokio::join!(
        Box::pin(conformance::run_conformance_tests::<SecondGeneration>()),
        Box::pin(conformance::run_conformance_tests::<FirstGeneration>()),
    );
}

async fn one_order_is_a_whole_cycle(device: HttpDevice, generation: u8) -> Vec<Request> {
    let url = format!("shelly://{}/0?generation={generation}", device.addr);
    let parsed: PowerUrl = url.parse().unwrap();
    let timing = parsed.capabilities().cycle_timing;
    assert!(matches!(timing, CycleTiming::Device { shortest, .. } if shortest <= parsed.off_for()));
    let evidence = run(PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!((&evidence["observed"], device.state()), (&"on".into(), PowerState::On));
    assert!(evidence.contains_key("off_at") && evidence.contains_key("on_at"));
    assert_eq!(device.received_orders(), [PowerState::Off], "the device switches on by itself");
    device.requests()
}

#[tokio::test]
async fn the_device_times_a_cycle_by_one_order() {
    let plug = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, PLUG).await;
    let relay = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, Relay).await;
    let (plug, relay) =
        tokio::join!(one_order_is_a_whole_cycle(plug, 2), one_order_is_a_whole_cycle(relay, 1));
    let frame: Value = serde_json::from_str(&plug[1].body).unwrap();
    assert_eq!(frame["params"], json!({ "id": 0, "on": false, "toggle_after": 2.0 }));
    assert_eq!(relay[1].target, "/relay/0?turn=off&timer=2");
}

#[tokio::test]
async fn a_device_that_serves_one_client_and_rests_afterwards_is_given_its_rest() {
    let plug = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, PLUG).await;
    let relay = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, Relay).await;
    for (device, generation) in [(plug, 2), (relay, 1)] {
        device.serve_one_client(Duration::from_millis(40));
        let url =
            |off: &str| format!("shelly://{}/0?generation={generation}&rest=200ms&off={off}", device.addr);
        let evidence = run(PowerOperation::Cycle, &url("20ms")).await.unwrap();
        assert_eq!((&evidence["observed"], device.state()), (&"on".into(), PowerState::On));
        assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On], "generation {generation}");
        run(PowerOperation::Cycle, &url("3s")).await.unwrap();
        assert_eq!(device.received_orders().len(), 3, "the device times the second cycle");
        assert_eq!(device.turned_away(), 0, "generation {generation}");
    }
}

#[tokio::test]
async fn the_measured_power_is_evidence() {
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::Off, PLUG).await;
    let url = format!("shelly://{}/0", device.addr);
    let on = run(PowerOperation::On, &url).await.unwrap();
    assert_eq!((&on["channel"], &on["watts"]), (&0.into(), &json!(8.9)));
    assert!(on["answer"].as_str().unwrap().contains(r#""output":true"#), "{on:?}");
    assert_eq!(run(PowerOperation::Off, &url).await.unwrap()["watts"], json!(0.0));
}

#[tokio::test]
async fn a_cancelled_cycle_leaves_no_device_on_that_would_toggle_itself_off() {
    let protocol = Rpc { keeps_timer: true, ..PLUG };
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, protocol).await;
    let url = format!("shelly://{}/0?off=2s", device.addr).parse().unwrap();
    let (cancel, context) = (CancellationToken::new(), context(Duration::from_secs(2)));
    let (result, ()) = tokio::join!(operate(&url, PowerOperation::Cycle, &context, &cancel), async {
        while device.received_orders().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    let failed = result.unwrap_err();
    assert_eq!((failed.reason.as_str(), &failed.evidence["observed"]), ("cancelled", &"on".into()));
    let answer = failed.evidence["answer"].as_str().unwrap();
    assert!(!answer.contains("timer_started_at") && device.state() == PowerState::On, "{answer}");
}

#[tokio::test]
async fn a_device_that_another_run_left_about_to_switch_off_is_not_taken_for_on() {
    /// A device that is on, and stays so only after an order.
    struct Timed {
        generation: u8,
        timer_s: u32,
        is_ordered: AtomicBool,
    }
    impl HttpProtocol for Timed {
        fn order(&self, request: &Request) -> Option<Order> {
            let order = if self.generation == 1 { Relay.order(request) } else { PLUG.order(request) };
            self.is_ordered.fetch_or(order.is_some(), Ordering::Relaxed);
            order
        }

        fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
            let has_timer = !self.is_ordered.load(Ordering::Relaxed);
            let reported = Reported { has_timer, ..reported };
            if self.generation == 1 {
                let status =
                    json!({ "ison": reported.is_on, "has_timer": has_timer, "timer_duration": self.timer_s });
                return answer("200 OK", &status.to_string());
            }
            Rpc { timer_s: self.timer_s.into(), ..PLUG }.answer(request, reported)
        }
    }
    for generation in [1, 2] {
        for (timer_s, expected) in [(2, vec![PowerState::On]), (3600, vec![])] {
            let protocol = Timed { generation, timer_s, is_ordered: AtomicBool::new(false) };
            let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, protocol).await;
            let url = format!("shelly://{}/0?generation={generation}", device.addr).parse().unwrap();
            let context = PowerContext { interrupted_runs: 1, ..context(Duration::from_secs(2)) };
            let result = operate(&url, PowerOperation::Cycle, &context, &CancellationToken::new()).await;
            assert_eq!(result.unwrap_err().evidence["observed"], "on");
            assert_eq!(device.received_orders(), expected, "generation {generation}, {timer_s} s");
        }
    }
}

#[tokio::test]
async fn a_password_is_proved_to_the_device_and_shown_nowhere() {
    let protocol = Rpc { password: Some(PASSWORD), ..PLUG };
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, protocol).await;
    let url = |options: &str| format!("shelly://{}/0?off=20ms&{options}", device.addr);
    let with_password = url("credential=plugs");
    let evidence = run_with((None, PASSWORD), PowerOperation::Cycle, &with_password).await.unwrap();
    assert_eq!((&evidence["observed"], device.received_orders().len()), (&"on".into(), 2));
    // Read, off, read, on, read: each after its own challenge.
    assert_eq!((&evidence["attempts"], device.connections()), (&10.into(), 10));
    // As `{:?}` shows it.
    let escaped = PASSWORD.escape_debug().to_string();
    let secrets = [escaped.as_str(), "sekrit", "response="];
    for (options, login, reason) in [
        ("", (None, PASSWORD), "requires a password: write `credential=NAME`"),
        ("credential=plugs", (None, "sekrit"), "rejects user and password of credential `plugs`"),
        ("credential=plugs", (Some("me"), PASSWORD), "rejects user and password of credential `plugs`"),
    ] {
        let failed = run_with(login, PowerOperation::Cycle, &url(options)).await.unwrap_err();
        assert!(failed.reason.contains(reason), "{failed}");
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured);
        assert!(failed.evidence["attempts"].as_u64().unwrap() <= 2, "not retried: {failed:?}");
        let shown = format!("{failed:?}");
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    // Never sent in the clear to a device that asks for that.
    let lowers = |_: &Request| unauthorized("Basic realm=\"shelly\"");
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, lowers).await;
    let url = format!("shelly://{}/0?credential=plugs", device.addr);
    let failed = run_with((None, PASSWORD), PowerOperation::On, &url).await.unwrap_err();
    assert!(failed.reason.ends_with("has no Digest authentication with SHA-256 or MD5; it offers: Basic"));
    assert!(device.requests().iter().all(|request| request.header("authorization").is_empty()));
}

#[tokio::test]
async fn the_first_generation_has_basic_authentication() {
    struct Locked;
    impl HttpProtocol for Locked {
        fn order(&self, request: &Request) -> Option<Order> {
            Relay.order(request).filter(|_| request.header("authorization") == "Basic bWU6c2UgY3IidDom")
        }

        fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
            let sent = request.header("authorization");
            if sent == "Basic bWU6c2UgY3IidDom" {
                return Relay.answer(request, reported);
            }
            answer("401 Unauthorized", &format!("401 Unauthorized for {sent}"))
        }
    }
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::Off, Locked).await;
    let url = format!("shelly://{}/0?generation=1&credential=plugs", device.addr);
    let evidence = run_with((Some("me"), PASSWORD), PowerOperation::On, &url).await.unwrap();
    assert_eq!((&evidence["observed"], &evidence["attempts"]), (&"on".into(), &2.into()));
    let failed = run_with((None, PASSWORD), PowerOperation::On, &url).await.unwrap_err();
    assert_eq!(failed.evidence["answer"], "401 Unauthorized for Basic …");
    assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured);
}

#[tokio::test]
async fn answers_without_a_state_are_distinguished_and_recorded() {
    let frame = |text: &str| answer("200 OK", &format!(r#"{{"id":1,"src":"shelly",{text}}}"#));
    let none = "closed the connection without an answer";
    for (generation, bytes, reason, kind) in [
        (2, frame(r#""error":{"code":-109,"message":"Overpower"}"#), "error -109", PowerRunErrorKind::Failed),
        (
            2,
            answer("404 Not Found", r#"{"code":404,"message":"No handler for Switch.Set"}"#),
            "has no switch 0",
            PowerRunErrorKind::Misconfigured,
        ),
        (2, frame(r#""error":{"code":-1}"#), "answered with error -1", PowerRunErrorKind::Failed),
        (2, frame(r#""result":{"output":"yes"}"#), "unexpected answer from", PowerRunErrorKind::Failed),
        (2, frame(r#""result":null"#), "unexpected answer from", PowerRunErrorKind::Failed),
        (2, answer("404 Not Found", "Not Found"), "needs `generation=1`", PowerRunErrorKind::Misconfigured),
        (2, answer("200 OK", "<!DOCTYPE html>"), "needs `generation=1`", PowerRunErrorKind::Misconfigured),
        (2, answer("503 Busy", "Busy"), "HTTP status 503", PowerRunErrorKind::Failed),
        (2, Vec::new(), none, PowerRunErrorKind::Failed),
        (
            2,
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"id\":1".to_vec(),
            "in the middle of an answer",
            PowerRunErrorKind::Failed,
        ),
        (1, answer("200 OK", r#"{"has_timer":false}"#), "unexpected answer from", PowerRunErrorKind::Failed),
        (
            1,
            answer("200 OK", "<!DOCTYPE html>"),
            "not as a Shelly of the first generation",
            PowerRunErrorKind::Misconfigured,
        ),
        (1, answer("400 Bad Request", "Bad"), "HTTP status 400", PowerRunErrorKind::Misconfigured),
        (1, answer("500 Internal Server Error", ""), "HTTP status 500", PowerRunErrorKind::Failed),
    ] {
        let device = HttpDevice::answering(bytes.clone()).await;
        let url = format!("shelly://{}/0?generation={generation}", device.addr);
        let failed = run(PowerOperation::Off, &url).await.unwrap_err();
        assert!(failed.reason.contains(reason) && failed.kind == kind, "{failed:?}");
        assert_eq!(failed.evidence["observed"], "unknown");
        let text = String::from_utf8(bytes).unwrap();
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let answered = failed.evidence.get("answer").and_then(Value::as_str).unwrap_or_default();
        let is_shown = answered.is_empty() == body.is_empty() && answered.ends_with(body);
        assert!(is_shown, "{failed:?}");
    }
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (text, right) in [
        ("shelly://plug.lab", "0 to 255: `shelly://HOST[:80]/CHANNEL["),
        ("shelly://plug.lab/256", "0 to 255"),
        ("shelly://plug.lab/-1", "0 to 255"),
        ("shelly://plug.lab:0/1", "1 to 65535"),
        ("shelly://plug.lab/1?generation=3", "`2` for all later"),
        ("shelly://plug.lab/1?user=me", "unknown parameter `user`"),
        ("shelly://plug.lab/1?password=secret", "unknown parameter `password`"),
        ("shelly://me:secret@plug.lab/1", "no user"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right) && !error.contains("secret"), "{text}: {error}");
    }
    let url: PowerUrl = "shelly://Plug.lab.:80/00?generation=1&off=5s".parse().unwrap();
    let same: PowerUrl = "shelly://plug.lab/0".parse().unwrap();
    assert_eq!((url.resource(), url.outlet()), (Some("shelly://plug.lab:80"), same.outlet()));
}
