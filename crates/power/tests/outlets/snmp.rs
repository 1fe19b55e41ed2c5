//! Tests of `snmp://` at an agent of our own. `snmpsim.rs` has those at an independent one, version 3 among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use device_io::{CredentialName, CredentialSource, Credentials, Secret, SecretSource};
use power::{Evidence, PowerContext, PowerOperation, PowerRunError, PowerRunErrorKind, PowerState, scan};
use tokio_util::sync::CancellationToken;
use tracing::span;
use tracing::subscriber::Subscriber;

use crate::conformance::{
    self, DeviceBehaviour, LONG_TIMEOUT, SHORT_TIMEOUT, TestDevice, context, run, run_in,
};
use crate::snmp_agent::{APC, AgentOutlet, AgentQuirks, GEN_ERR, SnmpAgent};

/// The context of a server that has one credential, `lab`.
pub(crate) fn context_with(credential: CredentialSource) -> PowerContext {
    let by_name = BTreeMap::from([(CredentialName::new("lab").unwrap(), credential)]);
    let credentials = Credentials::new("/etc/lifeguard/lifeguard.toml", by_name);
    PowerContext { credentials, ..context(LONG_TIMEOUT) }
}

pub(crate) fn secret(text: &str) -> SecretSource {
    SecretSource::Text(Secret::new(text))
}

#[tokio::test]
async fn snmp_outlets_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<SnmpAgent>()).await;
}

/// The objects are written here again, from the MIBs, so that a slip in the driver's table is found.
#[tokio::test]
async fn each_built_in_device_is_switched_and_read_by_its_own_objects() {
    let poe = "1.3.6.1.2.1.105.1.1.1.3.2.17";
    let masterswitch = "1.3.6.1.4.1.318.1.1.4.4.2.1.3.8";
    for (outlet, version, words) in [
        (APC, 0, "rPDUOutletStatusOutletState = 1"),
        (
            AgentOutlet {
                url: "24?device=apc-rpdu2",
                on: ("1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.24", 1),
                off: ("1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.24", 2),
                state: "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.24",
                readings: (2, 1),
            },
            0,
            "rPDU2OutletSwitchedStatusState = 2",
        ),
        (
            AgentOutlet {
                url: "8?device=apc-masterswitch",
                on: (masterswitch, 1),
                off: (masterswitch, 2),
                state: masterswitch,
                readings: (1, 2),
            },
            0,
            "sPDUOutletCtl = 1",
        ),
        (
            AgentOutlet { url: "2.17?device=poe", on: (poe, 1), off: (poe, 2), state: poe, readings: (1, 2) },
            1,
            "pethPsePortAdminEnable = 1",
        ),
        (
            AgentOutlet {
                url: "36?device=raritan",
                on: ("1.3.6.1.4.1.13742.6.4.1.2.1.2.1.36", 1),
                off: ("1.3.6.1.4.1.13742.6.4.1.2.1.2.1.36", 0),
                state: "1.3.6.1.4.1.13742.6.4.1.2.1.3.1.36",
                readings: (7, 8),
            },
            1,
            "outletSwitchingState = 7",
        ),
        (
            AgentOutlet {
                url: "5?device=eaton",
                on: ("1.3.6.1.4.1.534.6.6.7.6.6.1.4.0.5", 0),
                off: ("1.3.6.1.4.1.534.6.6.7.6.6.1.3.0.5", 0),
                state: "1.3.6.1.4.1.534.6.6.7.6.6.1.2.0.5",
                readings: (1, 0),
            },
            0,
            "outletControlStatus = 1",
        ),
        (
            AgentOutlet {
                url: "2.9?device=oid&oid=1.3.6.1.4.1.9.1&off-oid=1.3.6.1.4.1.9.200&read-oid=1.3.6.1.4.1.9.3\
                      &on-value=-1&off-value=300&on-reading=70000&off-reading=-70000",
                on: ("1.3.6.1.4.1.9.1.2.9", -1),
                off: ("1.3.6.1.4.1.9.200.2.9", 300),
                state: "1.3.6.1.4.1.9.3.2.9",
                readings: (70000, -70000),
            },
            1,
            "1.3.6.1.4.1.9.3.2.9 = 70000",
        ),
    ] {
        let agent = SnmpAgent::on(outlet, AgentQuirks::default()).await;
        let evidence = run(PowerOperation::Cycle, &agent.url("off=20ms")).await.unwrap();
        assert_eq!((&evidence["answer"], &evidence["oid"]), (&words.into(), &outlet.on.0.into()));
        assert_eq!((&evidence["observed"], &evidence["attempts"]), (&"on".into(), &1.into()));
        let state = agent.lock();
        let order = |(oid, value): (&str, i32)| (oid.to_owned(), value);
        assert_eq!(state.orders, [order(outlet.off), order(outlet.on)]);
        assert_eq!(
            state.logins.iter().collect::<Vec<_>>(),
            [&(version, "private".to_owned())],
            "{}",
            outlet.url
        );
    }
}

