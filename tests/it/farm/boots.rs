//! Tests of simulated boards without faults.

use std::sync::Arc;

use chrono::DateTime;
use lifeguard::clock::ManualClock;
use lifeguard::farm::{BoardActivity, BoardTimings};
use lifeguard::tftp::{ClientAbort, TransferEnd};
use serde_json::Value;

use super::world::{ARGUMENTS_VISIT, FarmWorld};

#[tokio::test]
async fn a_board_that_is_switched_on_requests_its_config_boots_its_card_and_reports_once() {
    let world = FarmWorld::new().await;
    // The last board is wired inverted.
    for board in [0, 3] {
        assert_eq!(world.board(board).status().power_ons, 0);
        let before = world.events().len();
        world.power_on(board).await;
        let reports = world.reports(before + 1).await;
        let registration = world.board(board).registration();
        let report = reports.last().unwrap();
        assert_eq!((&*report.device, &*report.event), (&*registration.name, "image-running"));
        assert_eq!((report.visit, &report.arguments), (None, &Value::Null));
        assert_eq!(report.from.to_string(), registration.fqdn);
        let asked = world.until_asked(&world.link_name(board), 1).await;
        assert_eq!(asked.last().unwrap().peer.ip().to_string(), registration.fqdn);
        assert_eq!(world.ends(&world.link_name(board), 1).await, [TransferEnd::NotFound]);
        let status = world.until(board, "its report was taken", |status| status.accepted_reports == 1).await;
        assert_eq!((status.activity, status.boots, status.power_ons), (BoardActivity::Running, 1, 1));
        world.power_off(board).await;
        assert_eq!(world.events().len(), before + 1);
        assert_eq!(world.board(board).status().power_offs, 1);
    }
    world.farm.stop().await;
}

#[tokio::test]
async fn polls_are_answered_only_while_the_image_runs() {
    let clock = ManualClock::new(DateTime::UNIX_EPOCH);
    let world = FarmWorld::with(|options| options.clock = Arc::new(clock.clone())).await;
    for _ in 0..2 {
        assert!(!world.answers_poll(0).await, "without power");
        world.power_on(0).await;
        world.until(0, "starts", |status| status.activity == BoardActivity::Firmware).await;
        assert!(!world.answers_poll(0).await, "while the firmware starts");
        clock.advance(BoardTimings::default().firmware * 2);
        world.until(0, "boots", |status| status.activity == BoardActivity::Booting).await;
        assert!(!world.answers_poll(0).await, "while it boots");
        clock.advance(BoardTimings::default().boot * 2);
        world.until(0, "runs", |status| status.activity == BoardActivity::Running).await;
        for _ in 0..3 {
            assert!(world.answers_poll(0).await, "while it runs");
        }
        world.power_off(0).await;
    }
    assert!(!world.answers_poll(0).await, "without power again");
}

#[tokio::test]
async fn any_interruption_of_the_power_restarts_the_board() {
    let world = FarmWorld::new().await;
    world.power_on(0).await;
    world.reports(1).await;
    // Nothing else runs between the two: the board sees a coil that is on twice.
    let relay = world.farm.relay(0).unwrap();
    relay.switch(0, false);
    relay.switch(0, true);
    world.reports(2).await;
    let status = world.board(0).status();
    assert_eq!((status.power_ons, status.power_offs, status.boots), (2, 1, 2));
}

#[tokio::test]
async fn a_board_without_an_image_on_its_card_is_silent() {
    let world = FarmWorld::with(|options| options.card_image = None).await;
    world.power_on(0).await;
    world.until(0, "is silent", |status| status.activity == BoardActivity::Silent).await;
    assert_eq!(world.asked(), [world.link_name(0)]);
    assert!(world.events().is_empty());
}

#[tokio::test]
async fn loss_of_power_during_a_transfer_ends_it_at_once() {
    let world = FarmWorld::new().await;
    world.link(0, "base-2");
    // A sparse file, too large to be transferred within the test.
    fs_err::OpenOptions::new().write(true).open(world.path("live/initrd")).unwrap().set_len(1 << 33).unwrap();
    world.power_on(0).await;
    world.until_asked("live/initrd", 1).await;
    assert_eq!(world.board(0).status().activity, BoardActivity::Fetching);
    world.power_off(0).await;
    let ends = world.ends("live/initrd", 1).await;
    assert!(matches!(ends[..], [TransferEnd::Aborted { by: ClientAbort::PortClosed, .. }]), "{ends:?}");
    assert!(world.events().is_empty());
    // It boots from the beginning again.
    world.power_on(0).await;
    world.until_asked("live/initrd", 2).await;
    let link = world.link_name(0);
    let boot = [&*link, "live/kernel", "live/initrd"];
    assert_eq!(world.asked(), [boot, boot].concat());
}

