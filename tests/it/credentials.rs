//! Credentials of outlets: in the configuration file, at boards, and nowhere in what is shown.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use device_io::{CredentialName, CredentialSource, Secret, SecretSource};
use fs_err as fs;
use lifeguard::actions::{Credentials, PowerSettings};
use lifeguard::cli::serve::ServeOptions;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::cli::{lifeguard, run};
use crate::world::World;

const PLUGS: &str = "[credentials.plugs]\n";

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_wrong_credential_is_refused_with_its_position_and_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lifeguard.toml");
    let is = |text: &str| format!("{PLUGS}{text}");
    for (text, fault) in [
        (
            is("user = \"admin\"\npasword = \"hunter-2\"\n"),
            "3:1: unknown key `pasword` of credential `plugs`; did you mean `password`?",
        ),
        (
            is("listen = \"127.0.0.1:1\"\n"),
            "2:1: unknown key `listen` of credential `plugs`, whose keys are user, password, password-file, privacy-password, \
             privacy-password-file, hosts; options of the server stand above all tables",
        ),
        (is("password = 4711\n"), "2:12: `password`: text in quotes is needed"),
        (is("user = \"a\"\nhosts = \"*.lab\"\n"), "3:9: `hosts`: a list of hosts is needed"),
        (is("user = \"a\"\nhosts = [\"pdu-*\"]\n"), "3:9: `hosts`: `pdu-*` is not a host"),
        (is("hosts = [\"*.lab\"]\n"), "1:14: credential `plugs` is empty"),
        (is("user = \"\"\n"), "2:8: `user` is empty; leave the line out"),
        (is("password = \"hunter-2\\n\"\n"), "2:12: `password`: one line of at most 1024 bytes is needed"),
        (
            is("password = \"hunter-2\"\npassword-file = \"/etc/plugs\"\n"),
            "3:1: `password` and `password-file` of credential `plugs` exclude each other",
        ),
        (
            is("user = \"a\"\n[credentials.pdus]\nuser = \"b\"\nuser = \"c\"\n"),
            "5:1: `user` is given twice, first in line 4",
        ),
        (is("password = hunter-2\n"), "2:12: this is not TOML"),
        (is(""), "1:14: credential `plugs` is empty"),
        (
            is("privacy-password = \"hunter-2\"\n"),
            "1:14: credential `plugs` has a password of encryption, but none of authentication",
        ),
        (
            "[credentials.\"lab plugs\"]\nuser = \"a\"\n".to_owned(),
            "1:14: `lab plugs` is not the name of a credential",
        ),
        ("[credentials]\npassword = \"hunter-2\"\n".to_owned(), "2:1: `password` is not a credential: write"),
        (
            "credentials = \"hunter-2\"\n".to_owned(),
            "1:1: `credentials` is a table: write [credentials.NAME]",
        ),
        (
            "[credential.plugs]\npassword = \"hunter-2\"\n".to_owned(),
            "1:2: unknown table `credential`; did you mean `credentials`?",
        ),
    ] {
        write(&file, &text, 0o600);
        for command in [["config", "check"].as_slice(), &["serve", "--config-file"]] {
            let mut command = lifeguard(command);
            command.arg(&file);
            let answer = run(command).await;
            assert!(answer.err.contains(&format!("lifeguard.toml:{fault}")), "{text}{}", answer.err);
            assert!(answer.code != 0 && !answer.output_text().contains("hunter"), "{}", answer.output_text());
        }
    }
}

#[tokio::test]
async fn a_password_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, password) = (folder.path().join("lifeguard.toml"), folder.path().join("plugs"));
    let check = async |text: &str, mode| {
        write(&file, text, mode);
        let mut command = lifeguard(&["config", "check"]);
        command.arg(&file);
        run(command).await
    };
    let text = format!("listen = \"127.0.0.1:1\"\n{PLUGS}password = \"hunter-2\"\n");
    let refused = check(&text, 0o640).await;
    let path = file.display();
    let fault =
        format!("{path}:3:1: a password is in this file, which others can read; run `chmod 600 {path}`");
    assert!(refused.err.contains(&fault) && refused.code == 1, "{}", refused.err);
    let checked = check(&text, 0o600).await;
    assert!(checked.out.ends_with("1 option, 1 credential, no errors\n"), "{}", checked.output_text());

    // A file that names the file of a password may be read by all.
    let text = format!("{PLUGS}user = \"me\"\npassword-file = \"{}\"\n", password.display());
    for (mode, fault) in [
        (None, "1: credential `plugs`: failed to open file"),
        (Some(0o644), "plugs is readable by others; run `chmod 600"),
    ] {
        if let Some(mode) = mode {
            write(&password, "hunter-2\n", mode);
        }
        let refused = check(&text, 0o644).await;
        assert!(refused.err.contains(fault) && refused.code == 1, "{}", refused.err);
    }
    write(&password, "hunter-2\n", 0o600);
    assert_eq!(check(&text, 0o644).await.code, 0);
}

