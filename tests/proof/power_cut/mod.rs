//! A power cut: the power of a whole farm is taken and returned, and its boards return in a ramp that keeps to all limits.
//!
//! ```text
//! all Ready ─► limits imported ─► power cut ─► incidents ─► power returns ─► found silent ─► ramp ─► all Ready ─► judged
//! ```

mod checker;
mod limits;
mod record;
mod stage;
mod usage;

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::Random;

use self::limits::LimitedFarm;
use self::record::ReturnRecord;
use self::stage::PowerCutStage;
use self::usage::ProcessUsage;
use crate::cluster::pause;
use crate::number;

/// The size of the farm by default, whose run is short; larger ones have the limits of a real farm.
const BOARDS: u16 = 200;
/// How long the probe of a relay board may take. Source: `src/actions/probe.rs`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// For what the machine of the proof needs longer.
const TOLERANCE: Duration = Duration::from_secs(10);
/// How long boards may take to be Ready, in each part of the run.
const READY_TIMEOUT: Duration = Duration::from_mins(20);

/// The form of a run.
struct ProofForm {
    farm: LimitedFarm,
    /// The definition of boards in place of the built-in one.
    states: Option<String>,
    /// The time between two polls of a board.
    poll_interval: Duration,
    /// The time between two probes of an incident when the power returns.
    probe_interval: Duration,
    /// How long the power is away.
    outage: Duration,
    /// Whether windows are long compared with a power cycle, so that the length of the ramp is judged.
    has_long_windows: bool,
}

impl ProofForm {
    fn of(boards: u16) -> Self {
        let built_in = include_str!("../../../states/board.yaml");
        if boards > BOARDS {
            return Self {
                farm: LimitedFarm::large(boards),
                states: None,
                poll_interval: Duration::from_secs(30),
                probe_interval: Duration::from_mins(1),
                outage: Duration::from_secs(150),
                has_long_windows: true,
            };
        }
        let poll_interval = Duration::from_secs(3);
        let often =
            format!("invoke: [{{ action: poll, with: {{ interval: {}s }} }}]", poll_interval.as_secs());
        assert!(built_in.contains("invoke: [poll]"));
        Self {
            farm: LimitedFarm::small(boards),
            states: Some(built_in.replace("invoke: [poll]", &often)),
            poll_interval,
            probe_interval: Duration::from_secs(10),
            outage: Duration::from_secs(20),
            has_long_windows: false,
        }
    }

    /// How long it may take after the return of the power until each board is found silent: the incident at its circuit is
    /// closed by a probe, and the board is polled three times again.
    fn found_within(&self) -> TimeDelta {
        let found = self.probe_interval + PROBE_TIMEOUT + 3 * self.poll_interval + TOLERANCE;
        TimeDelta::from_std(found).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes"]
async fn after_a_power_cut_all_boards_return_in_a_ramp_within_all_limits() {
    let seed = number("LIFEGUARD_PROOF_SEED").unwrap_or(1);
    let boards = number("LIFEGUARD_PROOF_BOARDS").map_or(BOARDS, |boards| u16::try_from(boards).unwrap());
    let form = ProofForm::of(boards);
    let began = Instant::now();
    let say = |what: &str| {
        #[expect(clippy::print_stdout, reason = "the harness shows it where the test fails")]
        {
            println!("{:4} s  {what}", began.elapsed().as_secs());
        }
    };
    say(&format!("seed {seed}, {boards} boards, {} circuits", form.farm.circuits()));
    let stage = PowerCutStage::start(form.farm.clone(), seed, form.states.clone()).await;
    stage.bring_up(READY_TIMEOUT).await;
    stage.import_limits();
    say(&format!("all Ready; {}", describe(&stage.usage(), &[])));

    let (cut_at, power_ons) = (SystemClock.now(), stage.power_ons());
    stage.cut_power(&mut Random::new(seed));
    say("power cut");
    pause(form.outage).await;
    say(&format!("incidents: {:?}; {:?}", stage.incidents(cut_at).await, stage.states().await));
    let (before, cycling) = (stage.usage(), stage.cycling().await);
    let returned_at = stage.return_power();
    say("power returned");
    let is_over = async || {
        let running = stage.running();
        running == usize::from(boards) && stage.states().await.get("Ready") == Some(&i64::from(boards))
    };
    stage.until("all boards are Ready again", READY_TIMEOUT, is_over).await;
    let after = stage.usage();

    let boards = stage.boards(cut_at, returned_at, &power_ons, &cycling).await;
    let record = ReturnRecord { returned_at, found_at: stage.found_at(cut_at).await, boards };
    say(&format!(
        "all Ready {} s after the return, found silent after {} s; {:?}",
        (SystemClock.now() - returned_at).num_seconds(),
        (record.found_at - returned_at).num_seconds(),
        checker::ramp(&record, &form.farm)
    ));
    say(&format!("since the return: {}", describe(&after, &before)));
    let mut faults = checker::check(&record, &form.farm, form.found_within());
    if form.has_long_windows {
        faults.extend(checker::check_ramp(&record, &form.farm));
    }
    for fault in faults.iter().take(20) {
        say(fault);
        if let Some((board, _)) = fault.split_once(':').filter(|(name, _)| name.starts_with("board-")) {
            stage.history(board, cut_at).await.iter().for_each(|line| say(line));
        }
    }
    if !faults.is_empty() {
        for (group, ons) in checker::switch_ons_by_group(&record, &form.farm) {
            let seconds = ons.iter().map(|at| format!("{:.1}", (*at - returned_at).as_seconds_f32()));
            let seconds = seconds.collect::<Vec<_>>().join(" ");
            say(&format!("{group}: switched on, in seconds after the return: {seconds}"));
        }
    }
    stage.stop().await;
    assert!(faults.is_empty(), "seed {seed}: {} faults", faults.len());
}

/// What servers and PostgreSQL use, and their processor time since `before`.
fn describe(usage: &[ProcessUsage], before: &[ProcessUsage]) -> String {
    let last = usage.len() - 1;
    let describe = |(number, usage): (usize, &ProcessUsage)| {
        let name = if number == last { "PostgreSQL" } else { "server" };
        let cpu = usage.cpu.saturating_sub(before.get(number).map_or(Duration::ZERO, |before| before.cpu));
        format!("{name} {:.1} s of processor, {} MB", cpu.as_secs_f64(), usage.memory_kb / 1024)
    };
    usage.iter().enumerate().map(describe).collect::<Vec<_>>().join("; ")
}
