//! Conformance tests of `redfish://`, at a fake management controller with a self-signed certificate.

use std::time::Duration;

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl};
use serde_json::{Value, json};

use crate::conformance::{self, DeviceBehaviour, LONG_TIMEOUT, TestDevice, context, run, run_with};
use crate::http_device::{HttpDevice, HttpProtocol, Order, Reported, Request, answer, unauthorized};
use crate::snmp::{found_outlets, scanned};
use crate::tls;

const SYSTEM: &str = "/redfish/v1/Systems/1";
const RESET: &str = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";

fn state_name(is_on: bool) -> &'static str {
    if is_on { "On" } else { "Off" }
}

fn system(power_state: &str) -> Value {
    let reset = json!({ "target": RESET, "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "Nmi"] });
    json!({ "Id": "1", "PowerState": power_state, "Actions": { "#ComputerSystem.Reset": reset } })
}

fn collection(paths: &[&str]) -> Value {
    let members: Vec<_> = paths.iter().map(|path| json!({ "@odata.id": path })).collect();
    json!({ "Members": members })
}

fn failure(status: &str, message: &str) -> Vec<u8> {
    let info = json!([{ "MessageId": "Base.1.8.GeneralError", "Message": message }]);
    answer(status, &json!({ "error": { "@Message.ExtendedInfo": info } }).to_string())
}

fn ok(body: &Value) -> Vec<u8> {
    answer("200 OK", &body.to_string())
}

/// A controller with one system.
struct Bmc;

impl HttpProtocol for Bmc {
    fn order(&self, request: &Request) -> Option<Order> {
        let state = match request.body.as_str() {
            r#"{"ResetType":"On"}"# => PowerState::On,
            r#"{"ResetType":"ForceOff"}"# => PowerState::Off,
            _ => return None,
        };
        let is_json = request.header("content-type") == "application/json";
        (request.method == "POST" && request.target == RESET && is_json)
            .then_some(Order { state, toggle_after: None })
    }

    fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
        match (request.method.as_str(), request.target.as_str()) {
            ("POST", RESET) => answer("204 No Content", ""),
            ("GET", "/redfish/v1/Systems") => ok(&collection(&[SYSTEM])),
            ("GET", SYSTEM) => ok(&system(state_name(reported.is_on))),
            _ => failure("404 Not Found", "There is no such resource."),
        }
    }
}

struct BmcDevice(HttpDevice);

impl TestDevice for BmcDevice {
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        Self(HttpDevice::start_with(Some(tls::acceptor()), behaviour, state, Bmc).await)
    }

    fn url(&self, options: &str) -> String {
        let (addr, certificate) = (self.0.addr, tls::FINGERPRINT);
        format!("redfish://{addr}/1?certificate={certificate}&effect=100ms&{options}")
    }

    fn url_of_missing_outlet(&self) -> Option<String> {
        Some(format!("redfish://{}/9?certificate=unchecked", self.0.addr))
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
async fn systems_by_redfish_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<BmcDevice>()).await;
}

#[tokio::test]
async fn no_order_is_sent_for_the_state_that_a_system_has() {
    for (operation, state) in [(PowerOperation::On, PowerState::On), (PowerOperation::Off, PowerState::Off)] {
        let device = BmcDevice::start(DeviceBehaviour::Normal, state).await;
        let evidence = run(operation, &device.url("")).await.unwrap();
        assert_eq!(evidence["observed"], state.name());
        assert_eq!(
            evidence["answer"],
            format!("\"PowerState\": \"{}\"", state_name(state == PowerState::On))
        );
        assert!(device.received_orders().is_empty(), "{operation:?}");
    }
    let device = BmcDevice::start(DeviceBehaviour::Normal, PowerState::Off).await;
    run(PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!(device.received_orders(), [PowerState::On]);
}

#[tokio::test]
async fn the_only_system_is_found_and_several_are_listed() {
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::Off, Bmc).await;
    let url = format!("redfish+http://{}?effect=100ms", device.addr);
    let evidence = run(PowerOperation::On, &url).await.unwrap();
    assert_eq!((&evidence["resource"], device.state()), (&"Systems/1".into(), PowerState::On));

    for (systems, kind, reason) in [
        (
            collection(&["/redfish/v1/Systems/Node-1", "/redfish/v1/Systems/Node-2"]),
            PowerRunErrorKind::Misconfigured,
            "has several systems: `Node-1`, `Node-2`; write one of them after the host in the power URL",
        ),
        (collection(&[]), PowerRunErrorKind::Failed, "has no system in /redfish/v1/Systems"),
    ] {
        let device = HttpDevice::answering(ok(&systems)).await;
        let failed =
            run(PowerOperation::Cycle, &format!("redfish+http://{}", device.addr)).await.unwrap_err();
        assert_eq!(failed.kind, kind, "{failed}");
        assert!(failed.reason.ends_with(reason), "{failed}");
    }
}

