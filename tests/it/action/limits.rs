//! Tests of power operations at relay boards that refuse, hang, lie, send garbage, or lack the coil.

use futures_util::future::join_all;
use lifeguard::actions::{ActionKind as _, Evidence, UnfinishedAction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::world::yield_briefly;

async fn run(operation: PowerOperation, addr: SocketAddr) -> Result<Evidence, UnfinishedAction> {
    run_by(power(operation), addr).await
}

async fn run_within(
    limit: Duration,
    operation: PowerOperation,
    addr: SocketAddr,
) -> Result<Evidence, UnfinishedAction> {
    run_by(power(operation).with_call_limit(limit), addr).await
}

async fn run_by(driver: PowerAction, addr: SocketAddr) -> Result<Evidence, UnfinishedAction> {
    let token = CancellationToken::new();
    within_long_timeout("a power operation", driver.run(&job(coil_5(addr)), &token)).await
}

#[tokio::test]
async fn a_relay_board_that_refuses_is_tried_three_times() {
    let relay = relay(RelayBehaviour::Refusing);
    let failed = run(PowerOperation::Cycle, relay.addr()).await.unwrap_err();
    assert!(failed.reason.contains("refused"), "{failed}");
    assert_eq!((observed(&failed), &failed.evidence["attempts"]), ("unknown", &3.into()));
    relay.set_behaviour(RelayBehaviour::Normal);
    until("the relay board listens", || std::net::TcpStream::connect(relay.addr()).is_ok()).await;
    run(PowerOperation::Cycle, relay.addr()).await.unwrap();
    relay.set_behaviour(RelayBehaviour::Refusing);
    until("the relay board refuses", || std::net::TcpStream::connect(relay.addr()).is_err()).await;
    run(PowerOperation::On, relay.addr()).await.unwrap_err();
}

#[tokio::test]
async fn a_relay_board_that_serves_another_client_is_tried_again() {
    let relay = relay(RelayBehaviour::OneClientAtATime);
    let other = TcpStream::connect(relay.addr()).await.unwrap();
    until("the other client is served", || relay.clients() == 1).await;
    let (done, ()) = tokio::join!(run(PowerOperation::On, relay.addr()), async {
        until("the driver is turned away", || relay.connections() == 2).await;
        drop(other);
    });
    assert_eq!(done.unwrap()["attempts"], 2);
    assert_eq!(wire_of(&relay), [true]);
}

#[tokio::test]
async fn a_relay_board_that_hangs_costs_a_bounded_time() {
    let relay = relay(RelayBehaviour::Hanging);
    relay.switch(5, true);
    for operation in [PowerOperation::On, PowerOperation::Off] {
        let failed = run_within(SHORT_TIMEOUT, operation, relay.addr()).await.unwrap_err();
        assert!(failed.reason.contains("no answer from 127.0.0.1:"), "{failed}");
        assert_eq!((observed(&failed), &failed.evidence["attempts"]), ("unknown", &3.into()));
    }
    // If the coil cannot be read, the power is not switched off, and the board is not reported as unrestored.
    let failed = run_within(SHORT_TIMEOUT, PowerOperation::Cycle, relay.addr()).await.unwrap_err();
    assert!(failed.reason.starts_with("no answer from 127.0.0.1:"), "{failed}");
    assert_eq!(observed(&failed), "unknown");
}

#[tokio::test]
async fn a_call_times_out_after_five_seconds_and_a_phase_after_fifteen() {
    let relay = relay(RelayBehaviour::Hanging);
    let ((clock, shared), token) = (manual(), CancellationToken::new());
    let (driver, job, started) =
        (power(PowerOperation::On), with_clock(shared, job(coil_5(relay.addr()))), clock.now());
    let time = async {
        loop {
            yield_briefly().await;
            clock.advance(Duration::from_millis(250));
        }
    };
    let ended = within_long_timeout("its end", async {
        tokio::select! {
            ended = driver.run(&job, &token) => ended,
            () = time => unreachable!("time goes by for ever"),
        }
    });
    let failed = ended.await.unwrap_err();
    assert!(failed.reason.ends_with(" within 5s"), "{failed}");
    let took = (clock.now() - started).num_seconds();
    assert!((15..20).contains(&took), "{took} s");
}

#[tokio::test]
async fn a_relay_board_that_hangs_while_the_board_is_off_is_reported_as_unrestored() {
    let relay = relay(RelayBehaviour::Normal);
    relay.switch(5, true);
    let url = format!("modbus://{}/5?off=500ms", relay.addr());
    let driver = power(PowerOperation::Cycle).with_call_limit(LONG_TIMEOUT);
    let (job, token) = (job(url), CancellationToken::new());
    let mut wire = relay.coil(5);
    let (ended, ()) = tokio::join!(driver.run(&job, &token), async {
        until_wire(&mut wire, false).await;
        relay.set_behaviour(RelayBehaviour::Hanging);
    });
    let failed = ended.unwrap_err();
    assert!(failed.reason.starts_with("cannot restore power"), "{failed}");
    assert_eq!((observed(&failed), wire_of(&relay)), ("unknown", vec![true, false]));
}

#[tokio::test]
async fn an_executed_but_unanswered_write_is_confirmed_by_reading_and_not_repeated() {
    let relay = relay(RelayBehaviour::Mute);
    relay.switch(5, true);
    let done = run_within(LONG_TIMEOUT, PowerOperation::Cycle, relay.addr()).await.unwrap();
    assert_eq!((&done["observed"], &done["attempts"]), (&"on".into(), &1.into()));
    assert_eq!(wire_of(&relay), [true, false, true]);
    assert_eq!(relay.writes().len(), 2);
}

#[tokio::test]
async fn a_write_confirmed_but_not_executed_fails() {
    let relay = relay(RelayBehaviour::Lying { coil: 5 });
    let failed = run(PowerOperation::On, relay.addr()).await.unwrap_err();
    assert_eq!(
        (failed.reason.as_str(), observed(&failed)),
        ("the power was switched on and still reads off", "off")
    );
    relay.switch(5, true);
    // In a cycle it is tried twice: the board may be without power already.
    for (operation, cuts) in [(PowerOperation::Off, 3), (PowerOperation::Cycle, 3 + 2)] {
        let failed = run(operation, relay.addr()).await.unwrap_err();
        assert_eq!(failed.reason, "the power was switched off and still reads on");
        assert_eq!(observed(&failed), "on");
        assert_eq!(relay.writes().iter().filter(|write| !write.is_on).count(), cuts);
    }
    assert_eq!(wire_of(&relay), [true]);
}

#[tokio::test]
async fn a_missing_coil_is_named_and_not_retried() {
    let relay = relay(RelayBehaviour::Normal);
    for operation in [PowerOperation::On, PowerOperation::Off, PowerOperation::Cycle] {
        let token = CancellationToken::new();
        let job = job(format!("modbus://{}/9", relay.addr()));
        let failed = within_long_timeout("the answer", power(operation).run(&job, &token)).await.unwrap_err();
        assert_eq!(failed.reason, "illegal data address: the relay board has no coil 9");
        assert_eq!((observed(&failed), &failed.evidence["attempts"]), ("unknown", &1.into()));
    }
    assert!(relay.coil_changes().is_empty());
}

/// A listener with a full queue: the kernel lets further connections wait.
async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(any_port()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Some(stream) = within(LONG_TIMEOUT, TcpStream::connect(addr)).await {
        queue.push(stream.unwrap());
    }
    (addr, listener, queue)
}

#[tokio::test]
async fn an_unreachable_relay_board_costs_a_bounded_time_and_can_be_cancelled() {
    let (addr, _listener, _queue) = black_hole().await;
    let failed = run_within(SHORT_TIMEOUT, PowerOperation::Cycle, addr).await.unwrap_err();
    assert!(failed.reason.contains("no connection to 127.0.0.1:"), "{failed}");
    assert_eq!((observed(&failed), &failed.evidence["attempts"]), ("unknown", &3.into()));

    let (_stands_still, shared) = manual();
    let (driver, job, token) =
        (power(PowerOperation::Cycle), with_clock(shared, job(coil_5(addr))), CancellationToken::new());
    let mut cycle = driver.run(&job, &token);
    assert!(within(SHORT_TIMEOUT, &mut cycle).await.is_none(), "its time stands still");
    token.cancel();
    assert_eq!(within_long_timeout("the cancelled cycle", cycle).await.unwrap_err().reason, "cancelled");
}

/// Marks the function of a refused request.
const EXCEPTION: u8 = 0x80;

/// The reason for an incomplete answer.
const INCOMPLETE: &str = "an incomplete answer";

/// Switches coil 5 on at a server that sends `answer` to each request; an empty one closes the connection.
async fn run_against(
    driver: PowerAction,
    answer: impl Fn(&[u8]) -> Vec<u8>,
) -> Result<Evidence, UnfinishedAction> {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 12];
            while stream.read_exact(&mut request).await.is_ok() {
                let answer = answer(&request);
                if answer.is_empty() {
                    break;
                }
                stream.write_all(&answer).await.unwrap();
            }
        }
    };
    tokio::select! {
        ended = run_by(driver, addr) => ended,
        () = serve => unreachable!("it serves for ever"),
    }
}

