//! What boards report, what operators ask for, what breaks, and the power that goes and comes back.

use super::super::error::SimulateError;
use super::super::queue::Happening;
use super::state::Circuit;
use machine::Event;
use machine::Source;
use random::Random;

impl Circuit<'_> {
    /// Draws what the board will report in its state, if it has power and has something to say.
    pub(super) fn listen(&mut self, board: usize) {
        let is_dark = self.outages > 0;
        let it = &mut self.boards[board];
        it.turns.reports = it.turns.reports.wrapping_add(1);
        let reports = &self.simulation.profile.classes[it.class].reports[it.state];
        if is_dark || reports.is_empty() {
            return;
        }
        let mut left = it.random.fraction();
        for (report, said) in reports.iter().enumerate() {
            if left < said.chance {
                let at_ms = self.now_ms.saturating_add(said.after.draw(&mut it.random));
                let turn = it.turns.reports;
                return self.queue.enter(at_ms, board, Happening::Reports { turn, report });
            }
            left -= said.chance;
        }
    }

    /// The board reports.
    pub(super) fn report(&mut self, board: usize, report: usize) -> Result<(), SimulateError> {
        let it = &self.boards[board];
        let said = &self.simulation.profile.classes[it.class].reports[it.state][report];
        // What may not be sent is no report of a profile.
        let reporter = self.simulation.definition.events.get(&said.event).and_then(Event::reporter);
        let Some(reporter) = reporter else { return Ok(()) };
        self.send(board, &said.event, Source::Face(reporter.clone()), &said.args)
    }

    /// Draws what operators will ask for first in the board's state, and when.
    pub(super) fn ask(&mut self, board: usize) {
        let it = &mut self.boards[board];
        it.turns.asks = it.turns.asks.wrapping_add(1);
        let turn = it.turns.asks;
        let requests = &self.simulation.states[it.state].requests;
        let mut draw = |request: &usize| {
            (self.simulation.profile.requests[*request].after.draw(&mut it.random), *request)
        };
        if let Some((after_ms, request)) = requests.iter().map(&mut draw).min() {
            let at_ms = self.now_ms.saturating_add(after_ms);
            self.queue.enter(at_ms, board, Happening::Asks { turn, request });
        }
    }

    /// An operator asks for something, and may have repaired the board before.
    pub(super) fn request(&mut self, board: usize, turn: u32, request: usize) -> Result<(), SimulateError> {
        let request = &self.simulation.profile.requests[request];
        let it = &mut self.boards[board];
        if request.mends > 0.0 && it.random.fraction() < request.mends && it.class != 0 {
            self.tally.mended += 1;
            self.change_class(board, 0);
            self.plan_breakdown(board);
        }
        self.send(board, &request.event, Source::Operator, &request.args)?;
        if self.boards[board].turns.asks == turn {
            self.ask(board);
        }
        Ok(())
    }

    /// Draws whether the board is sound at first, and when it will not be any more.
    pub(super) fn draw_class(&mut self, board: usize) {
        let classes = &self.simulation.profile.classes;
        let it = &mut self.boards[board];
        let mut left = it.random.fraction();
        for (class, broken) in classes.iter().enumerate().skip(1) {
            if left < broken.share {
                it.class = class;
                return;
            }
            left -= broken.share;
        }
        self.plan_breakdown(board);
    }

    fn plan_breakdown(&mut self, board: usize) {
        let it = &mut self.boards[board];
        it.turns.breaks = it.turns.breaks.wrapping_add(1);
        let turn = it.turns.breaks;
        let mut first: Option<(u64, usize)> = None;
        for (class, broken) in self.simulation.profile.classes.iter().enumerate() {
            if let Some(breaks) = &broken.breaks {
                let drawn = (breaks.draw(&mut it.random), class);
                first = Some(first.map_or(drawn, |first| first.min(drawn)));
            }
        }
        if let Some((after_ms, class)) = first {
            let at_ms = self.now_ms.saturating_add(after_ms);
            self.queue.enter(at_ms, board, Happening::Breaks { turn, class });
        }
    }

    /// A sound board gets broken.
    pub(super) fn break_down(&mut self, board: usize, class: usize) {
        self.tally.broken += 1;
        self.change_class(board, class);
    }

    /// The board behaves otherwise from now on, also in what it is about.
    fn change_class(&mut self, board: usize, class: usize) {
        self.boards[board].class = class;
        self.listen(board);
        self.start_over_at_board(board);
    }

    /// Enters the outages that hit this circuit.
    pub(super) fn plan_outages(&mut self) {
        let seed = self.simulation.size.seed;
        let mut random = Random::stream(seed, !(self.number as u64));
        for gap in &self.simulation.outages {
            if random.fraction() < gap.share {
                self.queue.enter(gap.begins_ms, 0, Happening::PowerLost);
                self.queue.enter(gap.ends_ms, 0, Happening::PowerBack);
            }
        }
    }

    /// All boards and relay boards lose their power.
    pub(super) fn power_lost(&mut self) {
        self.outages += 1;
        if self.outages > 1 {
            return;
        }
        for board in 0..self.boards.len() {
            // Nothing will be said.
            self.listen(board);
            self.darken(board);
        }
    }

    /// Power comes back, and all boards boot.
    pub(super) fn power_back(&mut self) {
        self.outages = self.outages.saturating_sub(1);
        if self.outages == 0 {
            (0..self.boards.len()).for_each(|board| self.listen(board));
        }
    }
}
