//! A farm whose power was cut: boards return in a ramp, and a checker that knows nothing of the scheduler looks for exceeded
//! limits in the trace.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What is limited of a relay board, a circuit or the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Quantity {
    RelayBoard(usize),
    Circuit(usize),
    CircuitLoad(usize),
    Site,
    SiteLoad,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    capacity: u32,
    budget: u32,
    gap: i64,
    window: i64,
}

#[derive(Debug, Clone)]
struct Farm {
    /// By relay board: its circuit.
    circuits: Vec<usize>,
    settle: i64,
    /// By circuit; where there are more circuits, from the beginning again.
    circuit_limits: Vec<Limits>,
    site: Limits,
    boards: Vec<FarmBoard>,
}

#[derive(Debug, Clone, Copy)]
struct FarmBoard {
    relay_board: usize,
    load: u32,
    /// When its poll has failed.
    fails_at: i64,
    cycle_takes: i64,
    /// How many power cycles fail before one succeeds.
    failures: u32,
}

/// A power cycle in the trace. The board is switched on at some moment between grant and end.
#[derive(Debug, Clone, Copy)]
struct Operation {
    board: usize,
    granted_at: i64,
    ended_at: i64,
}

/// A board that is not switched on after its power cycle waits for its deadline, which runs from the grant.
const RETRY_AFTER: i64 = 60;

impl Farm {
    fn resources(&self) -> BTreeMap<Quantity, LimitedResource> {
        let of = |limits: Limits, capacity: u32, gap: i64| LimitedResource {
            gap,
            window: limits.window,
            ..LimitedResource::of(capacity)
        };
        let mut all = BTreeMap::new();
        for (relay_board, circuit) in self.circuits.iter().enumerate() {
            let settle = self.settle;
            all.insert(
                Quantity::RelayBoard(relay_board),
                LimitedResource { settle, ..LimitedResource::of(1) },
            );
            all.insert(
                Quantity::Circuit(*circuit),
                of(self.limits_of(*circuit), self.limits_of(*circuit).capacity, self.limits_of(*circuit).gap),
            );
            all.insert(
                Quantity::CircuitLoad(*circuit),
                of(self.limits_of(*circuit), self.limits_of(*circuit).budget, 0),
            );
        }
        all.insert(Quantity::Site, of(self.site, self.site.capacity, self.site.gap));
        all.insert(Quantity::SiteLoad, of(self.site, self.site.budget, 0));
        all
    }

    fn limits_of(&self, circuit: usize) -> Limits {
        self.circuit_limits[circuit % self.circuit_limits.len()]
    }

    fn circuit_of(&self, board: usize) -> usize {
        self.circuits[self.boards[board].relay_board]
    }

    fn request(&self, key: usize) -> ResourceRequest<usize, Quantity> {
        let FarmBoard { relay_board, load, .. } = self.boards[key];
        let circuit = self.circuit_of(key);
        let containers = [
            (Quantity::Circuit(circuit), 1),
            (Quantity::CircuitLoad(circuit), load),
            (Quantity::Site, 1),
            (Quantity::SiteLoad, load),
        ];
        ResourceRequest {
            key,
            needs: vec![ResourceNeed::of(Quantity::RelayBoard(relay_board), 1)],
            later: containers.map(|(name, units)| ResourceNeed::of(name, units).cooling()).to_vec(),
            holds: false,
        }
    }

