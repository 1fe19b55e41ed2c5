//! Tests that each driver passes. A driver's own file implements [`TestDevice`] and calls [`run_conformance_tests`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::SystemClock;
use device_io::{
    CredentialName, CredentialSource, Credentials, ProcessLease, Secret, SecretSource, UnreachableDevice,
};
use power::{
    DEFAULT_CALL_TIMEOUT, Evidence, OutletErrorKind, PowerCommands, PowerContext, PowerOperation,
    PowerRunError, PowerRunErrorKind, PowerState, PowerUrl, Readback, ScanUrl, operate, probe, scan, schemes,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a device reacts to orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceBehaviour {
    /// As specified.
    Normal,
    /// It refuses connections.
    Refuses,
    /// It accepts connections and orders, does nothing and never answers.
    Hangs,
    /// It follows orders without answering them; it answers reads.
    Mute,
    /// It confirms orders without following them; a read shows the true state.
    Lies,
    /// It answers in another protocol.
    Foreign,
}

/// What is expected where a device cannot be used.
#[derive(Debug, Clone)]
pub(crate) struct ExpectedFailure {
    /// A part of the reason.
    pub(crate) reason: &'static str,
    pub(crate) kind: PowerRunErrorKind,
    /// Whether the device's words are in the evidence.
    pub(crate) has_answer: bool,
    /// Whether the device did not answer, which is a fault of the device and not of the outlet.
    pub(crate) is_unreachable: bool,
}

/// A device with an outlet whose state can be observed.
pub(crate) trait TestDevice {
    /// Timeout of calls where some are answered and some are not.
    const ANSWER_TIMEOUT: Duration = LONG_TIMEOUT;

    /// Adds what its power URL names.
    fn configure(&self, context: PowerContext) -> PowerContext {
        context
    }

    /// What is expected at a device that refuses, hangs or speaks another protocol.
    fn expected_failure(behaviour: DeviceBehaviour) -> ExpectedFailure {
        let failed = |reason| ExpectedFailure {
            reason,
            kind: PowerRunErrorKind::Failed,
            has_answer: false,
            is_unreachable: true,
        };
        match behaviour {
            DeviceBehaviour::Refuses => failed("no connection to 127.0.0.1:"),
            DeviceBehaviour::Foreign => ExpectedFailure {
                kind: PowerRunErrorKind::Misconfigured,
                has_answer: true,
                is_unreachable: false,
                ..failed("answered, but not with ")
            },
            DeviceBehaviour::Normal
            | DeviceBehaviour::Hangs
            | DeviceBehaviour::Mute
            | DeviceBehaviour::Lies => failed("no answer from 127.0.0.1:"),
        }
    }

    /// Starts a device whose outlet has this state.
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self;

    /// The outlet's power URL, with `parameters` such as `off=20ms`.
    fn url(&self, parameters: &str) -> String;

    /// The power URL of an outlet that the device says it does not have; `None` where it does not say so.
    fn url_of_missing_outlet(&self) -> Option<String>;

    /// The state of the outlet.
    fn state(&self) -> PowerState;

    /// The orders that the outlet received, in order.
    fn received_orders(&self) -> Vec<PowerState>;

    /// Number of connections it has accepted.
    fn connections(&self) -> usize;

    /// Changes its behaviour.
    async fn set_behaviour(&self, behaviour: DeviceBehaviour);
}

/// Timeout of calls to devices that never answer; never used for calls that must succeed.
pub(crate) const SHORT_TIMEOUT: Duration = Duration::from_millis(200);
/// Timeout of calls where some are answered and some are not: far longer than an answer takes on a busy machine.
pub(crate) const LONG_TIMEOUT: Duration = Duration::from_secs(2);
/// Off time of power cycles in these tests.
const OFF: Duration = Duration::from_millis(300);

/// Runs all tests concurrently at devices of one kind.
pub(crate) async fn run_conformance_tests<D: TestDevice>() {
    tokio::join!(
        repeated_operations_end_in_the_same_state::<D>(),
        a_cycle_keeps_the_off_time_of_its_url::<D>(),
        unreachable_devices_are_reported_and_not_switched_off::<D>(),
        unanswered_orders_are_confirmed_by_reading::<D>(),
        an_order_confirmed_but_not_followed_fails::<D>(),
        a_missing_outlet_is_a_configuration_error::<D>(),
        a_cancelled_or_interrupted_cycle_restores_the_power::<D>(),
        a_device_that_hangs_while_off_is_reported_as_unrestored::<D>(),
        nothing_is_sent_after_the_lease_expired::<D>(),
        an_outlet_can_be_read_without_being_switched::<D>(),
        a_probe_reads_and_switches_nothing::<D>(),
        a_scan_finds_the_outlet_and_switches_nothing::<D>(),
    );
}

pub(crate) fn context(call_limit: Duration) -> PowerContext {
    PowerContext {
        clock: Arc::new(SystemClock),
        lease: ProcessLease::default(),
        call_limit,
        interrupted_runs: 0,
        credentials: Credentials::default(),
        commands: PowerCommands::default(),
        min_off: Duration::ZERO,
    }
}

pub(crate) async fn run_in(
    context: &PowerContext,
    operation: PowerOperation,
    url: &str,
) -> Result<Evidence, PowerRunError> {
    operate(&url.parse().unwrap(), operation, context, &CancellationToken::new()).await
}

pub(crate) async fn run(operation: PowerOperation, url: &str) -> Result<Evidence, PowerRunError> {
    run_in(&context(DEFAULT_CALL_TIMEOUT), operation, url).await
}

/// Runs an operation at a device, within its limit of a call.
async fn run_at(
    device: &impl TestDevice,
    call_limit: Duration,
    operation: PowerOperation,
    url: &str,
) -> Result<Evidence, PowerRunError> {
    run_in(&device.configure(context(call_limit)), operation, url).await
}

/// Runs `operation` at a server with one credential, `plugs`, with this user and password.
pub(crate) async fn run_with(
    (user, password): (Option<&str>, &str),
    operation: PowerOperation,
    url: &str,
) -> Result<Evidence, PowerRunError> {
    let credential = CredentialSource {
        user: user.map(str::to_owned),
        password: Some(SecretSource::Text(Secret::new(password))),
        ..CredentialSource::default()
    };
    run_in(&context_with(credential), operation, url).await
}

/// The context of a server with one credential, `plugs`.
pub(crate) fn context_with(credential: CredentialSource) -> PowerContext {
    let by_name = BTreeMap::from([(CredentialName::new("plugs").unwrap(), credential)]);
    let credentials = Credentials::new("/etc/lifeguard/lifeguard.toml", by_name);
    PowerContext { credentials, ..context(DEFAULT_CALL_TIMEOUT) }
}

fn time(evidence: &Evidence, name: &str) -> DateTime<Utc> {
    evidence[name].as_str().unwrap().parse().unwrap()
}

/// Waits for `condition`, with a time limit.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting: {what}");
        tokio::task::yield_now().await;
    }
}