#[tokio::test]
async fn a_write_confirmed_for_another_coil_is_read_back_on_a_new_connection() {
    let done = run_against(power(PowerOperation::On), |request| match request[7] {
        1 => [&request[..5], &[4, 1, 1, 1, 1]].concat(),
        _ => [&request[..9], &[4, 0xff, 0]].concat(),
    });
    assert_eq!(done.await.unwrap()["attempts"], 2);
}

#[tokio::test]
async fn answers_to_other_requests_are_rejected() {
    // A write confirmed for coil 4, for another request, with another function, with garbage.
    let wrong = [
        (vec![0, 0, 0, 0, 0, 6, 1, 5, 0, 4, 0xff, 0], "unexpected answer from"),
        (vec![0, 9, 0, 0, 0, 6, 1, 5, 0, 5, 0xff, 0], "unexpected answer from"),
        (vec![0, 0, 0, 0, 0, 4, 1, 2, 1, 1], "unexpected answer from"),
        (vec![0, 0, 0, 0, 0, 3, 1, EXCEPTION, 6], "exception 6"),
        (vec![0xff; 3], INCOMPLETE),
        (vec![], "closed the connection"),
    ];
    join_all(wrong.map(async |(answer, reason)| {
        // After garbage the driver waits, because more bytes may come.
        let driver = power(PowerOperation::On);
        let driver = if reason == INCOMPLETE { driver.with_call_limit(SHORT_TIMEOUT) } else { driver };
        let ended = run_against(driver, |request| {
            let mut answer = answer.clone();
            if let Some(function) = answer.get_mut(7).filter(|function| **function == EXCEPTION) {
                *function |= request[7];
            }
            answer
        });
        let failed = ended.await.unwrap_err();
        assert!(failed.reason.contains(reason), "{answer:?}: {failed}");
        assert_eq!((observed(&failed), &failed.evidence["attempts"]), ("unknown", &3.into()));
    }))
    .await;
}
