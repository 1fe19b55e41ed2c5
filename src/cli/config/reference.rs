//! The reference of all options in `docs/configuration.md` and the example file, which are made from the options themselves.
//!
//! `UPDATE_DOCS=1 cargo test -p lifeguard --lib config::reference` rewrites both.

use std::fmt::Write as _;

use clap::Arg;

use super::super::command_line::Cli;
use super::file::{self, ValueForm};
use super::server_options::server_options;
use super::settings::default_note;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/lifeguard.toml");
/// The generated part of the page follows this line and goes to its end.
const MARK: &str = "<!-- Made from the options of `lifeguard serve`: see src/cli/config/reference.rs. -->\n";

/// The end of the example file: tables, which are no options.
const TABLES: &str = "
# --- Credentials ---

# User and passwords of devices, by the name that power URLs give: `credential=lab-plugs`. No flag or variable sets them.
# Only the user of the server may read the file of a password (`chmod 600`). It is read for each use, so a new password
# needs no restart. Such tables stand below all options.
#[credentials.lab-plugs]
#user = \"admin\"
#password-file = \"/etc/lifeguard/lab-plugs\"
# The hosts that it may be sent to; all by default, so anyone who registers boards can have it sent anywhere.
#hosts = [\"*.plugs.lab\", \"192.0.2.7\"]

# A password can be in this file too, which then only the user of the server may read.
#[credentials.relays]
#password = \"change me\"

# SNMPv3: the passwords of authentication and of encryption.
#[credentials.pdus]
#user = \"lifeguard\"
#password-file = \"/etc/lifeguard/pdus\"
#privacy-password-file = \"/etc/lifeguard/pdus-privacy\"

# --- Power commands ---

# Commands that switch outlets, by the name that power URLs give: `exec://rack-relays/5`. A command is a list of a program and
# its arguments; {outlet} is the outlet of the power URL. Without `read` the outlet is not read.
#[power-commands.rack-relays]
#on = [\"/usr/local/bin/relay\", \"--on\", \"{outlet}\"]
#off = [\"/usr/local/bin/relay\", \"--off\", \"{outlet}\"]
#read = [\"/usr/local/bin/relay\", \"--status\", \"{outlet}\"]
#on-answer = \"state: on\"
#off-answer = \"state: off\"
";

fn options() -> Vec<Arg> {
    server_options(&<Cli as clap::CommandFactory>::command())
}

/// The help of an option, without its default.
fn about(option: &Arg) -> String {
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.split_once(" [default: ").map_or(help.as_str(), |(help, _)| help);
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The default of an option, as it would be written in the file.
fn default_value(option: &Arg) -> Option<String> {
    let default = option.get_default_values().first()?.to_str().unwrap();
    Some(match ValueForm::of(option) {
        ValueForm::Boolean | ValueForm::Number => default.to_owned(),
        ValueForm::Text | ValueForm::TextList => format!("\"{default}\""),
    })
}

/// A value for options without a default.
fn example_value(option: &Arg) -> &'static str {
    match option.get_long().unwrap() {
        "tftp-listen" => "\"0.0.0.0:69\"",
        "boot-root" => "\"/srv/boot\"",
        "database-url" => "\"postgres://lifeguard@db.lab/lifeguard\"",
        "database-url-file" => "\"/etc/lifeguard/database-url\"",
        "data-dir" => "\"/var/lib/lifeguard\"",
        "pg-bin" => "\"/usr/lib/postgresql/17/bin\"",
        "states" => "\"/etc/lifeguard/states\"",
        "machine" => "\"/etc/lifeguard/states.yaml\"",
        "operators-url" => "\"http://chat.lab/hook\"",
        "server-name" => "[\"boards.lab\"]",
        "http-connections" => "4096",
        "http-connections-per-client" => "2048",
        "config" => "\"/etc/lifeguard/models\"",
        "models" => "\"/srv/models\"",
        "onnxruntime" => "\"/usr/lib/libonnxruntime.so\"",
        "log" => "\"info,sqlx=error\"",
        other => panic!("--{other} has no default and no example"),
    }
}

fn section(option: &Arg) -> &str {
    option.get_help_heading().unwrap_or("Server")
}

fn docs_table() -> String {
    let mut text = String::new();
    let mut heading = "";
    for option in &options() {
        if section(option) != heading {
            heading = section(option);
            write!(text, "\n## {heading}\n\n| key | default | variable | |\n|---|---|---|---|\n").unwrap();
        }
        let default = match (default_note(option), default_value(option)) {
            (Some(note), _) => note,
            (None, Some(value)) => format!("`{value}`"),
            (None, None) => "none".to_owned(),
        };
        let variable = option.get_env().unwrap().to_str().unwrap();
        writeln!(
            text,
            "| `{}` | {default} | `{variable}` | {} |",
            option.get_long().unwrap(),
            about(option).replace('|', "\\|")
        )
        .unwrap();
    }
    text
}

fn example_file() -> String {
    let mut text = String::from(
        "# The configuration of `lifeguard serve`, for /etc/lifeguard/lifeguard.toml.\n\
         #\n\
         # Each key is an option of `lifeguard serve`; a flag or a LIFEGUARD_… variable takes precedence. Every option is listed with\n\
         # its default, or with an example where it has none: remove the `#` before a line to set it.\n\
         # `lifeguard config check FILE` checks this file, `lifeguard config show` prints every value and where it came from.\n",
    );
    let mut heading = "";
    for option in &options() {
        if section(option) != heading {
            heading = section(option);
            write!(text, "\n# --- {heading} ---\n").unwrap();
        }
        let default = default_note(option).map(|note| format!(" [default: {note}]")).unwrap_or_default();
        let value = default_value(option).unwrap_or_else(|| example_value(option).to_owned());
        text.push('\n');
        for line in wrapped(&format!("{}{default}", about(option))) {
            writeln!(text, "# {line}").unwrap();
        }
        writeln!(text, "#{} = {value}", option.get_long().unwrap()).unwrap();
    }
    text + TABLES
}

/// Lines of at most 118 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 118 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Compares a file with what it should be, or writes it.
fn assert_current(path: &str, wanted: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs_err::write(path, wanted).unwrap();
    }
    let found = fs_err::read_to_string(path).unwrap();
    assert_eq!(found, wanted, "{path} is out of date: run this test with UPDATE_DOCS=1");
}

#[test]
fn the_page_has_every_option_with_its_default() {
    let page = fs_err::read_to_string(DOCS).unwrap();
    let (text, _) = page.split_once(MARK).unwrap();
    assert_current(DOCS, &format!("{text}{MARK}{}", docs_table()));
}

/// The settings in commented text.
fn settings(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
    lines.filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase() || first == '[')).collect()
}

#[test]
fn the_example_has_every_option_and_each_of_its_values_is_accepted() {
    assert_current(EXAMPLE, &example_file());
    let root = <Cli as clap::CommandFactory>::command();
    let example = example_file();
    let options_text = example.strip_suffix(TABLES).unwrap();
    let lines = settings(options_text);
    assert_eq!(lines.len(), options().len());
    for line in lines {
        if let Err(faults) = file::check(line, &root) {
            panic!("{line}: {faults:?}");
        }
    }
    let content = file::check(&settings(TABLES).join("\n"), &root).unwrap();
    assert_eq!((content.credentials.len(), content.power_commands.len()), (3, 1));
}
