//! `lifeguard device`: boards, by a server's HTTP interface.

mod each;
mod fields;
mod list;
mod options;
mod request;
mod run;

pub(super) use self::options::DeviceOptions;
pub(super) use self::run::run;
