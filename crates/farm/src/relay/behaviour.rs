//! How a relay board takes its clients and their orders.

use std::time::Duration;

/// How a relay board takes its clients and their orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayBehaviour {
    /// As it should.
    Normal,
    /// As it should, but a second client's connection is closed at once.
    OneClientAtATime,
    /// Does not take connections, and drops those that it had.
    Refusing,
    /// Takes connections and orders, does nothing and never answers.
    Hanging,
    /// Does what it is told to, but does not answer a write; it answers a read.
    Mute,
    /// Says that it switched this coil and does not; a read shows the truth.
    Lying {
        /// Which coil.
        coil: u16,
    },
    /// Says that it switched and never does, whichever coil; a read shows the truth.
    Stuck,
    /// As it should, but closes each connection after one answer.
    CloseAfterAnswer,
    /// As it should, but reads no fewer coils than this at once: exception 3.
    ReadsBanks {
        /// How many coils it reads at least.
        coils: u16,
    },
    /// Does what it is told to, and answers by RTU frames instead of Modbus TCP.
    Rtu,
    /// As it should, but takes its time before it does what it is told to.
    Slow {
        /// How long it takes.
        delay: Duration,
    },
    /// As it should, but closes a connection on which nothing is asked for a while.
    IdleClose {
        /// How long it waits for a request.
        after: Duration,
    },
}
