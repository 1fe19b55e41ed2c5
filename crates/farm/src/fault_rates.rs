//! What goes wrong with simulated hardware, and how often.

use random::Random;

/// What one boot of a board suffers from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoardFault {
    /// It gets power and does nothing: it does not even ask for its boot config.
    DoesNotBoot,
    /// It asks for its boot config and is silent from then on.
    HangsAfterAsking,
    /// It comes up and is silent where it should report for the first time.
    HangsBeforeReporting,
    /// It reports for the first time only after a long while.
    ReportsLate,
    /// It reports everything twice.
    ReportsTwice,
    /// The last report of its boot before arrives once more, with that boot's visit, before this boot's first.
    ReportsPreviousBoot,
    /// It cannot install its image, and says so; says nothing else where it has nothing to install.
    ImageFails,
    /// Its image runs, and dies later: it answers no polls until it is power-cycled.
    Crashes,
}

/// How often things go wrong: each a probability from 0 to 1. One boot has at most one fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultRates {
    /// [`BoardFault::DoesNotBoot`], per boot.
    pub does_not_boot: f64,
    /// [`BoardFault::HangsAfterAsking`], per boot.
    pub hangs_after_asking: f64,
    /// [`BoardFault::HangsBeforeReporting`], per boot.
    pub hangs_before_reporting: f64,
    /// [`BoardFault::ReportsLate`], per boot.
    pub reports_late: f64,
    /// [`BoardFault::ReportsTwice`], per boot.
    pub reports_twice: f64,
    /// [`BoardFault::ReportsPreviousBoot`], per boot.
    pub reports_previous_boot: f64,
    /// [`BoardFault::ImageFails`], per boot.
    pub image_fails: f64,
    /// [`BoardFault::Crashes`], per boot.
    pub crashes: f64,
    /// A relay board lies about a coil or hangs, for a minute; per relay board and minute.
    pub relay_fault: f64,
    /// The share of boards that never boot and need hands. A share above 0 is one board at least.
    pub dead_share: f64,
}

impl FaultRates {
    /// Hardware without faults.
    pub const NONE: Self = Self {
        does_not_boot: 0.0,
        hangs_after_asking: 0.0,
        hangs_before_reporting: 0.0,
        reports_late: 0.0,
        reports_twice: 0.0,
        reports_previous_boot: 0.0,
        image_fails: 0.0,
        crashes: 0.0,
        relay_fault: 0.0,
        dead_share: 0.0,
    };

    /// Spreads an overall `rate` over all the faults: that share of boots has one of them, a tenth as many minutes of
    /// a relay board are bad, and a quarter as many boards are dead.
    #[must_use]
    pub fn with_rate(rate: f64) -> Self {
        let rate = if rate.is_finite() { rate.clamp(0.0, 1.0) } else { 0.0 };
        Self {
            does_not_boot: rate * 0.2,
            hangs_after_asking: rate * 0.15,
            hangs_before_reporting: rate * 0.15,
            reports_late: rate * 0.1,
            reports_twice: rate * 0.1,
            reports_previous_boot: rate * 0.1,
            image_fails: rate * 0.1,
            crashes: rate * 0.1,
            relay_fault: rate * 0.1,
            dead_share: rate * 0.25,
        }
    }

    /// Draws what one boot suffers from.
    pub(super) fn draw(&self, random: &mut Random) -> Option<BoardFault> {
        let mut left = random.next_fraction();
        let chances = [
            (BoardFault::DoesNotBoot, self.does_not_boot),
            (BoardFault::HangsAfterAsking, self.hangs_after_asking),
            (BoardFault::HangsBeforeReporting, self.hangs_before_reporting),
            (BoardFault::ReportsLate, self.reports_late),
            (BoardFault::ReportsTwice, self.reports_twice),
            (BoardFault::ReportsPreviousBoot, self.reports_previous_boot),
            (BoardFault::ImageFails, self.image_fails),
            (BoardFault::Crashes, self.crashes),
        ];
        chances.into_iter().find_map(|(fault, chance)| {
            let is_it = left < chance;
            left -= chance;
            is_it.then_some(fault)
        })
    }

    /// Draws which of `boards` boards are dead.
    pub(super) fn draw_dead(&self, boards: u16, random: &mut Random) -> Vec<u16> {
        let share = self.dead_share * f64::from(boards);
        let mut sound: Vec<u16> = (0..boards).collect();
        let drawn = (0..boards).take_while(|count| f64::from(*count) < share);
        drawn.map(|_| sound.swap_remove(random.next_below(sound.len()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(faults: &FaultRates, seed: u64) -> Vec<Option<BoardFault>> {
        let mut random = Random::new(seed);
        (0..10_000).map(|_| faults.draw(&mut random)).collect()
    }

    #[test]
    fn without_a_rate_nothing_goes_wrong() {
        assert_eq!(FaultRates::with_rate(0.0), FaultRates::NONE);
        assert!(drawn(&FaultRates::NONE, 1).iter().all(Option::is_none));
        assert!(FaultRates::NONE.draw_dead(200, &mut Random::new(1)).is_empty());
        for nonsense in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(FaultRates::with_rate(nonsense), FaultRates::NONE, "{nonsense}");
        }
    }

    #[test]
    fn the_rate_is_the_share_of_boots_with_a_fault() {
        let bad = drawn(&FaultRates::with_rate(0.2), 3).iter().filter(|fault| fault.is_some()).count();
        assert!((1800..2200).contains(&bad), "{bad} of 10000");
        assert!(drawn(&FaultRates::with_rate(1.0), 3).iter().filter(|fault| fault.is_none()).count() < 10);
    }

    #[test]
    fn every_fault_happens_at_its_rate_and_the_same_seed_gives_the_same() {
        let drawn_at_one = drawn(&FaultRates::with_rate(1.0), 3);
        for (fault, expected) in [
            (BoardFault::DoesNotBoot, 2000),
            (BoardFault::HangsAfterAsking, 1500),
            (BoardFault::HangsBeforeReporting, 1500),
            (BoardFault::ReportsLate, 1000),
            (BoardFault::ReportsTwice, 1000),
            (BoardFault::ReportsPreviousBoot, 1000),
            (BoardFault::ImageFails, 1000),
            (BoardFault::Crashes, 1000),
        ] {
            let count = drawn_at_one.iter().filter(|drawn| **drawn == Some(fault)).count();
            assert!(count.abs_diff(expected) < 150, "{fault:?}: {count}, not about {expected}");
        }
        assert_eq!(drawn_at_one, drawn(&FaultRates::with_rate(1.0), 3));
        assert_ne!(drawn_at_one, drawn(&FaultRates::with_rate(1.0), 4));
    }

    #[test]
    fn a_share_of_the_boards_is_dead_and_at_least_one() {
        for (rate, boards, expected) in
            [(0.2, 24, 2), (0.2, 200, 10), (0.01, 10, 1), (1.0, 8, 2), (0.2, 0, 0)]
        {
            let mut dead = FaultRates::with_rate(rate).draw_dead(boards, &mut Random::new(5));
            dead.sort_unstable();
            dead.dedup();
            assert_eq!(dead.len(), expected, "{rate} of {boards}");
            assert!(dead.iter().all(|board| *board < boards));
        }
    }
}
