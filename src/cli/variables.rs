//! The variables of options, `LIFEGUARD_…`: empty ones, unknown ones, and their names in errors.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Id};

use crate::machine::nearest;

/// The prefix of all variables.
const PREFIX: &str = "LIFEGUARD_";
/// Variables of tests, which the program does not read.
const TEST_PREFIXES: [&str; 3] = ["LIFEGUARD_TEST_", "LIFEGUARD_PROOF_", "LIFEGUARD_CHAOS_"];

/// Ignores environment variables that are empty: they count as unset.
#[must_use]
pub fn without_empty_variables(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { arg.env(Resettable::Reset) } else { arg }
    });
    command.mut_subcommands(without_empty_variables)
}

/// Returns the command without its variables.
pub(super) fn without_variables(root: &Command) -> Command {
    without_variables_of(root.clone(), &|_| true)
}

/// Returns the command without the variables of the options that were typed in `matches`: a flag takes precedence, also
/// over a variable with an invalid value, and also where it was typed at another level of the command.
pub(super) fn without_variables_of_typed(root: &Command, matches: &ArgMatches) -> Command {
    let mut typed = BTreeSet::new();
    let mut level = Some(matches);
    while let Some(matches) = level {
        // An argument of another level can be among the ids; asking for its source would panic.
        let ids = matches.ids().map(Id::as_str).filter(|id| matches.try_contains_id(id).is_ok());
        let given = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        typed.extend(given.map(str::to_owned));
        level = matches.subcommand().map(|(_, inner)| inner);
    }
    without_variables_of(root.clone(), &|arg| typed.contains(arg.get_id().as_str()))
}

fn without_variables_of(command: Command, is_meant: &dyn Fn(&Arg) -> bool) -> Command {
    let command = command.mut_args(|arg| if is_meant(&arg) { arg.env(Resettable::Reset) } else { arg });
    command.mut_subcommands(|inner| without_variables_of(inner, is_meant))
}

/// The name of an option's variable.
pub(super) fn variable_name(option: &Arg) -> Option<String> {
    option.get_env().map(|name| name.to_string_lossy().into_owned())
}

/// Whether an option has a variable that is set.
pub(super) fn is_variable_set(option: &Arg) -> bool {
    option.get_env().is_some_and(|name| std::env::var_os(name).is_some())
}

/// Names the variables in an error about their values, where the parser names flags that were not typed. `used` is the
/// command that was typed, built.
pub(super) fn name_variables(mut error: clap::Error, used: &mut Command) -> clap::Error {
    let variable = |shown: &String| {
        let option = used.get_arguments().find(|arg| arg.to_string() == *shown);
        option.and_then(variable_name).unwrap_or_else(|| shown.clone())
    };
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(shown)) => vec![variable(shown)],
        Some(ContextValue::Strings(shown)) => shown.iter().map(variable).collect(),
        _ => Vec::new(),
    };
    let subject = named(ContextKind::InvalidArg);
    let kind = error.kind();
    let message = if kind == ErrorKind::ArgumentConflict {
        let all = [subject, named(ContextKind::PriorArg)].concat();
        Some(format!("the variables {} exclude each other", all.join(" and ")))
    } else if kind == ErrorKind::InvalidUtf8 {
        // The parser does not say which.
        let variable = used.get_arguments().find(|arg| is_not_utf8(arg)).and_then(variable_name);
        variable.map(|variable| format!("{variable} is not text in UTF-8"))
    } else {
        if let [variable] = &*subject {
            error.insert(ContextKind::InvalidArg, ContextValue::String(variable.clone()));
        }
        None
    };
    message.map_or(error, |message| used.error(kind, message))
}

/// Whether an option that takes text has a variable with other bytes.
fn is_not_utf8(option: &Arg) -> bool {
    let value = option.get_env().and_then(std::env::var_os);
    value.is_some_and(|value| value.to_str().is_none())
        && option.get_value_parser().type_id() != TypeId::of::<PathBuf>()
}

/// Lists the variables that no command reads, such as misspelt and renamed ones, each with the one that may have been
/// meant.
pub(super) fn list_unknown(root: &Command) -> Vec<(String, Option<String>)> {
    let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    unknown(root, set.map(|(name, _)| name.to_string_lossy().into_owned()))
}

/// Those of the variables `set` that no option reads, each with the one that may have been meant.
fn unknown(root: &Command, set: impl Iterator<Item = String>) -> Vec<(String, Option<String>)> {
    let options = options(root);
    let known: Vec<String> = options.iter().filter_map(variable_name).collect();
    let is_unknown = |name: &String| {
        name.starts_with(PREFIX)
            && !TEST_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !known.contains(name)
    };
    // An option that was renamed has its old name as an alias.
    let renamed = |name: &str| {
        let alias = name.strip_prefix(PREFIX)?.to_lowercase().replace('_', "-");
        let has_alias = |option: &&Arg| option.get_all_aliases().is_some_and(|all| all.contains(&&*alias));
        options.iter().find(has_alias).and_then(variable_name)
    };
    let meant = |name: &str| {
        // The prefix, which all share, does not count.
        let own = |name: &'_ str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let known: Vec<String> = known.iter().map(|name| own(name)).collect();
        let similar =
            || nearest(&own(name), known.iter().map(String::as_str)).map(|found| format!("{PREFIX}{found}"));
        renamed(name).or_else(similar)
    };
    set.filter(is_unknown).map(|name| (name.clone(), meant(&name))).collect()
}

/// The arguments of all commands.
fn options(command: &Command) -> Vec<Arg> {
    let inner = command.get_subcommands().flat_map(options);
    command.get_arguments().cloned().chain(inner).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::command_line::Cli;
    use super::unknown;

    #[test]
    fn unknown_variables_are_found_with_a_suggestion() {
        let set = [
            "LIFEGUARD_LISTEN",
            "LIFEGUARD_LISTN",
            "LIFEGUARD_HTTP_WAITS",
            "LIFEGUARD_HTTP_ANSWER_BYTES",
            "LIFEGUARD_REASON_OF_NOTHING_AT_ALL",
            "LIFEGUARD_TEST_FOREIGN",
            "LIFEGUARD_PROOF_SEED",
            "LIFEGUARD_CHAOS_RUNS",
            "HOME",
        ];
        let found = unknown(&Cli::command(), set.into_iter().map(str::to_owned));
        let found: Vec<_> = found.iter().map(|(name, meant)| (&**name, meant.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("LIFEGUARD_LISTN", Some("LIFEGUARD_LISTEN")),
                ("LIFEGUARD_HTTP_WAITS", Some("LIFEGUARD_HTTP_LONG_POLLS")),
                ("LIFEGUARD_HTTP_ANSWER_BYTES", Some("LIFEGUARD_HTTP_ANSWER_MEMORY")),
                ("LIFEGUARD_REASON_OF_NOTHING_AT_ALL", None),
            ]
        );
    }
}
