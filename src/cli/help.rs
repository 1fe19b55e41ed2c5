//! What the help of each command shows beyond its arguments: examples, and no option that the command does not use.

use clap::{Arg, Command};

use super::log::{DEMO_FILTER, SERVER_FILTER};

/// The argument that names the server.
pub(super) const SERVER_OPTION: &str = "server";
/// The arguments of the log.
const LOG_OPTIONS: [&str; 2] = ["log_format", "log"];

/// Two examples of each command, and of each group of commands.
const EXAMPLES: &[(&str, [&str; 2])] = &[
    (
        "serve",
        ["lifeguard serve", "lifeguard serve --config-file lifeguard.toml --tftp-listen 192.168.7.1:69"],
    ),
    (
        "config",
        ["lifeguard config show --config-file lifeguard.toml", "lifeguard config check lifeguard.toml"],
    ),
    ("config show", ["lifeguard config show", "lifeguard config show --config-file lifeguard.toml --json"]),
    (
        "config check",
        ["lifeguard config check lifeguard.toml", "lifeguard config check /etc/lifeguard/lifeguard.toml"],
    ),
    ("demo", ["lifeguard demo", "lifeguard demo --boards 48 --faults 0.2 --speed 20"]),
    ("device", ["lifeguard device list --state 'Failed*'", "lifeguard device why b1"]),
    (
        "device add",
        [
            "lifeguard device add b1 --mac 02:00:00:00:00:01 --hardware panda",
            "lifeguard device add b2 --mac 02:00:00:00:00:02 --hardware panda --power-url modbus://relay-3.lab/5",
        ],
    ),
    (
        "device list",
        ["lifeguard device list --state 'Failed*'", "lifeguard device list --hardware panda --json"],
    ),
    (
        "device set",
        [
            "lifeguard device set b1 --power-url modbus://relay-3.lab/5",
            "lifeguard device set b1 --labels rack-7,ssd --comments ''",
        ],
    ),
    ("device show", ["lifeguard device show b1", "lifeguard device show b1 --json"]),
    ("device why", ["lifeguard device why b1", "lifeguard device why b1 b2"]),
    ("device reboot", ["lifeguard device reboot b1", "lifeguard device reboot --state 'Failed*'"]),
    (
        "device reimage",
        [
            "lifeguard device reimage b1 b2 --image base",
            "lifeguard device reimage b1 --image base --boot-config '{\"quiet\": true}'",
        ],
    ),
    ("device self-test", ["lifeguard device self-test b1", "lifeguard device self-test b1 b2 --json"]),
    ("device maintenance", ["lifeguard device maintenance b1", "lifeguard device maintenance b1 b2"]),
    ("device cancel", ["lifeguard device cancel b1", "lifeguard device cancel --labels rack-7"]),
    (
        "device lock-out",
        [
            "lifeguard device lock-out b1 --reason 'fan is broken'",
            "lifeguard device lock-out b1 b2 --reason 'rack is moved' --by ann",
        ],
    ),
    ("device unlock", ["lifeguard device unlock b1", "lifeguard device unlock b1 b2"]),
    (
        "device force",
        [
            "lifeguard device force b1 --from FailedRebootComplete --to New --reason 'card replaced'",
            "lifeguard device force b1 --from Ready --to LockedOut --reason 'bad solder'",
        ],
    ),
    ("device history", ["lifeguard device history b1", "lifeguard device history b1 --limit 500 --json"]),
    ("device remove", ["lifeguard device remove b1", "lifeguard device remove b1 b2"]),
    ("image", ["lifeguard image set base --boot-config panda=panda-base.cfg", "lifeguard image list"]),
    (
        "image set",
        [
            "lifeguard image set base --boot-config panda=panda-base.cfg",
            "lifeguard image set base --about 'Debian 13' --boot-config panda=panda-base.cfg --boot-config beagle=beagle.cfg",
        ],
    ),
    ("image list", ["lifeguard image list", "lifeguard image list --json"]),
    (
        "image remove",
        ["lifeguard image remove base", "lifeguard image remove base --server http://lifeguard.lab:8080"],
    ),
    ("power", ["lifeguard power status b1", "lifeguard power scan modbus://relay-3.lab"]),
    ("power status", ["lifeguard power status b1", "lifeguard power status modbus://relay-3.lab/5"]),
    (
        "power test",
        ["lifeguard power test b1", "lifeguard power test 'shelly://plug-3.lab/0?generation=1' --json"],
    ),
    ("power on", ["lifeguard power on b1", "lifeguard power on modbus://relay-3.lab/5 --timeout 5m"]),
    ("power off", ["lifeguard power off b1", "lifeguard power off b1 --force"]),
    ("power cycle", ["lifeguard power cycle b1", "lifeguard power cycle 'modbus://relay-3.lab/5?off=10s'"]),
    ("power drivers", ["lifeguard power drivers", "lifeguard power drivers --json"]),
    (
        "power scan",
        [
            "lifeguard power scan modbus://relay-3.lab",
            "lifeguard power scan 'proxr://relay-4.lab?invert=true' --json",
        ],
    ),
    ("resource", ["lifeguard resource list", "lifeguard resource set imaging --capacity 4"]),
    ("resource list", ["lifeguard resource list", "lifeguard resource list --json"]),
    ("resource show", ["lifeguard resource show imaging", "lifeguard resource show imaging --json"]),
    (
        "resource set",
        [
            "lifeguard resource set circuit-3 --within lab --capacity 4 --window 10s --budget 16A",
            "lifeguard resource set modbus://relay-3.lab:502 --within circuit-3 --min-off 5s --unset gap",
        ],
    ),
    ("incident", ["lifeguard incident list", "lifeguard incident close modbus://relay-3.lab:502"]),
    ("incident list", ["lifeguard incident list", "lifeguard incident list --all --json"]),
    (
        "incident show",
        [
            "lifeguard incident show modbus://relay-3.lab:502",
            "lifeguard incident show modbus_relay-3.lab_502 --json",
        ],
    ),
    (
        "incident close",
        [
            "lifeguard incident close modbus://relay-3.lab:502",
            "lifeguard incident close modbus://relay-3.lab:502 --reason 'relay board was replaced'",
        ],
    ),
    ("resource queue", ["lifeguard resource queue", "lifeguard resource queue --json"]),
    (
        "resource remove",
        ["lifeguard resource remove circuit-3", "lifeguard resource remove circuit-3 circuit-4"],
    ),
    (
        "resource export",
        ["lifeguard resource export", "lifeguard resource export --server http://lifeguard.lab:8080"],
    ),
    (
        "resource import",
        ["lifeguard resource import farm.yaml --dry-run", "lifeguard resource import farm.yaml"],
    ),
    ("instance", ["lifeguard instance list rollout", "lifeguard instance send rollout web approve"]),
    (
        "instance create",
        ["lifeguard instance create rollout web", "lifeguard instance create reservation r1 --link board=b1"],
    ),
    ("instance list", ["lifeguard instance list rollout", "lifeguard instance list rollout --json"]),
    ("instance show", ["lifeguard instance show rollout web", "lifeguard instance show rollout web --json"]),
    (
        "instance send",
        [
            "lifeguard instance send rollout web approve",
            "lifeguard instance send rollout web approve --args '{\"by\": \"ann\"}'",
        ],
    ),
    ("instance why", ["lifeguard instance why rollout web", "lifeguard instance why rollout web --json"]),
    (
        "instance history",
        ["lifeguard instance history rollout web", "lifeguard instance history rollout web --limit 500"],
    ),
    (
        "instance force",
        [
            "lifeguard instance force rollout web --from Failed --to Waiting --reason 'hook is back'",
            "lifeguard instance force rollout web --from Waiting --to Done --reason 'done by hand' --json",
        ],
    ),
    (
        "instance remove",
        ["lifeguard instance remove rollout web", "lifeguard instance remove rollout web --json"],
    ),
    ("machine", ["lifeguard machine check board.yaml", "lifeguard machine load board.yaml --dry-run"]),
    (
        "machine check",
        ["lifeguard machine check board.yaml", "lifeguard machine check --explain unknown-target"],
    ),
    (
        "machine diagram",
        [
            "lifeguard machine diagram board.yaml --output board.svg",
            "lifeguard machine diagram board.yaml --format mermaid",
        ],
    ),
    (
        "machine import",
        ["lifeguard machine import states.yaml", "lifeguard machine import states.yaml --name rollout"],
    ),
    ("machine load", ["lifeguard machine load board.yaml --dry-run", "lifeguard machine load board.yaml"]),
    ("machine list", ["lifeguard machine list", "lifeguard machine list --json"]),
    ("machine show", ["lifeguard machine show board", "lifeguard machine show board --definition 3"]),
    (
        "machine replay",
        [
            "lifeguard machine replay",
            "lifeguard machine replay --since 2026-11-01T00:00:00Z --definition board.yaml",
        ],
    ),
    (
        "machine simulate",
        [
            "lifeguard machine simulate board.yaml --instances 200 --days 30",
            "lifeguard machine simulate board.yaml --profile farm.yaml --svg farm.svg",
        ],
    ),
    ("model", ["lifeguard model list", "lifeguard model convert --python convert/bin/python colors_v1.pkl"]),
    (
        "model convert",
        [
            "lifeguard model convert --python convert/bin/python colors_v1.pkl",
            "lifeguard model convert --python convert/bin/python colors_v1.pkl --samples rows.csv --output colors.onnx",
        ],
    ),
    ("model list", ["lifeguard model list", "lifeguard model list --json"]),
    ("model show", ["lifeguard model show colors_v1", "lifeguard model show colors_v1 --json"]),
    ("model load", ["lifeguard model load colors_v1", "lifeguard model load colors_v1 --json"]),
    (
        "model predict",
        [
            "lifeguard model predict colors_v1 '[[91.5, 40, 4.71]]'",
            "lifeguard model predict colors_v1 - --json",
        ],
    ),
];

