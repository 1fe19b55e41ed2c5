//! The hostile hour: faults are injected by seed into boards, relay boards, servers, database, disks, clocks and
//! clients, and the rules of the checker must hold.
//!
//! ```text
//! start ─► all boards Ready ─► strikes for LIFEGUARD_PROOF_SECONDS ─► rest ─► those that failed are reimaged ─► judged
//! ```

mod attacks;
mod checker;
mod clients;
mod definition;
mod fault_injection;
mod forwarder;
mod record;
mod servers;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_err as fs;
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm;
use serde_json::{Value, json};

use self::definition::REST;
use self::record::{RelayHealth, RunRecord, SentMessage};
use self::servers::SERVERS;
use self::stage::TestStage;
use crate::cluster::pause;
use crate::number;

/// The default duration of fault injection.
const STRIKES: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn the_farm_survives_a_hostile_world() {
    let seed = number("LIFEGUARD_PROOF_SEED").unwrap_or(1);
    let span = number("LIFEGUARD_PROOF_SECONDS").map_or(STRIKES, Duration::from_secs);
    let began = Instant::now();
    let say = |what: &str| {
        #[expect(clippy::print_stdout, reason = "the harness shows it where the test fails")]
        {
            println!("{:4} s  {what}", began.elapsed().as_secs());
        }
    };
    say(&format!("seed {seed}, {} s of strikes", span.as_secs()));
    let (record, stage) = run(seed, span, &say).await;

    let breaches = checker::check(&record);
    say(&summary(&record));
    let mut shown: std::collections::BTreeMap<checker::CheckedRule, usize> =
        std::collections::BTreeMap::new();
    for breach in &breaches {
        let count = shown.entry(breach.rule).or_default();
        *count += 1;
        if *count <= 5 {
            say(&breach.to_string());
        }
    }
    if !breaches.is_empty() {
        let kept = keep_evidence(&stage, &record, &breaches, seed);
        say(&format!("logs, and all that was seen, are in {}", kept.display()));
    }
    assert!(breaches.is_empty(), "seed {seed}: what does not hold, and how often: {shown:?}");
}

/// Stores the logs and the record of a run.
fn keep_evidence(
    stage: &TestStage,
    record: &RunRecord,
    breaches: &[checker::RuleViolation],
    seed: u64,
) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{seed}"));
    let _ = fs::remove_dir_all(&to);
    fs::create_dir_all(&to).unwrap();
    for file in fs::read_dir(stage.site.path()).unwrap().flatten() {
        if file.path().extension().is_some_and(|extension| extension == "log") {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    let breaches: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    fs::write(to.join("breaches"), breaches.join("\n")).unwrap();
    fs::write(to.join("record"), format!("{record:#?}")).unwrap();
    to
}

async fn run(seed: u64, span: Duration, say: &impl Fn(&str)) -> (RunRecord, Arc<TestStage>) {
    let stage = TestStage::new(seed).await;
    say("all started");
    stage.spawn(Arc::clone(&stage.people).follow());
    let (servers, http) = (Arc::clone(&stage.servers), stage.people.http.clone());
    stage.spawn(async move { servers.supervise(http).await });
    request(&stage, "rq-reboot", json!({}), |_| true).await;
    let rested = stage.until_rest(REST, TestStage::works).await;
    let usage: Vec<_> = (0..SERVERS).map(|server| stage.servers.usage(server)).collect();
    say(&format!("{} boards Ready", rested.values().filter(|end| end.state == "Ready").count()));

    let people = tokio::task::JoinSet::new();
    let mut people = people;
    for who in 0..3 {
        people.spawn(Arc::clone(&stage.people).leave_marks(who));
    }
    people.spawn(Arc::clone(&stage.people).ask());
    stage.set_board_faults(true);
    fault_injection::strike(&stage, span).await;
    people.shutdown().await;
    stage.set_board_faults(false);
    stage.restore_relays();
    say("no more strikes");
    stage.servers.until_ready(&stage.people.http, Duration::from_mins(2)).await;
    let mut rested = stage.until_rest(REST, |_, _| true).await;
    say("boards rest");
    // Not rebooted: an interrupted installation leaves an unbootable card.
    let image = json!({ "image": farm::IMAGES[0] });
    request(&stage, "rq-reimage", image, |name| stage.works(name) && rested[name].state != "Ready").await;
    stage.until_rest(REST, |_, _| true).await;
    say("those that had failed were reimaged");
    // Connections held open by clients are closed by then.
    pause(Duration::from_secs(5)).await;
    let usage = usage.into_iter().enumerate();
    let usage = usage.map(|(server, before)| (before, stage.servers.usage(server))).collect();
    let difference = stage.replay().await;
    let (history, mut ends) = stage.read().await;
    for server in (0..SERVERS).cycle().take(100) {
        if stage.people.look(server).await.is_some() {
            break;
        }
        pause(Duration::from_millis(50)).await;
    }
    let (mirror, sightings, voided) = stage.people.mirror();
    say(&format!("cursors were void {voided} times"));
    for (name, end) in rested.iter_mut().chain(&mut ends) {
        let reasons =
            history[name].iter().rev().filter(|row| row.is_cause()).filter_map(|row| row.reason.clone());
        end.reason = reasons.into_iter().next().unwrap_or_default();
    }
    let ended_at = SystemClock.now();
    let mut messages: Vec<SentMessage> = stage.people.messages();
    messages.extend(stage.road_messages());
    let boards = stage.boards();
    let mut accidents = stage.servers.end().await;
    accidents.extend(stage.servers.accidents());
    let record = RunRecord {
        boards,
        strikes: {
            let mut strikes = stage.strikes.lock().unwrap().clone();
            strikes.sort_by_key(|strike| strike.span.from);
            strikes
        },
        messages,
        lost: stage.lost.lock().unwrap().clone(),
        sightings,
        mirror,
        history,
        rested,
        ends,
        difference,
        usage,
        accidents,
        ended_at,
    };
    (record, stage)
}

/// Sends a request for some boards, until each is acknowledged.
async fn request(stage: &TestStage, request: &str, body: Value, wanted: impl Fn(&str) -> bool) {
    for name in stage.people.boards.iter().filter(|name| wanted(name)) {
        let give_up_at = Instant::now() + Duration::from_mins(1);
        while !matches!(stage.people.request(name, 0, request, &body).await, Some(200 | 409)) {
            assert!(Instant::now() < give_up_at, "{request} is not accepted for {name}");
            pause(Duration::from_millis(200)).await;
        }
    }
}

fn summary(record: &RunRecord) -> String {
    let acknowledged = record.messages.iter().filter(|message| message.acknowledged().is_some()).count();
    let offs: usize =
        record.boards.iter().map(|board| board.power.iter().filter(|(_, on)| !on).count()).sum();
    let broken = record.boards.iter().filter(|board| board.habit != RelayHealth::Works).count();
    let failed = record.rested.values().filter(|end| end.state.starts_with("Failed")).count();
    let rows: usize = record.history.values().map(Vec::len).sum();
    format!(
        "{} strikes; {acknowledged} of {} messages acknowledged; {rows} rows of history; power taken {offs} times; \
         {failed} boards had failed, {broken} at relay boards that do not work; usage {:?}",
        record.strikes.len(),
        record.messages.len(),
        record.usage
    )
}
