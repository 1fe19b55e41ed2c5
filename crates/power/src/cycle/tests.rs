//! Operations at an outlet that is none of the drivers': what they ask of any of them.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use clock::SystemClock;
use device_io::Evidence;
use tokio::time::Instant;

use super::*;
use crate::outlet::{ClientCapacity, Outlet, OutletCapabilities, OutletReading, Readback};

const OFF: Duration = Duration::from_millis(60);

/// A device that keeps what it was asked for, in order.
struct FakeDevice {
    asked: Vec<String>,
    supply: Option<PowerState>,
    /// When it gives the power back by itself.
    gives_back_at: Option<Instant>,
    /// Whether it gives the power back by itself as it should.
    is_reliable: bool,
}

#[derive(Clone)]
struct FakeOutlet(Arc<Mutex<FakeDevice>>);

impl FakeOutlet {
    fn new(supply: Option<PowerState>) -> Self {
        let device = FakeDevice { asked: Vec::new(), supply, gives_back_at: None, is_reliable: true };
        Self(Arc::new(Mutex::new(device)))
    }

    fn device(&self) -> MutexGuard<'_, FakeDevice> {
        self.0.lock().unwrap()
    }

    fn asked(&self) -> String {
        self.device().asked.join(" ")
    }

    fn switching(&self, cycle: CycleTiming) -> SwitchingRun {
        let capabilities = OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: cycle,
            client_capacity: ClientCapacity::One,
            settle_for: Duration::ZERO,
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
        device.asked.push("read".to_owned());
        if device.is_reliable && device.gives_back_at.is_some_and(|at| at <= Instant::now()) {
            device.supply = Some(PowerState::On);
        }
        Ok(OutletReading { power_state: device.supply, answer: Some(format!("{:?}", device.supply)) })
    }

    async fn set(&mut self, supply: PowerState) -> Result<(), OutletError> {
        let mut device = self.device();
        device.asked.push(supply.name().to_owned());
        device.supply = device.supply.map(|_| supply);
        device.gives_back_at = None;
        Ok(())
    }

    async fn cycle(&mut self, off_for: Duration) -> Result<(), OutletError> {
        let mut device = self.device();
        device.asked.push("cycle".to_owned());
        device.supply = Some(PowerState::Off);
        device.gives_back_at = Some(Instant::now() + off_for);
        Ok(())
    }
}

fn by_device(shortest: Duration) -> CycleTiming {
    CycleTiming::Device { shortest, longest: Duration::from_secs(10) }
}

#[tokio::test]
async fn a_device_that_times_a_cycle_is_asked_for_it_once_and_read_before_in_the_middle_and_after() {
    let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
    let mut switching = fake.switching(by_device(OFF));
    switching.cycle(OFF, 0, &cancel).await.unwrap();
    assert_eq!(fake.asked(), "read cycle read read");
    assert_eq!(switching.observed_answer.as_deref(), Some("Some(On)"));
    let was_off_for = switching.on_at.unwrap() - switching.off_at.unwrap();
    assert!(was_off_for.to_std().unwrap() >= OFF, "{was_off_for}");
}

#[tokio::test]
async fn a_device_that_times_a_cycle_and_gives_no_power_back_is_told_to() {
    let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
    fake.device().is_reliable = false;
    fake.switching(by_device(OFF)).cycle(OFF, 0, &cancel).await.unwrap();
    assert_eq!(fake.asked(), "read cycle read read on read");
}

#[tokio::test]
async fn a_cycle_that_the_device_times_ends_at_once_when_it_is_cancelled() {
    let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
    let mut switching = fake.switching(by_device(OFF));
    let off_for = Duration::from_secs(10);
    let (ended, ()) = tokio::join!(switching.cycle(off_for, 0, &cancel), async {
        let ends_at = Instant::now() + Duration::from_secs(5);
        while !fake.asked().contains("cycle read") {
            assert!(Instant::now() < ends_at, "only {}", fake.asked());
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert_eq!(ended.unwrap_err().kind, OutletErrorKind::Cancelled);
    assert_eq!(fake.asked(), "read cycle read on read");
}

#[tokio::test]
async fn a_cycle_is_timed_here_where_the_device_cannot_or_not_for_so_long() {
    for timing in [CycleTiming::Caller, by_device(OFF * 2)] {
        let (fake, cancel) = (FakeOutlet::new(Some(PowerState::On)), CancellationToken::new());
        fake.switching(timing).cycle(OFF, 0, &cancel).await.unwrap();
        assert_eq!(fake.asked(), "read off read on read", "{timing:?}");
    }
}

#[tokio::test]
async fn a_reading_that_means_neither_on_nor_off_is_taken_for_neither() {
    let (fake, cancel) = (FakeOutlet::new(None), CancellationToken::new());
    let mut switching = fake.switching(CycleTiming::Caller);
    let fault = switching.cycle(OFF, 0, &cancel).await.unwrap_err();
    assert_eq!(fault.reason, "what was read is neither on nor off");
    assert_eq!((switching.observed, switching.last_answer.as_deref()), (None, Some("None")));
    assert_eq!(fake.asked(), "read read read", "no power is taken away");
    assert!(!switching.is_unrestored && !switching.has_written);

    let fault = fake.switching(CycleTiming::Caller).switch_on(&cancel).await.unwrap_err();
    assert_eq!(fault.kind, OutletErrorKind::Unconfirmed);
    assert_eq!(fake.asked(), "read read read on read read on read");
}
