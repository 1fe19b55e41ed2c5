//! The tests that each driver passes. A driver's own file has a [`TestDevice`] and calls [`run_conformance_tests`].

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{Clock, SystemClock};
use device_io::ProcessLease;
use power::{
    DEFAULT_CALL_TIMEOUT, Evidence, OutletAccess, OutletErrorKind, PowerContext, PowerOperation,
    PowerRunError, PowerRunErrorKind, PowerState, PowerUrl, Readback, operate,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a device takes its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceBehaviour {
    /// As it should.
    Normal,
    /// It takes no connection.
    Refuses,
    /// It takes connections and orders, does nothing and never answers.
    Hangs,
    /// It does what it is told to, and does not answer that; it answers a reading.
    Mute,
    /// It says that it did what it was told to, and did not; a reading shows the truth.
    Lies,
    /// It answers in another protocol.
    Foreign,
}

/// A device with an outlet that really switches something.
pub(crate) trait TestDevice {
    /// Makes one whose outlet gives power or does not.
    async fn start(conduct: DeviceBehaviour, supply: PowerState) -> Self;

    /// The outlet's power URL, with `options` such as `off=20ms`.
    fn url(&self, options: &str) -> String;

    /// The power URL of an outlet that the device does not have.
    fn url_of_nothing(&self) -> String;

    /// Whether the outlet gives power.
    fn supply(&self) -> PowerState;

    /// What the outlet was told, in order.
    fn received_orders(&self) -> Vec<PowerState>;

    /// How many connections it has taken.
    fn connections(&self) -> usize;

    /// Behaves differently from now on.
    async fn conduct(&self, conduct: DeviceBehaviour);
}

/// What a call may take to what never answers: nothing that must succeed is bounded by it.
const SHORT_TIMEOUT: Duration = Duration::from_millis(200);
/// What a call may take where some are answered and some are not: far more than an answer takes on a busy machine.
const LONG_TIMEOUT: Duration = Duration::from_secs(2);
/// How long boards are kept off in these tests.
const OFF: Duration = Duration::from_millis(300);

/// Runs every test at devices of one kind, side by side.
pub(crate) async fn run_conformance_tests<D: TestDevice>() {
    tokio::join!(
        operations_end_in_the_same_place_however_often_they_run::<D>(),
        a_cycle_keeps_off_as_long_as_its_url_says::<D>(),
        what_stands_in_the_way_is_said_and_takes_no_power_away::<D>(),
        orders_that_were_not_answered_are_found_by_reading::<D>(),
        devices_that_lie_are_not_believed::<D>(),
        an_outlet_that_there_is_not_is_an_error_of_configuration::<D>(),
        a_cycle_that_is_cancelled_or_interrupted_ends_with_power::<D>(),
        a_device_that_hangs_while_the_power_is_off_is_said_to_have_left_it_so::<D>(),
        nothing_is_sent_after_the_lease::<D>(),
        an_outlet_is_read_by_itself::<D>(),
    );
}

fn context(call_limit: Duration) -> PowerContext {
    PowerContext {
        clock: Arc::new(SystemClock),
        lease: ProcessLease::default(),
        call_limit,
        interrupted_runs: 0,
    }
}

async fn run_in(
    context: &PowerContext,
    operation: PowerOperation,
    url: &str,
) -> Result<Evidence, PowerRunError> {
    operate(&url.parse().unwrap(), operation, context, &CancellationToken::new()).await
}

async fn run(operation: PowerOperation, url: &str) -> Result<Evidence, PowerRunError> {
    run_in(&context(DEFAULT_CALL_TIMEOUT), operation, url).await
}

fn time(evidence: &Evidence, name: &str) -> DateTime<Utc> {
    evidence[name].as_str().unwrap().parse().unwrap()
}

/// Waits until `is_so`, but not for ever.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let ends_at = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < ends_at, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

async fn operations_end_in_the_same_place_however_often_they_run<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::Off).await;
    let url = device.url("off=20ms");
    for (operation, supply) in [
        (PowerOperation::On, PowerState::On),
        (PowerOperation::On, PowerState::On),
        (PowerOperation::Cycle, PowerState::On),
        (PowerOperation::Cycle, PowerState::On),
        (PowerOperation::Off, PowerState::Off),
        (PowerOperation::Off, PowerState::Off),
    ] {
        let evidence = run(operation, &url).await.unwrap();
        assert_eq!((device.supply(), &evidence["observed"]), (supply, &supply.name().into()));
        assert!(!evidence.contains_key("interrupted"));
    }
}

async fn a_cycle_keeps_off_as_long_as_its_url_says<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let evidence = run(PowerOperation::Cycle, &device.url("off=300ms")).await.unwrap();
    let was_off_for = time(&evidence, "on_at") - time(&evidence, "off_at");
    assert!(was_off_for.to_std().unwrap() >= OFF, "{was_off_for}");
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
}