#[tokio::test]
async fn the_settings_name_credentials_and_hide_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lifeguard.toml");
    let text = format!(
        "{PLUGS}user = \"admin\"\npassword = \"hunter-2\"\n\n[credentials.pdus]\npassword-file = \"/etc/pdus\"\n\
         privacy-password = \"hunter-3\"\nhosts = [\"*.lab\", \"192.0.2.7\"]\n"
    );
    write(&file, &text, 0o600);
    let show = async |args: &[&str]| {
        let mut command = lifeguard(&["config", "show", "--config-file", file.to_str().unwrap()]);
        command.args(args);
        let text = run(command).await.out;
        assert!(!text.contains("hunter"), "{text}");
        text
    };
    let shown = show(&[]).await;
    let lines = shown.lines().filter(|line| line.starts_with("credentials."));
    let lines: Vec<String> =
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            format!("credentials.plugs user admin, password (hidden) file {}:1", file.display()),
            format!(
                "credentials.pdus password-file /etc/pdus, privacy-password (hidden), hosts *.lab, 192.0.2.7 file {}:5",
                file.display()
            ),
        ]
    );
    let shown: Value = serde_json::from_str(&show(&["--json"]).await).unwrap();
    assert_eq!(
        shown["credentials"],
        json!([
            { "name": "plugs", "line": 1, "values": { "user": "admin", "password": null } },
            { "name": "pdus", "line": 5, "values": { "password-file": "/etc/pdus", "privacy-password": null, "hosts": "*.lab, 192.0.2.7" } },
        ])
    );
}

#[tokio::test]
async fn a_board_with_a_credential_that_this_server_lacks_is_registered_with_a_warning() {
    let world = World::new().await;
    // Accepts connections and is sent nothing.
    let plug = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tasmota://{}/1?credential=plugs", plug.local_addr().unwrap());
    let reason = "this server has no credential `plugs`: add [credentials.plugs] to /etc/lifeguard/lifeguard.toml, and \
                  restart this server";
    let board = json!({ "name": "b1", "mac": "02:00:00:00:00:01", "hardware": "panda", "power_url": url });
    let (status, answer) = world.call(Method::POST, "/api/v1/devices", Some(board)).await;
    assert_eq!((status.as_u16(), &answer["warnings"]), (201, &json!([reason])));
    let (_, answer) = world.call(Method::PATCH, "/api/v1/devices/b1", Some(json!({ "comments": "x" }))).await;
    assert_eq!(answer["warnings"], Value::Null);
    let (_, answer) =
        world.call(Method::PATCH, "/api/v1/devices/b1", Some(json!({ "power_url": url }))).await;
    assert_eq!(answer["warnings"], json!([reason]));

    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    let device = world.until_state("b1", "FailedRebootRebooting").await;
    assert!(device["data"]["failure"].as_str().unwrap().contains(reason), "{device:#}");
    let history = world.history("b1").await;
    let end = history.iter().find(|entry| entry["event"] == "power-cycle-failed").unwrap();
    assert_eq!(end["args"]["fault"], "configuration");
}

/// Answers every request as a Tasmota plug that is on, with the request in the answer.
async fn serve_plug(plug: TcpListener) {
    while let Ok((mut client, _)) = plug.accept().await {
        let mut request = vec![0; 4096];
        let length = client.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let target = request.split(' ').nth(1).unwrap_or_default();
        let body = json!({ "POWER1": "ON", "Request": target }).to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        client.write_all(format!("{head}{body}").as_bytes()).await.ok();
    }
}

#[tokio::test]
async fn a_password_is_in_no_answer_and_in_no_history() {
    let name = CredentialName::new("plugs").unwrap();
    let password = Some(SecretSource::Text(Secret::new("hunter-2")));
    let source = CredentialSource { password, ..CredentialSource::default() };
    let credentials = Credentials::new("lifeguard.toml", BTreeMap::from([(name, source)]));
    let world = World::with_serve_options(|options| ServeOptions {
        power: PowerSettings { credentials, ..PowerSettings::default() },
        ..options
    })
    .await;
    let plug = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tasmota://{}/1?credential=plugs", plug.local_addr().unwrap());
    let _plug = tokio::task::JoinSet::from_iter([serve_plug(plug)]);
    world.register("b1", json!({ "power_url": url })).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    // The plug says that it is on after it was switched off.
    let device =
        world.pass_time_until("b1", "it fails", |device| device["data"]["failure"].is_string()).await;
    let shown = format!("{device}{}", json!(world.history("b1").await));
    assert!(shown.contains("password=…") && !shown.contains("hunter"), "{shown}");
}
