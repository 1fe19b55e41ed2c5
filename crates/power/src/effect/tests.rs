//! Tests of devices whose readings show an order late.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use clock::SystemClock;
use device_io::Evidence;
use tokio::time::Instant;

use super::*;
use crate::outlet::{ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, Readback};
use crate::switching::PHASE_TRIES;

/// How long the device takes for an order.
const DELAY: Duration = Duration::from_millis(150);
/// How long it may take: far longer, also on a busy machine.
const EFFECT_WITHIN: Duration = Duration::from_secs(4);
const OFF: Duration = Duration::from_millis(20);

/// A device that follows an order later. An order for the state that it is in changes nothing, not even an order before.
struct LateDevice {
    state: PowerState,
    ordered: Option<(PowerState, Instant)>,
    orders: Vec<PowerState>,
    /// Whether it ever does what it accepts.
    is_faithful: bool,
    /// How many answers to orders are lost.
    lost_answers: u32,
}

#[derive(Clone)]
struct LateOutlet(Arc<Mutex<LateDevice>>);

impl LateOutlet {
    fn new(state: PowerState) -> Self {
        let device =
            LateDevice { state, ordered: None, orders: Vec::new(), is_faithful: true, lost_answers: 0 };
        Self(Arc::new(Mutex::new(device)))
    }

    fn device(&self) -> MutexGuard<'_, LateDevice> {
        let mut device = self.0.lock().unwrap();
        if let Some((state, at)) = device.ordered
            && at <= Instant::now()
        {
            (device.state, device.ordered) = (state, None);
        }
        device
    }

    fn switching(&self, effect_within: Duration) -> SwitchingRun {
        let capabilities = OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: Duration::ZERO,
            effect_within,
        };
        SwitchingRun::new(Arc::new(SystemClock), Box::new(self.clone()), capabilities)
    }

    /// The state once every order has taken effect.
    async fn final_state(&self) -> PowerState {
        while self.device().ordered.is_some() {
            tokio::task::yield_now().await;
        }
        self.device().state
    }
}

#[async_trait]
impl Outlet for LateOutlet {
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
        Ok(OutletReading { power_state: Some(self.device().state), answer: None })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let mut device = self.device();
        device.orders.push(state);
        if device.is_faithful && device.state != state {
            device.ordered = Some((state, Instant::now() + DELAY));
        }
        if device.lost_answers > 0 {
            device.lost_answers -= 1;
            return Err(OutletError::new(OutletErrorKind::ConnectionLost, "connection lost"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_order_is_read_back_until_it_shows_and_not_repeated() {
    for lost_answers in [0, 2] {
        let (late, cancel) = (LateOutlet::new(PowerState::On), CancellationToken::new());
        late.device().lost_answers = lost_answers;
        let mut switching = late.switching(EFFECT_WITHIN);
        switching.cycle(OFF, 0, &cancel).await.unwrap();
        assert_eq!(late.device().orders, [PowerState::Off, PowerState::On]);
        assert_eq!((late.final_state().await, switching.observed), (PowerState::On, Some(PowerState::On)));
        let was_off_for = switching.on_at.unwrap() - switching.off_at.unwrap();
        assert!(was_off_for.to_std().unwrap() >= OFF, "{was_off_for}");
    }
}

#[tokio::test]
async fn an_order_that_never_shows_fails_when_its_time_is_over() {
    let (late, cancel) = (LateOutlet::new(PowerState::Off), CancellationToken::new());
    late.device().is_faithful = false;
    let began = Instant::now();
    let mut switching = late.switching(DELAY);
    let error = switching.switch_on(&cancel).await.unwrap_err();
    assert_eq!(error.kind, OutletErrorKind::ReadbackDiffers, "{error:?}");
    assert!(began.elapsed() >= DELAY * PHASE_TRIES, "{:?}", began.elapsed());
    assert_eq!(late.device().orders, [PowerState::On; PHASE_TRIES as usize]);
}

#[tokio::test]
async fn power_is_restored_only_when_the_order_to_switch_off_took_effect() {
    let late = LateOutlet::new(PowerState::On);
    let mut switching = late.switching(EFFECT_WITHIN);
    // As after a cycle whose phase to switch off ended early.
    late.clone().set(PowerState::Off).await.unwrap();
    switching.expect_interrupted_order();
    switching.switch_to(PowerState::On, PHASE_TRIES, &CancellationToken::new()).await.unwrap();
    assert_eq!(late.device().orders, [PowerState::Off, PowerState::On]);
    assert_eq!(late.final_state().await, PowerState::On, "the order to switch off came to nothing");
}

#[tokio::test]
async fn an_interrupted_run_that_had_ordered_nothing_delays_the_restore_and_no_more() {
    let late = LateOutlet::new(PowerState::On);
    let mut switching = late.switching(DELAY);
    switching.expect_interrupted_order();
    switching.switch_on(&CancellationToken::new()).await.unwrap();
    assert_eq!(switching.observed, Some(PowerState::On));
}

#[tokio::test]
async fn a_cancelled_cycle_observes_its_order_and_restores_the_power() {
    let (late, cancel) = (LateOutlet::new(PowerState::On), CancellationToken::new());
    let mut switching = late.switching(EFFECT_WITHIN);
    let (ended, ()) = tokio::join!(switching.cycle(Duration::from_secs(30), 0, &cancel), async {
        let deadline = Instant::now() + Duration::from_secs(20);
        while late.device().orders.is_empty() {
            assert!(Instant::now() < deadline, "no order");
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert_eq!(ended.unwrap_err().kind, OutletErrorKind::Cancelled);
    assert_eq!(late.device().orders, [PowerState::Off, PowerState::On]);
    assert_eq!(late.final_state().await, PowerState::On);
}
