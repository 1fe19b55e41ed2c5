//! Tests of power operations at relay boards with quirks: no endless retries, and no board left without power.

use std::sync::Mutex;

use lifeguard::actions::{
    ActionEnding, ActionKind as _, Evidence, Job, LocalTrouble, Trouble, UnfinishedAction,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;

/// Off time of power cycles in these tests.
const OFF: Duration = Duration::from_millis(300);

async fn run(operation: PowerOperation, url: String) -> Result<Evidence, UnfinishedAction> {
    run_job(power(operation).with_call_limit(LONG_TIMEOUT), &job(url)).await
}

async fn run_job(driver: PowerAction, job: &Job) -> Result<Evidence, UnfinishedAction> {
    let token = CancellationToken::new();
    within_long_timeout("a power operation", driver.run(job, &token)).await
}

/// A relay board with coil 5 on.
fn powered(behaviour: RelayBehaviour) -> RelayBoard {
    let relay = relay(behaviour);
    relay.switch(5, true);
    relay
}

fn coil_5_with(relay: &RelayBoard, more: &str) -> String {
    format!("modbus://{}/5?off=300ms{more}", relay.addr())
}

/// How long the board at coil 5 was off the last time.
fn was_off_for(relay: &RelayBoard) -> Duration {
    let operations = relay.coil_changes();
    let [.., off, on] = &operations[..] else { panic!("{operations:?}") };
    assert!(!off.is_on && on.is_on, "{operations:?}");
    (on.at - off.at).to_std().unwrap()
}

#[tokio::test]
async fn a_relay_board_that_closes_after_each_answer_gets_one_connection_per_request() {
    let relay = powered(RelayBehaviour::CloseAfterAnswer);
    let done = run(PowerOperation::Cycle, coil_5_with(&relay, "")).await.unwrap();
    assert_eq!((&done["observed"], wire_of(&relay)), (&json!("on"), vec![true, false, true]));
    for (operation, seen) in [(PowerOperation::Off, "off"), (PowerOperation::On, "on")] {
        assert_eq!(run(operation, coil_5_with(&relay, "")).await.unwrap()["observed"], seen);
    }
    assert_eq!(wire_of(&relay), [true, false, true, false, true]);
}

/// Serves coil 5 with `answer`, which gets the number of the connection, the number of the request, and the request;
/// `None` closes the connection. Returns the driver's result, and the functions and values of all requests by
/// connection.
async fn run_against(
    driver: PowerAction,
    answer: impl Fn(usize, usize, &[u8; 12]) -> Option<Vec<u8>>,
) -> (Result<Evidence, UnfinishedAction>, Vec<Vec<(u8, u8)>>) {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let url = format!("modbus://{}/5?off=20ms", listener.local_addr().unwrap());
    let requests: Mutex<Vec<Vec<(u8, u8)>>> = Mutex::default();
    let serve = async {
        for connection in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.lock().unwrap().push(Vec::new());
            let mut request = [0; 12];
            for number in 0.. {
                if stream.read_exact(&mut request).await.is_err() {
                    break;
                }
                requests.lock().unwrap()[connection].push((request[7], request[10]));
                let Some(answer) = answer(connection, number, &request) else { break };
                stream.write_all(&answer).await.unwrap();
            }
        }
    };
    let job = job(url);
    let ended = tokio::select! {
        ended = run_job(driver, &job) => ended,
        () = serve => unreachable!("it serves for ever"),
    };
    (ended, requests.into_inner().unwrap())
}

/// The answer of a working relay board with one coil, which is `on`.
fn working_answer(request: &[u8; 12], on: bool) -> Vec<u8> {
    match request[7] {
        1 => [&request[..4], &[0, 4, 1, 1, 1, u8::from(on)]].concat(),
        _ => request.to_vec(),
    }
}

/// The function that writes a coil.
const WRITE: u8 = 5;
/// Requests by their function and value: read, switch off, switch on.
const READ: (u8, u8) = (1, 0);
const SWITCH_OFF: (u8, u8) = (WRITE, 0);
const SWITCH_ON: (u8, u8) = (WRITE, 0xff);

#[tokio::test]
async fn the_first_request_of_each_new_connection_is_the_write_that_restores_the_power() {
    let is_on = Mutex::new(true);
    // After switching off, the first three connections are closed at their first request.
    let (ended, requests) = run_against(power(PowerOperation::Cycle), |connection, _, request| {
        let mut on = is_on.lock().unwrap();
        let is_lost = !*on && connection < 3;
        if request[7] == WRITE && !is_lost {
            *on = request[10] == 0xff;
        }
        (!is_lost).then(|| working_answer(request, *on))
    })
    .await;
    let failed = ended.unwrap_err();
    assert!(failed.reason.contains("closed the connection"), "{failed}");
    assert_eq!((observed(&failed), *is_on.lock().unwrap()), ("on", true));
    // An answered write is read back; an unanswered one is repeated first.
    let expected = [vec![READ, SWITCH_OFF, READ], vec![READ], vec![SWITCH_ON], vec![SWITCH_ON], vec![READ]];
    assert_eq!(requests, expected);
}

