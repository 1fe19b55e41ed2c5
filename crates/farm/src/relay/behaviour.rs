//! How a relay board treats its clients and their requests.

use std::time::Duration;

/// How a relay board treats its clients and their requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayBehaviour {
    /// As specified.
    Normal,
    /// As specified, but a second client's connection is closed at once.
    OneClientAtATime,
    /// Refuses connections, and closes the existing ones.
    Refusing,
    /// Accepts connections and requests, does nothing and never answers.
    Hanging,
    /// Executes writes without answering them; it answers reads.
    Mute,
    /// Confirms writes to this coil without executing them; a read shows the true state.
    Lying {
        /// The coil.
        coil: u16,
    },
    /// Confirms writes to any coil without executing them; a read shows the true state.
    Stuck,
    /// As specified, but closes each connection after one answer.
    CloseAfterAnswer,
    /// As specified, but refuses to read fewer coils than this at once (exception 3).
    ReadsBanks {
        /// The smallest number of coils that it reads.
        coils: u16,
    },
    /// Executes requests, but answers with RTU frames instead of Modbus TCP.
    Rtu,
    /// As specified, but after a delay.
    Slow {
        /// The delay.
        delay: Duration,
    },
    /// As specified; besides, it times power cycles, like relay boards of Waveshare: the value of function 5 at 0x200 + a
    /// coil switches that on for so many tenths of a second, at 0x400 + a coil off.
    TimesCycles,
    /// As specified, but closes idle connections.
    IdleClose {
        /// How long it waits for a request.
        after: Duration,
    },
}
