//! Tests of the simulated relay board, with a client's requests.

use lifeguard::farm::relay::CoilChange as Change;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_modbus::client::{Context, Reader as _, Writer as _, tcp};
use tokio_modbus::{ExceptionCode, Slave};

use super::*;

async fn client(relay: &RelayBoard) -> Context {
    tcp::connect_slave(relay.addr(), Slave(1)).await.unwrap()
}

#[tokio::test]
async fn coils_are_written_and_read_one_by_one_and_together() {
    let relay = relay(RelayBehaviour::Normal);
    let mut client = client(&relay).await;
    client.write_single_coil(3, true).await.unwrap().unwrap();
    client.write_multiple_coils(2, &[true, true, false, true]).await.unwrap().unwrap();
    let coils = client.read_coils(0, 8).await.unwrap().unwrap();
    assert_eq!(coils, [false, false, true, true, false, true, false, false]);
    assert!(*relay.coil(5).borrow() && !*relay.coil(4).borrow() && !*relay.coil(8).borrow());
    let changes: Vec<_> =
        relay.coil_changes().iter().map(|Change { coil, is_on, .. }| (*coil, *is_on)).collect();
    assert_eq!(changes, [(3, true), (2, true), (5, true)], "what changed nothing is no operation");
}

#[tokio::test]
async fn missing_coils_are_answered_with_an_exception() {
    let relay = relay(RelayBehaviour::Normal);
    let mut client = client(&relay).await;
    let no_address = Err(ExceptionCode::IllegalDataAddress);
    assert_eq!(client.write_single_coil(8, true).await.unwrap(), no_address);
    assert_eq!(client.read_coils(7, 2).await.unwrap(), Err(ExceptionCode::IllegalDataAddress));
    assert_eq!(client.write_multiple_coils(7, &[true, true]).await.unwrap(), no_address);
    assert_eq!(client.read_coils(0, 0).await.unwrap(), Err(ExceptionCode::IllegalDataValue));
    assert_eq!(client.read_holding_registers(0, 1).await.unwrap(), Err(ExceptionCode::IllegalFunction));
    assert!(relay.coil_changes().is_empty());
}

#[tokio::test]
async fn a_relay_board_that_refuses_or_is_dropped_closes_its_connections() {
    let relay = relay(RelayBehaviour::Normal);
    let mut client = client(&relay).await;
    client.write_single_coil(0, true).await.unwrap().unwrap();
    relay.set_behaviour(RelayBehaviour::Refusing);
    until("the client is gone", || relay.clients() == 0).await;
    assert!(client.read_coils(0, 1).await.is_err());
    let addr = relay.addr();
    relay.set_behaviour(RelayBehaviour::Normal);
    until("the relay board listens", || std::net::TcpStream::connect(addr).is_ok()).await;
    let mut client = tcp::connect(addr).await.unwrap();
    assert!(client.read_coils(0, 1).await.unwrap().unwrap()[0], "its coils stayed as they were");
    drop(relay);
    assert!(within_long_timeout("the end", client.read_coils(0, 1)).await.is_err());
    until("the address is free", || std::net::TcpStream::connect(addr).is_err()).await;
}

/// Returns the answers to these requests on one connection, until it is closed.
async fn answers(relay: &RelayBoard, requests: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(relay.addr()).await.unwrap();
    let mut answers = Vec::new();
    for request in requests {
        let mut answer = vec![0; 64];
        let asked = async {
            stream.write_all(request).await?;
            stream.read(&mut answer).await
        };
        let Ok(length @ 1..) = within_long_timeout("an answer", asked).await else { break };
        answer.truncate(length);
        answers.push(answer);
    }
    answers
}

const WRITE_5: &[u8] = &[0, 7, 0, 0, 0, 6, 1, 5, 0, 5, 0xff, 0];
const READ_5: &[u8] = &[0, 8, 0, 0, 0, 6, 1, 1, 0, 5, 0, 1];
const READ_ALL: &[u8] = &[0, 9, 0, 0, 0, 6, 1, 1, 0, 0, 0, 8];

#[tokio::test]
async fn each_behaviour_of_a_relay_board_is_simulated() {
    let relay = relay(RelayBehaviour::CloseAfterAnswer);
    assert_eq!(answers(&relay, &[WRITE_5, READ_5]).await, [WRITE_5]);
    relay.set_behaviour(RelayBehaviour::ReadsBanks { coils: 8 });
    let bank = [&READ_ALL[..4], &[0, 4, 1, 1, 1, 0b0010_0000]].concat();
    let refusal = [&READ_5[..4], &[0, 3, 1, 0x81, 3]].concat();
    assert_eq!(answers(&relay, &[READ_5, READ_ALL, WRITE_5]).await, [&refusal, &bank, WRITE_5]);
    relay.set_behaviour(RelayBehaviour::Rtu);
    // The last two bytes: Modbus over Serial Line 1.02, 6.2.2, computed by another program.
    assert_eq!(answers(&relay, &[WRITE_5]).await, [[1, 5, 0, 5, 0xff, 0, 0x9c, 0x3b]]);
    relay.set_behaviour(RelayBehaviour::Stuck);
    let off = [&WRITE_5[..10], &[0, 0]].concat();
    assert_eq!(answers(&relay, &[&off]).await, [off]);
    assert_eq!(wire_of(&relay), [true], "a stuck coil stays as it is");
    assert_eq!(relay.writes().len(), 4, "what changed nothing was written all the same");
}

#[tokio::test]
async fn a_slow_relay_board_answers_late_and_idle_connections_are_closed() {
    let (clock, shared) = manual();
    let start =
        |behaviour| RelayBoard::start_with_clock(Arc::clone(&shared), any_port(), 8, behaviour).unwrap();
    let relay = start(RelayBehaviour::Slow { delay: Duration::from_secs(3) });
    let mut wire = relay.coil(5);
    let (answers, ()) = tokio::join!(answers(&relay, &[WRITE_5]), async {
        until("the client is served", || relay.clients() == 1).await;
        while !*wire.borrow_and_update() {
            clock.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(answers, [WRITE_5]);
    let relay = start(RelayBehaviour::IdleClose { after: Duration::from_secs(1) });
    let mut stream = TcpStream::connect(relay.addr()).await.unwrap();
    stream.write_all(WRITE_5).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    let time = async {
        loop {
            clock.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::select! {
        ended = within_long_timeout("the end of an idle connection", stream.read(&mut answer)) => ended.unwrap(),
        () = time => unreachable!("time goes by for ever"),
    };
    assert_eq!(ended, 0);
}