/// Scans a device by its URL.
pub(crate) async fn scanned(url: &str, context: &PowerContext) -> Result<Evidence, PowerRunError> {
    scan(&url.parse().unwrap(), context, &CancellationToken::new()).await
}

/// Power URL and state of each outlet that a scan found.
pub(crate) fn found_outlets(found: &Evidence) -> Vec<(&str, &str)> {
    let outlets = found["outlets"].as_array().unwrap().iter();
    outlets.map(|found| (found["url"].as_str().unwrap(), found["observed"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_scan_finds_the_table_of_outlets_without_the_name_of_the_device() {
    let port = |port: &str| format!("1.3.6.1.2.1.105.1.1.1.3.{port}");
    let others = [("1.2", 2), ("1.10", 1), ("2.3", 7), ("2.0", 1)];
    let others = others.map(|(index, value)| (port(index), value)).into_iter();
    let others = others.chain([("1.3.6.1.2.1.105.1.1.1.4.1.2".to_owned(), 1)]).collect();
    let (on, off) = (("1.3.6.1.2.1.105.1.1.1.3.1.1", 1), ("1.3.6.1.2.1.105.1.1.1.3.1.1", 2));
    let outlet = AgentOutlet { url: "1?device=poe", on, off, state: on.0, readings: (1, 2) };
    let agent = SnmpAgent::on(outlet, AgentQuirks { others, ..AgentQuirks::default() }).await;
    let context = context(LONG_TIMEOUT);
    for (parameters, ends) in [
        ("", ["?device=poe"; 4]),
        ("?device=poe", ["?device=poe"; 4]),
        ("?version=1&off=3s", ["?version=1&off=3s&device=poe"; 4]),
    ] {
        let found = scanned(&format!("snmp://{}{parameters}", agent.addr), &context).await.unwrap();
        let urls = ["1", "2", "10", "2.3"].iter().zip(ends);
        let urls: Vec<_> = urls.map(|(path, end)| format!("snmp://{}/{path}{end}", agent.addr)).collect();
        let states = ["on", "off", "on", "unknown"];
        let expected: Vec<_> = urls.iter().map(String::as_str).zip(states).collect();
        assert_eq!(found_outlets(&found), expected, "{parameters}");
        assert_eq!(found["ended_by"], "the device lists 4 outlets");
        assert_eq!(found["outlets"][3]["answer"], "pethPsePortAdminEnable = 7");
    }
    let url = format!("snmp://{}?device=oid&oid={}&on-value=1&off-value=2", agent.addr, port("1"));
    assert_eq!(scanned(&url, &context).await.unwrap()["outlets"][2]["observed"], "on");
    for (parameters, reason) in [
        ("?device=raritan", "has no outlets below 1.3.6.1.4.1.13742.6.4.1.2.1.3"),
        ("?device=oid&oid=1.3.6.1.4.1.7&on-value=1&off-value=2", "has no outlets below 1.3.6.1.4.1.7"),
    ] {
        let failed = scanned(&format!("snmp://{}{parameters}", agent.addr), &context).await.unwrap_err();
        assert!(failed.reason.ends_with(reason), "{failed}");
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed}");
    }
    assert!(agent.received_orders().is_empty());
    let other = AgentOutlet { state: "1.3.6.1.2.1.1.7.0", ..outlet };
    let agent = SnmpAgent::on(other, AgentQuirks::default()).await;
    let failed = scanned(&format!("snmp://{}", agent.addr), &context).await.unwrap_err();
    assert!(
        failed.reason.contains("has none of the known tables of outlets; write `device=apc`"),
        "{failed}"
    );
}

#[tokio::test]
async fn the_load_detected_at_a_poe_port_is_evidence() {
    let port = "1.3.6.1.2.1.105.1.1.1.3.1.7";
    let outlet =
        AgentOutlet { url: "7?device=poe", on: (port, 1), off: (port, 2), state: port, readings: (1, 2) };
    let detection = "1.3.6.1.2.1.105.1.1.1.6.1.7".to_owned();
    for (value, parameters, expected) in [
        (Some(3), "", Some("deliveringPower")),
        (Some(2), "", Some("searching")),
        (Some(9), "", Some("9")),
        // The switch does not say, or cannot be asked without losing the whole answer.
        (None, "", None),
        (Some(3), "version=1", None),
        (None, "version=1", None),
    ] {
        let others = value.map(|value| (detection.clone(), value)).into_iter().collect();
        let agent = SnmpAgent::on(outlet, AgentQuirks { others, ..AgentQuirks::default() }).await;
        let evidence = run(PowerOperation::On, &agent.url(parameters)).await.unwrap();
        assert_eq!(evidence["observed"], "on");
        assert_eq!(
            evidence.get("detection").and_then(|name| name.as_str()),
            expected,
            "{value:?} {parameters}"
        );
    }
}

#[tokio::test]
async fn agents_with_quirks_are_switched_and_nothing_is_repeated_without_need() {
    let (off, on) = (PowerState::Off, PowerState::On);
    for (quirks, orders) in [
        (AgentQuirks { lost_confirmations: 2, ..AgentQuirks::default() }, vec![off, on]),
        (AgentQuirks { wrong_ids: 5, ..AgentQuirks::default() }, vec![off, on]),
        (AgentQuirks { follows_after: Duration::from_millis(700), ..AgentQuirks::default() }, vec![off, on]),
        (AgentQuirks { refuses_with: Some(GEN_ERR), ..AgentQuirks::default() }, vec![off, on]),
        // The first is the answer to the reading.
        (AgentQuirks { half_answers: 1, ..AgentQuirks::default() }, vec![off, on]),
    ] {
        let agent = SnmpAgent::on(APC, quirks.clone()).await;
        let evidence = run_in(&context(LONG_TIMEOUT), PowerOperation::Cycle, &agent.url("off=20ms")).await;
        let evidence = evidence.unwrap_or_else(|error| panic!("{quirks:?}: {error:?}"));
        assert_eq!((&evidence["observed"], agent.received_orders()), (&"on".into(), orders), "{quirks:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_reported_in_the_device_s_words() {
    for (status, word, kind) in [
        (2, "noSuchName", PowerRunErrorKind::Misconfigured),
        (6, "noAccess", PowerRunErrorKind::Misconfigured),
        (10, "wrongValue", PowerRunErrorKind::Misconfigured),
        (11, "noCreation", PowerRunErrorKind::Misconfigured),
        (16, "authorizationError", PowerRunErrorKind::Misconfigured),
        (17, "notWritable", PowerRunErrorKind::Misconfigured),
        (13, "resourceUnavailable", PowerRunErrorKind::Failed),
        (12, "inconsistentValue", PowerRunErrorKind::Failed),
    ] {
        let quirks = AgentQuirks { refuses_with: Some(status), ..AgentQuirks::default() };
        let agent = SnmpAgent::on(APC, quirks).await;
        let failed = run(PowerOperation::Off, &agent.url("version=2c")).await.unwrap_err();
        assert!(failed.reason.contains(&format!(" answered {word}: ")), "{failed}");
        assert_eq!((&failed.evidence["answer"], failed.kind == kind), (&word.into(), true), "{failed:?}");
        // What will be refused again is not tried again; nothing was switched, as far as the agent says.
        let tries = if kind == PowerRunErrorKind::Misconfigured { 1 } else { 3 };
        assert_eq!(agent.lock().orders.len(), tries, "{word}");
    }
}

#[tokio::test]
async fn a_state_that_is_neither_on_nor_off_is_reported_and_nothing_is_switched() {
    let pending = AgentOutlet {
        url: "5?device=eaton",
        on: ("1.3.6.1.4.1.534.6.6.7.6.6.1.4.0.5", 0),
        off: ("1.3.6.1.4.1.534.6.6.7.6.6.1.3.0.5", 0),
        state: "1.3.6.1.4.1.534.6.6.7.6.6.1.2.0.5",
        readings: (3, 2),
    };
    let agent = SnmpAgent::on(pending, AgentQuirks::default()).await;
    let failed = run(PowerOperation::Off, &agent.url("")).await.unwrap_err();
    assert_eq!(failed.reason, "the outlet reads neither on nor off");
    assert_eq!(failed.evidence["answer"], "outletControlStatus = 3");
    assert!(agent.received_orders().is_empty());
}

#[tokio::test]
async fn the_community_is_the_password_of_the_credential_and_is_shown_nowhere() {
    let agent = SnmpAgent::on(APC, AgentQuirks::default()).await;
    let credential =
        CredentialSource { password: Some(secret("rack-secret")), ..CredentialSource::default() };
    let context = PowerContext { call_limit: SHORT_TIMEOUT, ..context_with(credential) };
    let failed = run_in(&context, PowerOperation::Off, &agent.url("credential=lab")).await.unwrap_err();
    assert!(agent.lock().logins.contains(&(0, "rack-secret".to_owned())));
    assert!(failed.reason.ends_with("a wrong community is not answered either"), "{failed}");
    assert!(!format!("{failed:?}").contains("rack-secret"), "{failed:?}");
    for (parameters, reason) in [
        ("credential=other", "this server has no credential `other`"),
        ("version=3&credential=lab", "credential `lab` has no user"),
    ] {
        let failed = run_in(&context, PowerOperation::Off, &agent.url(parameters)).await.unwrap_err();
        assert!(failed.reason.contains(reason), "{failed}");
        assert_eq!(
            (failed.kind, &failed.evidence["attempts"]),
            (PowerRunErrorKind::Misconfigured, &0.into())
        );
    }
}

#[tokio::test]
async fn a_password_too_short_for_version_3_is_a_configuration_error() {
    let agent = SnmpAgent::on(APC, AgentQuirks::default()).await;
    for (password, privacy_password, reason) in [
        (
            "short",
            "long-enough",
            "the password of credential `lab` is too short: SNMPv3 requires 8 characters",
        ),
        ("long-enough", "brief", "the privacy password of credential `lab` is too short"),
    ] {
        let user = Some("me".to_owned());
        let (password, privacy_password) = (Some(secret(password)), Some(secret(privacy_password)));
        let context = context_with(CredentialSource { user, password, privacy_password, hosts: Vec::new() });
        let url = agent.url("version=3&credential=lab");
        let failed = run_in(&context, PowerOperation::On, &url).await.unwrap_err();
        assert!(failed.reason.starts_with(reason), "{failed}");
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured);
    }
}

/// Counts what is logged.
struct CountingSubscriber(Arc<AtomicUsize>);

impl Subscriber for CountingSubscriber {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().starts_with("async_snmp") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn the_library_logs_nothing() {
    let logged = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(CountingSubscriber(Arc::clone(&logged)));
    let agent = SnmpAgent::with(APC, AgentQuirks::default(), DeviceBehaviour::Hangs, PowerState::On).await;
    run_in(&context(SHORT_TIMEOUT), PowerOperation::On, &agent.url("")).await.unwrap_err();
    agent.set_behaviour(DeviceBehaviour::Normal).await;
    run(PowerOperation::On, &agent.url_of_missing_outlet().unwrap()).await.unwrap_err();
    assert_eq!(logged.load(Ordering::Relaxed), 0);
}
