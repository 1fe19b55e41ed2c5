//! `lifeguard resource`: resources, their holders, their queues and their limits.

mod file;
mod options;
mod run;
mod views;

pub(super) use self::options::ResourceOptions;
pub(super) use self::run::run;
