//! `lifeguard serve`: starts the parts of a server, runs them, and stops them in order.

mod boot_root;
mod boot_watch;
mod descriptors;
mod http;
mod models;
mod options;
mod parsers;
mod run;
mod secrets;
mod server;
mod server_definitions;
mod start;
mod tftp_options;

pub use self::http::HttpArgs;
pub use self::models::ModelArgs;
pub use self::options::ServeOptions;
pub(super) use self::parsers::{number_between, number_from};
pub use self::run::asked_to_stop;
pub(super) use self::run::run;
pub use self::server::LifeguardServer;
pub use self::server_definitions::BOARD_MACHINE;
pub use self::tftp_options::TftpArgs;
