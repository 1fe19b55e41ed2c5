//! Tests of simulated boards with faults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use lifeguard::clock::ManualClock;
use lifeguard::farm::{BoardActivity, BoardTimings, FaultRates};

use super::world::{FarmWorld, switch_coil};

const NONE: FaultRates = FaultRates::NONE;

async fn faulty(faults: FaultRates) -> FarmWorld {
    FarmWorld::with(|options| options.faults = faults).await
}

#[tokio::test]
async fn a_board_that_does_not_boot_requests_nothing() {
    let world = faulty(FaultRates { does_not_boot: 1.0, ..NONE }).await;
    world.power_on(0).await;
    world.until(0, "is silent", |status| status.activity == BoardActivity::Silent).await;
    assert!(world.asked().is_empty() && world.events().is_empty());
    // A fault belongs to a boot, not to the board.
    world.board(0).set_faults(NONE);
    world.power_off(0).await;
    world.power_on(0).await;
    world.reports(1).await;
}

#[tokio::test]
async fn a_board_that_hangs_after_asking_requests_only_its_config() {
    let world = faulty(FaultRates { hangs_after_asking: 1.0, ..NONE }).await;
    world.link(0, "base-2");
    world.power_on(0).await;
    world.until(0, "is silent", |status| status.activity == BoardActivity::Silent).await;
    assert_eq!(world.asked(), [world.link_name(0)]);
    assert!(world.events().is_empty());
}

#[tokio::test]
async fn a_board_that_hangs_before_reporting_fetches_all_files_and_reports_nothing() {
    let world = faulty(FaultRates { hangs_before_reporting: 1.0, ..NONE }).await;
    world.link(0, "base-2");
    for board in [0, 1] {
        world.power_on(board).await;
        world.until(board, "is silent", |status| status.activity == BoardActivity::Silent).await;
        assert!(!world.answers_poll(board).await);
    }
    assert_eq!(world.asked(), [&*world.link_name(0), "live/kernel", "live/initrd", &*world.link_name(1)]);
    assert!(world.events().is_empty());
}

#[tokio::test]
async fn a_late_board_reports_once_but_late() {
    let world = faulty(FaultRates { reports_late: 1.0, ..NONE }).await;
    let began_at = world.clock.now();
    world.power_on(0).await;
    world.reports(1).await;
    let took = (world.clock.now() - began_at).to_std().unwrap();
    assert!(took > BoardTimings::default().late_by.mul_f64(0.7), "{took:?}");
    assert_eq!(world.events(), ["image-running"]);
}

#[tokio::test]
async fn a_board_reports_everything_twice() {
    let world = faulty(FaultRates { reports_twice: 1.0, ..NONE }).await;
    world.link(0, "base-2");
    world.power_on(0).await;
    world.reports(8).await;
    let steps = ["live-running", "image-installing", "image-installed", "image-running"];
    assert_eq!(world.events(), steps.map(|step| [step, step]).concat());
}

#[tokio::test]
async fn a_report_of_the_previous_boot_arrives_before_this_boot_s_first() {
    let world = faulty(FaultRates { reports_previous_boot: 1.0, ..NONE }).await;
    world.power_on(0).await;
    let first = world.reports(1).await;
    assert_eq!(first.len(), 1, "there is no boot before: {first:?}");
    world.until(0, "its report was taken", |status| status.accepted_reports == 1).await;
    world.power_off(0).await;
    world.power_on(0).await;
    let received: Vec<_> =
        world.reports(3).await.into_iter().map(|report| (report.event, report.visit)).collect();
    let running = || "image-running".to_owned();
    assert_eq!(received, [(running(), None), (running(), first[0].answered), (running(), None)]);
}

#[tokio::test]
async fn an_image_that_cannot_be_installed_is_reported_with_the_reason() {
    let world = faulty(FaultRates { image_fails: 1.0, ..NONE }).await;
    let mut faults = std::collections::BTreeSet::new();
    for board in 0..4 {
        world.link(board, "base-2");
        world.power_on(board).await;
        let reports = world.reports(3 * (board + 1)).await;
        let failed = reports.last().unwrap();
        assert_eq!(failed.event, "image-failed");
        assert!(!failed.arguments["reason"].as_str().unwrap().is_empty());
        faults.insert(failed.arguments["fault"].as_str().unwrap().to_owned());
        let status = world.until(board, "is silent", |status| status.activity == BoardActivity::Silent).await;
        assert_eq!(status.card_image, None);
    }
    assert_eq!(faults.into_iter().collect::<Vec<_>>(), ["board", "image"]);
}

#[tokio::test]
async fn an_image_that_crashes_answers_no_polls_until_the_next_power_cycle() {
    let world = faulty(FaultRates { crashes: 1.0, ..NONE }).await;
    world.power_on(0).await;
    world.until(0, "runs", |status| status.activity == BoardActivity::Running).await;
    assert!(world.answers_poll(0).await);
    world.until(0, "crashed", |status| status.activity == BoardActivity::Silent).await;
    assert!(!world.answers_poll(0).await);
    assert_eq!(world.events(), ["image-running"]);
    world.power_off(0).await;
    world.power_on(0).await;
    world.until(0, "runs again", |status| status.activity == BoardActivity::Running).await;
    assert!(world.answers_poll(0).await);
}

#[tokio::test]
async fn a_dead_board_does_nothing_until_it_is_repaired() {
    let world = faulty(FaultRates { dead_share: 0.25, ..NONE }).await;
    let dead: Vec<_> = (0..4).filter(|board| world.board(*board).is_dead()).collect();
    let [dead] = dead[..] else { panic!("{dead:?} are dead, not one") };
    world.power_on(dead).await;
    let status = world.until(dead, "is silent", |status| status.activity == BoardActivity::Silent).await;
    assert_eq!((status.boots, status.power_ons), (0, 1));
    world.board(dead).set_dead(false);
    world.until(dead, "runs", |status| status.activity == BoardActivity::Running).await;
    world.board(dead).set_dead(true);
    world.until(dead, "is silent", |status| status.activity == BoardActivity::Silent).await;
    assert!(!world.answers_poll(dead).await);
}

#[tokio::test]
async fn a_relay_board_lies_or_hangs_for_a_minute_and_recovers() {
    let clock = ManualClock::new(DateTime::UNIX_EPOCH);
    let world = FarmWorld::with(|options| {
        options.clock = Arc::new(clock.clone());
        options.faults = FaultRates { relay_fault: 1.0, ..NONE };
    })
    .await;
    let relay = world.farm.relay(0).unwrap().addr();
    let (mut bad, mut well) = (0, 0);
    for _ in 0..200 {
        clock.advance(Duration::from_mins(1));
        if all_switch(relay).await {
            well += 1;
        } else {
            bad += 1;
        }
        if bad >= 3 && well >= 3 {
            return;
        }
    }
    panic!("bad in {bad} minutes, well in {well}");
}

/// Whether each coil of a relay board can be switched on and off.
async fn all_switch(relay: SocketAddr) -> bool {
    for coil in 0..8 {
        for is_on in [true, false] {
            if switch_coil(relay, coil, is_on).await.is_none() {
                return false;
            }
        }
    }
    true
}
