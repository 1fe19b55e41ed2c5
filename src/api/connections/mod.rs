//! The HTTP connections of clients.
//!
//! | file | what |
//! |---|---|
//! | `serve` | accepts connections until the server stops |
//! | `listener` | the socket on which connections are accepted |
//! | `connection` | one connection, from its first request to its end |
//! | `limits` | the number of connections, and the timeouts of clients |
//! | `registry` | the open connections; admits new ones and closes idle ones for them |
//! | `connection_watch` | the phase of a connection and its timeouts |
//! | `watched_stream` | a connection's stream, which reports to its watch |
//! | `answer_body` | the body of an answer; its request ends with it |
//! | `answer_memory` | the memory of answers that wait to be read |
//! | `refusals` | the answers to clients when there are too many connections |

mod answer_body;
mod answer_memory;
mod connection;
mod connection_watch;
mod limits;
mod listener;
mod refusals;
mod registry;
mod serve;
mod watched_stream;

pub use self::limits::HttpLimits;
pub(super) use self::limits::MIN_BYTES_PER_SECOND;
pub use self::serve::{HttpOptions, serve};

#[cfg(test)]
mod tests;