#[tokio::test]
async fn a_scan_finds_systems_and_the_outlets_of_pdus() {
    const EQUIPMENT: &str = "/redfish/v1/PowerEquipment";
    let link = |path: &str| json!({ "@odata.id": path });
    let service = move |request: &Request| {
        let page_2 = "/redfish/v1/Systems?page=2";
        let mut page_1 = collection(&[SYSTEM]);
        page_1["Members@odata.nextLink"] = json!(page_2);
        let pdus = format!("{EQUIPMENT}/RackPDUs");
        let (pdu, outlets) = (format!("{pdus}/1"), format!("{pdus}/1/Outlets"));
        let outlet = format!("{outlets}/A1");
        let target = request.target.as_str();
        match target {
            "/redfish/v1/Systems" => ok(&page_1),
            SYSTEM => ok(&system("On")),
            "/redfish/v1/Systems/2" => ok(&system("PoweringOff")),
            EQUIPMENT => ok(&json!({ "RackPDUs": link(&pdus) })),
            _ if target == page_2 => ok(&collection(&["/redfish/v1/Systems/2", "/redfish/v1/Systems/gone"])),
            _ if target == pdus => ok(&collection(&[&pdu])),
            _ if target == pdu => ok(&json!({ "Outlets": link(&outlets) })),
            _ if target == outlets => ok(&collection(&[&outlet])),
            _ if target == outlet => {
                let control = json!({ "target": format!("{outlet}/Actions/Outlet.PowerControl") });
                ok(&json!({ "PowerState": "Off", "Actions": { "#Outlet.PowerControl": control } }))
            }
            _ => failure("404 Not Found", "There is no such resource."),
        }
    };
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, service).await;
    let found =
        scanned(&format!("redfish+http://{}?off=3s", device.addr), &context(LONG_TIMEOUT)).await.unwrap();
    let url = |path: &str| format!("redfish+http://{}/{path}?off=3s", device.addr);
    let outlet = "redfish/v1/PowerEquipment/RackPDUs/1/Outlets/A1";
    let urls = [url("1"), url("2"), url("gone"), url(outlet)];
    let expected: Vec<_> = urls.iter().map(String::as_str).zip(["on", "unknown", "unknown", "off"]).collect();
    assert_eq!(found_outlets(&found), expected);
    assert!(found["outlets"][2]["problem"].as_str().unwrap().ends_with("has no /redfish/v1/Systems/gone"));
    assert!(device.requests().iter().all(|request| request.method == "GET"));

    let device = HttpDevice::answering(ok(&collection(&[]))).await;
    let failed =
        scanned(&format!("redfish+http://{}", device.addr), &context(LONG_TIMEOUT)).await.unwrap_err();
    assert!(failed.reason.contains("has neither systems in /redfish/v1/Systems nor PDUs"), "{failed}");
}

#[tokio::test]
async fn an_outlet_of_a_pdu_is_switched_by_its_path() {
    /// A PDU with one outlet.
    struct Pdu;
    const OUTLET: &str = "/redfish/v1/PowerEquipment/RackPDUs/1/Outlets/A1";
    impl HttpProtocol for Pdu {
        fn order(&self, request: &Request) -> Option<Order> {
            let state = match request.body.as_str() {
                r#"{"PowerState":"On"}"# => PowerState::On,
                r#"{"PowerState":"Off"}"# => PowerState::Off,
                _ => return None,
            };
            Some(Order { state, toggle_after: None })
        }

        fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
            if request.method == "POST" {
                return answer("200 OK", "{}");
            }
            let control = json!({ "target": format!("{OUTLET}/Actions/Outlet.PowerControl") });
            let actions = json!({ "#Outlet.PowerControl": control });
            ok(&json!({ "PowerState": state_name(reported.is_on), "Actions": actions }))
        }
    }
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, Pdu).await;
    let url = format!("redfish+http://{}{OUTLET}?effect=0s&off=20ms", device.addr);
    run(PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
    assert!(device.requests().iter().all(|request| request.target.starts_with(OUTLET)));
}