#[tokio::test]
async fn a_write_that_was_answered_and_cannot_be_read_back_is_written_again() {
    // After switching off, the first write to switch on is answered and ignored, and no read is answered until the
    // second.
    let (is_on, on_writes) = (Mutex::new(true), Mutex::new(0));
    let (ended, requests) = run_against(power(PowerOperation::Cycle), |_, _, request| {
        let (mut on, mut on_writes) = (is_on.lock().unwrap(), on_writes.lock().unwrap());
        let is_give = (request[7], request[10]) == SWITCH_ON;
        *on_writes += usize::from(is_give);
        if request[7] == WRITE {
            *on = is_give && *on_writes > 1;
            return Some(request.to_vec());
        }
        (*on_writes != 1).then(|| working_answer(request, *on))
    })
    .await;
    assert_eq!((&ended.unwrap()["observed"], *is_on.lock().unwrap()), (&json!("on"), true));
    // A relay board that closed after an answer gets one connection per request.
    assert_eq!(
        requests,
        [vec![READ, SWITCH_OFF, READ, SWITCH_ON, READ], vec![READ], vec![SWITCH_ON], vec![READ]]
    );
}

#[tokio::test]
async fn a_connection_to_a_single_client_relay_board_is_closed_before_the_next_one() {
    let is_on = Mutex::new(true);
    // It accepts the next client after the previous one has disconnected; the first gets no answer.
    let driver = power(PowerOperation::Off).with_call_limit(LONG_TIMEOUT);
    let (ended, requests) = run_against(driver, |connection, _, request| {
        let mut on = is_on.lock().unwrap();
        if request[7] == WRITE {
            *on = request[10] == 0xff;
        }
        Some(if connection == 0 { Vec::new() } else { working_answer(request, *on) })
    })
    .await;
    assert_eq!(ended.unwrap()["attempts"], 2);
    assert_eq!(requests, [vec![READ], vec![READ, SWITCH_OFF, READ]]);
}

#[tokio::test]
async fn a_relay_board_that_answers_no_reads_is_switched_on_and_never_off() {
    let (ended, requests) = run_against(power(PowerOperation::Cycle), |_, _, request| {
        (request[7] == WRITE).then(|| request.to_vec())
    })
    .await;
    let failed = ended.unwrap_err();
    assert!(failed.reason.ends_with("closed the connection without an answer"), "{failed}");
    assert_eq!((observed(&failed), &failed.kind), ("unknown", &ActionEnding::Failed));
    assert_eq!(requests, [vec![READ], vec![READ], vec![READ], vec![SWITCH_ON, READ]]);
}

#[tokio::test]
async fn a_coil_that_cannot_be_read_alone_is_a_configuration_error_before_any_write() {
    let relay = powered(RelayBehaviour::ReadsBanks { coils: 8 });
    for operation in [PowerOperation::Cycle, PowerOperation::Off] {
        let failed = run(operation, coil_5_with(&relay, "")).await.unwrap_err();
        assert_eq!(
            failed.reason,
            "illegal data value: the relay board refused to read coil 5 alone; if it reads whole banks, write \
             `readback=all8` in the power URL, and if it cannot be read, `readback=none`"
        );
        assert_eq!(failed.kind, ActionEnding::Misconfigured);
        let answer = failed.evidence["answer"].as_str().unwrap();
        assert!(answer.ends_with("01 81 03"), "the device's answer: {answer}");
    }
    assert!(relay.writes().is_empty());

    let done = run(PowerOperation::Cycle, coil_5_with(&relay, "&readback=all8")).await.unwrap();
    assert_eq!((&done["observed"], wire_of(&relay)), (&json!("on"), vec![true, false, true]));
    assert!(was_off_for(&relay) >= OFF);
}

#[tokio::test]
async fn without_readback_a_write_is_accepted_but_not_observed() {
    let relay = powered(RelayBehaviour::ReadsBanks { coils: 8 });
    let done = run(PowerOperation::Cycle, coil_5_with(&relay, "&readback=none")).await.unwrap();
    assert_eq!(
        (&done["observed"], &done["readback"], &done["result"]),
        (&json!("unknown"), &json!("none"), &json!("accepted, not observed"))
    );
    assert!(!done.contains_key("on_at") && !done.contains_key("off_at"), "{done:?}");
    assert!(was_off_for(&relay) >= OFF);
    // A stuck coil is not detected then, and nothing else is claimed.
    relay.set_behaviour(RelayBehaviour::Stuck);
    assert_eq!(
        run(PowerOperation::Off, coil_5_with(&relay, "&readback=none")).await.unwrap()["observed"],
        "unknown"
    );
}

