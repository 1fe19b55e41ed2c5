//! What instances report, what operators ask for, what breaks, and the power that goes and comes back.

use super::super::error::SimulationError;
use super::super::profile::MachineBehaviour;
use super::super::queue::SimulationEvent;
use super::state::Shard;
use machine::Event;
use machine::EventSource;
use random::Random;

impl<'a> Shard<'a> {
    fn behaviour(&self, id: usize) -> &'a MachineBehaviour {
        self.simulation.machines[self.instances[id].machine].behaviour
    }

    /// Draws what the instance will report in its state, if it has power and has something to say.
    pub(super) fn plan_report(&mut self, id: usize) {
        let behaviour = self.behaviour(id);
        let it = &mut self.instances[id];
        it.plan_versions.reports = it.plan_versions.reports.wrapping_add(1);
        let reports = &behaviour.classes[it.class].reports[it.state];
        if self.outages[it.circuit] > 0 || reports.is_empty() {
            return;
        }
        let mut left = it.random.next_fraction();
        for (report, said) in reports.iter().enumerate() {
            if left < said.chance {
                let at_ms = self.now_ms.saturating_add(said.after.draw(&mut it.random));
                let turn = it.plan_versions.reports;
                return self.queue.enter(at_ms, id, SimulationEvent::Report { turn, report });
            }
            left -= said.chance;
        }
    }

    /// The instance reports.
    pub(super) fn report(&mut self, id: usize, report: usize) -> Result<(), SimulationError> {
        let it = &self.instances[id];
        let machine = &self.simulation.machines[it.machine];
        let said = &machine.behaviour.classes[it.class].reports[it.state][report];
        // What may not be sent is no report of a profile.
        let reporter = machine.definition.events.get(&said.event).and_then(Event::reporter);
        let Some(reporter) = reporter else { return Ok(()) };
        self.send(id, &said.event, EventSource::Face(reporter.clone()), &said.args)
    }

    /// Draws what operators will ask for first in the instance's state, and when.
    pub(super) fn plan_request(&mut self, id: usize) {
        let behaviour = self.behaviour(id);
        let requests = &self.stage(id).requests;
        let it = &mut self.instances[id];
        it.plan_versions.requests = it.plan_versions.requests.wrapping_add(1);
        let turn = it.plan_versions.requests;
        let mut draw = |request: &usize| (behaviour.requests[*request].after.draw(&mut it.random), *request);
        if let Some((after_ms, request)) = requests.iter().map(&mut draw).min() {
            let at_ms = self.now_ms.saturating_add(after_ms);
            self.queue.enter(at_ms, id, SimulationEvent::Request { turn, request });
        }
    }

    /// An operator asks for something, and may have repaired the instance before.
    pub(super) fn request(&mut self, id: usize, turn: u32, request: usize) -> Result<(), SimulationError> {
        let request = &self.behaviour(id).requests[request];
        let it = &mut self.instances[id];
        if request.repair_rate > 0.0 && it.random.next_fraction() < request.repair_rate && it.class != 0 {
            self.tally.repaired += 1;
            self.change_class(id, 0);
            self.plan_breakdown(id);
        }
        self.send(id, &request.event, EventSource::Operator, &request.args)?;
        if self.instances[id].plan_versions.requests == turn {
            self.plan_request(id);
        }
        Ok(())
    }

    /// Draws whether the instance is sound at first, and when it will not be any more.
    pub(super) fn draw_class(&mut self, id: usize) {
        let classes = &self.behaviour(id).classes;
        let it = &mut self.instances[id];
        let mut left = it.random.next_fraction();
        for (class, broken) in classes.iter().enumerate().skip(1) {
            if left < broken.share {
                it.class = class;
                return;
            }
            left -= broken.share;
        }
        self.plan_breakdown(id);
    }

    fn plan_breakdown(&mut self, id: usize) {
        let classes = &self.behaviour(id).classes;
        let it = &mut self.instances[id];
        it.plan_versions.breaks = it.plan_versions.breaks.wrapping_add(1);
        let turn = it.plan_versions.breaks;
        let mut first: Option<(u64, usize)> = None;
        for (class, broken) in classes.iter().enumerate() {
            if let Some(breaks) = &broken.breaks_after {
                let drawn = (breaks.draw(&mut it.random), class);
                first = Some(first.map_or(drawn, |first| first.min(drawn)));
            }
        }
        if let Some((after_ms, class)) = first {
            let at_ms = self.now_ms.saturating_add(after_ms);
            self.queue.enter(at_ms, id, SimulationEvent::Breaks { turn, class });
        }
    }

    /// A sound instance gets broken.
    pub(super) fn break_down(&mut self, id: usize, class: usize) {
        self.tally.broken += 1;
        self.change_class(id, class);
    }

    /// The instance behaves otherwise from now on, also in what it is about.
    fn change_class(&mut self, id: usize, class: usize) {
        self.instances[id].class = class;
        self.plan_report(id);
        self.start_over_at_instance(id);
    }

    /// Enters the outages that hit these circuits.
    pub(super) fn plan_outages(&mut self) {
        let seed = self.simulation.size.seed;
        for circuit in 0..self.outages.len() {
            let number = self.first_circuit + circuit;
            let mut random = Random::stream(seed, !(number as u64));
            for outage in &self.simulation.outages {
                if random.next_fraction() < outage.share {
                    self.queue.enter(outage.begins_ms, circuit, SimulationEvent::OutageBegins);
                    self.queue.enter(outage.ends_ms, circuit, SimulationEvent::OutageEnds);
                }
            }
        }
    }

    /// Everything on a circuit loses its power.
    pub(super) fn outage_begins(&mut self, circuit: usize) {
        self.outages[circuit] += 1;
        if self.outages[circuit] > 1 {
            return;
        }
        for id in self.on_circuit(circuit) {
            // Nothing will be said.
            self.plan_report(id);
            self.fail_for_outage(id);
        }
    }

    /// Power comes back, and instances report again.
    pub(super) fn outage_ends(&mut self, circuit: usize) {
        self.outages[circuit] = self.outages[circuit].saturating_sub(1);
        if self.outages[circuit] == 0 {
            self.on_circuit(circuit).into_iter().for_each(|id| self.plan_report(id));
        }
    }

    fn on_circuit(&self, circuit: usize) -> Vec<usize> {
        (0..self.instances.len()).filter(|id| self.instances[*id].circuit == circuit).collect()
    }
}
