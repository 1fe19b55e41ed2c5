//! `lifeguard device`: the boards of a server.

mod bulk_forecast;
mod fields;
mod for_each_board;
mod list;
mod options;
mod request;
mod run;
mod selection;

pub(super) use self::options::DeviceOptions;
pub(super) use self::run::run;
