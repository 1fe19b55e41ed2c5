//! The simulated relay board, asked as a client asks a real one.

use lifeguard::farm::relay::Operation as Change;
use tokio_modbus::client::{Context, Reader as _, Writer as _, tcp};
use tokio_modbus::{ExceptionCode, Slave};

use super::*;

async fn client(relay: &RelayBoard) -> Context {
    tcp::connect_slave(relay.addr(), Slave(1)).await.unwrap()
}

#[tokio::test]
async fn coils_are_written_and_read_one_by_one_and_together() {
    let relay = relay(Behaviour::Normal);
    let mut client = client(&relay).await;
    client.write_single_coil(3, true).await.unwrap().unwrap();
    client.write_multiple_coils(2, &[true, true, false, true]).await.unwrap().unwrap();
    let coils = client.read_coils(0, 8).await.unwrap().unwrap();
    assert_eq!(coils, [false, false, true, true, false, true, false, false]);
    assert!(*relay.coil(5).borrow() && !*relay.coil(4).borrow() && !*relay.coil(8).borrow());
    let changes: Vec<_> = relay.operations().iter().map(|Change { coil, on, .. }| (*coil, *on)).collect();
    assert_eq!(changes, [(3, true), (2, true), (5, true)], "what changed nothing is no operation");
}

#[tokio::test]
async fn what_a_relay_board_does_not_have_is_an_exception() {
    let relay = relay(Behaviour::Normal);
    let mut client = client(&relay).await;
    let no_address = Err(ExceptionCode::IllegalDataAddress);
    assert_eq!(client.write_single_coil(8, true).await.unwrap(), no_address);
    assert_eq!(client.read_coils(7, 2).await.unwrap(), Err(ExceptionCode::IllegalDataAddress));
    assert_eq!(client.write_multiple_coils(7, &[true, true]).await.unwrap(), no_address);
    assert_eq!(client.read_coils(0, 0).await.unwrap(), Err(ExceptionCode::IllegalDataValue));
    assert_eq!(client.read_holding_registers(0, 1).await.unwrap(), Err(ExceptionCode::IllegalFunction));
    assert!(relay.operations().is_empty());
}

#[tokio::test]
async fn a_relay_board_that_refuses_or_is_dropped_closes_its_connections() {
    let relay = relay(Behaviour::Normal);
    let mut client = client(&relay).await;
    client.write_single_coil(0, true).await.unwrap().unwrap();
    relay.set_behaviour(Behaviour::Refusing);
    until("the client is gone", || relay.clients() == 0).await;
    assert!(client.read_coils(0, 1).await.is_err());
    let addr = relay.addr();
    relay.set_behaviour(Behaviour::Normal);
    until("the relay board listens", || std::net::TcpStream::connect(addr).is_ok()).await;
    let mut client = tcp::connect(addr).await.unwrap();
    assert!(client.read_coils(0, 1).await.unwrap().unwrap()[0], "its coils stayed as they were");
    drop(relay);
    assert!(soon("the end", client.read_coils(0, 1)).await.is_err());
    until("the address is free", || std::net::TcpStream::connect(addr).is_err()).await;
}