#[tokio::test]
async fn a_refused_order_says_in_the_devices_words_why_and_is_repeated_only_if_that_may_help() {
    let long = "x".repeat(300);
    for (status, message, kind, orders) in [
        ("400 Bad Request", "Not while it is powering off.", PowerRunErrorKind::Failed, 3),
        ("409 Conflict", "The server is already powered off.", PowerRunErrorKind::Failed, 3),
        ("503 Service Unavailable\r\nRetry-After: 5", "Busy.", PowerRunErrorKind::Failed, 3),
        ("405 Method Not Allowed", &long, PowerRunErrorKind::Misconfigured, 1),
        ("501 Not Implemented", "No.", PowerRunErrorKind::Misconfigured, 1),
        (
            "307 Temporary Redirect\r\nLocation: /redfish/v1/Systems/2",
            "Go.",
            PowerRunErrorKind::Misconfigured,
            1,
        ),
    ] {
        let refusal = failure(status, message);
        let refuses = move |request: &Request| {
            if request.method == "POST" { refusal.clone() } else { ok(&system("On")) }
        };
        let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, refuses).await;
        let url = format!("redfish+http://{}/1?effect=100ms", device.addr);
        let failed = run(PowerOperation::Off, &url).await.unwrap_err();
        assert_eq!(failed.kind, kind, "{status}: {failed}");
        let words = failed.evidence["answer"].as_str().unwrap();
        let shown = words.strip_suffix(" …").unwrap_or(words);
        assert!(message.starts_with(shown) && shown.len() <= 200, "{status}: {words}");
        let sent = device.requests().iter().filter(|request| request.method == "POST").count();
        assert_eq!(sent, orders, "{status}: {failed}");
    }
}

#[tokio::test]
async fn an_order_that_failed_inside_the_device_is_read_back_before_it_is_repeated() {
    for status in ["500 Internal Server Error", "503 Service Unavailable"] {
        let fails = move |request: &Request| {
            if request.method == "POST" { failure(status, "Oops.") } else { ok(&system("On")) }
        };
        let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, fails).await;
        let url = format!("redfish+http://{}/1?effect=200ms", device.addr);
        let failed = run(PowerOperation::Off, &url).await.unwrap_err();
        assert!(failed.reason.contains("answered with HTTP status 50"), "{failed}");
        let methods: Vec<_> = device.requests().iter().map(|request| request.method.clone()).collect();
        assert!(!methods.windows(2).any(|pair| pair[0] == "POST" && pair[1] == "POST"), "{methods:?}");
    }
}

#[tokio::test]
async fn power_is_restored_where_no_reading_succeeds_after_the_order() {
    /// A controller that does not answer a reading while its system is off.
    struct Forgetful;
    impl HttpProtocol for Forgetful {
        fn order(&self, request: &Request) -> Option<Order> {
            Bmc.order(request)
        }

        fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
            if request.method == "GET" && !reported.is_on {
                return failure("500 Internal Server Error", "Oops.");
            }
            Bmc.answer(request, reported)
        }
    }
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, Forgetful).await;
    let url = format!("redfish+http://{}/1?effect=100ms&off=20ms", device.addr);
    let failed = run(PowerOperation::Cycle, &url).await.unwrap_err();
    assert_eq!((&failed.kind, device.state()), (&PowerRunErrorKind::Failed, PowerState::On), "{failed:?}");
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
}

#[tokio::test]
async fn a_redirect_to_the_same_path_with_a_slash_is_followed_and_no_other() {
    /// A controller whose resources end with a slash.
    struct Slashes {
        /// What comes before the path in a redirect.
        before: &'static str,
    }
    impl HttpProtocol for Slashes {
        fn order(&self, request: &Request) -> Option<Order> {
            Bmc.order(request)
        }

        fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
            if request.method == "POST" {
                return Bmc.answer(request, reported);
            }
            if !request.target.ends_with('/') {
                let head = format!("308 Permanent Redirect\r\nLocation: {}{}/", self.before, request.target);
                return answer(&head, "");
            }
            let mut request = request.clone();
            request.target.pop();
            Bmc.answer(&request, reported)
        }
    }
    for (before, path, is_followed) in
        [("", "", true), ("", "/1", true), ("http://other.lab", "/1", false), ("/redfish", "/1", false)]
    {
        let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::On, Slashes { before }).await;
        let url = format!("redfish+http://{}{path}?effect=100ms&off=20ms", device.addr);
        let result = run(PowerOperation::Cycle, &url).await;
        if !is_followed {
            let failed = result.unwrap_err();
            assert!(failed.reason.contains("write that path"), "{failed}");
            assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured);
            continue;
        }
        assert_eq!(result.unwrap()["resource"], "Systems/1");
        assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
        let redirected = device.requests().iter().filter(|request| request.target == SYSTEM).count();
        assert!(redirected <= 1, "the path with a slash is used from then on");
    }
}

