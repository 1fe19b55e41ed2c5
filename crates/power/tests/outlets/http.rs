//! Conformance tests of `http://`, at fake devices of several shapes.

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl, Readback};

use crate::conformance::{self, DeviceBehaviour, TestDevice, run, run_with};
use crate::http_device::{HttpDevice, HttpProtocol, Order, Reported, Request, answer, unauthorized};

const PASSWORD: &str = "se cr\"t";
const READ: &str = "on-path=/on&off-path=/off&read-path=/state&on-answer=%22ON%22&off-answer=%22OFF%22";

/// A device with a path for each of on, off and state.
struct Paths;

impl HttpProtocol for Paths {
    fn order(&self, request: &Request) -> Option<Order> {
        let state = match request.target.as_str() {
            "/outlets/3/on" => PowerState::On,
            "/outlets/3/off" => PowerState::Off,
            _ => return None,
        };
        Some(Order { state, toggle_after: None })
    }

    fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
        let state = if reported.is_on { "ON" } else { "OFF" };
        match request.target.as_str() {
            "/outlets/3/on" | "/outlets/3/off" => answer("204 No Content", ""),
            "/outlets/3/state" => answer("200 OK", &format!("{{\"online\": true, \"state\": \"{state}\"}}")),
            _ => answer("404 Not Found", "no such outlet"),
        }
    }
}

/// A device with one script for all outlets, which takes a form.
struct Script;

impl HttpProtocol for Script {
    fn order(&self, request: &Request) -> Option<Order> {
        let is_form = request.header("content-type") == "application/x-www-form-urlencoded";
        let state = match request.body.as_str() {
            "outlet=3&do=switch on" => PowerState::On,
            "outlet=3&do=switch off" => PowerState::Off,
            _ => return None,
        };
        (request.method == "POST" && request.target == "/cgi?page=1%202" && is_form)
            .then_some(Order { state, toggle_after: None })
    }

    fn answer(&self, _: &Request, reported: Reported) -> Vec<u8> {
        answer("200 OK", if reported.is_on { "outlet 3: on" } else { "outlet 3: off" })
    }
}

struct PathsDevice(HttpDevice);

impl TestDevice for PathsDevice {
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        Self(HttpDevice::start(behaviour, state, Paths).await)
    }

    fn url(&self, options: &str) -> String {
        format!("http://{}/outlets/3?{READ}&{options}", self.0.addr)
    }

    fn url_of_missing_outlet(&self) -> Option<String> {
        Some(format!("http://{}/outlets/9?{READ}", self.0.addr))
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

#[tokio::test]
async fn outlets_by_http_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<PathsDevice>()).await;
}

#[tokio::test]
async fn orders_may_have_a_body_and_share_their_path() {
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, Script).await;
    let url = format!(
        "http://{}/cgi?on-path=?page=1%202&off-path=?page=1%202&method=POST&on-body=outlet=3%26do=switch+on\
         &off-body=outlet=3%26do=switch+off&on-answer=:+on&off-answer=:+off&off=20ms",
        device.addr
    );
    let evidence = run(PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!((&evidence["observed"], &evidence["answer"]), (&"on".into(), &"outlet 3: on".into()));
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
}

#[tokio::test]
async fn without_answers_an_order_is_accepted_and_not_observed() {
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, Paths).await;
    let url = format!("http://{}/outlets?on-path=/3/on&off-path=/3/off&off=20ms", device.addr);
    let evidence = run(PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!(
        (&evidence["result"], &evidence["observed"]),
        (&"accepted, not observed".into(), &"unknown".into())
    );
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
    let parsed: PowerUrl = url.parse().unwrap();
    assert_eq!(parsed.capabilities().readback, Readback::None);
}

#[tokio::test]
async fn an_answer_with_both_texts_or_none_is_no_state() {
    for body in ["", r#"{"state":"on"}"#, r#"["ON","OFF"]"#, "<html>"] {
        let device = HttpDevice::answering(answer("200 OK", body)).await;
        let failed = run(PowerOperation::Off, &format!("http://{}/outlets/3?{READ}", device.addr)).await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.reason, "the outlet reads neither on nor off");
        assert_eq!((failed.kind, &failed.evidence["answer"]), (PowerRunErrorKind::Failed, &body.into()));
        assert!(device.requests().iter().all(|request| request.target == "/outlets/3/state"));
    }
}