    /// Cycles the power of each board until it is on; returns the trace. Of each relay board at most `seen` requests of the queue
    /// are looked at.
    fn recover(&self, seen: usize) -> Vec<Operation> {
        let mut resources = self.resources();
        let mut arrivals: Vec<(i64, usize)> =
            self.boards.iter().enumerate().map(|(board, facts)| (facts.fails_at, board)).collect();
        let mut failures: Vec<u32> = self.boards.iter().map(|board| board.failures).collect();
        let (mut queue, mut held, mut trace) =
            (Vec::new(), Vec::<(i64, ResourceUnits<Quantity>)>::new(), Vec::new());
        let mut next_grant = None;
        while let Some(now) =
            [arrivals.iter().map(|(at, _)| *at).min(), held.iter().map(|(end, _)| *end).min(), next_grant]
                .into_iter()
                .flatten()
                .min()
        {
            held.retain(|(end, units)| {
                if *end == now {
                    resources.get_mut(&units.resource).unwrap().release(units.units, units.cools, now);
                }
                *end > now
            });
            arrivals.sort_unstable();
            let due = arrivals.partition_point(|(at, _)| *at <= now);
            queue.extend(arrivals.drain(..due).map(|(_, board)| self.request(board)));
            let in_use: Vec<_> = held.iter().map(|(_, units)| units.clone()).collect();
            let mut seen_of: BTreeMap<usize, usize> = BTreeMap::new();
            let is_seen = |request: &&ResourceRequest<usize, Quantity>| {
                let of_relay_board = seen_of.entry(self.boards[request.key].relay_board).or_default();
                *of_relay_board += 1;
                *of_relay_board <= seen
            };
            let seen_queue: Vec<_> = queue.iter().filter(is_seen).cloned().collect();
            let plan = schedule(&resources, &in_use, &seen_queue, now);
            next_grant = plan.next_at;
            for PlannedGrant { key: board, units } in plan.grants {
                queue.retain(|request| request.key != board);
                let ended_at = now + self.boards[board].cycle_takes;
                trace.push(Operation { board, granted_at: now, ended_at });
                if failures[board] > 0 {
                    failures[board] -= 1;
                    arrivals.push((ended_at.max(now + RETRY_AFTER), board));
                }
                for units in units {
                    resources.get_mut(&units.resource).unwrap().granted_at = Some(now);
                    held.push((ended_at, units));
                }
            }
        }
        trace
    }

    /// Looks for exceeded limits; `effects` says when each operation of the trace switched its board on.
    fn check(&self, trace: &[Operation], effects: &[i64]) -> Result<(), String> {
        let cycles = |board: usize| trace.iter().filter(|operation| operation.board == board).count();
        for (board, facts) in self.boards.iter().enumerate() {
            if cycles(board) != facts.failures as usize + 1 {
                return Err(format!("board {board} was cycled {} times: {facts:?}", cycles(board)));
            }
        }
        for (nth, operation) in trace.iter().enumerate() {
            let relay_board = self.boards[operation.board].relay_board;
            let others =
                trace[..nth].iter().filter(|other| self.boards[other.board].relay_board == relay_board);
            if let Some(busy) =
                others.clone().find(|other| other.ended_at + self.settle > operation.granted_at)
            {
                return Err(format!(
                    "relay board {relay_board}: {operation:?} begins before {busy:?} has settled"
                ));
            }
        }
        for circuit in self.circuits.iter().copied().collect::<BTreeSet<usize>>() {
            let of: Vec<usize> =
                (0..trace.len()).filter(|nth| self.circuit_of(trace[*nth].board) == circuit).collect();
            self.check_limits(self.limits_of(circuit), &of, trace, effects)
                .map_err(|fault| format!("circuit {circuit}: {fault}"))?;
        }
        let all: Vec<usize> = (0..trace.len()).collect();
        self.check_limits(self.site, &all, trace, effects).map_err(|fault| format!("site: {fault}"))
    }

    fn check_limits(
        &self,
        limits: Limits,
        of: &[usize],
        trace: &[Operation],
        effects: &[i64],
    ) -> Result<(), String> {
        for pair in of.windows(2) {
            let [first, next] = [pair[0], pair[1]].map(|nth| trace[nth]);
            if next.granted_at - first.granted_at < limits.gap {
                return Err(format!("{next:?} comes too soon after {first:?}"));
            }
        }
        for nth in of {
            // Those in progress with this one, and those switched on within the window that begins with it.
            let at = trace[*nth].granted_at;
            let in_progress =
                of.iter().filter(|other| trace[**other].granted_at <= at && trace[**other].ended_at > at);
            let effect = effects[*nth];
            let in_window =
                of.iter().filter(|other| (effect..effect + limits.window).contains(&effects[**other]));
            for (what, together) in
                [("in progress", in_progress.collect::<Vec<_>>()), ("in a window", in_window.collect())]
            {
                let load: u32 = together.iter().map(|other| self.boards[trace[**other].board].load).sum();
                let is_too_much = load > limits.budget && together.len() > 1;
                if together.len() > limits.capacity as usize || is_too_much {
                    return Err(format!(
                        "{} operations with {load} mA {what} at {at}: {limits:?}",
                        together.len()
                    ));
                }
            }
        }
        Ok(())
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..6_u32, 1000..12_000_u32, prop_oneof![Just(0), 1..4_i64], prop_oneof![Just(0), 1..20_i64])
        .prop_map(|(capacity, budget, gap, window)| Limits { capacity, budget, gap, window })
}

