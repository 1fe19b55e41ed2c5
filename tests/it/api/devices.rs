use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{contract, dump_tables, send, send_to};
use crate::world::World;

/// Returns `text` with `FORMS` in place of the forms of all power URLs, which belong to the drivers.
fn without_power_forms(text: &str) -> String {
    let forms: Vec<_> =
        lifeguard::actions::power_schemes().iter().map(power::PowerScheme::short_form).collect();
    text.replace(&format!("write {}", forms.join(" or ")), "write FORMS")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_registered_changed_and_removed() {
    let world = World::new().await;
    let body = json!({
        "name": "b1", "mac": "02-00-00-00-00-AA", "hardware": "panda", "fqdn": "b1.lab",
        "power_url": "modbus://relay.lab/5", "poll_url": "tcp://b1.lab:22", "environment": "lab", "comments": "näh ☃",
    });
    let answer = send(&world, "POST /api/v1/devices", body.to_string()).await;
    assert_eq!((answer.status, answer.header("location")), (201, "/api/v1/devices/b1"));
    assert_eq!(answer.json(), world.get("/api/v1/devices/b1").await);
    assert_snapshot!(known(&answer.json()), @r#"
    name "b1"
    state "New"
    visit 1
    fqdn "b1.lab"
    mac "02:00:00:00:00:aa"
    power_url "modbus://relay.lab/5"
    poll_url "tcp://b1.lab:22"
    hardware "panda"
    environment "lab"
    comments "näh ☃"
    "#);

    let path = "PATCH /api/v1/devices/b1";
    let first = json!({ "mac": "0200000000bb", "power_url": null, "comments": "" });
    let answer = send(&world, path, first.to_string()).await;
    assert_eq!(answer.status, 200);
    assert_snapshot!(known(&answer.json()), @r#"
    name "b1"
    state "New"
    visit 1
    fqdn "b1.lab"
    mac "02:00:00:00:00:bb"
    power_url null
    poll_url "tcp://b1.lab:22"
    hardware "panda"
    environment "lab"
    comments ""
    "#);
    let entries = world.history("b1").await.len();
    let same = send_to(world.server.http, path, &[("if-none-match", "*")], first.to_string()).await;
    assert_eq!((same.status, same.json()), (200, answer.json()));
    assert_eq!(world.history("b1").await.len(), entries, "a change to what is there already is none");
    let requests = [
        (path, r#"{"mac": null}"#),
        (path, r#"{"state": "Ready"}"#),
        (path, r#"{"name": "b2"}"#),
        (path, r#"{"power_url": "relay/5"}"#),
        (path, r#"{"poll_url": 22}"#),
        (path, ""),
        ("PATCH /api/v1/devices/b2", "{}"),
    ];
    let emptied = send(&world, path, r#"{"environment": null, "comments": null}"#).await.json();
    assert_eq!((&emptied["environment"], &emptied["comments"]), (&json!(""), &json!("")));
    let refused = without_power_forms(&contract(&world, requests).await);
    assert_snapshot!(refused, @r#"
    PATCH /api/v1/devices/b1
    422 invalid: mac: invalid type: null, expected a string

    PATCH /api/v1/devices/b1
    422 invalid: unknown field `state`, expected one of `mac`, `hardware`, `fqdn`, `power_url`, `poll_url`, `environment`, `labels`, `comments`

    PATCH /api/v1/devices/b1
    422 invalid: unknown field `name`, expected one of `mac`, `hardware`, `fqdn`, `power_url`, `poll_url`, `environment`, `labels`, `comments`

    PATCH /api/v1/devices/b1
    422 invalid: power_url: `relay/5` is not a power URL: it has no scheme; write FORMS

    PATCH /api/v1/devices/b1
    422 invalid: poll_url: invalid type: number, expected a string

    PATCH /api/v1/devices/b1
    400 bad_json: the body is empty; a JSON object is needed

    PATCH /api/v1/devices/b2
    404 no_device: there is no board "b2"
    "#);

    let requests = [
        ("DELETE /api/v1/devices/b1", ""),
        ("DELETE /api/v1/devices/b1", ""),
        ("GET /api/v1/devices/b1", ""),
        ("GET /api/v1/devices/b1/history", ""),
        ("POST /api/v1/devices/b1/events/image-running", ""),
        ("POST /api/v1/devices/b1/requests/rq-reboot", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    DELETE /api/v1/devices/b1
    204

    DELETE /api/v1/devices/b1
    404 no_device: there is no board "b1"

    GET /api/v1/devices/b1
    404 no_device: there is no board "b1"

    GET /api/v1/devices/b1/history
    404 no_device: there is no board "b1"

    POST /api/v1/devices/b1/events/image-running
    404 no_device: there is no board "b1"

    POST /api/v1/devices/b1/requests/rq-reboot
    404 no_device: there is no board "b1"
    "#);
}

/// A board's attributes besides its lifecycle.
fn known(device: &Value) -> String {
    let keys = [
        "name",
        "state",
        "visit",
        "fqdn",
        "mac",
        "power_url",
        "poll_url",
        "hardware",
        "environment",
        "comments",
    ];
    keys.map(|key| format!("{key} {}", device[key])).join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_board_is_not_registered() {
    let world = World::new().await;
    world.register("b1", json!({ "mac": "02:00:00:00:00:01" })).await;
    let before = dump_tables(&world).await;
    let long = "b".repeat(65);
    let wrong = [
        ("name", json!("a/b")),
        ("name", json!("..")),
        ("name", json!("a..b")),
        ("name", json!(".a")),
        ("name", json!("a.")),
        ("name", json!("-a")),
        ("name", json!("")),
        ("name", json!("bär")),
        ("name", json!("a b")),
        ("name", json!(long)),
        ("name", json!(3)),
        ("name", Value::Null),
        ("name", json!("b1")),
        ("mac", json!("02:00:00:00:00")),
        ("mac", json!("02:00:00:00:00:0g")),
        ("mac", json!("02-00-00-00-00-01")),
        ("mac", json!(true)),
        ("hardware", json!("")),
        ("hardware", json!("pan/da")),
        ("environment", json!("the lab")),
        ("fqdn", json!("b 2")),
        ("fqdn", json!("b2..lab")),
        ("fqdn", json!("")),
        ("power_url", json!("relay/5")),
        ("power_url", json!("ftp://relay/5")),
        ("power_url", json!("modbus://relay")),
        ("poll_url", json!("https://b2/")),
        ("poll_url", json!("tcp://b2")),
        ("comments", json!(["a"])),
        ("state", json!("Ready")),
    ];
    let mut answers = Vec::new();
    for (field, value) in wrong {
        let mut body = json!({ "name": "b2", "mac": "02:00:00:00:00:02", "hardware": "panda" });
        body[field] = value.clone();
        let answer = send(&world, "POST /api/v1/devices", body.to_string()).await;
        answers.push(format!("{field} {value}: {}", without_power_forms(&answer.status_and_body())));
    }
    assert_snapshot!(answers.join("\n"), @r#"
    name "a/b": 422 invalid: name: "a/b" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name "..": 422 invalid: name: ".." is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name "a..b": 422 invalid: name: "a..b" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name ".a": 422 invalid: name: ".a" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name "a.": 422 invalid: name: "a." is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name "-a": 422 invalid: name: "-a" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name "": 422 invalid: name: "" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name "bär": 422 invalid: name: "bär" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name "a b": 422 invalid: name: "a b" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb": 422 invalid: name: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    name 3: 422 invalid: name: invalid type: number, expected a string
    name null: 422 invalid: name: invalid type: null, expected a string
    name "b1": 409 taken: there is a board `b1` already
    mac "02:00:00:00:00": 422 invalid: mac: `02:00:00:00:00` is not a MAC address: write twelve hexadecimal digits, as `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff` or `aabbccddeeff`
    mac "02:00:00:00:00:0g": 422 invalid: mac: `02:00:00:00:00:0g` is not a MAC address: write twelve hexadecimal digits, as `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff` or `aabbccddeeff`
    mac "02-00-00-00-00-01": 409 taken: the MAC address 02:00:00:00:00:01 is already used by board `b1`
    mac true: 422 invalid: mac: invalid type: boolean `true`, expected a string
    hardware "": 422 invalid: hardware: "" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    hardware "pan/da": 422 invalid: hardware: "pan/da" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    environment "the lab": 422 invalid: environment: "the lab" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    fqdn "b 2": 422 invalid: fqdn: "b 2" is neither a host name nor an address
    fqdn "b2..lab": 422 invalid: fqdn: "b2..lab" is neither a host name nor an address
    fqdn "": 422 invalid: fqdn: "" is neither a host name nor an address
    power_url "relay/5": 422 invalid: power_url: `relay/5` is not a power URL: it has no scheme; write FORMS
    power_url "ftp://relay/5": 422 invalid: power_url: `ftp://relay/5` is not a power URL: unknown scheme `ftp`; write FORMS
    power_url "modbus://relay": 422 invalid: power_url: `modbus://relay` is not a power URL: `` is not a coil; a coil is 0 to 65535: `modbus://HOST[:502]/COIL[?unit=1&invert=true&off=2s&rest=1s&readback=all8&framing=rtu]`
    poll_url "https://b2/": 422 invalid: poll_url: `https://b2/` is not a poll URL: there is no scheme `https`; write `tcp://HOST:PORT` or `http://HOST[:PORT]/PATH`
    poll_url "tcp://b2": 422 invalid: poll_url: `tcp://b2` is not a poll URL: it needs a port; write `tcp://HOST:PORT` or `http://HOST[:PORT]/PATH`
    comments ["a"]: 422 invalid: comments: invalid type: list, expected a string
    state "Ready": 422 invalid: unknown field `state`, expected one of `name`, `mac`, `hardware`, `fqdn`, `power_url`, `poll_url`, `environment`, `labels`, `comments`
    "#);
    let requests = [
        ("POST /api/v1/devices", ""),
        ("POST /api/v1/devices", r#"{"name": "b2", "hardware": "panda"}"#),
        ("POST /api/v1/devices", r#"["b2", "02:00:00:00:00:02", "panda", null, null, null, "", ""]"#),
        (
            "POST /api/v1/devices",
            r#"{"name": "b2", "mac": "02:00:00:00:00:02", "hardware": "panda", "comments": "\u0000"}"#,
        ),
    ];
    assert_snapshot!(contract(&world, requests).await, @r"
    POST /api/v1/devices
    400 bad_json: the body is empty; a JSON object is needed

    POST /api/v1/devices
    422 invalid: missing field `mac`

    POST /api/v1/devices
    422 invalid: the body must be a JSON object

    POST /api/v1/devices
    422 invalid: comments: a text contains the character U+0000, which cannot be stored
    ");
    assert_eq!(dump_tables(&world).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_read_from_the_newest_in_pages() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    world.force("b1", "LockedOut").await;
    let event = "POST /api/v1/devices/b1/events/image-running";
    assert_eq!(send(&world, event, r#"{"kernel": "6.1"}"#).await.status, 200);
    assert_eq!(send(&world, "PATCH /api/v1/devices/b1", r#"{"comments": "old"}"#).await.status, 200);
    let whole = world.get("/api/v1/devices/b1/history").await;
    let entries = whole["history"].as_array().unwrap();
    let shown: Vec<String> = entries.iter().map(|entry| without_id(entry.clone())).collect();
    assert_snapshot!(shown.join("\n"), @r#"
    {"at":"2026-01-01T12:00:00Z","definition":1,"event":"changed","evidence":{"comments":"old"},"from":"LockedOut","kind":"note","outcome":"noted","sender":"127.0.0.1","to":"LockedOut","visit":2}
    {"args":{"kernel":"6.1"},"at":"2026-01-01T12:00:00Z","definition":1,"event":"image-running","from":"LockedOut","kind":"event","outcome":"ignored","reason":"state LockedOut does not wait for image-running","sender":"127.0.0.1","to":"LockedOut","visit":2}
    {"at":"2026-01-01T12:00:00Z","definition":1,"event":"forced","from":"New","kind":"force","outcome":"moved","reason":"forced: the test wants it there","sender":"127.0.0.1","to":"LockedOut","visit":2}
    {"at":"2026-01-01T12:00:00Z","definition":1,"event":"created","from":"New","kind":"created","outcome":"moved","sender":"127.0.0.1","to":"New","visit":1}
    "#);
    assert_eq!((entries.len(), &whole["next"]), (4, &Value::Null));

    let first = world.get("/api/v1/devices/b1/history?limit=2").await;
    let second = world.get(&format!("/api/v1/devices/b1/history?limit=2&before={}", first["next"])).await;
    assert_eq!((&first["history"][1], &second["history"][1]), (&entries[1], &entries[3]));
    assert_eq!(second["next"], Value::Null);
    let requests = [
        ("GET /api/v1/devices/b1/history?limit=0", ""),
        ("GET /api/v1/devices/b1/history?limit=1001", ""),
        ("GET /api/v1/devices/b1/history?before=x", ""),
        ("GET /api/v1/devices/b1/history?since=1", ""),
        ("GET /api/v1/devices/b2/history", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    GET /api/v1/devices/b1/history?limit=0
    422 invalid: limit=0: from 1 to 1000 entries can be asked for

    GET /api/v1/devices/b1/history?limit=1001
    422 invalid: limit=1001: from 1 to 1000 entries can be asked for

    GET /api/v1/devices/b1/history?before=x
    422 invalid: query: before: this is not a whole number

    GET /api/v1/devices/b1/history?since=1
    422 invalid: query: since: unknown field `since`, expected `before` or `limit`

    GET /api/v1/devices/b2/history
    404 no_device: there is no board "b2"
    "#);
}

fn without_id(mut entry: Value) -> String {
    assert!(entry.as_object_mut().unwrap().remove("id").is_some_and(|id| id.is_i64()));
    entry.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_must_be_unique_are_refused_with_the_name_of_the_other_board() {
    let world = World::new().await;
    world.register("b1", json!({ "mac": "02:00:00:00:00:01", "power_url": "modbus://relay.lab/5" })).await;
    world.register("b2", json!({ "mac": "02:00:00:00:00:02", "power_url": "modbus://relay.lab/6" })).await;
    let new = |mac: &str, power: &str| {
        json!({ "name": "b3", "mac": mac, "hardware": "panda", "power_url": power }).to_string()
    };
    let free = "02:00:00:00:00:03";
    let requests = [
        ("POST /api/v1/devices", new("02-00-00-00-00-01", "modbus://relay.lab/7")),
        ("POST /api/v1/devices", new(free, "modbus://relay.lab/5")),
        ("POST /api/v1/devices", new(free, "MODBUS://Relay.LAB.:0502/05?invert=true&off=9s&unit=1")),
        ("PATCH /api/v1/devices/b2", r#"{"mac": "020000000001"}"#.to_owned()),
        ("PATCH /api/v1/devices/b2", r#"{"power_url": "modbus://relay.lab:502/5?rest=1s"}"#.to_owned()),
    ];
    assert_snapshot!(contract(&world, requests).await, @"
    POST /api/v1/devices
    409 taken: the MAC address 02:00:00:00:00:01 is already used by board `b1`

    POST /api/v1/devices
    409 taken: the power outlet modbus://relay.lab:502/5?unit=1 is already used by board `b1`

    POST /api/v1/devices
    409 taken: the power outlet modbus://relay.lab:502/5?unit=1 is already used by board `b1`

    PATCH /api/v1/devices/b2
    409 taken: the MAC address 02:00:00:00:00:01 is already used by board `b1`

    PATCH /api/v1/devices/b2
    409 taken: the power outlet modbus://relay.lab:502/5?unit=1 is already used by board `b1`
    ");
    // A board's own values are not taken by another; values of no board are free.
    for (line, body) in [
        ("PATCH /api/v1/devices/b1", r#"{"power_url": "modbus://relay.lab:502/5?off=3s"}"#.to_owned()),
        ("PATCH /api/v1/devices/b1", r#"{"power_url": null}"#.to_owned()),
        ("PATCH /api/v1/devices/b2", r#"{"power_url": "modbus://relay.lab/5"}"#.to_owned()),
        ("PATCH /api/v1/devices/b1", r#"{"power_url": "modbus://relay.lab/5?unit=2"}"#.to_owned()),
        ("POST /api/v1/devices", new(free, "modbus://relay.lab/6")),
    ] {
        let answer = send(&world, line, body.clone()).await;
        assert!(answer.status < 300, "{line} {body}: {}", answer.status_and_body());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_concurrent_registrations_of_one_outlet_one_succeeds() {
    let world = World::new().await;
    let register = |number: u32| {
        let world = &world;
        async move {
            let body = json!({
                "name": format!("b{number}"), "mac": format!("02:00:00:00:01:{number:02x}"), "hardware": "panda",
                "power_url": "modbus://relay.lab/5",
            });
            send(world, "POST /api/v1/devices", body.to_string()).await.status
        }
    };
    let mut answers = futures_util::future::join_all((0..16).map(register)).await;
    answers.sort_unstable();
    assert_eq!((answers[0], &answers[1..]), (201, &[409; 15][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_that_already_share_an_outlet_are_kept_and_no_other_can_join() {
    let world = World::new().await;
    for (name, coil) in [("b1", 5), ("b2", 6)] {
        world.register(name, json!({ "power_url": format!("modbus://relay.lab/{coil}") })).await;
    }
    // As left by an older version.
    let pool = world.database.pool().await;
    sqlx::query("UPDATE device SET power_outlet = NULL, power_url = 'modbus://RELAY.lab/5'")
        .execute(&pool)
        .await
        .unwrap();
    let outlets = async || {
        sqlx::query_scalar::<_, Option<String>>("SELECT power_outlet FROM device ORDER BY instance_id")
            .fetch_all(&pool)
            .await
            .unwrap()
    };
    let other = world.second_server().await;
    let expected = [Some("modbus://relay.lab:502/5?unit=1".to_owned()), None];
    crate::world::wait_until("the outlets are written", async || outlets().await == expected).await;
    let changed = send(&other, "PATCH /api/v1/devices/b2", r#"{"comments": "shares"}"#).await;
    assert_eq!(changed.status, 200, "{}", changed.status_and_body());
    let third = json!({ "name": "b3", "mac": "02:00:00:00:00:03", "hardware": "panda", "power_url": "modbus://relay.lab/5" });
    let answer = send(&other, "POST /api/v1/devices", third.to_string()).await;
    assert_eq!(
        answer.status_and_body(),
        "409 taken: the power outlet modbus://relay.lab:502/5?unit=1 is already used by board `b1`"
    );
    let mended = send(&other, "PATCH /api/v1/devices/b2", r#"{"power_url": "modbus://relay.lab/6"}"#).await;
    assert_eq!(mended.status, 200, "{}", mended.status_and_body());
    assert_eq!(outlets().await[1].as_deref(), Some("modbus://relay.lab:502/6?unit=1"));
}
