//! A visit's actions, carried out one after the other, at the relay board one board at a time.

use serde_json::{Map, Value};

use super::super::board::Work;
use super::super::error::SimulateError;
use super::super::queue::Happening;
use super::super::simulation::Step;
use super::super::tally::LongestQueue;
use super::decided::{By, Decided, Told};
use super::state::Circuit;
use machine::Cause;
use machine::Source;
use machine::{SimulatedAction, Site};

impl<'a> Circuit<'a> {
    /// Starts what the board's state invokes.
    pub(super) fn begin_actions(&mut self, board: usize) -> Result<(), SimulateError> {
        let it = &mut self.boards[board];
        if self.simulation.states[it.state].steps.is_empty() {
            return Ok(());
        }
        if it.abandoned.is_some() {
            it.work = Work::Blocked;
            return Ok(());
        }
        self.begin_at(board, 0)
    }

    /// Begins the state's actions from `step` on, once their place is free.
    fn begin_at(&mut self, board: usize, step: usize) -> Result<(), SimulateError> {
        if self.step(board, step).holds_place {
            self.boards[board].work = Work::Waits { step };
            let relay = self.relay(board);
            self.relays[relay].wait(board, self.now_ms);
            return self.serve(relay);
        }
        self.begin(board, step)
    }

    /// An action begins, and with it the state's time.
    fn begin(&mut self, board: usize, step: usize) -> Result<(), SimulateError> {
        // Before the kernel is asked: what begins is no longer to be begun.
        self.start(board, step);
        let visit = self.boards[board].instance.visit;
        let decided = self.decide(board, Cause::Began { visit })?;
        self.settle(board, decided, Told::DEADLINE)
    }

    /// Lets an action run, which will end in one way or the other.
    fn start(&mut self, board: usize, step: usize) {
        let Step { action, limit_ms, .. } = self.step(board, step);
        let is_dark = self.outages > 0;
        let it = &mut self.boards[board];
        let SimulatedAction { at, takes, fails, fails_after, dark_after } =
            &self.simulation.profile.classes[it.class].actions[action];
        let (takes_ms, succeeds) = if is_dark && *at != Site::Server {
            (dark_after.draw(&mut it.random), false)
        } else if it.random.fraction() < *fails {
            (fails_after.draw(&mut it.random), false)
        } else {
            (takes.draw(&mut it.random), true)
        };
        // What takes longer than it may is stopped, and has failed.
        let (takes_ms, succeeds) = match limit_ms {
            Some(limit_ms) if limit_ms < takes_ms => (limit_ms, false),
            Some(_) | None => (takes_ms, succeeds),
        };
        it.run = it.run.wrapping_add(1);
        it.work = Work::Runs { step, succeeds };
        let run = it.run;
        if *at == Site::RelayBoard {
            self.tally.operations += 1;
            let relay = self.relay(board);
            self.used[relay].0 += 1;
        }
        self.queue.enter(self.now_ms.saturating_add(takes_ms), board, Happening::ActionEnds { run });
    }

    /// Starts a running action over, if it is done at the board, which is no longer what it was.
    pub(super) fn start_over_at_board(&mut self, board: usize) {
        if let Work::Runs { step, .. } = self.boards[board].work
            && self.simulated(board, step).at == Site::Board
        {
            self.start(board, step);
        }
    }

    /// Fails a running action that needs the power which has gone.
    pub(super) fn darken(&mut self, board: usize) {
        let Work::Runs { step, .. } = self.boards[board].work else { return };
        let SimulatedAction { at, dark_after, .. } = self.simulated(board, step);
        if *at == Site::Server {
            return;
        }
        let it = &mut self.boards[board];
        let at_ms = self.now_ms.saturating_add(dark_after.draw(&mut it.random));
        it.run = it.run.wrapping_add(1);
        it.work = Work::Runs { step, succeeds: false };
        self.queue.enter(at_ms, board, Happening::ActionEnds { run: it.run });
    }

    /// An action has ended.
    pub(super) fn action_ends(&mut self, board: usize, run: u32) -> Result<(), SimulateError> {
        if self.boards[board].abandoned == Some(run) {
            return self.abandoned_ends(board);
        }
        let Work::Runs { step, succeeds } = self.boards[board].work else { return Ok(()) };
        if self.boards[board].run != run {
            return Ok(());
        }
        if !succeeds && self.simulated(board, step).at == Site::RelayBoard {
            self.tally.operations_failed += 1;
        }
        self.boards[board].work = Work::Done;
        let visit = self.boards[board].instance.visit;
        let Some((decided, told)) = self.decide_end(board, step, succeeds)? else { return Ok(()) };
        let steps = self.simulation.states[self.boards[board].state].steps.len();
        // What was to follow makes no sense without this one.
        let goes_on = self.boards[board].instance.visit == visit && succeeds && step + 1 < steps;
        let keeps_place = goes_on && self.step(board, step + 1).holds_place;
        if self.boards[board].holds_place && !keeps_place {
            self.release(board)?;
        }
        self.settle(board, decided, told)?;
        if keeps_place && self.boards[board].holds_place {
            self.start(board, step + 1);
        } else if goes_on {
            self.begin_at(board, step + 1)?;
        }
        Ok(())
    }

