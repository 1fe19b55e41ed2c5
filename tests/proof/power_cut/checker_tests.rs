//! The checker finds each fault in a correct record.

use serde_json::json;

use super::*;

const WINDOW: TimeDelta = TimeDelta::seconds(10);

fn at(ms: i64) -> Moment {
    "2026-01-01T12:00:00Z".parse::<Moment>().unwrap() + TimeDelta::milliseconds(ms)
}

fn board(number: usize, on_ms: i64) -> ReturnedBoard {
    ReturnedBoard {
        name: format!("b{number}"),
        relay: number / 14,
        load_ma: 600,
        was_cycling: false,
        writes: vec![(at(on_ms - 300), false), (at(on_ms), true)],
        changes: vec![(at(on_ms), true)],
        power_ons: 1,
        is_running: true,
        entered: PATH.map(str::to_owned).to_vec(),
        end: ("Ready".to_owned(), json!({})),
    }
}

/// Eight boards at two relay boards, four within each window.
fn sound() -> (ReturnRecord, LimitedFarm) {
    let times = [0, 900, 500, 400, 10_000, 10_900, 10_500, 10_400];
    let board = |(number, ms): (usize, i64)| ReturnedBoard { relay: number % 2, ..board(number, 5000 + ms) };
    let boards = times.into_iter().enumerate().map(board).collect();
    let record = ReturnRecord { returned_at: at(0), found_at: at(4900), boards };
    (record, farm(SwitchOnLimit::Boards { most: 4, window: WINDOW }))
}

fn farm(limit: SwitchOnLimit) -> LimitedFarm {
    let group = LimitedGroup { name: "site".to_owned(), relays: 0..2, limit };
    LimitedFarm { boards: 8, boards_per_relay: 4, groups: vec![group] }
}

/// The faults of a record after a change.
fn faults(change: impl FnOnce(&mut ReturnRecord, &mut LimitedFarm)) -> Vec<String> {
    let (mut record, mut farm) = sound();
    change(&mut record, &mut farm);
    let mut faults = check(&record, &farm, TimeDelta::seconds(5));
    faults.extend(check_ramp(&record, &farm));
    faults
}

#[track_caller]
fn assert_found(faults: &[String], text: &str) {
    assert!(faults.iter().any(|fault| fault.contains(text)), "{text}: {faults:?}");
}

/// Switches a board on at another time.
fn move_board(board: &mut ReturnedBoard, on_ms: i64) {
    board.writes = vec![(at(on_ms - 300), false), (at(on_ms), true)];
    board.changes = vec![(at(on_ms), true)];
}

#[test]
fn a_sound_return_has_no_fault() {
    let long = |record: &mut ReturnRecord, _: &mut LimitedFarm| record.found_at = at(5000);
    assert_eq!(faults(|_, _| ()), Vec::<String>::new());
    assert_found(&faults(|record, _| move_board(&mut record.boards[7], 30_000)), "the ramp of 8 boards took");
    assert_found(&faults(|record, _| record.found_at = at(5500)), "found silent");
    assert_eq!(faults(long), Vec::<String>::new());
}

#[test]
fn exceeded_limits_are_found() {
    assert_found(&faults(|record, _| move_board(&mut record.boards[4], 14_999)), "site: 5 boards on");
    let budget = |ma| {
        move |_: &mut ReturnRecord, farm: &mut LimitedFarm| {
            farm.groups[0].limit = SwitchOnLimit::Budget { ma, window: WINDOW };
        }
    };
    assert_found(&faults(budget(2399)), "site: 2400 mA");
    assert_eq!(faults(budget(2400)), Vec::<String>::new());
    let gap = |ms| {
        move |_: &mut ReturnRecord, farm: &mut LimitedFarm| {
            farm.groups[0].limit = SwitchOnLimit::Gap(TimeDelta::milliseconds(ms));
        }
    };
    assert_found(&faults(gap(700)), "closer than");
    assert!(!faults(gap(600)).iter().any(|fault| fault.contains("closer than")));
}

#[test]
fn operations_at_one_relay_board_are_separate_and_long_enough() {
    let overlap = |record: &mut ReturnRecord, _: &mut LimitedFarm| record.boards[2].writes[0].0 = at(5050);
    assert_found(&faults(overlap), "relay board 0: operation");
    let short = |record: &mut ReturnRecord, _: &mut LimitedFarm| record.boards[2].writes[0].0 = at(5400);
    assert_found(&faults(short), "relay board 0: off for");
}

#[test]
fn boards_that_are_left_behind_or_were_repeated_are_found() {
    let change = |change: fn(&mut ReturnedBoard)| faults(|record, _| change(&mut record.boards[3]));
    assert_found(&change(|board| board.is_running = false), "b3: left behind");
    assert_found(&change(|board| board.end.0 = "FailedRebootRebooting".to_owned()), "b3: left behind");
    assert_found(&change(|board| board.end.1 = json!({ "RebootRebooting": 1 })), "b3: counters");
    assert_found(&change(|board| board.entered.insert(0, "RebootRebooting".to_owned())), "b3: went through");
    assert_found(&change(|board| board.power_ons = 2), "b3: power came 2 times");
    assert_found(&change(|board| board.changes.clear()), "b3: power came");
    let repeated = |was_cycling| {
        let (mut record, farm) = sound();
        let board = &mut record.boards[3];
        board.was_cycling = was_cycling;
        board.power_ons = 2;
        let on_at = board.changes[0].0;
        board.changes.extend([(on_at + WINDOW, false), (on_at + WINDOW + MIN_OFF, true)]);
        let faults = check(&record, &farm, TimeDelta::seconds(5));
        faults.into_iter().any(|fault| fault.contains("power came 2 times"))
    };
    assert_eq!((repeated(false), repeated(true)), (true, false));
}

#[test]
fn the_shortest_ramp_counts_what_was_switched_on_before() {
    let (mut record, farm) = sound();
    let RampLength { taken, least, by, boards } = ramp(&record, &farm);
    assert_eq!((taken, least), (TimeDelta::seconds(11), TimeDelta::milliseconds(10_200)));
    assert_eq!((by.as_str(), boards), ("site", 8));
    // Four boards more may follow when the first four have been on for a window.
    record.found_at = at(8000);
    assert_eq!(ramp(&record, &farm).least, TimeDelta::milliseconds(8100));
}

#[test]
fn a_cycle_that_goes_on_need_not_switch_off() {
    let only_on = |was_cycling| {
        faults(|record, _| {
            record.boards[3].writes.remove(0);
            record.boards[3].was_cycling = was_cycling;
        })
    };
    assert_found(&only_on(false), "b3: power came 1 times");
    assert_eq!(only_on(true), Vec::<String>::new());
}