/// The commands that ask no server.
const WITHOUT_SERVER: &[&str] = &[
    "serve",
    "config",
    "config show",
    "config check",
    "demo",
    "machine check",
    "machine diagram",
    "machine import",
    "machine simulate",
    "model convert",
];

/// The commands whose help shows the options of the log: the others only send requests to a server, or write no log.
const WITH_LOG: &[&str] = &["serve", "demo", "machine simulate", "model convert"];

/// Applies `change` to each command, together with the command's path without the program's name.
fn for_each_command(command: Command, path: &str, change: &impl Fn(Command, &str) -> Command) -> Command {
    let command = change(command, path);
    command.mut_subcommands(|inner| {
        let name = inner.get_name().to_owned();
        let path = if path.is_empty() { name } else { format!("{path} {name}") };
        for_each_command(inner, &path, change)
    })
}

/// Adds the examples to the help of each command.
pub(super) fn with_examples(command: Command) -> Command {
    for_each_command(command, "", &|command, path| {
        let Some((_, examples)) = EXAMPLES.iter().find(|(of, _)| *of == path) else { return command };
        let examples = format!("Examples:\n  {}", examples.join("\n  "));
        let help = match command.get_after_help() {
            Some(help) => format!("{help}\n\n{examples}"),
            None => examples,
        };
        command.after_help(help)
    })
}