#[tokio::test]
async fn an_answer_in_another_protocol_is_reported_with_its_bytes() {
    let relay = powered(RelayBehaviour::Rtu);
    let failed = run(PowerOperation::Cycle, coil_5_with(&relay, "")).await.unwrap_err();
    let authority = relay.addr();
    assert_eq!(
        failed.reason,
        format!("{authority} answered, but not with Modbus TCP (looks like an RTU frame)")
    );
    assert_eq!(failed.kind, ActionEnding::Misconfigured);
    // The checksum: Modbus over Serial Line 1.02, 6.2.2, computed by another program.
    assert_eq!(failed.evidence["answer"], "01 01 01 01 90 48");
    assert!(relay.writes().is_empty(), "nothing was taken away");

    let (ended, _) =
        run_against(power(PowerOperation::Cycle), |_, _, _| Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
    let failed = ended.unwrap_err();
    assert!(failed.reason.ends_with("answered, but not with Modbus TCP"), "{failed}");
    // At most 32 of its bytes.
    let (ended, _) = run_against(power(PowerOperation::On), |_, _, _| Some(vec![b'A'; 33])).await;
    assert_eq!(ended.unwrap_err().evidence["answer"], format!("{}…", "41 ".repeat(32)));
    assert_eq!(failed.evidence["answer"], "53 53 48 2d 32 2e 30 2d 4f 70 65 6e 53 53 48 5f 39 2e 32 0d 0a");
}

#[tokio::test]
async fn a_board_is_kept_off_for_the_configured_time_even_after_errors() {
    let slow = RelayBehaviour::Slow { delay: Duration::from_millis(50) };
    let idle = RelayBehaviour::IdleClose { after: Duration::from_millis(50) };
    for behaviour in [
        RelayBehaviour::Mute,
        RelayBehaviour::ReadsBanks { coils: 8 },
        RelayBehaviour::Rtu,
        RelayBehaviour::CloseAfterAnswer,
        RelayBehaviour::OneClientAtATime,
        slow,
        idle,
    ] {
        let relay = powered(RelayBehaviour::Normal);
        let mut wire = relay.coil(5);
        // Longer than the delays between tries, which would keep it off for a while by themselves.
        let url = format!("modbus://{}/5?off=600ms", relay.addr());
        let (ended, ()) = tokio::join!(run(PowerOperation::Cycle, url), async {
            until_wire(&mut wire, false).await;
            relay.set_behaviour(behaviour);
        });
        assert_eq!(wire_of(&relay), [true, false, true], "{behaviour:?}: {ended:?}");
        assert!(was_off_for(&relay) >= 2 * OFF, "{behaviour:?}: {:?}", was_off_for(&relay));
    }
}

#[tokio::test]
async fn a_cycle_interrupted_while_the_board_was_off_is_resumed_not_restarted() {
    let relay = relay(RelayBehaviour::Normal);
    let again = Job { attempts: 1, ..job(coil_5_with(&relay, "")) };
    let done = run_job(power(PowerOperation::Cycle), &again).await.unwrap();
    assert_eq!((&done["observed"], &done["interrupted"]), (&json!("on"), &json!(1)));
    let at = |key: &str| done[key].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!((at("on_at") - at("off_at")).to_std().unwrap() >= OFF);
    let written: Vec<bool> = relay.writes().iter().map(|write| write.is_on).collect();
    assert_eq!(written, [true], "it was off already");

    // The power is on: restored, or never switched off. As this is unknown, the cycle is run.
    run_job(power(PowerOperation::Cycle), &Job { attempts: 2, ..again }).await.unwrap();
    assert_eq!(wire_of(&relay), [true, false, true]);
}

#[tokio::test]
async fn a_cycle_interrupted_three_times_only_restores_the_power() {
    let relay = relay(RelayBehaviour::CloseAfterAnswer);
    for is_on in [false, true] {
        relay.switch(5, is_on);
        let again = Job { attempts: 3, ..job(coil_5_with(&relay, "")) };
        let failed = run_job(power(PowerOperation::Cycle), &again).await.unwrap_err();
        assert_eq!(
            (failed.reason.as_str(), observed(&failed)),
            ("power cycle interrupted 3 times: power restored, not cycled again", "on")
        );
        assert_eq!(failed.kind, ActionEnding::Failed);
    }
    let written: Vec<bool> = relay.writes().iter().map(|write| write.is_on).collect();
    assert!(written.iter().all(|on| *on), "{written:?}");
}

#[tokio::test]
async fn an_interrupted_cycle_restores_the_power_even_if_the_coil_cannot_be_read() {
    for behaviour in [RelayBehaviour::ReadsBanks { coils: 8 }, RelayBehaviour::Rtu] {
        let relay = relay(behaviour);
        let again = Job { attempts: 1, ..job(coil_5_with(&relay, "")) };
        run_job(power(PowerOperation::Cycle), &again).await.unwrap_err();
        assert_eq!(wire_of(&relay), [true], "{behaviour:?}");
    }
}

#[tokio::test]
async fn refusals_while_restoring_the_power_are_not_configuration_errors() {
    let banner = || Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    let no_such_coil = |request: &[u8; 12]| Some([&request[..4], &[0, 3, 1, request[7] | 0x80, 2]].concat());
    let run = async |answer: &dyn Fn(&[u8; 12]) -> Option<Vec<u8>>, times: usize| {
        let (is_on, left) = (Mutex::new(true), Mutex::new(times));
        let (ended, requests) = run_against(power(PowerOperation::Cycle), |_, _, request| {
            let (mut on, mut left) = (is_on.lock().unwrap(), left.lock().unwrap());
            if !*on && *left > 0 {
                *left -= 1;
                return answer(request);
            }
            if request[7] == WRITE {
                *on = request[10] == 0xff;
            }
            Some(working_answer(request, *on))
        })
        .await;
        let on_writes = requests.iter().flatten().filter(|request| **request == SWITCH_ON).count();
        (ended, on_writes, is_on.into_inner().unwrap())
    };
    // Like a restarting gateway.
    for answer in [&|_: &[u8; 12]| banner() as _, &no_such_coil as &dyn Fn(&[u8; 12]) -> Option<Vec<u8>>] {
        let (ended, _, is_on) = run(answer, 5).await;
        assert!(is_on, "{ended:?}");
    }
    let (ended, on_writes, is_on) = run(&|_| banner(), usize::MAX).await;
    let failed = ended.unwrap_err();
    assert!(failed.reason.starts_with("cannot restore power"), "{failed}");
    assert!(matches!(failed.kind, ActionEnding::Unrestored { .. }), "{failed:?}");
    assert!(on_writes >= 12 && !is_on, "{on_writes}");
}

#[tokio::test]
async fn a_run_that_wrote_nothing_does_not_count_even_after_an_interrupted_one() {
    let again = Job { attempts: 3, ..job("modbus://255.255.255.255/5?off=20ms") };
    let waits = run_job(power(PowerOperation::Cycle), &again).await.unwrap_err();
    let is_uncounted = matches!(
        waits.kind,
        ActionEnding::Suspended { trouble: Trouble::Local(LocalTrouble::Network(_)), has_acted: false }
    );
    assert!(is_uncounted, "{waits:?}");
}

#[tokio::test]
async fn an_unanswered_write_ends_when_the_lease_expires() {
    let relay = powered(RelayBehaviour::Hanging);
    let job = job(coil_5_with(&relay, "&readback=none"));
    job.lease.extend(tokio::time::Instant::now() + SHORT_TIMEOUT);
    let driver = power(PowerOperation::Off).with_call_limit(Duration::from_secs(15));
    // Far earlier than the call timeout.
    let ended = within(Duration::from_secs(10), driver.run(&job, &CancellationToken::new())).await;
    let failed = ended.unwrap().unwrap_err();
    assert!(failed.reason.contains("lease expired"), "{failed}");
    until("the connection is closed", || relay.clients() == 0).await;
}

#[tokio::test]
async fn nothing_is_sent_once_the_lease_has_expired() {
    let relay = powered(RelayBehaviour::Normal);
    let job = job(coil_5_with(&relay, ""));
    let mut wire = relay.coil(5);
    let (ended, ()) = tokio::join!(run_job(power(PowerOperation::Cycle), &job), async {
        until_wire(&mut wire, false).await;
        job.lease.extend(tokio::time::Instant::now());
    });
    let failed = ended.unwrap_err();
    assert!(failed.reason.contains("lease expired"), "{failed}");
    assert_eq!(wire_of(&relay), [true, false], "the next holder of the relay board restores the power");
    until("the connection is closed", || relay.clients() == 0).await;
    assert_eq!(relay.connections(), 1, "no other connection was made");
    run_job(power(PowerOperation::On), &job).await.unwrap_err();
    assert_eq!(relay.connections(), 1);
}
