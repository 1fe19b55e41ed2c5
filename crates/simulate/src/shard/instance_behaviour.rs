//! Reports of instances, requests of operators, breakdowns and power outages.

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

    /// Plans the next report of an instance in its state, if it has power and anything to report.
    pub(super) fn plan_report(&mut self, id: usize) {
        let behaviour = self.behaviour(id);
        let simulated = &mut self.instances[id];
        simulated.plan_versions.reports = simulated.plan_versions.reports.wrapping_add(1);
        let reports = &behaviour.classes[simulated.class].reports[simulated.state];
        if self.outages[simulated.circuit] > 0 || reports.is_empty() {
            return;
        }
        let mut left = simulated.random.next_fraction();
        for (report, possible) in reports.iter().enumerate() {
            if left < possible.chance {
                let at_ms = self.now_ms.saturating_add(possible.after.draw(&mut simulated.random));
                let version = simulated.plan_versions.reports;
                return self.queue.enter(at_ms, id, SimulationEvent::Report { version, report });
            }
            left -= possible.chance;
        }
    }

    /// Sends a report of an instance.
    pub(super) fn report(&mut self, id: usize, report: usize) -> Result<(), SimulationError> {
        let simulated = &self.instances[id];
        let machine = &self.simulation.machines[simulated.machine];
        let sent = &machine.behaviour.classes[simulated.class].reports[simulated.state][report];
        // Profiles contain only events that a face may report.
        let reporter = machine.definition.events.get(&sent.event).and_then(Event::reporter);
        let Some(reporter) = reporter else { return Ok(()) };
        self.send(id, &sent.event, EventSource::Face(reporter.clone()), &sent.args)
    }

    /// Plans the next request of operators in the instance's state.
    pub(super) fn plan_request(&mut self, id: usize) {
        let behaviour = self.behaviour(id);
        let requests = &self.state_of(id).requests;
        let simulated = &mut self.instances[id];
        simulated.plan_versions.requests = simulated.plan_versions.requests.wrapping_add(1);
        let version = simulated.plan_versions.requests;
        let mut draw =
            |request: &usize| (behaviour.requests[*request].after.draw(&mut simulated.random), *request);
        if let Some((after_ms, request)) = requests.iter().map(&mut draw).min() {
            let at_ms = self.now_ms.saturating_add(after_ms);
            self.queue.enter(at_ms, id, SimulationEvent::Request { version, request });
        }
    }

    /// Sends a request of an operator, who may repair the instance before.
    pub(super) fn request(&mut self, id: usize, version: u32, request: usize) -> Result<(), SimulationError> {
        let request = &self.behaviour(id).requests[request];
        let simulated = &mut self.instances[id];
        if request.repair_rate > 0.0
            && simulated.random.next_fraction() < request.repair_rate
            && simulated.class != 0
        {
            self.tally.repaired += 1;
            self.change_class(id, 0);
            self.plan_breakdown(id);
        }
        self.send(id, &request.event, EventSource::Operator, &request.args)?;
        if self.instances[id].plan_versions.requests == version {
            self.plan_request(id);
        }
        Ok(())
    }

    /// Draws the initial class of an instance, and plans its breakdown if it is sound.
    pub(super) fn draw_class(&mut self, id: usize) {
        let classes = &self.behaviour(id).classes;
        let simulated = &mut self.instances[id];
        let mut left = simulated.random.next_fraction();
        for (class, broken) in classes.iter().enumerate().skip(1) {
            if left < broken.share {
                simulated.class = class;
                return;
            }
            left -= broken.share;
        }
        self.plan_breakdown(id);
    }

    fn plan_breakdown(&mut self, id: usize) {
        let classes = &self.behaviour(id).classes;
        let simulated = &mut self.instances[id];
        simulated.plan_versions.breaks = simulated.plan_versions.breaks.wrapping_add(1);
        let version = simulated.plan_versions.breaks;
        let mut first: Option<(u64, usize)> = None;
        for (class, broken) in classes.iter().enumerate() {
            if let Some(breaks) = &broken.breaks_after {
                let drawn = (breaks.draw(&mut simulated.random), class);
                first = Some(first.map_or(drawn, |first| first.min(drawn)));
            }
        }
        if let Some((after_ms, class)) = first {
            let at_ms = self.now_ms.saturating_add(after_ms);
            self.queue.enter(at_ms, id, SimulationEvent::Breaks { version, class });
        }
    }

    /// Breaks a sound instance.
    pub(super) fn break_down(&mut self, id: usize, class: usize) {
        self.tally.broken += 1;
        self.change_class(id, class);
    }

    /// Changes the class of an instance; its pending report and running action are planned again.
    fn change_class(&mut self, id: usize, class: usize) {
        self.instances[id].class = class;
        self.plan_report(id);
        self.restart_at_instance(id);
    }

    /// Queues the outages of these circuits.
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

    /// Power fails on a circuit.
    pub(super) fn outage_begins(&mut self, circuit: usize) {
        self.outages[circuit] += 1;
        if self.outages[circuit] > 1 {
            return;
        }
        for id in self.on_circuit(circuit) {
            // Clears the planned report.
            self.plan_report(id);
            self.fail_for_outage(id);
        }
    }

    /// Power returns on a circuit, and its instances report again.
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
