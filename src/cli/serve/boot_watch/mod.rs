//! Records what boards request by TFTP: one entry in a board's history for each boot, with the list of its requests.
//!
//! The TFTP server reports each request to an observer, which notes it in memory (`client_logs.rs`); a separate task writes
//! changed logs to the database. Refused requests and unknown clients are also in the server's log, at a limited rate.

mod client_log;
mod client_logs;
mod describe_end;
mod line_budget;
mod watch;

pub(super) use self::watch::BootWatch;
