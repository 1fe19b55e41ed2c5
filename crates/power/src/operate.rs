//! Operations at an outlet, whatever its driver: on, off, and off and on again.

use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use clock::Clock;
use device_io::{Evidence, Lease, LocalTrouble};
use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, FaultKind};
use crate::outlet::{Readback, Supply};
use crate::scheme::Access;
use crate::switching::{PHASE, Switching};
use crate::url::{MAX_OFF, PowerUrl};

/// The longest that one call to a device may take where nothing else is said.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// What to do with an outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Gives power.
    On,
    /// Takes the power away.
    Off,
    /// Takes the power away, waits, and gives it back.
    Cycle,
}

/// In what circumstances an operation runs.
#[derive(Clone)]
pub struct Context {
    /// What its times run on.
    pub clock: Arc<dyn Clock>,
    /// Until when the outlet may be written to: asked before each write.
    pub lease: Lease,
    /// The longest that one call to the device may take, mostly [`CALL_LIMIT`].
    pub call_limit: Duration,
    /// How many runs of the same operation before this one were not seen to end.
    pub interrupted: u32,
}

/// An operation that ended without what it is for.
pub type Unfinished = device_io::Unfinished<LocalTrouble>;
/// What that means.
pub type Ending = device_io::Ending<LocalTrouble>;

/// The longest that an operation takes: a phase for each thing to do (look, cut, give back), and the longest time that a
/// cycle may keep an outlet off.
#[must_use]
pub fn limit(operation: Operation) -> Duration {
    match operation {
        Operation::On => PHASE,
        Operation::Off => 2 * PHASE,
        Operation::Cycle => 3 * PHASE + MAX_OFF,
    }
}

/// Carries out `operation` at the outlet, and says what was observed.
///
/// The caller sees to it that a device which takes one client ([`PowerUrl::resource`]) has one operation at a time, and
/// bounds the time. Cancelled, it ends as soon as nothing is left without power that had any. Only a run that is *dropped*
/// cannot give power back: so cancel first, and drop only past the limit.
///
/// # Errors
///
/// [`Unfinished`], when what the operation is for was not observed.
pub async fn operate(
    url: &PowerUrl,
    operation: Operation,
    context: &Context,
    cancel: &CancellationToken,
) -> Result<Evidence, Unfinished> {
    let Context { clock, lease, call_limit, interrupted } = context.clone();
    let access = Access { clock: Arc::clone(&clock), lease, call_limit };
    let mut switching = Switching::new(clock, url.open(access), url.capabilities());
    let ended = match operation {
        Operation::On => switching.give(cancel).await,
        Operation::Off => switching.cut(cancel).await,
        Operation::Cycle => switching.cycle(url.off_for(), interrupted, cancel).await,
    };
    let mut evidence = evidence(&switching);
    if interrupted > 0 {
        evidence.insert("interrupted".to_owned(), interrupted.into());
    }
    match ended {
        Ok(()) => {
            if let Some(answer) = &switching.observed_answer {
                evidence.insert("answer".to_owned(), answer.as_str().into());
            }
            if !switching.can_read() {
                evidence.insert("result".to_owned(), "accepted, not observed".into());
            }
            Ok(evidence)
        }
        Err(fault) => {
            if let Some(answer) = &switching.last_answer {
                evidence.insert("answer".to_owned(), answer.as_str().into());
            }
            // What is left of an earlier run is to give power back, so that one that fails leaves the outlet dark.
            let is_left_over = operation == Operation::On && interrupted > 0;
            let ending = ending(&fault, url, &switching, is_left_over);
            Err(Unfinished { reason: fault.reason, evidence, ending })
        }
    }
}

fn evidence(switching: &Switching) -> Evidence {
    let mut evidence = switching.outlet.evidence();
    evidence.insert("observed".to_owned(), switching.observed.map_or("unknown", Supply::name).into());
    evidence.insert("attempts".to_owned(), switching.outlet.attempts().into());
    if switching.capabilities.readback == Readback::None {
        evidence.insert("readback".to_owned(), "none".into());
    }
    for (name, at) in [("off_at", switching.off_at), ("on_at", switching.on_at)] {
        if let Some(at) = at {
            evidence.insert(name.to_owned(), at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        }
    }
    evidence
}

fn ending(fault: &Fault, url: &PowerUrl, switching: &Switching, is_left_over: bool) -> Ending {
    match &fault.kind {
        FaultKind::Local(trouble) => {
            Ending::Suspended { trouble: trouble.clone(), has_acted: switching.has_written }
        }
        _ if switching.is_dark || is_left_over => Ending::Unrestored { what: "power", at: url.outlet() },
        FaultKind::Misconfigured | FaultKind::Foreign => Ending::Misconfigured,
        FaultKind::Abandoned
        | FaultKind::Expired
        | FaultKind::Unreached
        | FaultKind::Refused
        | FaultKind::Unconfirmed
        | FaultKind::Silent
        | FaultKind::Lost
        | FaultKind::Differs
        | FaultKind::Interrupted => Ending::Failed,
    }
}
