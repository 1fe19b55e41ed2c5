//! Writes down what boards ask for by TFTP: one entry in a board's history for each boot, with the list of its requests.
//!
//! The TFTP server tells each request on its way; here it is only noted in memory (`logs.rs`), and a task of its own writes
//! what has changed. What is refused, and who is unknown, is in the log as well, at a bounded pace.

mod budget;
mod log;
mod logs;
mod watch;
mod words;

pub(super) use self::watch::BootWatch;