#[tokio::test]
async fn user_and_password_are_sent_as_the_url_says_and_shown_nowhere() {
    /// An outlet behind a login, by Basic or Digest authentication.
    struct Locked(&'static str);
    // The answer to the challenge is checked by the tests of `shelly://` and of `device-io`.
    fn is_authorized(request: &Request) -> bool {
        let sent = request.header("authorization");
        sent == "Basic bWU6c2UgY3IidA=="
            || sent.starts_with("Digest username=\"me\", realm=\"outlets\", nonce=\"1\"")
    }
    impl HttpProtocol for Locked {
        fn order(&self, request: &Request) -> Option<Order> {
            Paths.order(request).filter(|_| is_authorized(request))
        }

        fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
            if is_authorized(request) {
                return Paths.answer(request, reported);
            }
            unauthorized(self.0)
        }
    }
    for (auth, challenge) in [
        ("basic", "Basic realm=\"outlets\""),
        ("digest", "Digest realm=\"outlets\", nonce=\"1\", qop=\"auth\""),
    ] {
        let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::Off, Locked(challenge)).await;
        let url = format!("http://{}/outlets/3?{READ}&auth={auth}&credential=plugs", device.addr);
        let evidence = run_with((Some("me"), PASSWORD), PowerOperation::On, &url).await.unwrap();
        assert_eq!(evidence["observed"], "on");
        let failed = run_with((Some("you"), PASSWORD), PowerOperation::On, &url).await.unwrap_err();
        assert!(failed.reason.ends_with("rejects user and password of credential `plugs`"), "{failed}");
        let shown = format!("{failed:?}");
        assert!(
            !shown.contains("cr\\\"t") && !shown.contains("Basic ") && !shown.contains("Digest "),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_device_that_repeats_the_login_does_not_bring_it_into_the_evidence() {
    let repeats = |request: &Request| {
        let sent = request.header("authorization");
        let spellings = format!("{sent} {PASSWORD} {} se%20cr%22t se+cr%22t", serde_json::json!(PASSWORD));
        answer("500 Internal Server Error", &spellings)
    };
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, repeats).await;
    let url = format!("http://{}/outlets/3?{READ}&credential=plugs", device.addr);
    let failed = run_with((Some("me"), PASSWORD), PowerOperation::Off, &url).await.unwrap_err();
    assert_eq!(failed.evidence["answer"], "Basic … … \"…\" … …");
    assert!(!format!("{failed:?}").contains("bWU6"), "{failed:?}");
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (parameters, right) in [
        ("", "write `on-path` and `off-path`: `http://HOST[:80][/PATH]["),
        ("on-path=/on&off-path=/on", "on and off are the same request"),
        ("on-path=on&off-path=off", "begins with `/` or `?`"),
        ("on-path=/on&off-path=/off%23x", "has no `#`"),
        ("on-path=/on&off-path=/off&method=DELETE", "write `GET`, `POST` or `PUT`"),
        ("on-path=/on&off-path=/off&on-body=1", "`on-body` needs `method=POST`"),
        ("on-path=/on&off-path=/off&read-path=/state", "needs both `on-answer` and `off-answer`"),
        ("on-path=/on&off-path=/off&on-answer=on", "needs both `on-answer` and `off-answer`"),
        ("on-path=/on&off-path=/off&on-answer=1&off-answer=10", "neither may contain the other"),
        ("on-path=/on&off-path=/off&auth=ntlm", "write `basic` or `digest`"),
        ("on-path=/on&off-path=/off&user=me", "unknown parameter `user`"),
        ("on-path=/on&off-path=/off&credential=a%20b", "`a b` is not the name of a credential"),
        ("on-path=/on%3Fpassword=hidden&off-path=/off", "`on-path` holds a secret, `password`"),
        ("on-path=/on&off-path=/off%3Fuser=me%26Pass%3Dhidden", "`off-path` holds a secret, `pass`"),
        ("on-path=/on%3Fpwd=hidden&off-path=/off", "`on-path` holds a secret, `pwd`"),
        (
            "on-path=/on&off-path=/off&read-path=/s%3Fapikey=hidden&on-answer=1&off-answer=0",
            "`read-path` holds a secret, `apikey`",
        ),
        ("method=PUT&on-body={\"token\": \"hidden\"}&off-body=0", "`on-body` holds a secret, `token`"),
    ] {
        let error =
            format!("http://pdu.lab/outlets/3?{parameters}").parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right) && !error.contains("hidden"), "{parameters}: {error}");
    }
    for scheme in ["http", "labgrid+http"] {
        let parameters = if scheme == "http" { "on-path=/on&off-path=/off" } else { "" };
        for path in ["outlets;password=hidden/3", "outlets/3%3Bpw%3Dhidden"] {
            let text = format!("{scheme}://pdu.lab/{path}?{parameters}");
            let error = text.parse::<PowerUrl>().unwrap_err().to_string();
            assert!(error.contains("`PATH` holds a secret") && !error.contains("hidden"), "{text}: {error}");
        }
    }
    let outlet = |text: &str| text.parse::<PowerUrl>().unwrap().outlet();
    let one = outlet("http://PDU.lab.:80/outlets/3/?on-path=/on&off-path=/off");
    assert_eq!(one, "http://pdu.lab:80/outlets/3/on");
    assert_eq!(one, outlet("http://pdu.lab?on-path=/outlets/3/on&off-path=/outlets/3/off"));
    assert_ne!(one, outlet("http://pdu.lab/outlets/4?on-path=/on&off-path=/off"));
    // The examples of `docs/power.md`.
    let form = "on-body=outlet=3%26do=on&off-body=outlet=3%26do=off&on-answer=3:on&off-answer=3:off";
    for (text, identity) in [
        (
            "http://pdu.lab/outlets/3?on-path=/on&off-path=/off&read-path=/state&on-answer=\"ON\"&off-answer=\"OFF\"",
            one.as_str(),
        ),
        (&format!("http://pdu.lab/cgi?method=POST&{form}"), "http://pdu.lab:80/cgi outlet=3&do=on"),
    ] {
        assert_eq!(outlet(text), identity);
    }
    let with_body = outlet("http://pdu.lab/set?method=POST&on-body=3-on&off-body=3-off");
    assert_eq!(with_body, "http://pdu.lab:80/set 3-on");
}
