//! The options of a server as clap has them.

use clap::{Arg, Command};

/// The arguments of the whole program that configure a server; those of clients and of help do not.
const LOG_OPTIONS: [&str; 2] = ["log_format", "log"];
/// The argument that names the configuration file, and so cannot be in it.
pub(super) const FILE_OPTION: &str = "config_file";

/// The options of a server: those of `serve` in the order of its help, then those of the log.
pub(super) fn server_options(root: &Command) -> Vec<Arg> {
    let serve = root.find_subcommand("serve").into_iter().flat_map(Command::get_arguments);
    let own =
        serve.filter(|arg| !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | FILE_OPTION));
    let log = root.get_arguments().filter(|arg| LOG_OPTIONS.contains(&arg.get_id().as_str()));
    own.chain(log).cloned().collect()
}

/// Whether two options of a server cannot be used together.
pub(super) fn conflicts(root: &Command, one: &str, other: &str) -> bool {
    let Some(serve) = root.find_subcommand("serve") else { return false };
    let excludes = |one: &str, other: &str| {
        let arg = serve.get_arguments().find(|arg| arg.get_long() == Some(one));
        let excluded = arg.map(|arg| serve.get_arg_conflicts_with(arg)).unwrap_or_default();
        excluded.iter().any(|arg| arg.get_long() == Some(other))
    };
    excludes(one, other) || excludes(other, one)
}
