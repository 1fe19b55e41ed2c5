use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn resources(all: &[(&'static str, LimitedResource)]) -> BTreeMap<&'static str, LimitedResource> {
    all.iter().cloned().collect()
}

fn request(key: u32, needs: &[(&'static str, u32)]) -> ResourceRequest<u32, &'static str> {
    let needs = needs.iter().map(|(name, units)| ResourceNeed::of(*name, *units)).collect();
    ResourceRequest { key, needs, later: vec![], holds: false }
}

fn granted(plan: &GrantPlan<u32, &'static str>) -> Vec<u32> {
    plan.grants.iter().map(|grant| grant.key).collect()
}

#[test]
fn a_resource_of_one_unit_is_granted_to_one_request_and_other_resources_are_not_delayed() {
    let resources = resources(&[("a", LimitedResource::of(1)), ("b", LimitedResource::of(1))]);
    let queue = [request(1, &[("a", 1)]), request(2, &[("a", 1)]), request(3, &[("b", 1)])];
    assert_eq!(granted(&schedule(&resources, &[], &queue, 0)), [1, 3]);
    let held = [ResourceUnits::of("a", 1)];
    assert_eq!(granted(&schedule(&resources, &held, &queue, 0)), [3]);
}

#[test]
fn units_that_an_earlier_request_waits_for_are_not_granted_to_a_later_one() {
    let resources = resources(&[
        ("a", LimitedResource::of(1)),
        ("b", LimitedResource::of(1)),
        ("c", LimitedResource::of(4)),
    ]);
    let held = [ResourceUnits::of("a", 1), ResourceUnits::of("c", 2)];
    let queue = [
        request(1, &[("a", 1), ("b", 1)]),
        request(2, &[("b", 1)]),
        request(3, &[("c", 3)]),
        request(4, &[("c", 1)]),
    ];
    assert_eq!(granted(&schedule(&resources, &held, &queue, 0)), []);
    assert_eq!(granted(&schedule(&resources, &held[1..], &queue, 0)), [1]);
}

#[test]
fn free_units_are_not_reserved_against_requesters_that_hold_units() {
    let holder = |key, needs| ResourceRequest { holds: true, ..request(key, needs) };
    let first = request(1, &[("a", 1), ("b", 1)]);
    let one = resources(&[("a", LimitedResource::of(1)), ("b", LimitedResource::of(1))]);
    let held = [ResourceUnits::of("b", 1)];
    let queue = [first.clone(), request(2, &[("a", 1)]), holder(3, &[("a", 1)])];
    assert_eq!(granted(&schedule(&one, &held, &queue, 0)), [3]);
    // Units of a resource that lacks units are reserved against all: the holders of the rest release it without them.
    let some = resources(&[("a", LimitedResource::of(3)), ("b", LimitedResource::of(1))]);
    let held = [ResourceUnits::of("a", 2)];
    let queue = [request(1, &[("a", 2), ("b", 1)]), holder(2, &[("b", 1)]), holder(3, &[("a", 1)])];
    assert_eq!(granted(&schedule(&some, &held, &queue, 0)), [2]);
}

#[test]
fn of_several_resources_the_first_free_one_is_granted() {
    let resources = resources(&[("a", LimitedResource::of(1)), ("b", LimitedResource::of(1))]);
    let any = |key| ResourceRequest {
        key,
        needs: vec![ResourceNeed { any_of: vec!["a", "b"], ..ResourceNeed::of("a", 1) }],
        later: vec![],
        holds: false,
    };
    let plan = schedule(&resources, &[], &[any(1), any(2), any(3)], 0);
    let chosen: Vec<_> = plan.grants.iter().map(|grant| (grant.key, grant.units[0].resource)).collect();
    assert_eq!(chosen, [(1, "a"), (2, "b")]);
}

#[test]
fn needs_of_one_request_share_the_units_of_a_resource() {
    let resources = resources(&[("a", LimitedResource::of(1)), ("b", LimitedResource::of(1))]);
    let any = |any_of: &[&'static str]| ResourceNeed { any_of: any_of.to_vec(), ..ResourceNeed::of("a", 1) };
    let both = [ResourceRequest {
        key: 1,
        needs: vec![any(&["a", "b"]), any(&["a", "b"])],
        later: vec![],
        holds: false,
    }];
    let units = |plan: GrantPlan<u32, &'static str>| {
        plan.grants[0].units.iter().map(|units| units.resource).collect::<Vec<_>>()
    };
    assert_eq!(units(schedule(&resources, &[], &both, 0)), ["a", "b"]);
    let held = [ResourceUnits::of("b", 1)];
    assert_eq!(granted(&schedule(&resources, &held, &both, 0)), []);
    // The first need gets what the second does not need.
    let one =
        [ResourceRequest { key: 1, needs: vec![any(&["a", "b"]), any(&["a"])], later: vec![], holds: false }];
    assert_eq!(units(schedule(&resources, &[], &one, 0)), ["b", "a"]);
    // A request that can never be granted reserves nothing.
    let queue = [request(1, &[("a", 1), ("a", 1)]), request(2, &[("a", 1)])];
    assert_eq!(granted(&schedule(&resources, &[], &queue, 0)), [2]);
}

#[test]
fn gaps_and_settle_times_delay_grants_and_their_end_is_reported() {
    let base = LimitedResource { gap: 10, settle: 5, ..LimitedResource::of(3) };
    let queue = [request(1, &[("a", 1)]), request(2, &[("a", 1)])];
    let plan = schedule(&resources(&[("a", base.clone())]), &[], &queue, 100);
    assert_eq!((granted(&plan), plan.next_at), (vec![1], Some(110)));
    for (granted_at, released_at, next) in
        [(Some(95), None, 105), (Some(80), Some(98), 103), (Some(95), Some(99), 105), (Some(101), None, 111)]
    {
        let later = LimitedResource { granted_at, released_at, ..base.clone() };
        let plan = schedule(&resources(&[("a", later.clone())]), &[], &queue, 100);
        assert_eq!((granted(&plan), plan.next_at), (vec![], Some(next)), "{later:?}");
        assert_eq!(granted(&schedule(&resources(&[("a", later)]), &[], &queue, next)), [1]);
    }
    let put_back = LimitedResource { granted_at: Some(500), released_at: Some(500), ..base };
    assert_eq!(granted(&schedule(&resources(&[("a", put_back)]), &[], &queue, 100)), [1]);
}

#[test]
fn a_need_above_the_capacity_means_all_units_and_a_resource_without_units_grants_nothing() {
    let resources = resources(&[("a", LimitedResource::of(2)), ("none", LimitedResource::of(0))]);
    let queue = [request(1, &[("none", 1)]), request(2, &[("a", 5)]), request(3, &[("a", 1)])];
    assert_eq!(granted(&schedule(&resources, &[], &queue, 0)), [2]);
    let held = [ResourceUnits::of("a", 1)];
    assert_eq!(granted(&schedule(&resources, &held, &queue, 0)), []);
    // A resource out of use is waited for, and the other units are reserved meanwhile.
    let queue = [request(1, &[("none", 1), ("a", 2)]), request(2, &[("a", 1)])];
    assert_eq!(granted(&schedule(&resources, &[], &queue, 0)), []);
}

/// A request for a device and what contains it.
fn switching(
    key: u32,
    device: &'static str,
    containers: &[(&'static str, u32)],
) -> ResourceRequest<u32, &'static str> {
    let containers =
        containers.iter().map(|(name, units)| ResourceNeed::of(*name, *units).cooling()).collect();
    ResourceRequest { later: containers, ..request(key, &[(device, 1)]) }
}

#[test]
fn units_count_as_in_use_for_the_window_after_their_release() {
    let mut circuit = LimitedResource { window: 10, ..LimitedResource::of(2) };
    circuit.release(1, true, 100);
    circuit.release(1, false, 101);
    let queue = [switching(1, "d1", &[("c", 1)]), switching(2, "d2", &[("c", 1)])];
    let farm = |circuit: &LimitedResource| resources(&[("c", circuit.clone())]);
    let plan = schedule(&farm(&circuit), &[], &queue, 105);
    assert_eq!((granted(&plan), plan.next_at), (vec![1], Some(110)));
    assert_eq!(granted(&schedule(&farm(&circuit), &[], &queue, 110)), [1, 2]);
    assert_eq!(granted(&schedule(&farm(&circuit), &[], &queue, 80)), [1, 2], "the clock was set back");
    // Also where all units cool, and nothing else would end the wait.
    circuit.release(2, true, 105);
    let plan = schedule(&farm(&circuit), &[], &queue, 106);
    assert_eq!((granted(&plan), plan.next_at), (vec![], Some(110)));
    assert_eq!(schedule(&farm(&circuit), &[], &queue, 112).next_at, Some(115));
}

#[test]
fn a_request_that_waits_for_its_device_keeps_nothing_of_the_circuit_from_others() {
    let farm = resources(&[
        ("d1", LimitedResource::of(1)),
        ("d2", LimitedResource::of(1)),
        ("c", LimitedResource::of(2)),
        ("s", LimitedResource::of(1)),
    ]);
    let held = [ResourceUnits::of("d1", 1), ResourceUnits::of("c", 1)];
    let queue = [switching(1, "d1", &[("c", 1)]), switching(2, "d2", &[("c", 1)])];
    assert_eq!(granted(&schedule(&farm, &held, &queue, 0)), [2]);
    // The device is free: now its unit of the circuit is kept for it, and so is the device while it waits for the site.
    let held = [ResourceUnits::of("c", 1), ResourceUnits::of("s", 1)];
    let queue = [
        switching(1, "d1", &[("c", 1), ("s", 1)]),
        switching(2, "d2", &[("c", 1)]),
        request(3, &[("d1", 1)]),
    ];
    assert_eq!(granted(&schedule(&farm, &held, &queue, 0)), []);
}

#[test]
fn a_request_whose_container_is_out_of_use_blocks_no_other() {
    let farm = resources(&[("d1", LimitedResource::of(1)), ("c", LimitedResource::of(0))]);
    let queue = [switching(1, "d1", &[("c", 1)]), request(2, &[("d1", 1)])];
    assert_eq!(granted(&schedule(&farm, &[], &queue, 0)), [2]);
}

#[test]
fn a_budget_is_shared_by_what_is_switched_on_and_larger_loads_are_switched_on_alone() {
    let farm = resources(&[("load", LimitedResource { window: 5, ..LimitedResource::of(10) })]);
    let queue = [
        switching(1, "d1", &[("load", 6)]),
        switching(2, "d2", &[("load", 5)]),
        switching(3, "d3", &[("load", 2)]),
    ];
    assert_eq!(granted(&schedule(&farm, &[], &queue, 0)), [1], "the third does not overtake the second");
    assert_eq!(granted(&schedule(&farm, &[], &queue[1..], 0)), [2, 3]);
    let large = [switching(4, "d4", &[("load", 12)]), queue[2].clone()];
    assert_eq!(granted(&schedule(&farm, &[], &large, 0)), [4]);
    assert_eq!(granted(&schedule(&farm, &[ResourceUnits::of("load", 1)], &large, 0)), []);
}

#[test]
fn the_forecast_counts_windows() {
    let farm = resources(&[("c", LimitedResource { window: 10, ..LimitedResource::of(2) })]);
    let devices = ["d1", "d2", "d3", "d4", "d5"];
    let queue: Vec<_> = (1..)
        .zip(devices)
        .map(|(key, device)| WithDuration { item: switching(key, device, &[("c", 1)]), duration: Some(3) })
        .collect();
    let at: Vec<_> =
        forecast(&farm, &[], &queue, 100).into_iter().map(|expected| (expected.ahead, expected.at)).collect();
    assert_eq!(at, [(0, Some(100)), (1, Some(100)), (2, Some(113)), (3, Some(113)), (4, Some(126))]);
}

#[test]
fn an_unlimited_resource_is_granted_at_once() {
    let none = BTreeMap::new();
    let queue = [request(1, &[("a", 7)]), request(2, &[("a", 1)])];
    assert_eq!(granted(&schedule(&none, &[], &queue, 0)), [1, 2]);
}

#[test]
fn each_request_gets_its_position_and_its_expected_time() {
    let resources = resources(&[
        ("a", LimitedResource { settle: 2, ..LimitedResource::of(1) }),
        ("b", LimitedResource::of(1)),
    ]);
    let timed = |key, name, duration| WithDuration { item: request(key, &[(name, 1)]), duration };
    let held = [
        WithDuration { item: ResourceUnits::of("a", 1), duration: Some(5) },
        WithDuration { item: ResourceUnits::of("b", 1), duration: None },
    ];
    let queue =
        [timed(1, "a", Some(10)), timed(2, "a", None), timed(3, "b", Some(1)), timed(4, "a", Some(1))];
    let forecasts: Vec<_> = forecast(&resources, &held, &queue, 100)
        .into_iter()
        .map(|expected| (expected.key, expected.ahead, expected.at))
        .collect();
    assert_eq!(forecasts, [(1, 0, Some(107)), (2, 1, Some(119)), (3, 0, None), (4, 2, None)]);
}

/// A step of a run: a request arrives, or time passes.
#[derive(Debug, Clone)]
enum Step {
    Request { needs: Vec<ResourceNeed<usize>>, containers: Vec<ResourceNeed<usize>>, takes: i64 },
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any_of = prop::sample::subsequence(vec![0, 1, 2, 3], 1..4);
    let need = (any_of, 1..4_u32).prop_map(|(any_of, units)| ResourceNeed { any_of, units, cools: false });
    let needs = prop::collection::vec(need, 1..4);
    // Units and load of a circuit, then of what contains all circuits.
    let containers = (0..2_usize, 1..5_u32, 0..3_usize).prop_map(|(circuit, load, levels)| {
        let needs = [(4 + circuit, 1), (6 + circuit, load), (8, 1), (9, load)];
        needs[..levels * 2].iter().map(|(name, units)| ResourceNeed::of(*name, *units).cooling()).collect()
    });
    let request = (needs, containers, 1..30_i64).prop_map(|(needs, containers, takes)| Step::Request {
        needs,
        containers,
        takes,
    });
    prop::collection::vec(prop_oneof![request, (1..20_i64).prop_map(Step::Wait)], 1..80)
}

fn farm() -> impl Strategy<Value = BTreeMap<usize, LimitedResource>> {
    let resource = (1..4_u32, 0..8_i64, 0..8_i64, 0..12_i64).prop_map(|(capacity, gap, settle, window)| {
        LimitedResource { gap, settle, window, ..LimitedResource::of(capacity) }
    });
    prop::collection::vec(resource, 10).prop_map(|all| all.into_iter().enumerate().collect())
}

/// Whether all of `needs` can be granted at once, given the resources `chosen` for the first of them and no other holder.
fn is_possible(
    resources: &BTreeMap<usize, LimitedResource>,
    needs: &[ResourceNeed<usize>],
    chosen: &mut Vec<usize>,
) -> bool {
    let Some(need) = needs.get(chosen.len()) else {
        return resources.iter().all(|(name, resource)| {
            let of = needs.iter().zip(&*chosen).filter(|(_, chosen)| *chosen == name);
            of.map(|(need, _)| need.units.min(resource.capacity)).sum::<u32>() <= resource.capacity
        });
    };
    need.any_of.iter().any(|name| {
        chosen.push(*name);
        let is_possible = is_possible(resources, needs, chosen);
        chosen.pop();
        is_possible
    })
}

/// A run: the held units with their ends, and the queue.
struct Run {
    resources: BTreeMap<usize, LimitedResource>,
    held: Vec<(i64, ResourceUnits<usize>)>,
    queue: Vec<(i64, ResourceRequest<usize, usize>)>,
    now: i64,
    granted: Vec<usize>,
    /// For each resource the times of grants and releases of units that cool.
    cooled: BTreeMap<usize, Vec<(i64, i64, u32)>>,
}

impl Run {
    fn in_use(&self) -> Vec<ResourceUnits<usize>> {
        self.held.iter().map(|(_, units)| units.clone()).collect()
    }

    /// Grants requests, and checks the rules.
    fn grant(&mut self) -> Result<Option<i64>, TestCaseError> {
        let requests: Vec<_> = self.queue.iter().map(|(_, request)| request.clone()).collect();
        let plan = schedule(&self.resources, &self.in_use(), &requests, self.now);
        for (at, request) in requests.iter().enumerate() {
            let Some(grant) = plan.grants.iter().find(|grant| grant.key == request.key) else { continue };
            prop_assert_eq!(grant.units.len(), request.all_needs().count());
            for (need, units) in request.all_needs().zip(&grant.units) {
                prop_assert!(need.any_of.contains(&units.resource));
                // No earlier request that keeps waiting needs exactly this resource.
                let overtaken = requests[..at].iter().find(|earlier| {
                    !plan.grants.iter().any(|grant| grant.key == earlier.key)
                        && earlier.later.is_empty()
                        && is_possible(&self.resources, &earlier.needs, &mut vec![])
                        && earlier.needs.iter().all(|need| need.any_of == [units.resource])
                });
                let left = self.left(units.resource);
                prop_assert!(overtaken.is_none() || left == 0, "{} overtakes {:?}", request.key, overtaken);
            }
        }
        for PlannedGrant { key, units } in plan.grants {
            let takes = self.queue.iter().find(|(_, request)| request.key == key).unwrap().0;
            self.queue.retain(|(_, request)| request.key != key);
            self.granted.push(key);
            let now = self.now;
            for units in &units {
                let resource = &self.resources[&units.resource];
                prop_assert!(resource.granted_at.is_none_or(|at| at + resource.gap <= now), "gap");
                prop_assert!(resource.released_at.is_none_or(|at| at + resource.settle <= now), "settle");
            }
            for units in units {
                let resource = self.resources.get_mut(&units.resource).unwrap();
                resource.granted_at = Some(now);
                if units.cools {
                    let taken = (now, now + takes, units.units.min(resource.capacity));
                    self.cooled.entry(units.resource).or_default().push(taken);
                }
                self.held.push((now + takes, units));
            }
        }
        for (name, resource) in &self.resources {
            prop_assert!(self.in_use_of(*name) <= resource.capacity, "{} of {:?}", name, resource);
            // However the operations of a window overlap: each may have its effect at any time between grant and end.
            let begins_in_window = |(_, end, _): &&(i64, i64, u32)| end + resource.window > self.now;
            let units = self.cooled.get(name).into_iter().flatten().filter(begins_in_window);
            let units: u32 = units.map(|(.., units)| units).sum();
            prop_assert!(units <= resource.capacity, "{} in a window of {} {:?}", units, name, resource);
        }
        prop_assert!(plan.next_at.is_none_or(|at| at > self.now));
        Ok(plan.next_at)
    }

    fn in_use_of(&self, name: usize) -> u32 {
        let capacity = self.resources[&name].capacity;
        let of = self.held.iter().filter(|(_, units)| units.resource == name);
        of.map(|(_, units)| units.units.min(capacity)).sum()
    }

    fn left(&self, name: usize) -> u32 {
        self.resources[&name].capacity.saturating_sub(self.in_use_of(name))
    }

    /// Advances to `to`, with all releases and grants until then.
    fn pass(&mut self, to: i64) -> Result<(), TestCaseError> {
        loop {
            let next = self.grant()?;
            let end = self.held.iter().map(|(end, _)| *end).min();
            let Some(at) = [next, end].into_iter().flatten().min().filter(|at| *at <= to) else { break };
            self.now = at;
            let resources = &mut self.resources;
            self.held.retain(|(end, units)| {
                if *end <= at {
                    resources.get_mut(&units.resource).unwrap().release(units.units, units.cools, at);
                }
                *end > at
            });
        }
        self.now = to;
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_grant_exceeds_a_limit_or_comes_too_soon_and_every_request_is_granted(
        resources in farm(), steps in steps(),
    ) {
        let mut run = Run { resources, held: vec![], queue: vec![], now: 0, granted: vec![], cooled: BTreeMap::new() };
        let (mut requests, mut possible) = (0, BTreeSet::new());
        for step in steps {
            match step {
                Step::Wait(span) => run.pass(run.now + span)?,
                Step::Request { needs, containers, takes } => {
                    if is_possible(&run.resources, &needs, &mut vec![]) {
                        possible.insert(requests);
                    }
                    run.queue.push((takes, ResourceRequest { key: requests, needs, later: containers, holds: false }));
                    requests += 1;
                    run.grant()?;
                }
            }
        }
        // Without further requests, all waiting ones are granted, except those that exceed the capacity.
        let expected = forecast(
            &run.resources,
            &run.held.iter().map(|(end, units)| WithDuration { item: units.clone(), duration: Some(end - run.now) }).collect::<Vec<_>>(),
            &run.queue.iter().map(|(takes, request)| WithDuration { item: request.clone(), duration: Some(*takes) }).collect::<Vec<_>>(),
            run.now,
        );
        prop_assert!(expected.iter().all(|forecast| forecast.at.is_some() == possible.contains(&forecast.key)), "{:?}", expected);
        run.pass(run.now + 1_000_000)?;
        prop_assert_eq!(run.granted.into_iter().collect::<BTreeSet<_>>(), possible);
    }

    #[test]
    fn requests_for_one_resource_are_granted_in_order(
        units in prop::collection::vec(1..3_u32, 1..20), capacity in 1..4_u32,
    ) {
        let resources = BTreeMap::from([(0, LimitedResource::of(capacity))]);
        let queue = units.iter().enumerate().map(|(key, units)| (5, ResourceRequest { key, needs: vec![ResourceNeed::of(0, *units)], later: vec![], holds: false }));
        let mut run = Run { resources, held: vec![], queue: queue.collect(), now: 0, granted: vec![], cooled: BTreeMap::new() };
        run.pass(1_000_000)?;
        prop_assert_eq!(run.granted, (0..units.len()).collect::<Vec<_>>());
    }
}

#[test]
fn what_only_time_delays_is_promised_its_units_and_others_use_them_until_then() {
    let gap = LimitedResource { gap: 5, granted_at: Some(98), ..LimitedResource::of(9) };
    // One unit of the site is free, and another comes back.
    let site = |back_at| LimitedResource {
        window: 10,
        cooling: vec![CoolingUnits { units: 1, until: back_at }],
        ..LimitedResource::of(2)
    };
    let farm = |back_at| resources(&[("c", gap.clone()), ("site", site(back_at))]);
    let queue = [switching(1, "d1", &[("c", 1), ("site", 1)]), switching(2, "d2", &[("site", 1)])];
    let plan = schedule(&farm(103), &[], &queue, 100);
    assert_eq!((granted(&plan), plan.next_at), (vec![2], Some(103)), "the first takes what comes back");
    let plan = schedule(&farm(104), &[], &queue, 100);
    assert_eq!((granted(&plan), plan.next_at), (vec![], Some(103)), "it would come back too late");
    assert_eq!(granted(&schedule(&farm(104), &[], &queue, 103)), [1]);
    assert_eq!(granted(&schedule(&farm(104), &[], &queue, 104)), [1, 2]);
    // Of two that wait for the gap, the second is promised what comes back.
    let queue = [queue[0].clone(), switching(3, "d3", &[("c", 1), ("site", 1)]), queue[1].clone()];
    assert_eq!(granted(&schedule(&farm(104), &[], &queue, 100)), []);
    // What begins after the window of the site is not kept.
    let late = LimitedResource { gap: 50, ..gap.clone() };
    let farm = resources(&[("c", late), ("site", site(104))]);
    assert_eq!(granted(&schedule(&farm, &[], &queue, 100)), [2]);
}
