//! Tests of power operations at working relay boards: repeated, and cancelled at each moment.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use lifeguard::actions::{ActionKind as _, Evidence, UnfinishedAction};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;

async fn run(operation: PowerOperation, url: &str) -> Result<Evidence, UnfinishedAction> {
    let token = CancellationToken::new();
    within_long_timeout("a power operation", power(operation).run(&job(url), &token)).await
}

#[tokio::test]
async fn repeated_operations_end_in_the_same_state() {
    let relay = relay(RelayBehaviour::OneClientAtATime);
    let url = coil_5(relay.addr());
    let on = run(PowerOperation::On, &url).await.unwrap();
    assert_eq!((&on["coil"], &on["unit"], &on["observed"]), (&json!(5), &json!(1), &json!("on")));
    assert!(on.contains_key("on_at") && !on.contains_key("off_at"));
    run(PowerOperation::On, &url).await.unwrap();
    assert_eq!(wire_of(&relay), [true]);
    for cycles in 1..=2 {
        let cycle = run(PowerOperation::Cycle, &url).await.unwrap();
        assert_eq!(cycle["observed"], "on");
        let at = |key: &str| cycle[key].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        assert!(at("on_at") - at("off_at") >= TimeDelta::milliseconds(20));
        assert_eq!(wire_of(&relay).len(), 1 + 2 * cycles);
    }
    let off = run(PowerOperation::Off, &url).await.unwrap();
    assert_eq!(off["observed"], "off");
    run(PowerOperation::Off, &url).await.unwrap();
    assert_eq!(wire_of(&relay), [true, false, true, false, true, false]);
    assert_eq!(relay.coil_changes().len(), 6, "no other coil was touched");
}

