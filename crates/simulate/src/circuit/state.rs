//! A circuit as it stands, and what follows from each thing that happens in it.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::board::{Board, Pace, Turns, Work};
use super::super::error::{MAX_DECISIONS_AN_HOUR, SimulateError};
use super::super::queue::{Entry, Happening, Queue};
use super::super::relay::Relay;
use super::super::simulation::Simulation;
use super::super::tally::{Reason, Tally};
use super::decided::{By, Decided, Told};
use machine::EventName;
use machine::Kind;
use machine::Source;
use machine::{Cause, Effect, Outcome, Stimulus};
use machine::{advance, create, reads_facts};
use random::Random;

/// A circuit.
pub(crate) struct Circuit<'a> {
    pub(super) simulation: &'a Simulation<'a>,
    pub(super) number: usize,
    pub(super) now_ms: u64,
    pub(super) now: DateTime<Utc>,
    pub(super) queue: Queue,
    pub(super) boards: Vec<Board>,
    pub(super) relays: Vec<Relay>,
    /// How many power operations each relay board did, and how long it was held.
    pub(super) used: Vec<(u64, u64)>,
    /// How many outages there are at the moment.
    pub(super) outages: u32,
    /// When the next power operation may begin.
    pub(super) next_switch_ms: u64,
    pub(super) tally: Tally,
}

impl<'a> Circuit<'a> {
    pub(crate) fn new(simulation: &'a Simulation<'a>, number: usize) -> Self {
        let layout = simulation.profile.layout;
        let first = number * simulation.boards_per_circuit();
        let boards = simulation.boards().saturating_sub(first).min(simulation.boards_per_circuit());
        let relays = boards.div_ceil(layout.boards_per_relay_board);
        let tally = Tally::new(simulation.states.len(), simulation.samples(), simulation.every_ms);
        let mut circuit = Self {
            simulation,
            number,
            now_ms: 0,
            now: simulation.beginning,
            queue: Queue::new(simulation.end_ms()),
            boards: Vec::with_capacity(boards),
            relays: std::iter::repeat_with(Relay::default).take(relays).collect(),
            used: vec![(0, 0); relays],
            outages: 0,
            next_switch_ms: 0,
            tally,
        };
        for number in first..first + boards {
            let unborn = circuit.unborn(number);
            circuit.boards.push(unborn);
        }
        circuit
    }

    /// Lives through all of it.
    pub(crate) fn run(mut self) -> Result<Tally, SimulateError> {
        self.plan_outages();
        for board in 0..self.boards.len() {
            self.bear(board)?;
        }
        while let Some(entry) = self.queue.next() {
            self.tally.pass(entry.at_ms);
            if entry.at_ms != self.now_ms {
                self.now_ms = entry.at_ms;
                self.now = self.simulation.at(entry.at_ms);
            }
            self.happen(entry)?;
        }
        Ok(self.end())
    }

    pub(super) fn end(mut self) -> Tally {
        self.tally.pass(u64::MAX);
        let end_ms = self.simulation.end_ms();
        for board in &self.boards {
            self.tally.stay(board.state, end_ms - board.since_ms);
        }
        for (relay, (operations, held_ms)) in self.relays.iter().zip(&self.used) {
            let held_ms = held_ms + relay.held_for(end_ms);
            self.tally.held_ms += held_ms;
            self.tally.longest_held_ms = self.tally.longest_held_ms.max(held_ms);
            self.tally.most_operations = self.tally.most_operations.max(*operations);
        }
        self.tally
    }

    /// A board of which nothing has been decided yet.
    pub(super) fn unborn(&self, number: usize) -> Board {
        let name = format!("board-{}", number + 1);
        let device = self.facts(&name, self.simulation.reads_facts);
        let instance = create(self.simulation.definition, &name, device, self.now).instance;
        Board {
            state: self.simulation.state(&instance.state),
            instance,
            since_ms: 0,
            random: Random::stream(self.simulation.size.seed, number as u64),
            class: 0,
            work: Work::Done,
            holds_place: false,
            abandoned: None,
            run: 0,
            turns: Turns::default(),
            way: None,
            pace: Pace::default(),
        }
    }

    /// Lets a board come to be.
    pub(super) fn bear(&mut self, board: usize) -> Result<(), SimulateError> {
        let Board { state, .. } = self.boards[board];
        self.tally.decisions += 1;
        self.tally.begin(state);
        self.draw_class(board);
        if self.simulation.states[state].kind == Kind::Working {
            self.boards[board].way = Some((Reason::Created, 0));
        }
        self.arm(board);
        self.listen(board);
        self.ask(board);
        self.begin_actions(board)
    }

    pub(super) fn happen(&mut self, Entry { whose, what, .. }: Entry) -> Result<(), SimulateError> {
        match what {
            Happening::Deadline { visit } if visit == self.boards[whose].instance.visit => {
                let decided = self.decide(whose, Cause::Deadline { visit })?;
                self.settle(whose, decided, Told::DEADLINE)
            }
            Happening::ActionEnds { run } => self.action_ends(whose, run),
            Happening::Reports { turn, report } if turn == self.boards[whose].turns.reports => {
                self.report(whose, report)
            }
            Happening::Asks { turn, request } if turn == self.boards[whose].turns.asks => {
                self.request(whose, turn, request)
            }
            Happening::Breaks { turn, class } if turn == self.boards[whose].turns.breaks => {
                self.break_down(whose, class);
                Ok(())
            }
            Happening::Deadline { .. }
            | Happening::Reports { .. }
            | Happening::Asks { .. }
            | Happening::Breaks { .. } => Ok(()),
            Happening::RelayIsFree => self.give_turn(whose),
            Happening::PowerLost => {
                self.power_lost();
                Ok(())
            }
            Happening::PowerBack => {
                self.power_back();
                Ok(())
            }
        }
    }

