//! Times of power outages.

use super::profile::{OutageSchedule, Profile};
use random::Random;

/// Maximum number of outages of a schedule.
const MAX_OUTAGES: usize = 100_000;
/// The first stream of random numbers for outages; earlier ones are those of instances.
const FIRST_OUTAGE_STREAM: u64 = 1 << 40;

/// A power outage.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedOutage {
    pub(super) begins_ms: u64,
    pub(super) ends_ms: u64,
    /// Share of the circuits that it affects.
    pub(super) share: f64,
}

/// Draws all outages, in no particular order.
pub(super) fn plan_outages(profile: &Profile, seed: u64, end_ms: u64) -> Vec<PlannedOutage> {
    let mut outages = Vec::new();
    for (index, outage) in profile.outages.iter().enumerate() {
        let mut random = Random::stream(seed, FIRST_OUTAGE_STREAM + index as u64);
        let mut add = |begins_ms: u64, random: &mut Random| {
            let ends_ms = begins_ms.saturating_add(outage.lasts.draw(random).max(1));
            outages.push(PlannedOutage { begins_ms, ends_ms, share: outage.share });
        };
        match outage.when {
            OutageSchedule::At(at_ms) => add(at_ms, &mut random),
            OutageSchedule::Every(every) => {
                let mut at_ms = every.draw(&mut random).max(1);
                for _ in 0..MAX_OUTAGES {
                    if at_ms > end_ms {
                        break;
                    }
                    add(at_ms, &mut random);
                    at_ms = at_ms.saturating_add(every.draw(&mut random).max(1));
                }
            }
        }
    }
    outages
}