#[tokio::test]
async fn a_board_at_a_normally_closed_contact_has_power_while_its_coil_is_off() {
    let relay = relay(RelayBehaviour::Normal);
    let url = format!("modbus://{}/5?invert=true&off=20ms", relay.addr());
    let off = run(PowerOperation::Off, &url).await.unwrap();
    assert_eq!((&off["observed"], *relay.coil(5).borrow()), (&json!("off"), true));
    let on = run(PowerOperation::On, &url).await.unwrap();
    assert_eq!((&on["observed"], *relay.coil(5).borrow()), (&json!("on"), false));
    run(PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!(wire_of(&relay), [true, false, true, false]);
}

#[tokio::test]
async fn only_the_unit_of_the_url_is_switched() {
    let relay = relay(RelayBehaviour::Normal);
    relay.set_unit(Some(7));
    let driver = power(PowerOperation::On).with_call_limit(SHORT_TIMEOUT);
    let (job, token) = (job(coil_5(relay.addr())), CancellationToken::new());
    let failed = within_long_timeout("three calls", driver.run(&job, &token)).await.unwrap_err();
    assert!(failed.reason.contains("no answer"), "{failed}");
    run(PowerOperation::On, &format!("modbus://{}/5?unit=7", relay.addr())).await.unwrap();
    assert_eq!(wire_of(&relay), [true]);
}

/// A clock that records the times it is asked to wait for.
struct RecordingClock {
    clock: ManualClock,
    asked: mpsc::UnboundedSender<DateTime<Utc>>,
}

impl RecordingClock {
    fn new(clock: &ManualClock) -> (Arc<Self>, mpsc::UnboundedReceiver<DateTime<Utc>>) {
        let (sender, asked) = mpsc::unbounded_channel();
        (Arc::new(Self { clock: clock.clone(), asked: sender }), asked)
    }
}

impl Clock for RecordingClock {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()> {
        self.asked.send(at).ok();
        self.clock.sleep_until(at)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(lifeguard::clock::time_after(self.now(), span))
    }
}

#[tokio::test]
async fn a_board_is_off_for_the_time_in_its_url() {
    let (clock, shared) = manual();
    let relay =
        RelayBoard::start_with_clock(Arc::clone(&shared), any_port(), 8, RelayBehaviour::Normal).unwrap();
    relay.switch(5, true);
    let url = format!("modbus://{}/5?off=7s&rest=1s", relay.addr());
    let (overheard, mut asked) = RecordingClock::new(&clock);
    let (driver, job, token) =
        (power(PowerOperation::Cycle), with_clock(overheard, job(url)), CancellationToken::new());
    let started = clock.now();
    let mut until_asked_for = async |at: DateTime<Utc>| while asked.recv().await.unwrap() != at {};
    let mut wire = relay.coil(5);
    let time = async {
        // Another client may have disconnected just now: the settle time comes first.
        until_asked_for(started + TimeDelta::seconds(1)).await;
        assert_eq!(relay.connections(), 0);
        clock.advance(Duration::from_secs(1));
        until_asked_for(started + TimeDelta::seconds(8)).await;
        for seconds in 0..7 {
            assert!(!*wire.borrow(), "after {seconds} s");
            clock.advance(Duration::from_secs(1));
        }
        until_wire(&mut wire, true).await;
    };
    let (ended, ()) =
        within_long_timeout("the cycle", async { tokio::join!(driver.run(&job, &token), time) }).await;
    ended.unwrap();
    let operations = relay.coil_changes();
    assert_eq!(operations[2].at - operations[1].at, TimeDelta::seconds(7));
}

#[tokio::test]
async fn a_run_cancelled_before_its_start_changes_nothing() {
    let relay = relay(RelayBehaviour::Normal);
    relay.switch(5, true);
    let token = CancellationToken::new();
    token.cancel();
    for operation in [PowerOperation::Off, PowerOperation::Cycle, PowerOperation::On] {
        let failed = power(operation).run(&job(coil_5(relay.addr())), &token).await.unwrap_err();
        assert_eq!((failed.reason.as_str(), observed(&failed)), ("cancelled", "unknown"));
    }
    assert_eq!((wire_of(&relay), relay.connections()), (vec![true], 0));
}

#[tokio::test]
async fn a_run_cancelled_between_two_tries_reports_the_first_error() {
    let (clock, _) = manual();
    let (overheard, mut asked) = RecordingClock::new(&clock);
    let second_try = clock.now() + TimeDelta::milliseconds(250);
    let unreachable = SocketAddr::from(([127, 0, 0, 1], 1));
    let (driver, job, token) = (
        power(PowerOperation::On),
        with_clock(overheard, job(coil_5(unreachable))),
        CancellationToken::new(),
    );
    let (ended, ()) = within_long_timeout("the cancelled run", async {
        tokio::join!(driver.run(&job, &token), async {
            while asked.recv().await.unwrap() != second_try {}
            token.cancel();
        })
    })
    .await;
    let reason = ended.unwrap_err().reason;
    let refused = format!("no connection to {unreachable}: Connection refused, then cancelled");
    assert_eq!(reason, refused);
}

#[tokio::test]
async fn a_cycle_cancelled_while_the_board_is_off_restores_the_power_at_once() {
    let (_stands_still, shared) = manual();
    let relay = relay(RelayBehaviour::Normal);
    relay.switch(5, true);
    let (driver, job, token) = (
        power(PowerOperation::Cycle),
        with_clock(shared, job(coil_5(relay.addr()))),
        CancellationToken::new(),
    );
    let mut wire = relay.coil(5);
    let (ended, ()) = within_long_timeout("the cancelled cycle", async {
        tokio::join!(driver.run(&job, &token), async {
            until_wire(&mut wire, false).await;
            token.cancel();
        })
    })
    .await;
    let failed = ended.unwrap_err();
    assert_eq!((failed.reason.as_str(), observed(&failed)), ("cancelled", "on"));
    assert_eq!(wire_of(&relay), [true, false, true]);
}

#[tokio::test]
async fn a_cycle_cancelled_while_a_write_is_unanswered_restores_the_power() {
    // The write is executed and never answered; the driver is still waiting for the answer when it is cancelled.
    for at in [false, true] {
        let relay = relay(RelayBehaviour::Mute);
        relay.switch(5, true);
        let driver = power(PowerOperation::Cycle).with_call_limit(LONG_TIMEOUT);
        let (job, token) = (job(coil_5(relay.addr())), CancellationToken::new());
        let mut wire = relay.coil(5);
        let (ended, ()) = within_long_timeout("the cancelled cycle", async {
            tokio::join!(driver.run(&job, &token), async {
                until_wire(&mut wire, false).await;
                until_wire(&mut wire, at).await;
                token.cancel();
            })
        })
        .await;
        let failed = ended.unwrap_err();
        assert_eq!((failed.reason.as_str(), observed(&failed)), ("cancelled", "on"), "{failed:?}");
        assert_eq!(wire_of(&relay), [true, false, true]);
    }
}

#[tokio::test]
async fn a_board_without_a_power_url_or_with_a_bad_one_fails_with_the_reason() {
    let token = CancellationToken::new();
    let mut job = job("modbus://relay-3.lab/5?unit=0");
    let failed = power(PowerOperation::On).run(&job, &token).await.unwrap_err();
    assert!(failed.reason.contains("1 to 247"), "{failed}");
    job.facts.remove("power_url");
    let failed = power(PowerOperation::On).run(&job, &token).await.unwrap_err();
    assert!(failed.reason.contains("board-1 has no power URL"), "{failed}");
}
