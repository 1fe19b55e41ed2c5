//! The configuration file: what a server takes from it, what takes precedence, and what is refused.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use insta::assert_snapshot;
use serde_json::Value;

use crate::cli::{lifeguard, run};
use crate::database::database;
use crate::server_process::ServerProcess;

fn write(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("lifeguard.toml");
    fs::write(&file, text).unwrap();
    file
}

/// What a command prints, with the folder's path left out.
async fn shown(command: Command, folder: &Path) -> String {
    run(command).await.output_text().replace(folder.to_str().unwrap(), "FOLDER")
}

/// The lines of `config show` about `options`, with single spaces.
async fn settings(mut command: Command, folder: &Path, options: &[&str]) -> String {
    command.current_dir(folder);
    let text = shown(command, folder).await;
    let lines =
        text.lines().filter(|line| options.iter().any(|option| line.starts_with(&format!("{option} "))));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_configured_by_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let database = database().await;
    let file = write(
        folder.path(),
        &format!(
            "# The flags of the test take precedence over this one.\n\
             listen = \"127.0.0.1:1\"\n\
             tftp-listen = \"127.0.0.1:0\"\n\
             database-url = \"{}\"\n\
             boot-root = \"{}\"\n\
             server-name = [\"boards.lab\"]\n\
             http-long-polls = 9\n\
             log = \"info\"\n",
            database.url(),
            folder.path().display()
        ),
    );
    let mut command = lifeguard(&["serve", "--config-file"]);
    command.arg(file);
    let server = ServerProcess::run(command).unwrap();
    assert!(server.tftp().is_some(), "TFTP is served where the file says");
    let client = reqwest::Client::new();
    for (host, status) in [("boards.lab", 200), ("elsewhere.lab", 421)] {
        let url = format!("http://{}/healthz", server.http());
        let answer = client.get(url).header("Host", host).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn a_flag_takes_precedence_over_a_variable_and_a_variable_over_the_file() {
    const OPTIONS: [&str; 6] =
        ["listen", "insecure", "event-timeout", "http-long-polls", "database-url", "log"];
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "event-timeout = \"5s\"\nhttp-long-polls = 9\ninsecure = true\n\
         database-url = \"postgres://ann:sesam@db.lab/lifeguard\"\nlog = \"debug\"\n",
    );
    let command = || {
        let mut command = lifeguard(&["config", "show", "--config-file", "lifeguard.toml"]);
        command.env("LIFEGUARD_HTTP_LONG_POLLS", "8").env("LIFEGUARD_LOG", "");
        command
    };
    assert_snapshot!(settings(command(), folder.path(), &OPTIONS).await, @"
    listen 127.0.0.1:8080 default
    insecure true file lifeguard.toml:3
    database-url (hidden) file lifeguard.toml:4
    event-timeout 5s file lifeguard.toml:1
    http-long-polls 8 variable LIFEGUARD_HTTP_LONG_POLLS
    log debug file lifeguard.toml:5
    ");
    let mut over = command();
    over.args(["--event-timeout", "7s", "--insecure=false", "--http-long-polls", "7", "--log", "warn"]);
    over.env("LIFEGUARD_EVENT_TIMEOUT", "6s");
    assert_snapshot!(settings(over, folder.path(), &OPTIONS).await, @"
    listen 127.0.0.1:8080 default
    insecure false flag
    database-url (hidden) file lifeguard.toml:4
    event-timeout 7s flag
    http-long-polls 7 flag
    log warn flag
    ");
    // A flag that excludes an option of the file replaces it.
    let mut other = command();
    other.args(["--data-dir", "/srv/lifeguard"]);
    assert_snapshot!(settings(other, folder.path(), &["data-dir", "database-url"]).await, @"
    database-url (not used: --data-dir is given) file lifeguard.toml:4
    data-dir /srv/lifeguard flag
    ");
    // It replaces the variable too.
    other = command();
    other.args(["--data-dir", "/srv/lifeguard"]).env("LIFEGUARD_DATABASE_URL", "postgres://u:sesam@h/x");
    assert_snapshot!(settings(other, folder.path(), &["data-dir", "database-url"]).await, @"
    database-url (not used: --data-dir is given) variable LIFEGUARD_DATABASE_URL
    data-dir /srv/lifeguard flag
    ");
    // Without a file.
    let mut none = lifeguard(&["config", "show", "--config-file", "/dev/null", "--listen", "127.0.0.1:1"]);
    none.env("LIFEGUARD_INSECURE", "true");
    assert_snapshot!(settings(none, folder.path(), &OPTIONS).await, @"
    listen 127.0.0.1:1 flag
    insecure true variable LIFEGUARD_INSECURE
    database-url (a private PostgreSQL) default
    event-timeout 30s default
    http-long-polls 1024 default
    log (info,sqlx=error for servers) default
    ");
}

#[tokio::test]
async fn errors_in_variables_name_the_variables() {
    let mut output = Vec::new();
    for (words, variables) in [
        ("config show", [("LISTEN", "foo")].as_slice()),
        ("serve", &[("EVENT_TIMEOUT", "5M")]),
        ("serve", &[("INSECURE", "maybe")]),
        ("serve", &[("LOG_FORMAT", "xml")]),
        ("serve", &[("DATABASE_URL", "mysql://ann:sesam@db.lab/l")]),
        ("serve", &[("OPERATORS_URL", "https://chat.lab/sesam")]),
        ("serve --operators-url https://chat.lab/sesam", &[]),
        ("machine check --explain list", &[("LOG", "lifeguard=loud")]),
        ("serve --log lifeguard=debug,wran", &[]),
        ("device list", &[("SERVER", "lab")]),
        ("serve", &[("DATABASE_URL", "postgres://db.lab/l"), ("DATA_DIR", "/srv")]),
        // What is typed takes precedence.
        ("device list --server http://127.0.0.1:1", &[("SERVER", "lab")]),
        ("--server http://127.0.0.1:1 device list", &[("SERVER", "lab")]),
        ("--log info config check /nowhere.toml", &[("LOG", "lifeguard=loud")]),
        ("config check /nowhere.toml --log-format json", &[("LOG_FORMAT", "xml")]),
        // What is typed is named as it is typed.
        ("config show --insecure=maybe", &[("LISTEN", "foo")]),
        ("config show --data-dir /srv --database-url postgres://db.lab/l", &[]),
    ] {
        let mut command = lifeguard(&words.split(' ').collect::<Vec<_>>());
        command.envs(variables.iter().map(|(name, value)| (format!("LIFEGUARD_{name}"), value)));
        let text = run(command).await.output_text();
        output.push(text.replace("\n\nFor more information, try '--help'.", ""));
    }
    let mut bytes = lifeguard(&["config", "show"]);
    bytes.env("LIFEGUARD_LISTEN", std::ffi::OsStr::from_bytes(b"\xff"));
    output.push(run(bytes).await.err.lines().next().unwrap().to_owned());
    assert_snapshot!(output.join("\n\n"), @"
    stderr: error: invalid value 'foo' for 'LIFEGUARD_LISTEN': an IP address and a port are needed, such as 127.0.0.1:8080 or [::1]:8080
    exit 2

    stderr: error: invalid value '5M' for 'LIFEGUARD_EVENT_TIMEOUT': `M` is months; minutes are `m`; write it like `30s` or `10m`
    exit 2

    stderr: error: invalid value 'maybe' for 'LIFEGUARD_INSECURE': `true` or `false` is needed
    exit 2

    stderr: error: invalid value 'xml' for 'LIFEGUARD_LOG_FORMAT'
      [possible values: text, json]
    exit 2

    stderr: error: invalid value '…' for 'LIFEGUARD_DATABASE_URL': it must begin with postgres:// or postgresql://
    exit 2

    stderr: error: invalid value '…' for 'LIFEGUARD_OPERATORS_URL': there is no scheme `https`; write `http://HOST[:PORT]/PATH`
    exit 2

    stderr: error: invalid value '…' for '--operators-url <URL>': there is no scheme `https`; write `http://HOST[:PORT]/PATH`
    exit 2

    stderr: error: invalid value 'lifeguard=loud' for 'LIFEGUARD_LOG': a level such as `info`, or a filter such as `lifeguard=debug,sqlx=error` is needed; levels are `off`, `error`, `warn`, `info`, `debug` and `trace`
    exit 2

    stderr: error: invalid value 'lifeguard=debug,wran' for '--log <FILTER>': a level such as `info`, or a filter such as `lifeguard=debug,sqlx=error` is needed; levels are `off`, `error`, `warn`, `info`, `debug` and `trace`
    exit 2

    stderr: error: invalid value 'lab' for 'LIFEGUARD_SERVER': a URL such as http://HOST:PORT is needed
    exit 2

    stderr: error: the variables LIFEGUARD_DATABASE_URL and LIFEGUARD_DATA_DIR exclude each other

    Usage: lifeguard serve [OPTIONS]
    exit 2

    stderr: lifeguard: cannot reach http://127.0.0.1:1/: connection refused (is `lifeguard serve` running there?)
    exit 1

    stderr: lifeguard: cannot reach http://127.0.0.1:1/: connection refused (is `lifeguard serve` running there?)
    exit 1

    stderr: lifeguard: failed to open file `/nowhere.toml`: No such file or directory
    exit 2

    stderr: lifeguard: failed to open file `/nowhere.toml`: No such file or directory
    exit 2

    stderr: error: invalid value 'maybe' for '--insecure[=<true|false>]': `true` or `false` is needed
    exit 2

    stderr: error: the argument '--data-dir <DIRECTORY>' cannot be used with '--database-url <URL>'

    Usage: lifeguard config show [OPTIONS]
    exit 2

    error: LIFEGUARD_LISTEN is not text in UTF-8
    ");
}

#[tokio::test]
async fn a_server_warns_of_variables_that_it_does_not_know() {
    let mut command = lifeguard(&["serve", "--log-format", "json", "--states", "/nowhere"]);
    for (name, value) in
        [("LISTN", "secret"), ("HTTP_WAITS", "9"), ("TEST_NOTHING", "1"), ("EMPTY", ""), ("LOG", "warn")]
    {
        command.env(format!("LIFEGUARD_{name}"), value);
    }
    let logged = run(command).await.err;
    assert!(!logged.contains("secret"), "{logged}");
    let lines = logged.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut fields: Vec<String> = lines.map(|line| line["fields"].to_string()).collect();
    fields.sort();
    assert_snapshot!(fields.join("\n"), @r#"
    {"did_you_mean":"LIFEGUARD_HTTP_LONG_POLLS","message":"unknown variable ignored","variable":"LIFEGUARD_HTTP_WAITS"}
    {"did_you_mean":"LIFEGUARD_LISTEN","message":"unknown variable ignored","variable":"LIFEGUARD_LISTN"}
    "#);
}

#[tokio::test]
async fn the_settings_are_printed_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "listen = \"127.0.0.1:1\"\ndatabase-url = \"postgres://ann:sesam@db.lab/l\"\nserver-name = [\"a\", \"b\"]\n\
         insecure = true\n",
    );
    let mut command = lifeguard(&["config", "show", "--json", "--config-file"]);
    command.arg(&file).env("LIFEGUARD_EVENT_TIMEOUT", "6s");
    let text = run(command).await.out;
    assert!(!text.contains("sesam"), "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["file"], file.to_str().unwrap());
    let wanted = [
        "listen",
        "insecure",
        "allow-commands",
        "http-long-polls",
        "database-url",
        "event-timeout",
        "server-name",
        "tftp-listen",
    ];
    let options = shown["options"].as_array().unwrap().iter();
    let options = options.filter(|option| wanted.contains(&option["option"].as_str().unwrap()));
    let lines: Vec<String> = options.map(ToString::to_string).collect();
    assert_snapshot!(lines.join("\n").replace(folder.path().to_str().unwrap(), "FOLDER"), @r#"
    {"file":"FOLDER/lifeguard.toml","line":1,"option":"listen","source":"file","value":"127.0.0.1:1"}
    {"file":"FOLDER/lifeguard.toml","line":4,"option":"insecure","source":"file","value":true}
    {"option":"tftp-listen","source":"default","value":null}
    {"file":"FOLDER/lifeguard.toml","is_hidden":true,"line":2,"option":"database-url","source":"file","value":null}
    {"option":"event-timeout","source":"variable","value":"6s","variable":"LIFEGUARD_EVENT_TIMEOUT"}
    {"option":"allow-commands","source":"default","value":false}
    {"file":"FOLDER/lifeguard.toml","line":3,"option":"server-name","source":"file","value":["a","b"]}
    {"option":"http-long-polls","source":"default","value":1024}
    "#);
}

#[tokio::test]
async fn a_file_that_is_wrong_is_refused_with_every_position() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    for text in [
        "tftp-lisen = \"0.0.0.0:69\"\n",
        "listen = \"0.0.0.0\"\nhttp-long-polls = 0\nevent-timeout = \"5M\"\n",
        "listen = 8080\nhttp-long-polls = \"9\"\ninsecure = \"yes\"\nevent-timeout = 30\n",
        "log-format = \"xml\"\nlog = \"lifeguard=loud\"\ndatabase-connections = 7\nhistory-retention = \"\"\n",
        "[tftp]\nlisten = \"0.0.0.0:69\"\n",
        "database-url = \"mysql://ann:sesam@db.lab/lifeguard\"\n",
        "data-dir = \"/srv\"\ndatabase-url = \"postgres://db.lab/lifeguard\"\n",
        "listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n",
        "listen = 127.0.0.1:1\n",
        "listen = localhost\n",
        "listen = \"127.0.0.1:1\n",
        "model-memory = 99999999999999999999\n",
        "tftp-transfers = 0512\n",
        "history-retention = \"12h\"\n",
        "config-file = \"other.toml\"\nreason = \"none\"\nserver-name = [1]\n",
    ] {
        let file = write(folder.path(), text);
        let mut command = lifeguard(&["serve", "--config-file"]);
        command.arg(&file);
        told.push(format!("{text}{}", shown(command, folder.path()).await));
    }
    assert_snapshot!(told.join("\n\n"), @r#"
    tftp-lisen = "0.0.0.0:69"
    stderr: lifeguard: FOLDER/lifeguard.toml:1:1: unknown option `tftp-lisen`; did you mean `tftp-listen`?
    exit 2

    listen = "0.0.0.0"
    http-long-polls = 0
    event-timeout = "5M"
    stderr: lifeguard: FOLDER/lifeguard.toml:1:10: `listen` cannot be `0.0.0.0`: an IP address and a port are needed, such as 127.0.0.1:8080 or [::1]:8080
    lifeguard: FOLDER/lifeguard.toml:2:19: `http-long-polls` cannot be `0`: a whole number is needed, 1 or more
    lifeguard: FOLDER/lifeguard.toml:3:17: `event-timeout` cannot be `5M`: `M` is months; minutes are `m`; write it like `30s` or `10m`
    exit 2

    listen = 8080
    http-long-polls = "9"
    insecure = "yes"
    event-timeout = 30
    stderr: lifeguard: FOLDER/lifeguard.toml:1:10: `listen`: text in quotes is needed, such as "127.0.0.1:8080"
    lifeguard: FOLDER/lifeguard.toml:2:19: `http-long-polls`: a whole number is needed, without quotes
    lifeguard: FOLDER/lifeguard.toml:3:12: `insecure`: `true` or `false` is needed, without quotes
    lifeguard: FOLDER/lifeguard.toml:4:17: `event-timeout`: text in quotes is needed, such as "30s"
    exit 2

    log-format = "xml"
    log = "lifeguard=loud"
    database-connections = 7
    history-retention = ""
    stderr: lifeguard: FOLDER/lifeguard.toml:1:14: `log-format` cannot be `xml`: it is one of text, json
    lifeguard: FOLDER/lifeguard.toml:2:7: `log` cannot be `lifeguard=loud`: a level such as `info`, or a filter such as `lifeguard=debug,sqlx=error` is needed; levels are `off`, `error`, `warn`, `info`, `debug` and `trace`
    lifeguard: FOLDER/lifeguard.toml:3:24: `database-connections` cannot be `7`: a whole number from 8 to 1000 is needed
    lifeguard: FOLDER/lifeguard.toml:4:21: `history-retention` is empty; without the line, the option has its default
    exit 2

    [tftp]
    listen = "0.0.0.0:69"
    stderr: lifeguard: FOLDER/lifeguard.toml:1:2: `tftp` is a table, and options are keys outside of tables; did you mean `tftp-listen`?
    exit 2

    database-url = "mysql://ann:sesam@db.lab/lifeguard"
    stderr: lifeguard: FOLDER/lifeguard.toml:1:16: `database-url`: it must begin with postgres:// or postgresql://
    exit 2

    data-dir = "/srv"
    database-url = "postgres://db.lab/lifeguard"
    stderr: lifeguard: FOLDER/lifeguard.toml:2:1: `database-url` and `data-dir` (line 1) exclude each other
    exit 2

    listen = "127.0.0.1:1"
    listen = "127.0.0.1:2"
    stderr: lifeguard: FOLDER/lifeguard.toml:2:1: `listen` is given twice, first in line 1
    exit 2

    listen = 127.0.0.1:1
    stderr: lifeguard: FOLDER/lifeguard.toml:1:15: this is not TOML; a line is like `tftp-listen = "0.0.0.0:69"`, with text in quotes
    exit 2

    listen = localhost
    stderr: lifeguard: FOLDER/lifeguard.toml:1:10: this is not TOML; a line is like `tftp-listen = "0.0.0.0:69"`, with text in quotes
    exit 2

    listen = "127.0.0.1:1
    stderr: lifeguard: FOLDER/lifeguard.toml:1:22: this is not TOML; a line is like `tftp-listen = "0.0.0.0:69"`, with text in quotes
    exit 2

    model-memory = 99999999999999999999
    stderr: lifeguard: FOLDER/lifeguard.toml:1:16: the number is too large
    exit 2

    tftp-transfers = 0512
    stderr: lifeguard: FOLDER/lifeguard.toml:1:18: this is not a number in TOML: it has a leading zero or a misplaced `_`
    exit 2

    history-retention = "12h"
    stderr: lifeguard: FOLDER/lifeguard.toml:1:21: `history-retention` cannot be `12h`: whole days are needed; write it like `90d`, or `forever`
    exit 2

    config-file = "other.toml"
    reason = "none"
    server-name = [1]
    stderr: lifeguard: FOLDER/lifeguard.toml:1:1: unknown option `config-file`
    lifeguard: FOLDER/lifeguard.toml:2:1: unknown option `reason`
    lifeguard: FOLDER/lifeguard.toml:3:15: `server-name`: a list of texts in quotes is needed, such as ["a", "b"]
    exit 2
    "#);
}

#[tokio::test]
async fn a_file_that_is_named_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let mut by_flag = lifeguard(&["serve", "--config-file"]);
    by_flag.arg(&missing);
    let mut by_variable = lifeguard(&["config", "show"]);
    by_variable.env("LIFEGUARD_CONFIG_FILE", &missing);
    let told = [shown(by_flag, folder.path()).await, shown(by_variable, folder.path()).await];
    assert_snapshot!(told.join("\n\n"), @"
    stderr: lifeguard: --config-file: failed to open file `FOLDER/missing.toml`: No such file or directory
    exit 2

    stderr: lifeguard: LIFEGUARD_CONFIG_FILE: failed to open file `FOLDER/missing.toml`: No such file or directory
    exit 2
    ");
    // An empty variable is unset; requests to a server read no file.
    let mut empty = lifeguard(&["config", "show"]);
    empty.env("LIFEGUARD_CONFIG_FILE", "");
    assert_eq!(run(empty).await.code, 0);
    let mut client = lifeguard(&["device", "list", "--help"]);
    client.env("LIFEGUARD_CONFIG_FILE", &missing);
    assert_eq!(run(client).await.code, 0);
}

#[tokio::test]
async fn a_file_is_checked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    for text in [
        "listen = \"127.0.0.1:1\"\n",
        "",
        "listn = \"127.0.0.1:1\"\ninsecure = 1\n",
        // What a server refuses although each value is accepted.
        "log = \"info\"\nlisten = \"0.0.0.0:1\"\nstates = \"/nowhere\"\ndatabase-url-file = \"/nowhere\"\n",
        "machine = \"/nowhere\"\n",
        "listen = \"0.0.0.0:1\"\ninsecure = true\n",
    ] {
        let file = write(folder.path(), text);
        let mut command = lifeguard(&["config", "check"]);
        command.arg(&file);
        told.push(shown(command, folder.path()).await);
    }
    fs::write(folder.path().join("lifeguard.toml"), b"listen = \"\xff\"").unwrap();
    let mut bytes = lifeguard(&["config", "check"]);
    bytes.arg(folder.path().join("lifeguard.toml"));
    told.push(shown(bytes, folder.path()).await);
    let mut missing = lifeguard(&["config", "check"]);
    missing.arg(folder.path().join("missing.toml"));
    told.push(shown(missing, folder.path()).await);
    let mut example = lifeguard(&["config", "check", "packaging/lifeguard.toml"]);
    example.current_dir(env!("CARGO_MANIFEST_DIR"));
    told.push(shown(example, folder.path()).await);
    assert_snapshot!(told.join("\n\n"), @"
    FOLDER/lifeguard.toml: 1 option, no errors
    exit 0

    FOLDER/lifeguard.toml: 0 options, no errors
    exit 0

    stderr: lifeguard: FOLDER/lifeguard.toml:1:1: unknown option `listn`; did you mean `listen`?
    lifeguard: FOLDER/lifeguard.toml:2:12: `insecure`: `true` or `false` is needed, without quotes
    exit 1

    stderr: lifeguard: FOLDER/lifeguard.toml:2: listening beyond loopback without authentication on 0.0.0.0:1: listen on 127.0.0.1, or use --insecure if the network is trusted
    lifeguard: FOLDER/lifeguard.toml:4: failed to open file `/nowhere`: No such file or directory
    lifeguard: FOLDER/lifeguard.toml:3: failed to open file `/nowhere`: No such file or directory
    exit 1

    stderr: lifeguard: FOLDER/lifeguard.toml:1: failed to open file `/nowhere`: No such file or directory
    exit 1

    FOLDER/lifeguard.toml: 2 options, no errors
    exit 0

    stderr: lifeguard: FOLDER/lifeguard.toml: this is not text in UTF-8
    exit 2

    stderr: lifeguard: failed to open file `FOLDER/missing.toml`: No such file or directory
    exit 2

    packaging/lifeguard.toml: 0 options, no errors
    exit 0
    ");
}
