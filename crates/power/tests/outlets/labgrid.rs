//! Conformance tests of `labgrid+http://`, at a fake server that labgrid's backends `rest` and `simplerest` would drive.

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl};

use crate::conformance::{self, DeviceBehaviour, TestDevice, run, run_with};
use crate::http_device::{HttpDevice, HttpProtocol, Order, Reported, Request, answer, unauthorized};

const PASSWORD: &str = "se cr\"t";

fn value(text: &str) -> Option<Order> {
    let state = match text {
        "1" => PowerState::On,
        "0" => PowerState::Off,
        _ => return None,
    };
    Some(Order { state, toggle_after: None })
}

/// The server behind `rest`: one path, read and written.
struct Rest;

impl HttpProtocol for Rest {
    fn order(&self, request: &Request) -> Option<Order> {
        let is_order = request.method == "PUT" && request.target == "/relay/3/value";
        value(&request.body).filter(|_| is_order)
    }

    fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
        match (request.target.as_str(), request.method.as_str()) {
            ("/relay/3/value", "PUT") => answer("200 OK", r#"{"status":"ok"}"#),
            ("/relay/3/value", _) => answer("200 OK", if reported.is_on { "1" } else { "0" }),
            _ => answer("404 Not Found", "no such relay"),
        }
    }
}

/// The server behind `simplerest`: everything is a GET.
struct SimpleRest;

impl HttpProtocol for SimpleRest {
    fn order(&self, request: &Request) -> Option<Order> {
        request.target.strip_prefix("/relay/3/").and_then(value)
    }

    fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
        if request.method == "GET" && request.target.starts_with("/relay/3") {
            return answer("200 OK", if reported.is_on { "1" } else { "0" });
        }
        answer("404 Not Found", "no such relay")
    }
}

struct RestServer(HttpDevice);
struct SimpleRestServer(HttpDevice);

macro_rules! labgrid_server {
    ($server:ident, $protocol:expr, $path:literal, $model:literal) => {
        impl TestDevice for $server {
            async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
                Self(HttpDevice::start(behaviour, state, $protocol).await)
            }

            fn url(&self, options: &str) -> String {
                format!("labgrid+http://{}{}?model={}&{options}", self.0.addr, $path, $model)
            }

            fn url_of_missing_outlet(&self) -> Option<String> {
                Some(format!("labgrid+http://{}/relay/9?model={}", self.0.addr, $model))
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

labgrid_server!(RestServer, Rest, "/relay/3/value", "rest");
labgrid_server!(SimpleRestServer, SimpleRest, "/relay/3", "simplerest");

#[tokio::test]
async fn outlets_of_both_models_of_labgrid_pass_the_conformance_tests() {
    tokio::join!(
        Box::pin(conformance::run_conformance_tests::<RestServer>()),
        Box::pin(conformance::run_conformance_tests::<SimpleRestServer>()),
    );
}

#[tokio::test]
async fn only_the_exact_answers_are_a_state() {
    let neither = "the outlet reads neither on nor off";
    let (failed, wrong) = (PowerRunErrorKind::Failed, PowerRunErrorKind::Misconfigured);
    for (bytes, reason, kind) in [
        (answer("200 OK", "1\n"), neither, &failed),
        (answer("200 OK", "on"), neither, &failed),
        (answer("200 OK", ""), neither, &failed),
        (answer("200 OK", r#"{"status":"1"}"#), neither, &failed),
        (answer("301 Moved Permanently", ""), "HTTP status 301", &wrong),
        (answer("405 Method Not Allowed", ""), "HTTP status 405", &wrong),
        (answer("429 Too Many Requests", ""), "HTTP status 429", &failed),
        (answer("500 Internal Server Error", "Traceback"), "HTTP status 500", &failed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1".to_vec(), "in the middle of an answer", &failed),
    ] {
        let server = HttpDevice::answering(bytes).await;
        let url = format!("labgrid+http://{}/relay/3/value", server.addr);
        let error = run(PowerOperation::Off, &url).await.unwrap_err();
        assert!(error.reason.contains(reason) && error.kind == *kind, "{error:?}");
        assert_eq!(
            (&error.evidence["observed"], &error.evidence["path"]),
            (&"unknown".into(), &"/relay/3/value".into())
        );
        assert!(server.requests().iter().all(|request| request.method == "GET"), "it is not switched");
    }
}

#[tokio::test]
async fn user_and_password_are_sent_and_shown_nowhere() {
    struct Locked;
    impl HttpProtocol for Locked {
        fn order(&self, request: &Request) -> Option<Order> {
            Rest.order(request).filter(|_| request.header("authorization") == "Basic bWU6c2UgY3IidA==")
        }

        fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
            match request.header("authorization") {
                "Basic bWU6c2UgY3IidA==" => Rest.answer(request, reported),
                _ => unauthorized("Basic realm=\"relays\""),
            }
        }
    }
    let server = HttpDevice::start(DeviceBehaviour::Normal, PowerState::Off, Locked).await;
    let url = format!("labgrid+http://{}/relay/3/value?credential=plugs", server.addr);
    let evidence = run_with((Some("me"), PASSWORD), PowerOperation::On, &url).await.unwrap();
    assert_eq!(evidence["observed"], "on");
    let failed = run_with((Some("you"), PASSWORD), PowerOperation::On, &url).await.unwrap_err();
    assert!(failed.reason.ends_with("rejects user and password of credential `plugs`"), "{failed}");
    let shown = format!("{failed:?}");
    assert!(!shown.contains("cr\\\"t") && !shown.contains("Basic "), "{shown}");
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (text, right) in [
        ("labgrid+http://server.lab", "`labgrid+http://HOST[:80]/PATH["),
        ("labgrid+http://server.lab/", "is not a path"),
        ("labgrid+http://server.lab/relay/{index}/value", "fill in labgrid's `{index}`"),
        ("labgrid+http://server.lab/relay/3?model=shelly", "write `rest` or `simplerest`"),
        ("labgrid+http://server.lab/relay/3?user=me", "valid are `model`, `credential`"),
        ("labgrid+http://server.lab/relay/3?credential=a.b", "`a.b` is not the name of a credential"),
        ("labgrid+http://me:secret@server.lab/relay/3", "no user"),
        ("labgrid+http://server.lab:0/relay/3", "1 to 65535"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right) && !error.contains("secret"), "{text}: {error}");
    }
    let url: PowerUrl = "labgrid+http://Server.lab.:80/relay/3/?model=simplerest".parse().unwrap();
    assert_eq!(url.outlet(), "labgrid+http://server.lab:80/relay/3");
}