/// Takes `--server` before the name of the command too, and shows no option in the help of a command that does not use it.
pub(super) fn with_own_options_only(root: Command) -> Command {
    let server = Arg::new(SERVER_OPTION)
        .long("server")
        .global(true)
        .value_name("URL")
        .value_parser(super::api_client::parse_server)
        .help("The server's URL, for the commands that ask a server [env: LIFEGUARD_SERVER]")
        .help_heading("Server");
    let log: Vec<Arg> =
        root.get_arguments().filter(|arg| LOG_OPTIONS.contains(&arg.get_id().as_str())).cloned().collect();
    let hidden_server = server.clone().hide(true);
    let root = for_each_command(root, "", &|mut command, path| {
        if WITHOUT_SERVER.contains(&path) {
            command = command.arg(hidden_server.clone());
        }
        if !path.is_empty() {
            let is_hidden = !WITH_LOG.contains(&path);
            let log = log.iter().cloned().map(|arg| arg.hide(is_hidden));
            command =
                command.args(log.map(|arg| if path == "demo" { with_default_of_demo(arg) } else { arg }));
        }
        match path {
            // These options are in the help of `serve`.
            "config show" => command.mut_args(|arg| {
                let is_own = matches!(arg.get_id().as_str(), "config_file" | "json");
                if is_own { arg } else { arg.hide(true) }
            }),
            _ => command,
        }
    });
    root.arg(server)
}

/// The log's option with the demo's default in its help.
fn with_default_of_demo(option: Arg) -> Arg {
    match option.get_help().map(ToString::to_string) {
        Some(help) => option.help(help.replace(&format!("{SERVER_FILTER} for servers"), DEMO_FILTER)),
        None => option,
    }
}

#[cfg(test)]
mod tests {
    use super::super::command_line::command;
    use super::*;

    /// The words of a command line, as a shell splits them.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (index, part) in line.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words
    }

    /// The paths of all commands and groups of commands.
    fn paths(command: &Command, path: &str, found: &mut Vec<String>) {
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name());
            paths(inner, &path, found);
            found.push(path.trim().to_owned());
        }
    }

    #[test]
    fn every_command_has_two_examples_that_can_be_typed() {
        let mut all = Vec::new();
        paths(&command(), "", &mut all);
        all.sort();
        let mut of: Vec<&str> = EXAMPLES.iter().map(|(of, _)| *of).collect();
        of.sort_unstable();
        assert_eq!(of, all, "each command once");
        for (of, examples) in EXAMPLES {
            for example in examples {
                let matches = command().try_get_matches_from(words(example));
                let matches = matches.unwrap_or_else(|error| panic!("{example}: {error}"));
                let (mut inner, mut path) = (&matches, Vec::new());
                while let Some((name, matches)) = inner.subcommand() {
                    path.push(name);
                    inner = matches;
                }
                let is_group = command().find_subcommand(of).is_some_and(Command::has_subcommands);
                let path = if is_group { path[0].to_owned() } else { path.join(" ") };
                assert_eq!(path, *of, "{example}");
            }
        }
    }

    #[test]
    fn a_command_shows_the_options_that_it_uses_and_no_others() {
        let mut root = command();
        root.build();
        let help = |path: &str| {
            let names = path.split(' ');
            let found =
                names.fold(root.clone(), |command, name| command.find_subcommand(name).unwrap().clone());
            found.clone().render_help().to_string()
        };
        for (path, server, log) in [
            ("serve", false, true),
            ("demo", false, true),
            ("config show", false, false),
            ("config check", false, false),
            ("device list", true, false),
            ("device reimage", true, false),
            ("image set", true, false),
            ("machine check", false, false),
            ("machine load", true, false),
            ("machine simulate", false, true),
            ("model convert", false, true),
            ("model predict", true, false),
        ] {
            let help = help(path);
            assert_eq!(help.contains("--server <URL>"), server, "{path}: {help}");
            assert_eq!(help.contains("--log <FILTER>"), log, "{path}: {help}");
        }
    }
}