async fn repeated_operations_end_in_the_same_state<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::Off).await;
    let url = device.url("off=20ms");
    for (operation, state) in [
        (PowerOperation::On, PowerState::On),
        (PowerOperation::On, PowerState::On),
        (PowerOperation::Cycle, PowerState::On),
        (PowerOperation::Cycle, PowerState::On),
        (PowerOperation::Off, PowerState::Off),
        (PowerOperation::Off, PowerState::Off),
    ] {
        let evidence = run_at(&device, DEFAULT_CALL_TIMEOUT, operation, &url).await.unwrap();
        assert_eq!((device.state(), &evidence["observed"]), (state, &state.name().into()));
        assert!(!evidence.contains_key("interrupted"));
    }
}

async fn a_cycle_keeps_the_off_time_of_its_url<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let url = device.url("off=300ms");
    let evidence = run_at(&device, DEFAULT_CALL_TIMEOUT, PowerOperation::Cycle, &url).await.unwrap();
    let was_off_for = time(&evidence, "on_at") - time(&evidence, "off_at");
    assert!(was_off_for.to_std().unwrap() >= OFF, "{was_off_for}");
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
}

async fn unreachable_devices_are_reported_and_not_switched_off<D: TestDevice>() {
    for (behaviour, limit) in [
        (DeviceBehaviour::Refuses, D::ANSWER_TIMEOUT),
        (DeviceBehaviour::Hangs, SHORT_TIMEOUT),
        (DeviceBehaviour::Foreign, D::ANSWER_TIMEOUT),
    ] {
        let device = D::start(behaviour, PowerState::On).await;
        let failed = run_at(&device, limit, PowerOperation::Off, &device.url("")).await.unwrap_err();
        let ExpectedFailure { reason, kind, has_answer, is_unreachable } = D::expected_failure(behaviour);
        assert!(failed.reason.contains(reason), "{behaviour:?}: {failed}");
        assert_eq!((&failed.kind, &failed.evidence["observed"]), (&kind, &"unknown".into()), "{failed}");
        assert_eq!(failed.evidence.contains_key("answer"), has_answer, "{failed:?}");
        let resource = device.url("").parse::<PowerUrl>().unwrap().device().to_owned();
        let unreachable = Box::new(UnreachableDevice { resource, has_acted: false, is_suspected: false });
        let unreachable = is_unreachable.then_some(unreachable);
        assert_eq!(failed.unreachable, unreachable, "{behaviour:?}");
        // A probe says the same, except that any answer is a success.
        let probed = probe_at(&device, limit, &device.url("")).await;
        let probed = probed.map_err(|failed| failed.unreachable);
        assert_eq!(
            probed.map(|_| ()),
            unreachable.map_or(Ok(()), |device| Err(Some(device))),
            "{behaviour:?}"
        );
        assert_eq!((device.state(), device.received_orders()), (PowerState::On, Vec::new()), "{behaviour:?}");
    }
}

