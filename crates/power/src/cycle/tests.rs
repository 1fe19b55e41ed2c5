//! Tests of the operations with a fake outlet: which calls they make, in which order.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use clock::SystemClock;
use device_io::Evidence;
use tokio::time::Instant;

use super::*;
use crate::outlet::{ClientCapacity, Outlet, OutletCapabilities, OutletReading, Readback};

const OFF: Duration = Duration::from_millis(60);

/// A device that records its calls in order.
struct FakeDevice {
    calls: Vec<String>,
    state: Option<PowerState>,
    /// When it restores the power by itself.
    restores_at: Option<Instant>,
    /// Whether it restores the power by itself after a cycle.
    is_reliable: bool,
    /// How much longer than requested its own cycle takes.
    overtime: Duration,
    /// Whether it refuses orders for the state that it has.
    refuses_same_state: bool,
    /// Whether the answer to the next request for a cycle is lost, and whether the device executes that request.
    lost_answer: Option<IsExecuted>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IsExecuted {
    Yes,
    No,
}

#[derive(Clone)]
struct FakeOutlet(Arc<Mutex<FakeDevice>>);

impl FakeOutlet {
    fn new(state: Option<PowerState>) -> Self {
        let device = FakeDevice {
            calls: Vec::new(),
            state,
            restores_at: None,
            is_reliable: true,
            overtime: Duration::ZERO,
            refuses_same_state: false,
            lost_answer: None,
        };
        Self(Arc::new(Mutex::new(device)))
    }

    fn device(&self) -> MutexGuard<'_, FakeDevice> {
        self.0.lock().unwrap()
    }

    fn calls(&self) -> String {
        self.device().calls.join(" ")
    }

    fn switching(&self, cycle: CycleTiming) -> SwitchingRun {
        let capabilities = OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: cycle,
            client_capacity: ClientCapacity::One,
            settle_for: Duration::ZERO,
            effect_within: Duration::ZERO,
        };
        SwitchingRun::new(Arc::new(SystemClock), Box::new(self.clone()), capabilities)
    }
}

#[async_trait]
impl Outlet for FakeOutlet {
    fn evidence(&self) -> Evidence {
        Evidence::new()
    }

    fn attempts(&self) -> u32 {
        1
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        Ok(())
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let mut device = self.device();
        device.calls.push("read".to_owned());
        if device.is_reliable && device.restores_at.is_some_and(|at| at <= Instant::now()) {
            device.state = Some(PowerState::On);
        }
        Ok(OutletReading { power_state: device.state, answer: Some(format!("{:?}", device.state)) })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let mut device = self.device();
        device.calls.push(state.name().to_owned());
        if device.refuses_same_state && device.state == Some(state) {
            return Err(OutletError::new(OutletErrorKind::Refused, "refused"));
        }
        device.state = device.state.map(|_| state);
        device.restores_at = None;
        Ok(())
    }

    async fn cycle(&mut self, off_for: Duration) -> Result<(), OutletError> {
        let mut device = self.device();
        device.calls.push("cycle".to_owned());
        if device.refuses_same_state && device.state == Some(PowerState::Off) {
            return Err(OutletError::new(OutletErrorKind::Refused, "refused"));
        }
        let lost_answer = device.lost_answer.take();
        if lost_answer != Some(IsExecuted::No) {
            device.state = Some(PowerState::Off);
            device.restores_at = Some(Instant::now() + off_for + device.overtime);
        }
        match lost_answer {
            Some(_) => Err(OutletError::new(OutletErrorKind::ConnectionLost, "connection lost")),
            None => Ok(()),
        }
    }
}

fn timed_by_device(shortest: Duration) -> CycleTiming {
    CycleTiming::Device { shortest, longest: Duration::from_secs(10) }
}

#[tokio::test]
async fn a_cycle_timed_by_the_device_is_requested_once_and_read_before_during_and_after() {
    let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
    let mut switching = fake.switching(timed_by_device(OFF));
    switching.cycle(OFF, 0, &cancel).await.unwrap();
    assert_eq!(fake.calls(), "read cycle read read");
    assert_eq!(switching.observed_answer.as_deref(), Some("Some(On)"));
    let was_off_for = switching.on_at.unwrap() - switching.off_at.unwrap();
    assert!(was_off_for.to_std().unwrap() >= OFF, "{was_off_for}");
}

#[tokio::test]
async fn a_reading_from_before_the_power_was_off_does_not_end_its_off_time() {
    let fake = FakeOutlet::new(Some(PowerState::On));
    let mut switching = fake.switching(timed_by_device(OFF));
    switching.read().await.unwrap();
    fake.device().state = Some(PowerState::Off);
    switching.read().await.unwrap();
    assert!(switching.off_at.is_some() && switching.on_at.is_none(), "{:?}", switching.on_at);
}

#[tokio::test]
async fn a_device_that_does_not_restore_power_after_its_own_cycle_is_switched_on() {
    let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
    fake.device().is_reliable = false;
    fake.switching(timed_by_device(OFF)).cycle(OFF, 0, &cancel).await.unwrap();
    let calls = fake.calls();
    assert!(calls.starts_with("read cycle read read read ") && calls.ends_with(" read on read"), "{calls}");
}