    /// Asks the kernel what follows from an action's end.
    fn decide_end(
        &mut self,
        board: usize,
        step: usize,
        succeeds: bool,
    ) -> Result<Option<(Decided, Told)>, SimulateError> {
        let outcomes = &self.simulation.actions[self.step(board, step).action];
        let name = if succeeds { &outcomes.ok } else { &outcomes.failed };
        let Some(name) = name else { return Ok(None) };
        let mut args = Map::new();
        if !succeeds {
            args.insert("reason".to_owned(), Value::from("simulated"));
        }
        let visit = Some(self.boards[board].instance.visit);
        let cause = Cause::Event { name: name.clone(), source: Source::Action, args, visit };
        let told = Told { reason: self.reason(name), by: By::Clockwork };
        Ok(Some((self.decide(board, cause)?, told)))
    }

    /// A power operation that nobody wanted any more has come to its end.
    fn abandoned_ends(&mut self, board: usize) -> Result<(), SimulateError> {
        self.boards[board].abandoned = None;
        self.release(board)?;
        if self.boards[board].work == Work::Blocked {
            return self.begin_at(board, 0);
        }
        Ok(())
    }

    /// Cancels what the state that is left still had to do.
    pub(super) fn cancel_actions(&mut self, board: usize) -> Result<(), SimulateError> {
        match std::mem::replace(&mut self.boards[board].work, Work::Done) {
            Work::Done | Work::Blocked => Ok(()),
            Work::Waits { .. } => {
                let relay = self.relay(board);
                self.relays[relay].give_up(board);
                Ok(())
            }
            Work::Runs { step, .. } => {
                let action = self.simulated(board, step);
                let it = &mut self.boards[board];
                if action.at == Site::RelayBoard {
                    // A board is never left without power: the operation goes on, and holds the place meanwhile.
                    it.abandoned = Some(it.run);
                    return Ok(());
                }
                it.run = it.run.wrapping_add(1);
                if it.holds_place { self.release(board) } else { Ok(()) }
            }
        }
    }

    fn release(&mut self, board: usize) -> Result<(), SimulateError> {
        self.boards[board].holds_place = false;
        let relay = self.relay(board);
        let held_ms = self.relays[relay].release(self.now_ms, self.simulation.profile.layout.rests_ms);
        self.used[relay].1 += held_ms;
        self.serve(relay)
    }

    /// Gives the place at a relay board to whoever is first, as soon as the relay board and its circuit allow it.
    fn serve(&mut self, relay: usize) -> Result<(), SimulateError> {
        let mut turn = Ok(());
        if let Some(ready_ms) = self.relays[relay].ready_ms(self.now_ms) {
            let at_ms = ready_ms.max(self.next_switch_ms).max(self.now_ms);
            self.next_switch_ms = at_ms.saturating_add(self.simulation.profile.layout.gap_ms);
            if at_ms == self.now_ms {
                turn = self.give_turn(relay);
            } else {
                self.relays[relay].promise();
                self.queue.enter(at_ms, relay, Happening::RelayIsFree);
            }
        }
        let relays = self.simulation.profile.layout.relay_boards_per_circuit;
        let relay_board = self.number * relays + relay;
        let boards = self.relays[relay].queue();
        self.tally.queue(LongestQueue { boards, at_ms: self.now_ms, relay_board });
        turn
    }

    /// The first in a relay board's queue begins.
    pub(super) fn give_turn(&mut self, relay: usize) -> Result<(), SimulateError> {
        let Some(turn) = self.relays[relay].take(self.now_ms) else { return Ok(()) };
        self.tally.waited.add(turn.waited_ms);
        let it = &mut self.boards[turn.board];
        it.holds_place = true;
        match it.work {
            Work::Waits { step } => self.begin(turn.board, step),
            Work::Done | Work::Blocked | Work::Runs { .. } => self.release(turn.board),
        }
    }

    fn relay(&self, board: usize) -> usize {
        board / self.simulation.profile.layout.boards_per_relay_board
    }

    fn step(&self, board: usize, step: usize) -> Step {
        self.simulation.states[self.boards[board].state].steps[step]
    }

    fn simulated(&self, board: usize, step: usize) -> &'a SimulatedAction {
        let action = self.step(board, step).action;
        &self.simulation.profile.classes[self.boards[board].class].actions[action]
    }
}