#[tokio::test]
async fn an_image_is_installed_and_booted_without_a_power_cycle() {
    let world = FarmWorld::with(|options| options.has_visit_in_reports = true).await;
    world.link(1, "base-2");
    world.power_on(1).await;
    let reports = world.reports(4).await;
    let received: Vec<_> = reports.iter().map(|report| (&*report.event, report.visit)).collect();
    assert_eq!(
        received,
        [
            ("live-running", None),
            ("image-installing", Some(ARGUMENTS_VISIT)),
            ("image-installed", reports[1].answered),
            // Memory is lost at the reboot.
            ("image-running", None),
        ]
    );
    let status = world.until(1, "its report was taken", |status| status.accepted_reports == 4).await;
    assert_eq!((status.activity, status.card_image.as_deref()), (BoardActivity::Running, Some("base-2")));
    assert_eq!((status.boots, status.power_ons), (2, 1));
    let link = world.link_name(1);
    assert_eq!(world.asked(), [&*link, "live/kernel", "live/initrd", &*link]);
    let ends = world.ends(&link, 2).await;
    assert!(matches!(ends[..], [TransferEnd::Sent { .. }, TransferEnd::NotFound]), "{ends:?}");
}

#[tokio::test]
async fn the_boot_arguments_name_the_image_and_reports_carry_no_visit_by_default() {
    let world = FarmWorld::new().await;
    world.link(1, "base-2");
    world.set_next_image("base-7");
    world.power_on(1).await;
    let reports = world.reports(4).await;
    assert!(reports.iter().all(|report| report.visit.is_none()), "{reports:?}");
    assert_eq!(world.board(1).status().card_image.as_deref(), Some("base-7"));
}

#[tokio::test]
async fn loss_of_power_while_an_image_is_written_leaves_an_unbootable_card() {
    let world = FarmWorld::with(|options| options.timings.install *= 1000).await;
    world.link(0, "base-2");
    world.power_on(0).await;
    world.until(0, "writes", |status| status.card_image.is_none()).await;
    world.power_off(0).await;
    fs_err::remove_file(world.path(&world.link_name(0))).unwrap();
    world.power_on(0).await;
    world.until(0, "is silent", |status| status.activity == BoardActivity::Silent).await;
    assert_eq!(world.events(), ["live-running", "image-installing"]);
}

#[tokio::test]
async fn self_test_and_maintenance_report_and_keep_running() {
    let world = FarmWorld::new().await;
    for (board, image, events) in [
        (0, "self-test", &["self-test-running", "self-test-ok"][..]),
        (1, "maintenance", &["maintenance-running"]),
    ] {
        let before = world.events().len();
        world.link(board, image);
        world.power_on(board).await;
        world.reports(before + events.len()).await;
        assert_eq!(world.events()[before..], *events);
        assert!(world.answers_poll(board).await);
        assert_eq!(world.board(board).status().activity, BoardActivity::Live);
        assert_eq!(world.board(board).status().card_image.as_deref(), Some("base-1"), "left alone");
    }
}

#[tokio::test]
async fn a_refused_report_is_repeated_until_it_is_accepted() {
    let world = FarmWorld::new().await;
    world.refuse(3);
    world.power_on(0).await;
    world.reports(1).await;
    let status = world.until(0, "its report was taken", |status| status.accepted_reports == 1).await;
    assert_eq!(status.rejected_reports, 3);
    assert_eq!(world.events(), ["image-running"; 4]);
}

#[tokio::test]
async fn a_board_repeats_reports_without_a_server_until_it_loses_power() {
    // Bound but not listening: no other process uses the port.
    let closed_port = tokio::net::TcpSocket::new_v4().unwrap();
    closed_port.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", closed_port.local_addr().unwrap());
    let world = FarmWorld::with(|options| options.server = url).await;
    world.power_on(0).await;
    world.until(0, "was refused three times", |status| status.rejected_reports >= 3).await;
    assert!(world.answers_poll(0).await, "its image runs all the same");
    world.power_off(0).await;
    assert_eq!(world.board(0).status().accepted_reports, 0);
}

#[tokio::test]
async fn two_hundred_boards_boot_at_once_and_end_with_the_farm() {
    let world = FarmWorld::with(|options| options.boards = 200).await;
    let names: std::collections::BTreeSet<_> =
        world.farm.boards().map(|board| &board.registration().fqdn).collect();
    assert_eq!(names.len(), 200);
    for (index, board) in world.farm.boards().enumerate() {
        let is_inverted = board.registration().power_url.contains("invert");
        world.farm.relay(index / 8).unwrap().switch(u16::try_from(index % 8).unwrap(), !is_inverted);
    }
    let reports = world.reports(200).await;
    let devices: std::collections::BTreeSet<_> = reports.iter().map(|report| &report.device).collect();
    assert_eq!((devices.len(), reports.len()), (200, 200));
    let ports: Vec<_> = world.farm.boards().map(|board| board.registration().poll_url.clone()).collect();
    world.farm.stop().await;
    for port in ports {
        let connected = tokio::net::TcpStream::connect(port.strip_prefix("tcp://").unwrap()).await;
        assert!(connected.is_err(), "{port}");
    }
}