#[tokio::test]
async fn a_device_that_restores_power_somewhat_late_is_waited_for() {
    let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
    fake.device().overtime = RESTORE_POLL / 2;
    fake.switching(timed_by_device(OFF)).cycle(OFF, 0, &cancel).await.unwrap();
    assert_eq!(fake.calls(), "read cycle read read read");
}

#[tokio::test]
async fn a_cycle_whose_answer_is_lost_is_requested_again_only_if_the_device_did_not_begin_it() {
    let long = Duration::from_secs(2);
    for (lost_answer, off_for, calls, is_ok) in [
        (IsExecuted::Yes, long, "read cycle read read", true),
        (IsExecuted::No, long, "read cycle read cycle read read", true),
        // The first reading comes after the off time, so it proves nothing.
        (IsExecuted::Yes, OFF, "read cycle read on read", false),
        (IsExecuted::No, OFF, "read cycle read on read", false),
    ] {
        let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
        fake.device().lost_answer = Some(lost_answer);
        let ended = fake.switching(timed_by_device(OFF)).cycle(off_for, 0, &cancel).await;
        assert_eq!((fake.calls().as_str(), ended.is_ok()), (calls, is_ok), "{ended:?}");
        if let Err(error) = ended {
            assert!(error.reason.ends_with("the power was not read off meanwhile"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn an_interrupted_cycle_timed_by_the_device_is_observed_and_not_requested_again() {
    let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
    let error = fake.switching(timed_by_device(OFF)).cycle(OFF, 1, &cancel).await.unwrap_err();
    assert_eq!((error.kind, fake.calls().as_str()), (OutletErrorKind::Interrupted, "read"));

    let fake = FakeOutlet::new(Some(PowerState::Off));
    fake.device().restores_at = Some(Instant::now() + OFF);
    fake.switching(timed_by_device(OFF)).cycle(OFF, 1, &cancel).await.unwrap();
    assert_eq!(fake.calls(), "read read", "the device restored the power");
}

#[tokio::test]
async fn a_cancelled_cycle_timed_by_the_device_restores_power_at_once() {
    let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
    let mut switching = fake.switching(timed_by_device(OFF));
    let off_for = Duration::from_secs(10);
    let (ended, ()) = tokio::join!(switching.cycle(off_for, 0, &cancel), async {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !fake.calls().contains("cycle read") {
            assert!(Instant::now() < deadline, "only {}", fake.calls());
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert_eq!(ended.unwrap_err().kind, OutletErrorKind::Cancelled);
    assert_eq!(fake.calls(), "read cycle read on read");
}

#[tokio::test]
async fn the_caller_times_a_cycle_that_the_device_cannot_time() {
    for timing in [CycleTiming::Caller, timed_by_device(OFF * 2)] {
        let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
        fake.switching(timing).cycle(OFF, 0, &cancel).await.unwrap();
        assert_eq!(fake.calls(), "read off read on read", "{timing:?}");
    }
}

#[tokio::test]
async fn an_outlet_that_reads_off_and_refuses_to_be_switched_off_counts_as_off() {
    let cancel = CancellationToken::new();
    for timing in [CycleTiming::Caller, timed_by_device(OFF)] {
        let fake = FakeOutlet::new(Some(PowerState::Off));
        fake.device().refuses_same_state = true;
        let mut switching = fake.switching(timing);
        switching.cycle(OFF, 0, &cancel).await.unwrap();
        assert_eq!(switching.observed, Some(PowerState::On), "{}", fake.calls());
        assert!(fake.calls().ends_with(" on read"), "{}", fake.calls());
    }
    let fake = FakeOutlet::new(Some(PowerState::Off));
    fake.device().refuses_same_state = true;
    let mut switching = fake.switching(CycleTiming::Caller);
    switching.switch_off(&cancel).await.unwrap();
    assert_eq!((switching.observed, fake.calls().as_str()), (Some(PowerState::Off), "read off"));
}

#[tokio::test]
async fn a_reading_of_neither_on_nor_off_counts_as_unknown() {
    let (fake, cancel) = (FakeOutlet::new(None), CancellationToken::new());
    let mut switching = fake.switching(CycleTiming::Caller);
    let error = switching.cycle(OFF, 0, &cancel).await.unwrap_err();
    assert_eq!(error.reason, "the outlet reads neither on nor off");
    assert_eq!((switching.observed, switching.last_answer.as_deref()), (None, Some("None")));
    assert_eq!(fake.calls(), "read read read", "the outlet is not switched off");
    assert!(!switching.is_unrestored && !switching.has_written);

    let error = fake.switching(CycleTiming::Caller).switch_on(&cancel).await.unwrap_err();
    assert_eq!(error.kind, OutletErrorKind::Unconfirmed);
    assert_eq!(fake.calls(), "read read read on read read on read");
}
