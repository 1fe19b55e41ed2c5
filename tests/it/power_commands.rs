//! Commands that switch outlets: in the configuration file, and at boards whose power URL names them.

use std::collections::BTreeMap;

use fs_err as fs;
use lifeguard::actions::{PowerCommandTable, PowerCommandTexts, PowerCommands, PowerSettings};
use lifeguard::cli::serve::ServeOptions;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{lifeguard, run};
use crate::world::World;

const RACK: &str = "[power-commands.rack]\n";

#[tokio::test]
async fn wrong_power_commands_are_refused_with_their_position() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lifeguard.toml");
    let is = |text: &str| format!("{RACK}{text}");
    let valid = "on = [\"relay\", \"1\", \"{outlet}\"]\noff = [\"relay\", \"0\", \"{outlet}\"]\n";
    for (text, fault) in [
        (
            is("on = \"relay on\"\noff = [\"relay\"]\n"),
            "2:6: `on`: a list of texts in quotes is needed, such as [\"relay\", \"--on\", \"{outlet}\"]",
        ),
        (is("on = [\"relay\", 1]\noff = [\"relay\"]\n"), "2:6: `on`: a list of texts in quotes is needed"),
        (
            is("on = [\"relay\"]\n"),
            "1:17: `off` of power commands `rack` is missing: write [power-commands.NAME]",
        ),
        (is("on = []\noff = [\"relay\"]\n"), "2:6: power commands `rack`: `on` names no program"),
        (
            is("on = [\"relay\", \"{port}\"]\noff = [\"relay\"]\n"),
            "2:6: power commands `rack`: `on`: unknown placeholder `{port}`; the only one is `{outlet}`",
        ),
        (
            is("on = [\"./relay\"]\noff = [\"relay\"]\n"),
            "2:6: power commands `rack`: `on`: the program `./relay` is relative",
        ),
        (
            is(&format!("{valid}of = []\n")),
            "4:1: unknown key `of` of power commands `rack`; did you mean `off`?",
        ),
        (
            is(&format!("{valid}listen = \"x\"\n")),
            "4:1: unknown key `listen` of power commands `rack`, whose keys are on, off",
        ),
        (
            is(&format!("{valid}read = [\"relay\", \"{{outlet}}\"]\n")),
            "4:8: power commands `rack`: `read` needs `on-answer`",
        ),
        (is(&format!("{valid}on-answer = \"\"\n")), "4:13: `on-answer` is empty"),
        (
            is(&format!("{valid}on-answer = \"on\"\n")),
            "4:13: power commands `rack`: `on-answer` needs `read`",
        ),
        ("[power-commands.\"a b\"]\n".to_owned(), "1:17: `a b` is not the name of power commands"),
        ("[power-commands]\non = []\n".to_owned(), "2:1: `on` is not a table of commands: write"),
        ("power-commands = 1\n".to_owned(), "1:1: `power-commands` is a table: write [power-commands.NAME]"),
        (
            "[power-command.rack]\n".to_owned(),
            "1:2: unknown table `power-command`; did you mean `power-commands`?",
        ),
    ] {
        fs::write(&file, &text).unwrap();
        for command in [["config", "check"].as_slice(), &["serve", "--config-file"]] {
            let mut command = lifeguard(command);
            command.arg(&file);
            let answer = run(command).await;
            assert!(answer.err.contains(&format!("lifeguard.toml:{fault}")), "{text}{}", answer.err);
            assert_ne!(answer.code, 0);
        }
    }
}

#[tokio::test]
async fn power_commands_are_shown_without_arguments_and_their_programs_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lifeguard.toml");
    let text = format!(
        "{RACK}on = [\"sh\", \"--token=hunter-2\"]\noff = [\"/bin/sh\", \"0\"]\nread = [\"/nowhere/relay\"]\n\
         on-answer = \"1\"\noff-answer = \"0\"\n"
    );
    fs::write(&file, &text).unwrap();
    let show = async |args: &[&str]| {
        let mut command = lifeguard(&["config", "show", "--config-file", file.to_str().unwrap()]);
        command.args(args);
        let text = run(command).await.out;
        assert!(!text.contains("hunter"), "{text}");
        text
    };
    let shown = show(&[]).await;
    let line = shown.lines().find(|line| line.starts_with("power-commands.")).unwrap();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let place = file.display();
    assert_eq!(line, format!("power-commands.rack on sh, off /bin/sh, read /nowhere/relay file {place}:1"));
    let shown: Value = serde_json::from_str(&show(&["--json"]).await).unwrap();
    let programs = json!({ "on": "sh", "off": "/bin/sh", "read": "/nowhere/relay" });
    assert_eq!(shown["power_commands"], json!([{ "name": "rack", "line": 1, "programs": programs }]));

    let check = async || {
        let mut command = lifeguard(&["config", "check"]);
        command.arg(&file);
        run(command).await
    };
    let refused = check().await;
    let fault =
        format!("{place}:1: power commands `rack`: `read` names `/nowhere/relay`, which cannot be executed");
    assert!(refused.err.contains(&fault) && refused.code == 1, "{}", refused.err);
    fs::write(&file, text.replace("/nowhere/relay", "/bin/cat")).unwrap();
    let checked = check().await;
    assert!(
        checked.out.ends_with("0 options, 1 power command table, no errors\n"),
        "{}",
        checked.output_text()
    );
}

#[tokio::test]
async fn a_board_is_switched_by_commands_and_warned_of_where_they_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(
        path.join("relay.sh"),
        "cd \"${0%/*}\"; case $1 in read) cat $2;; *) echo is-$1 > $2; echo $1 >> orders;; esac",
    )
    .unwrap();
    fs::write(path.join("A1"), "is-on").unwrap();
    let script = path.join("relay.sh").to_str().unwrap().to_owned();
    let command = |order: &str| ["sh", &script, order, "{outlet}"].map(str::to_owned).to_vec();
    let texts = PowerCommandTexts {
        on: command("on"),
        off: command("off"),
        read: Some(command("read")),
        on_answer: Some("is-on".to_owned()),
        off_answer: Some("is-off".to_owned()),
    };
    let tables = BTreeMap::from([("rack".to_owned(), PowerCommandTable::new(texts).unwrap())]);
    let commands = PowerCommands::new("lifeguard.toml", tables);
    let world = World::with_serve_options(|options| ServeOptions {
        power: PowerSettings { commands, ..PowerSettings::default() },
        ..options
    })
    .await;
    let board = json!({ "name": "b1", "mac": "02:00:00:00:00:01", "hardware": "panda", "power_url": "exec://lab/A1" });
    let (status, answer) = world.call(Method::POST, "/api/v1/devices", Some(board)).await;
    let warning = "this server has no power commands `lab`: add [power-commands.lab] to lifeguard.toml, and restart this server";
    assert_eq!((status.as_u16(), &answer["warnings"]), (201, &json!([warning])));
    let change = json!({ "power_url": "exec://rack/A1?off=50ms" });
    let (_, answer) = world.call(Method::PATCH, "/api/v1/devices/b1", Some(change)).await;
    assert_eq!(answer["warnings"], Value::Null);

    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    world.pass_time_until("b1", "power is back", |device| device["state"] == "RebootComplete").await;
    assert_eq!(fs::read_to_string(path.join("orders")).unwrap(), "off\non\n");
    let history = world.history("b1").await;
    let end = history.iter().find(|entry| entry["event"] == "power-cycle-ok").unwrap();
    assert_eq!(
        (&end["evidence"]["commands"], &end["evidence"]["outlet"]),
        (&json!("rack"), &json!("A1")),
        "{end:#}"
    );
}
