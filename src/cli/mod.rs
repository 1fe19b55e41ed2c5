//! The command line, with one file for each command.

mod api_client;
mod command_line;
mod config;
mod demo;
mod describe;
mod device;
mod faces;
mod help;
mod image;
mod incident;
mod instance;
pub mod log;
mod machine;
mod model;
pub mod output;
mod power;
mod resource;
mod run;
pub mod serve;
mod text_file;
mod variables;
mod why;

pub use self::command_line::{Cli, parse, parse_from};
pub use self::run::run;
pub use self::variables::without_empty_variables;