async fn probe_at(
    device: &impl TestDevice,
    call_limit: Duration,
    url: &str,
) -> Result<Evidence, PowerRunError> {
    let context = device.configure(context(call_limit));
    probe(&url.parse().unwrap(), &context, &CancellationToken::new()).await
}

async fn a_probe_reads_and_switches_nothing<D: TestDevice>() {
    for state in [PowerState::On, PowerState::Off] {
        let device = D::start(DeviceBehaviour::Normal, state).await;
        let evidence = probe_at(&device, DEFAULT_CALL_TIMEOUT, &device.url("")).await.unwrap();
        assert_eq!((&evidence["observed"], device.state()), (&state.name().into(), state));
        assert_eq!((device.received_orders(), device.connections()), (Vec::new(), 1));
        let Some(url) = device.url_of_missing_outlet() else { continue };
        probe_at(&device, DEFAULT_CALL_TIMEOUT, &url).await.unwrap();
    }
}

async fn unanswered_orders_are_confirmed_by_reading<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Mute, PowerState::On).await;
    let evidence =
        run_at(&device, D::ANSWER_TIMEOUT, PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!(evidence["observed"], "on");
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On], "nothing is repeated");
}

async fn an_order_confirmed_but_not_followed_fails<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Lies, PowerState::Off).await;
    let failed =
        run_at(&device, DEFAULT_CALL_TIMEOUT, PowerOperation::On, &device.url("")).await.unwrap_err();
    assert_eq!(failed.reason, "the power was switched on and still reads off");
    assert_eq!((failed.kind, &failed.evidence["observed"]), (PowerRunErrorKind::Failed, &"off".into()));
}

async fn a_missing_outlet_is_a_configuration_error<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let Some(url) = device.url_of_missing_outlet() else { return };
    for operation in [PowerOperation::On, PowerOperation::Off, PowerOperation::Cycle] {
        let failed = run_at(&device, DEFAULT_CALL_TIMEOUT, operation, &url).await.unwrap_err();
        assert_eq!(
            (&failed.kind, &failed.unreachable),
            (&PowerRunErrorKind::Misconfigured, &None),
            "{failed}"
        );
        assert_eq!(failed.evidence["attempts"], 1, "not retried: {failed}");
        assert!(failed.evidence.contains_key("answer"), "the device's answer: {failed:?}");
    }
    assert_eq!(device.state(), PowerState::On);
}

async fn a_cancelled_or_interrupted_cycle_restores_the_power<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let (url, cancel): (PowerUrl, _) = (device.url("off=10s").parse().unwrap(), CancellationToken::new());
    let context = device.configure(context(DEFAULT_CALL_TIMEOUT));
    let (result, ()) = tokio::join!(operate(&url, PowerOperation::Cycle, &context, &cancel), async {
        until("the power is off", || device.state() == PowerState::Off).await;
        cancel.cancel();
    });
    let failed = result.unwrap_err();
    assert_eq!((failed.reason.as_str(), &failed.evidence["observed"]), ("cancelled", &"on".into()));
    assert_eq!(device.state(), PowerState::On);

    let device = D::start(DeviceBehaviour::Normal, PowerState::Off).await;
    let context = device.configure(PowerContext { interrupted_runs: 1, ..context });
    let evidence = run_in(&context, PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!((&evidence["observed"], &evidence["interrupted"]), (&"on".into(), &1.into()));
    assert_eq!(device.received_orders(), [PowerState::On], "it was off already");
}

