//! Faults of simulated hardware and their rates.

use random::Random;

/// Fault of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoardFault {
    /// The board is on and does nothing: it does not even request its boot config.
    DoesNotBoot,
    /// The board requests its boot config and then hangs.
    HangsAfterAsking,
    /// The board boots and hangs before its first report.
    HangsBeforeReporting,
    /// The first report is late.
    ReportsLate,
    /// Each report is sent twice.
    ReportsTwice,
    /// The last report of the previous boot is repeated, with its visit, before the first report of this boot.
    ReportsPreviousBoot,
    /// Installing the image fails and is reported; no effect if nothing is installed.
    ImageFails,
    /// The image crashes after a while: it answers no polls until a power cycle.
    Crashes,
}

/// Fault rates, each a probability from 0 to 1. One boot has at most one fault.
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
    /// A relay board lies about a coil or hangs for a minute; per relay board and minute.
    pub relay_fault: f64,
    /// The share of boards that never boot and need repair. A share above 0 is at least one board.
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

    /// Distributes an overall `rate` over all faults: this share of boots has a fault, relay boards have a fault at a
    /// tenth of the rate per minute, and a quarter of the rate of boards is dead.
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

    /// Draws the fault of one boot.
    pub(super) fn draw(&self, random: &mut Random) -> Option<BoardFault> {
        let mut remaining = random.next_fraction();
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
            let is_drawn = remaining < chance;
            remaining -= chance;
            is_drawn.then_some(fault)
        })
    }

    /// Draws which of `boards` boards are dead.
    pub(super) fn draw_dead(&self, boards: u16, random: &mut Random) -> Vec<u16> {
        let share = self.dead_share * f64::from(boards);
        let mut alive: Vec<u16> = (0..boards).collect();
        let drawn = (0..boards).take_while(|count| f64::from(*count) < share);
        drawn.map(|_| alive.swap_remove(random.next_below(alive.len()))).collect()
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
    fn a_rate_of_zero_means_no_faults() {
        assert_eq!(FaultRates::with_rate(0.0), FaultRates::NONE);
        assert!(drawn(&FaultRates::NONE, 1).iter().all(Option::is_none));
        assert!(FaultRates::NONE.draw_dead(200, &mut Random::new(1)).is_empty());
        for invalid in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(FaultRates::with_rate(invalid), FaultRates::NONE, "{invalid}");
        }
    }

    #[test]
    fn the_rate_is_the_share_of_boots_with_a_fault() {
        let faulty = drawn(&FaultRates::with_rate(0.2), 3).iter().filter(|fault| fault.is_some()).count();
        assert!((1800..2200).contains(&faulty), "{faulty} of 10000");
        assert!(drawn(&FaultRates::with_rate(1.0), 3).iter().filter(|fault| fault.is_none()).count() < 10);
    }

    #[test]
    fn every_fault_occurs_at_its_rate_and_the_same_seed_gives_the_same_faults() {
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