async fn what_stands_in_the_way_is_said_and_takes_no_power_away<D: TestDevice>() {
    for (conduct, limit, words, ending) in [
        (DeviceBehaviour::Refuses, LONG_TIMEOUT, "no connection to 127.0.0.1:", PowerRunErrorKind::Failed),
        (DeviceBehaviour::Hangs, SHORT_TIMEOUT, "no answer from 127.0.0.1:", PowerRunErrorKind::Failed),
        (DeviceBehaviour::Foreign, LONG_TIMEOUT, "answered, but not with ", PowerRunErrorKind::Misconfigured),
    ] {
        let device = D::start(conduct, PowerState::On).await;
        let failed = run_in(&context(limit), PowerOperation::Off, &device.url("")).await.unwrap_err();
        assert!(failed.reason.contains(words), "{conduct:?}: {failed}");
        assert_eq!((&failed.kind, &failed.evidence["observed"]), (&ending, &"unknown".into()), "{failed}");
        assert_eq!(failed.evidence.contains_key("answer"), conduct == DeviceBehaviour::Foreign, "{failed:?}");
        assert_eq!((device.supply(), device.received_orders()), (PowerState::On, Vec::new()), "{conduct:?}");
    }
}

async fn orders_that_were_not_answered_are_found_by_reading<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Mute, PowerState::On).await;
    let evidence =
        run_in(&context(LONG_TIMEOUT), PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!(evidence["observed"], "on");
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On], "nothing is repeated");
}

async fn devices_that_lie_are_not_believed<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Lies, PowerState::Off).await;
    let failed = run(PowerOperation::On, &device.url("")).await.unwrap_err();
    assert_eq!(failed.reason, "the power was switched on and still reads off");
    assert_eq!((failed.kind, &failed.evidence["observed"]), (PowerRunErrorKind::Failed, &"off".into()));
}

async fn an_outlet_that_there_is_not_is_an_error_of_configuration<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    for operation in [PowerOperation::On, PowerOperation::Off, PowerOperation::Cycle] {
        let failed = run(operation, &device.url_of_nothing()).await.unwrap_err();
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed}");
        assert_eq!(failed.evidence["attempts"], 1, "it is not tried again: {failed}");
        assert!(failed.evidence.contains_key("answer"), "the device's own words: {failed:?}");
    }
    assert_eq!(device.supply(), PowerState::On);
}

async fn a_cycle_that_is_cancelled_or_interrupted_ends_with_power<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let (url, cancel): (PowerUrl, _) = (device.url("off=10s").parse().unwrap(), CancellationToken::new());
    let context = context(DEFAULT_CALL_TIMEOUT);
    let (ended, ()) = tokio::join!(operate(&url, PowerOperation::Cycle, &context, &cancel), async {
        until("the power is off", || device.supply() == PowerState::Off).await;
        cancel.cancel();
    });
    let failed = ended.unwrap_err();
    assert_eq!((failed.reason.as_str(), &failed.evidence["observed"]), ("abandoned", &"on".into()));
    assert_eq!(device.supply(), PowerState::On);

    let device = D::start(DeviceBehaviour::Normal, PowerState::Off).await;
    let context = PowerContext { interrupted_runs: 1, ..context };
    let evidence = run_in(&context, PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!((&evidence["observed"], &evidence["interrupted"]), (&"on".into(), &1.into()));
    assert_eq!(device.received_orders(), [PowerState::On], "it was off already");
}

async fn a_device_that_hangs_while_the_power_is_off_is_said_to_have_left_it_so<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let (url, context) = (device.url("off=500ms"), context(LONG_TIMEOUT));
    let (ended, ()) = tokio::join!(run_in(&context, PowerOperation::Cycle, &url), async {
        until("the power is off", || device.supply() == PowerState::Off).await;
        device.conduct(DeviceBehaviour::Hangs).await;
    });
    let failed = ended.unwrap_err();
    assert!(failed.reason.starts_with("the board may be without power: "), "{failed}");
    let at = url.parse::<PowerUrl>().unwrap().outlet();
    assert_eq!(failed.kind, PowerRunErrorKind::Unrestored { what: "power", at });
}

async fn nothing_is_sent_after_the_lease<D: TestDevice>() {
    let device = D::start(DeviceBehaviour::Normal, PowerState::On).await;
    let (url, context) = (device.url("off=300ms"), context(DEFAULT_CALL_TIMEOUT));
    let (ended, ()) = tokio::join!(run_in(&context, PowerOperation::Cycle, &url), async {
        until("the power is off", || device.supply() == PowerState::Off).await;
        context.lease.extend(Instant::now());
    });
    let failed = ended.unwrap_err();
    assert!(failed.reason.contains("the lease of this process expired"), "{failed}");
    assert_eq!(
        device.received_orders(),
        [PowerState::Off],
        "whoever has the device now gives the power back"
    );
    let before = device.connections();
    run_in(&context, PowerOperation::On, &url).await.unwrap_err();
    assert_eq!(device.connections(), before);
}

async fn an_outlet_is_read_by_itself<D: TestDevice>() {
    for supply in [PowerState::On, PowerState::Off] {
        let device = D::start(DeviceBehaviour::Normal, supply).await;
        let url: PowerUrl = device.url("").parse().unwrap();
        assert_ne!(url.capabilities().readback, Readback::None);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let access = OutletAccess { clock, lease: ProcessLease::default(), call_limit: DEFAULT_CALL_TIMEOUT };
        assert_eq!(url.open(access.clone()).read().await.unwrap().power_state, Some(supply));
        device.conduct(DeviceBehaviour::Hangs).await;
        let fault = url.open(OutletAccess { call_limit: SHORT_TIMEOUT, ..access }).read().await.unwrap_err();
        assert_eq!(fault.kind, OutletErrorKind::ConnectionLost, "silence is no reading: {fault:?}");
    }
}