async fn a_device_that_hangs_while_off_is_reported_as_unrestored<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let (url, context) = (device.url("off=500ms"), device.configure(context(D::ANSWER_TIMEOUT)));
    let (result, ()) = tokio::join!(run_in(&context, PowerOperation::Cycle, &url), async {
        until("the power is off", || device.state() == PowerState::Off).await;
        device.set_behaviour(DeviceBehaviour::Hangs).await;
    });
    let failed = result.unwrap_err();
    assert!(failed.reason.starts_with("cannot restore power: "), "{failed}");
    let at = url.parse::<PowerUrl>().unwrap().outlet();
    assert_eq!(failed.kind, PowerRunErrorKind::Unrestored { what: "power", at });
    assert!(failed.unreachable.is_some_and(|device| device.has_acted));
}

async fn nothing_is_sent_after_the_lease_expired<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let (url, context) = (device.url("off=300ms"), device.configure(context(DEFAULT_CALL_TIMEOUT)));
    let (result, ()) = tokio::join!(run_in(&context, PowerOperation::Cycle, &url), async {
        until("the power is off", || device.state() == PowerState::Off).await;
        context.lease.extend(Instant::now());
    });
    let failed = result.unwrap_err();
    assert!(failed.reason.contains("lease expired"), "{failed}");
    assert_eq!(
        device.received_orders(),
        [PowerState::Off],
        "the next holder of the device restores the power"
    );
    // The device may count a connection only now that was opened before the lease expired.
    let failed = run_in(&context, PowerOperation::On, &url).await.unwrap_err();
    assert_eq!(failed.evidence["attempts"], 0);
}

async fn an_outlet_can_be_read_without_being_switched<D: TestDevice>() {
    for state in [PowerState::On, PowerState::Off] {
        let device = D::start(DeviceBehaviour::Normal, state).await;
        let url: PowerUrl = device.url("").parse().unwrap();
        assert_ne!(url.capabilities().readback, Readback::None);
        let access = device.configure(context(DEFAULT_CALL_TIMEOUT)).access();
        assert_eq!(url.open(access.clone()).read().await.unwrap().power_state, Some(state));
        let evidence =
            run_at(&device, DEFAULT_CALL_TIMEOUT, PowerOperation::Read, &device.url("")).await.unwrap();
        assert_eq!(evidence["observed"], state.name());
        assert_eq!(device.received_orders(), []);
        device.set_behaviour(DeviceBehaviour::Hangs).await;
        let access = device.configure(context(SHORT_TIMEOUT)).access();
        let error = url.open(access).read().await.unwrap_err();
        assert_eq!(error.kind, OutletErrorKind::ConnectionLost, "no answer is not a state: {error:?}");
    }
}

/// The URL of the device of `url`, with its parameters; `None` where the scheme has no scan.
fn scan_url(url: &str) -> Option<ScanUrl> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let is_scanned = schemes().iter().any(|known| known.name() == scheme && known.scan_form().is_some());
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = path.split('/').next().unwrap();
    is_scanned.then(|| format!("{scheme}://{authority}?{query}").parse().unwrap())
}

async fn a_scan_finds_the_outlet_and_switches_nothing<D: TestDevice>() {
    for state in [PowerState::On, PowerState::Off] {
        let device = D::start(DeviceBehaviour::Normal, state).await;
        let (url, cancel) = (device.url(""), CancellationToken::new());
        let Some(device_url) = scan_url(&url) else { return };
        let configured = device.configure(context(DEFAULT_CALL_TIMEOUT));
        let found = scan(&device_url, &configured, &cancel).await.unwrap();
        let outlet = |url: &str| url.parse::<PowerUrl>().unwrap().outlet();
        let outlets = found["outlets"].as_array().unwrap();
        let own = outlets.iter().filter(|found| outlet(found["url"].as_str().unwrap()) == outlet(&url));
        let own: Vec<_> = own.collect();
        assert_eq!(own.len(), 1, "{found:?}");
        assert_eq!(own[0]["observed"], state.name());
        assert!(!found["ended_by"].as_str().unwrap().is_empty());
        assert_eq!((device.received_orders(), device.state()), (Vec::new(), state));

        device.set_behaviour(DeviceBehaviour::Hangs).await;
        let configured = device.configure(context(SHORT_TIMEOUT));
        let failed = scan(&device_url, &configured, &cancel).await.unwrap_err();
        assert!(failed.reason.contains("no answer from 127.0.0.1:"), "{failed}");
        assert_eq!(failed.kind, PowerRunErrorKind::Failed);
    }
}
