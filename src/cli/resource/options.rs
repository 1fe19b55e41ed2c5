//! The options of `lifeguard resource`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::boards::{MAX_LIMIT_SPAN, MAX_MIN_OFF, parse_current};
use crate::cli::api_client::ServerOptions;
use crate::cli::serve::number_from;
use crate::formatting::duration;
use crate::machine::parse_span;

/// The command's options.
#[derive(Debug, Args)]
pub(in crate::cli) struct ResourceOptions {
    #[command(flatten)]
    pub(super) server: ServerOptions,
    #[command(subcommand)]
    pub(super) command: ResourceCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ResourceCommand {
    /// List resources below what contains them, with the units in use, the holders and the length of the queue
    List,
    /// Show the limits, the holders and the queue of a resource, with the expected start of each waiting action
    Show {
        /// Its name, as in `lifeguard resource list`
        name: String,
    },
    /// List all actions that wait for resources, with their expected starts
    Queue,
    /// Set limits of a resource, and what contains it; what is not given stays as it is
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        settings: SettingsOptions,
    },
    /// Unset all that was set for resources: their limits are as definitions and drivers declare them
    Remove {
        /// The resources
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print what is set for all resources, and the loads of hardware, as YAML
    Export,
    /// Make the settings of all resources, and the loads of hardware, those of a file; what it lacks is unset
    Import {
        /// The file, as `lifeguard resource export` prints it; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print the changes without making them
        #[arg(long)]
        dry_run: bool,
    },
}

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SettingName {
    Capacity,
    Gap,
    Settle,
    Window,
    Budget,
    MinOff,
    Within,
    About,
}

impl SettingName {
    /// Its member in JSON.
    fn member(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Gap => "gap_s",
            Self::Settle => "settle_s",
            Self::Window => "window_s",
            Self::Budget => "budget_a",
            Self::MinOff => "min_off_s",
            Self::Within => "within",
            Self::About => "about",
        }
    }
}

/// The settings of a resource.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct SettingsOptions {
    /// The number of units; with 0 nothing is granted
    #[arg(long, value_parser = |text: &str| number_from(text, 0_u32))]
    capacity: Option<u32>,
    /// The minimum time between two grants, such as 5s
    #[arg(long, value_name = "DURATION", value_parser = limit_span)]
    gap: Option<Duration>,
    /// The minimum time between a release and the next grant, such as 500ms
    #[arg(long, value_name = "DURATION", value_parser = limit_span)]
    settle: Option<Duration>,
    /// How long units count as in use after boards were switched on with them, such as 10s
    #[arg(long, value_name = "DURATION", value_parser = limit_span)]
    window: Option<Duration>,
    /// The current that boards may draw that are switched on within the window, such as 16A
    #[arg(long, value_name = "CURRENT", value_parser = parse_current)]
    budget: Option<u32>,
    /// The minimum time for which a power cycle keeps a board off, such as 5s
    #[arg(long, value_name = "DURATION", value_parser = min_off_span)]
    min_off: Option<Duration>,
    /// The resource that contains it, such as the circuit of a relay board
    #[arg(long, value_name = "RESOURCE")]
    within: Option<String>,
    /// What it is, for people
    #[arg(long, value_name = "TEXT")]
    about: Option<String>,
    /// Unset these settings, separated by commas
    #[arg(long, value_name = "SETTING", value_delimiter = ',')]
    unset: Vec<SettingName>,
}

impl SettingsOptions {
    /// The changes as JSON.
    pub(super) fn into_patch(self) -> Value {
        let seconds = |span: Option<Duration>| span.map(|span| json!(span.as_secs_f64()));
        let given = [
            (SettingName::Capacity, self.capacity.map(Value::from)),
            (SettingName::Gap, seconds(self.gap)),
            (SettingName::Settle, seconds(self.settle)),
            (SettingName::Window, seconds(self.window)),
            (SettingName::Budget, self.budget.map(|ma| json!(f64::from(ma) / 1000.0))),
            (SettingName::MinOff, seconds(self.min_off)),
            (SettingName::Within, self.within.map(Value::from)),
            (SettingName::About, self.about.map(Value::from)),
        ];
        let unset = self.unset.into_iter().map(|name| (name, Some(Value::Null)));
        let members = unset.chain(given).filter_map(|(name, value)| Some((name.member().to_owned(), value?)));
        Value::Object(members.collect::<Map<_, _>>())
    }
}

/// Parses a duration of at most a day, which is the server's limit.
fn limit_span(text: &str) -> Result<Duration, String> {
    span(text, MAX_LIMIT_SPAN, "a day")
}

fn min_off_span(text: &str) -> Result<Duration, String> {
    span(text, MAX_MIN_OFF, &duration(MAX_MIN_OFF))
}

fn span(text: &str, max: Duration, shown: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| format!("{error}; write it like `5s` or `500ms`"))?;
    if span > max { Err(format!("it may be at most {shown}")) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct TestArgs {
        #[command(flatten)]
        options: ResourceOptions,
    }

    #[test]
    fn a_span_of_more_than_a_day_is_refused_with_the_name_of_its_option() {
        let read = |span| TestArgs::try_parse_from(["resource", "set", "a", "--gap", span]);
        assert!(read("24h").is_ok());
        let error = read("100000d").unwrap_err().to_string();
        assert!(error.contains("'--gap <DURATION>'") && error.contains("at most a day"), "{error}");
    }

    #[test]
    fn only_what_is_given_is_changed() {
        let patch = |options: &[&str]| {
            let args = [&["resource", "set", "a"][..], options].concat();
            let parsed = TestArgs::try_parse_from(args).map_err(|error| error.to_string())?;
            let ResourceCommand::Set { settings, .. } = parsed.options.command else {
                return Err(format!("{:?}", parsed.options.command));
            };
            Ok(settings.into_patch())
        };
        assert_eq!(
            patch(&["--budget", "1500mA", "--within", "site", "--unset", "gap,min-off"]),
            Ok(json!({ "budget_a": 1.5, "within": "site", "gap_s": null, "min_off_s": null }))
        );
        assert!(patch(&[]).unwrap_err().contains("--capacity"));
        assert!(patch(&["--min-off", "46s"]).unwrap_err().contains("at most 45s"));
    }
}
