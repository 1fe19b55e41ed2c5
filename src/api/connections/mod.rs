//! The connections of clients: they carry requests to the routes and answers back.
//!
//! | file | what |
//! |---|---|
//! | `serve` | accepts connections until the server stops |
//! | `listener` | where connections are accepted |
//! | `connection` | one connection, from its first request to its end |
//! | `limits` | how many there may be, and how long each may keep the server waiting |
//! | `registry` | which are open, who may open another, and whose gives way |
//! | `watch` | what a connection waits for, and until when |
//! | `stream` | a connection's bytes, as far as they concern its watch |
//! | `answer_body` | an answer's body, up to the end of which its request is under way |
//! | `answer_memory` | how much of answers may wait to be read |
//! | `refusals` | what clients are answered when there are too many connections |

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