fn farm() -> impl Strategy<Value = Farm> {
    let boards = (1..8_usize).prop_flat_map(|relay_boards| {
        let failures = prop_oneof![3 => Just(0), 1 => 1..3_u32];
        let board = (0..relay_boards, 0..5000_u32, 65..96_i64, 1..9_i64, failures);
        let board = board.prop_map(|(relay_board, load, fails_at, cycle_takes, failures)| FarmBoard {
            relay_board,
            load,
            fails_at,
            cycle_takes,
            failures,
        });
        (prop::collection::vec(0..3_usize, relay_boards), prop::collection::vec(board, 1..40))
    });
    (boards, 0..4_i64, prop::collection::vec(limits(), 3), limits()).prop_map(
        |((circuits, boards), settle, circuit_limits, site)| Farm {
            circuits,
            settle,
            circuit_limits,
            site,
            boards,
        },
    )
}

proptest! {
    #[test]
    fn boards_return_after_a_power_cut_and_no_limit_is_ever_exceeded(
        farm in farm(), moments in prop::collection::vec(0..1000_i64, 120),
    ) {
        let trace = farm.recover(usize::MAX);
        let effect = |(operation, moment): (&Operation, &i64)| {
            operation.granted_at + (operation.ended_at - operation.granted_at) * moment / 999
        };
        let effects: Vec<i64> = trace.iter().zip(&moments).map(effect).collect();
        prop_assert_eq!(effects.len(), trace.len());
        let checked = farm.check(&trace, &effects);
        prop_assert!(checked.is_ok(), "{:?}: {:?}", checked, trace);
    }
}

#[test]
fn the_checker_notices_each_limit_that_is_exceeded() {
    let generous = Limits { capacity: 9, budget: 99_000, gap: 0, window: 10 };
    let board =
        |relay_board| FarmBoard { relay_board, load: 2000, fails_at: 65, cycle_takes: 3, failures: 0 };
    let farm = Farm {
        circuits: vec![0, 1],
        settle: 1,
        circuit_limits: vec![generous],
        site: generous,
        boards: vec![board(0), board(1)],
    };
    let operation = |board, granted_at| Operation { board, granted_at, ended_at: granted_at + 3 };
    let trace = [operation(0, 70), operation(1, 75)];
    let faults = |farm: &Farm| farm.check(&trace, &[73, 75]).unwrap_err();
    assert_eq!(farm.check(&trace, &[73, 75]), Ok(()));
    assert!(
        faults(&Farm { site: Limits { capacity: 1, ..generous }, ..farm.clone() })
            .contains("site: 2 operations")
    );
    assert!(
        faults(&Farm { site: Limits { budget: 3999, ..generous }, ..farm.clone() })
            .contains("4000 mA in a window")
    );
    assert!(faults(&Farm { site: Limits { gap: 6, ..generous }, ..farm.clone() }).contains("too soon"));
    let one_circuit = Farm {
        circuits: vec![0, 0],
        circuit_limits: vec![Limits { capacity: 1, ..generous }],
        ..farm.clone()
    };
    assert!(faults(&one_circuit).contains("circuit 0: 2 operations"));
    let one_relay_board = Farm { settle: 3, boards: vec![board(0), board(0)], ..farm.clone() };
    assert!(faults(&one_relay_board).contains("has settled"));
    assert!(farm.check(&trace[..1], &[73]).unwrap_err().contains("board 1 was cycled 0 times"));
}