    /// Asks the kernel what follows, and lets the board's instance be as it is then.
    pub(super) fn decide(&mut self, board: usize, cause: Cause) -> Result<Decided, SimulateError> {
        let Simulation { definition, .. } = self.simulation;
        self.tally.decisions += 1;
        if !self.boards[board].pace.count(self.now_ms, MAX_DECISIONS_AN_HOUR) {
            return Err(self.storm(board));
        }
        let Board { instance, .. } = &self.boards[board];
        // Only a few events' guards look at facts.
        let is_read = self.simulation.reads_facts
            || (matches!(cause, Cause::Event { .. }) && reads_facts(definition, &instance.state, &cause));
        let stimulus = Stimulus { facts: self.facts(&instance.name, is_read), ..Stimulus::new(cause) };
        let instance = &mut self.boards[board].instance;
        let before = (instance.visit, instance.deadline_at);
        let (outcome, effects) = advance(definition, instance, &stimulus, self.now);
        let is_kept = matches!(effects.as_slice(), [Effect::Keep { .. }]);
        Ok(Decided { outcome, is_kept, is_armed_anew: before != (instance.visit, instance.deadline_at) })
    }

    pub(super) fn storm(&self, board: usize) -> SimulateError {
        let number = self.number * self.simulation.boards_per_circuit() + board + 1;
        SimulateError::Storm {
            board: number as u64,
            state: self.boards[board].instance.state.clone(),
            hours: self.now_ms / 3_600_000,
        }
    }

    /// What guards may know of a board.
    pub(super) fn facts(&self, name: &str, is_read: bool) -> Map<String, Value> {
        if !is_read {
            return Map::new();
        }
        let mut facts = self.simulation.profile.device.clone();
        facts.insert("name".to_owned(), Value::from(name));
        facts
    }

    /// Sends an event, and does what follows.
    pub(super) fn send(
        &mut self,
        board: usize,
        name: &EventName,
        source: Source,
        args: &Map<String, Value>,
    ) -> Result<(), SimulateError> {
        let told = Told { reason: self.reason(name), by: By::of(&source) };
        let cause = Cause::Event { name: name.clone(), source, args: args.clone(), visit: None };
        let decided = self.decide(board, cause)?;
        self.settle(board, decided, told)
    }

    pub(super) fn reason(&self, event: &EventName) -> Reason {
        Reason::Event(self.simulation.events.get(event).copied().unwrap_or(usize::MAX))
    }

    /// Does what follows from a decision.
    pub(super) fn settle(&mut self, board: usize, decided: Decided, told: Told) -> Result<(), SimulateError> {
        let Decided { outcome, is_kept, is_armed_anew } = decided;
        if is_armed_anew {
            self.arm(board);
        }
        match outcome {
            Outcome::Ignored(_) => {
                // An action whose end a state does not list is no surprise: the deadline decides.
                if let (Reason::Event(event), By::Report | By::Operator) = (told.reason, told.by) {
                    *self.tally.ignored.entry(event).or_insert(0) += 1;
                }
                Ok(())
            }
            Outcome::Stayed => Ok(()),
            // Nothing changes at all for what is at rest and stays there.
            Outcome::Moved { .. } if is_kept => match self.boards[board].work {
                Work::Done => self.begin_actions(board),
                Work::Blocked | Work::Waits { .. } | Work::Runs { .. } => Ok(()),
            },
            Outcome::Moved { from, to } => {
                self.cancel_actions(board)?;
                let to = if from == to { self.boards[board].state } else { self.simulation.state(&to) };
                self.enter(board, to, told);
                self.begin_actions(board)
            }
        }
    }

    /// Lets the present visit's deadline pass in its time.
    pub(super) fn arm(&mut self, board: usize) {
        let instance = &self.boards[board].instance;
        if let Some(deadline_at) = instance.deadline_at {
            let at_ms = self.simulation.since_beginning(deadline_at).max(self.now_ms);
            self.queue.enter(at_ms, board, Happening::Deadline { visit: instance.visit });
        }
    }

    /// A state is entered, the one that the board was in perhaps.
    pub(super) fn enter(&mut self, board: usize, to: usize, told: Told) {
        self.tally.entered(to);
        let it = &mut self.boards[board];
        let is_same = it.state == to && told.reason == Reason::Deadline;
        if it.state != to {
            self.tally.go(it.state, to, self.now_ms - it.since_ms);
            it.since_ms = self.now_ms;
        }
        self.keep_way(board, to, told);
        self.boards[board].state = to;
        // Nobody but us notices that our patience with the same state has ended, unless we do something about it.
        if !is_same || !self.simulation.states[to].steps.is_empty() {
            self.listen(board);
        }
        if !is_same {
            self.ask(board);
        }
    }

    /// Keeps record of the way to an available state, before the board is in state `to`.
    pub(super) fn keep_way(&mut self, board: usize, to: usize, told: Told) {
        let (from, to_stage) =
            (&self.simulation.states[self.boards[board].state], &self.simulation.states[to]);
        let it = &mut self.boards[board];
        if told.by == By::Operator || (from.is_available && !to_stage.is_available) {
            it.way = Some((told.reason, self.now_ms));
        }
        if to_stage.is_available {
            if let Some((reason, since_ms)) = it.way.take() {
                self.tally.ready.entry(reason).or_default().add(self.now_ms - since_ms);
            }
        } else if to_stage.kind == Kind::Failed {
            if let Some((_, since_ms)) = it.way.take() {
                self.tally.failed[to].add(self.now_ms - since_ms);
            }
        } else if to_stage.kind != Kind::Working {
            it.way = None;
        }
    }
}
