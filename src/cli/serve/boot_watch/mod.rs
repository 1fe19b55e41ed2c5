//! Writes down what boards ask for by TFTP: one entry in a board's history for each boot, with the list of its requests.
//!
//! The TFTP server tells each request on its way; here it is only noted in memory (`logs.rs`), and a task of its own writes
//! what has changed. What is refused, and who is unknown, is in the log as well, at a bounded pace.

mod client_log;
mod client_logs;
mod describe_end;
mod line_budget;
mod watch;

pub(super) use self::watch::BootWatch;