#[test]
fn the_ramp_of_a_thousand_boards_is_little_longer_than_the_limits_demand() {
    const CYCLE: i64 = 3;
    let board = |number: usize| FarmBoard {
        relay_board: number % 72,
        load: if number.is_multiple_of(3) { 1500 } else { 1000 },
        fails_at: 65 + i64::try_from(number % 31).unwrap(),
        cycle_takes: CYCLE,
        failures: 0,
    };
    let farm = Farm {
        circuits: (0..72).map(|relay_board| relay_board / 6).collect(),
        settle: 1,
        circuit_limits: vec![Limits { capacity: 4, budget: 16_000, gap: 0, window: 5 }],
        site: Limits { capacity: 20, budget: 400_000, gap: 0, window: 5 },
        boards: (0..1000).map(board).collect(),
    };
    let trace = farm.recover(usize::MAX);
    let effects: Vec<i64> = trace.iter().map(|operation| operation.ended_at).collect();
    assert_eq!(farm.check(&trace, &effects), Ok(()));
    // As many as the capacity at a time, each of which counts until its window has passed.
    let rounds = 1000 / i64::from(farm.site.capacity);
    let bound = (rounds - 1) * (CYCLE + farm.site.window);
    let [first, last] = [trace.first(), trace.last()].map(|operation| operation.unwrap().granted_at);
    assert!((last - first) * 10 <= bound * 11, "{} instead of {bound}", last - first);
}

#[test]
fn circuits_that_switch_on_one_by_one_get_their_share_of_the_site() {
    // In milliseconds: circuits of six relay boards, half of which may switch on six boards at once, the others one every 3 s.
    let window = 20_000;
    let limits = |capacity, gap, window| Limits { capacity, budget: u32::MAX, gap, window };
    let board = |number: usize| FarmBoard {
        relay_board: number % 72,
        load: 0,
        fails_at: 65 + i64::try_from(number).unwrap(),
        cycle_takes: 250,
        failures: 0,
    };
    let farm = Farm {
        circuits: (0..72).map(|relay_board| relay_board / 6).collect(),
        settle: 100,
        circuit_limits: vec![
            limits(6, 0, window),
            limits(6, 0, window),
            limits(u32::MAX, 3000, 0),
            limits(1, 0, 3000),
        ],
        site: limits(50, 0, window),
        boards: (0..1000).map(board).collect(),
    };
    let rounds = 1000 / i64::from(farm.site.capacity);
    let bound = (rounds - 1) * (250 + window);
    // Servers look at the first request of each relay board.
    for seen in [1, usize::MAX] {
        let trace = farm.recover(seen);
        let effects: Vec<i64> = trace.iter().map(|operation| operation.ended_at).collect();
        assert_eq!(farm.check(&trace, &effects), Ok(()));
        let [first, last] = [trace.first(), trace.last()].map(|operation| operation.unwrap().granted_at);
        assert!((last - first) * 10 <= bound * 11, "{} instead of {bound}", last - first);
    }
}

#[test]
fn a_single_request_does_not_wait_for_a_bulk_that_is_queued_as_if_made_later() {
    // The caller orders the queue: a bulk is spread over the minutes to come. A single one is behind few of them.
    let limits = Limits { capacity: 2, budget: 9000, gap: 0, window: 10 };
    let board = |number: usize| FarmBoard {
        relay_board: number % 8,
        load: 1000,
        fails_at: if number == 500 { 90 } else { 60 * i64::try_from(number).unwrap() },
        cycle_takes: 3,
        failures: 0,
    };
    let farm = Farm {
        circuits: vec![0; 8],
        settle: 1,
        circuit_limits: vec![limits],
        site: limits,
        boards: (0..501).map(board).collect(),
    };
    // All are asked for at once, and are waiting from then on.
    let mut order: Vec<usize> = (0..501).collect();
    order.sort_by_key(|number| farm.boards[*number].fails_at);
    let queue: Vec<_> = order.iter().map(|number| farm.request(*number)).collect();
    let forecast = forecast(
        &farm.resources(),
        &[],
        &queue.into_iter().map(|item| WithDuration { item, duration: Some(3) }).collect::<Vec<_>>(),
        0,
    );
    let single = forecast.iter().find(|expected| expected.key == 500).unwrap();
    assert_eq!((single.ahead, single.at), (2, Some(13)));
    assert!(forecast.last().unwrap().at.unwrap() > 3000);
}