#[tokio::test]
async fn a_state_between_on_and_off_is_unknown() {
    for state in ["PoweringOff", "PoweringOn", "Paused"] {
        let device = HttpDevice::answering(ok(&system(state))).await;
        let url = format!("redfish+http://{}/1?effect=100ms", device.addr);
        let failed = run(PowerOperation::Off, &url).await.unwrap_err();
        assert_eq!(failed.reason, "the outlet reads neither on nor off");
        let words = format!("\"PowerState\": \"{state}\"");
        assert_eq!(
            (&failed.evidence["observed"], &failed.evidence["answer"]),
            (&"unknown".into(), &words.into())
        );
        assert!(device.requests().iter().all(|request| request.method == "GET"));
    }
}

#[tokio::test]
async fn other_resources_and_other_services_are_configuration_errors() {
    for (body, reason) in [
        (json!({ "Id": "1", "PowerState": "On" }).to_string(), "is nothing whose power can be switched"),
        ("<html>".to_owned(), "answered, but not with Redfish"),
        ("[]".to_owned(), "answered, but not with Redfish"),
    ] {
        let device = HttpDevice::answering(answer("200 OK", &body)).await;
        let failed = run(PowerOperation::On, &format!("redfish+http://{}/1", device.addr)).await.unwrap_err();
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed}");
        assert!(failed.reason.ends_with(reason), "{failed}");
    }
}

#[tokio::test]
async fn a_rejected_login_is_a_configuration_error_and_shows_no_secret() {
    /// A controller with a password.
    struct Locked;
    impl HttpProtocol for Locked {
        fn order(&self, request: &Request) -> Option<Order> {
            Bmc.order(request)
        }

        fn answer(&self, request: &Request, reported: Reported) -> Vec<u8> {
            if request.header("authorization") == "Basic cm9vdDpjYWx2aW4=" {
                return Bmc.answer(request, reported);
            }
            unauthorized("Basic realm=\"Redfish\"")
        }
    }
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::Off, Locked).await;
    let url = format!("redfish+http://{}/1?credential=plugs&effect=100ms", device.addr);
    run_with((Some("root"), "calvin"), PowerOperation::On, &url).await.unwrap();
    let failed = run_with((Some("root"), "hobbes"), PowerOperation::On, &url).await.unwrap_err();
    assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed}");
    assert!(!format!("{failed:?}").contains("hobbes"), "{failed:?}");
}

#[test]
fn a_url_names_a_system_by_its_id_or_its_path() {
    let read = |text: &str| text.parse::<PowerUrl>().unwrap();
    for text in [
        "redfish://BMC.lab/1",
        "redfish://bmc.lab:443/1/?certificate=unchecked",
        "redfish://bmc.lab/redfish/v1/Systems/1",
    ] {
        assert_eq!(read(text).outlet(), "redfish://bmc.lab:443/redfish/v1/Systems/1");
    }
    assert_eq!(
        read("redfish+http://bmc.lab:8000").outlet(),
        "redfish+http://bmc.lab:8000/redfish/v1/Systems"
    );
    assert_eq!(read("redfish://bmc.lab").capabilities().effect_within, Duration::from_secs(12));
    for (text, right) in [
        ("redfish://bmc.lab/Systems/1", "`redfish://HOST[:443][/SYSTEM]["),
        ("redfish+http://bmc.lab/redfish/v1/Systems", "`redfish+http://HOST[:80][/SYSTEM]["),
        ("redfish://bmc.lab/1?effect=16s", "the maximum is 15s"),
        ("redfish://bmc.lab/1?off=30s", "`off` and 2 times `effect` are 54s; the maximum is 50s"),
        ("redfish://bmc.lab/1?certificate=yes", "or `unchecked`"),
        ("redfish+http://bmc.lab/1?certificate=unchecked", "unknown parameter `certificate`"),
        ("redfish://root:calvin@bmc.lab/1", "no user"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right) && !error.contains("calvin"), "{text}: {error}");
    }
    let error = PowerUrl::read_new("redfish://bmc.lab/1?off=22s").unwrap_err().to_string();
    assert!(error.contains("`off` and 2 times `effect` add up to 46s"), "{error}");
}
