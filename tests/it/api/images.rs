use insta::assert_snapshot;
use serde_json::json;

use super::{contract, send};
use crate::world::{World, unreachable_power};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_set_listed_and_removed() {
    let world = World::new().await;
    let requests = [
        ("PUT /api/v1/images/base", r#"{"boot_configs": {"panda": "panda base.cfg"}}"#),
        (
            "PUT /api/v1/images/base",
            r#"{"about": "small", "boot_configs": {"beagle": "b.cfg", "panda": "p.cfg"}}"#,
        ),
        ("GET /api/v1/images", ""),
        ("PUT /api/v1/images/..%2fbase", r#"{"boot_configs": {}}"#),
        ("PUT /api/v1/images/b", r#"{"boot_configs": {"panda": "../b.cfg"}}"#),
        ("PUT /api/v1/images/b", r#"{"boot_configs": {"pan da": "b.cfg"}}"#),
        ("PUT /api/v1/images/b", r#"{"boot_configs": {"panda": 3}}"#),
        ("PUT /api/v1/images/b", r#"{"boot_configs": ["b.cfg"]}"#),
        ("PUT /api/v1/images/b", r#"{"boot_config": {"panda": "b.cfg"}}"#),
        ("PUT /api/v1/images/b", ""),
        ("DELETE /api/v1/images/b%00ase", ""),
        ("DELETE /api/v1/images/base", ""),
        ("DELETE /api/v1/images/base", ""),
        ("GET /api/v1/images", ""),
        ("GET /api/v1/images/base", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    PUT /api/v1/images/base
    201 {"about":"","boot_configs":{"panda":"panda base.cfg"},"name":"base"}

    PUT /api/v1/images/base
    200 {"about":"small","boot_configs":{"beagle":"b.cfg","panda":"p.cfg"},"name":"base"}

    GET /api/v1/images
    200 {"images":[{"about":"small","boot_configs":{"beagle":"b.cfg","panda":"p.cfg"},"name":"base"}]}

    PUT /api/v1/images/..%2fbase
    422 invalid: name: "../base" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`

    PUT /api/v1/images/b
    422 invalid: boot_configs.panda: `../b.cfg` is not a boot config: give the plain name of a file in the `configs` folder of the boot tree, not beginning with a dot

    PUT /api/v1/images/b
    422 invalid: hardware: "pan da" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`

    PUT /api/v1/images/b
    422 invalid: boot_configs.panda: invalid type: number, expected a string

    PUT /api/v1/images/b
    422 invalid: boot_configs: invalid type: list, expected an object

    PUT /api/v1/images/b
    422 invalid: unknown field `boot_config`, expected `about` or `boot_configs`

    PUT /api/v1/images/b
    400 bad_json: the body is empty; a JSON object is needed

    DELETE /api/v1/images/b%00ase
    404 no_image: there is no image "b\0ase"; did you mean `base`?

    DELETE /api/v1/images/base
    204

    DELETE /api/v1/images/base
    404 no_image: there is no image "base"

    GET /api/v1/images
    200 {"images":[]}

    GET /api/v1/images/base
    405 method_not_allowed: this path does not accept this method; `Allow` lists those that it accepts
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_being_installed_cannot_be_removed() {
    let world = World::new().await;
    world.image("base").await;
    for (coil, name) in (0..).zip(["b1", "b2"]) {
        world.register(name, unreachable_power(coil)).await;
        let (status, answer) = world.request(name, "rq-reimage", json!({ "image": "base" })).await;
        assert_eq!(status, 200, "{answer}");
    }
    let requests = [
        ("DELETE /api/v1/images/base", ""),
        ("PUT /api/v1/images/base", r#"{"boot_configs": {"beagle": "base"}}"#),
        ("PUT /api/v1/images/base", r#"{"boot_configs": {"panda": "base", "beagle": "base"}}"#),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    DELETE /api/v1/images/base
    409 image_in_use: base is being installed on b1, b2; try again after that has finished or was cancelled
    {"boards":["b1","b2"]}

    PUT /api/v1/images/base
    409 image_in_use: base is being installed on b1, b2; try again after that has finished or was cancelled
    {"boards":["b1","b2"]}

    PUT /api/v1/images/base
    200 {"about":"","boot_configs":{"beagle":"base","panda":"base"},"name":"base","warnings":["no board has hardware `beagle`; known: panda"]}
    "#);
    for name in ["b1", "b2"] {
        assert_eq!(world.request(name, "rq-cancel", json!({})).await.0, 200);
        world.until_state(name, "New").await;
    }
    assert_eq!(send(&world, "DELETE /api/v1/images/base", "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_hardware_is_reported() {
    let world = World::new().await;
    let board = |name: &str, hardware: &str| {
        let mac = format!("02:00:00:00:00:{:02x}", name.len());
        json!({ "name": name, "mac": mac, "hardware": hardware }).to_string()
    };
    let mut answers = Vec::new();
    for (line, body) in [
        ("PUT /api/v1/images/base", r#"{"boot_configs": {"panda": "p"}}"#.to_owned()),
        ("POST /api/v1/devices", board("b", "panda")),
        ("POST /api/v1/devices", board("bb", "pnada")),
        (
            "PUT /api/v1/images/base",
            r#"{"boot_configs": {"pandas": "p", "panda": "p", "beagle": "b"}}"#.to_owned(),
        ),
        ("PATCH /api/v1/devices/bb", r#"{"hardware": "cow"}"#.to_owned()),
        ("PATCH /api/v1/devices/bb", r#"{"comments": "cow"}"#.to_owned()),
    ] {
        let answer = send(&world, line, body).await;
        answers.push(format!("{line} {} {}", answer.status, answer.json()["warnings"]));
    }
    assert_snapshot!(answers.join("\n"), @r#"
    PUT /api/v1/images/base 201 null
    POST /api/v1/devices 201 null
    POST /api/v1/devices 201 ["no image has a boot config for hardware `pnada`; did you mean `panda`?"]
    PUT /api/v1/images/base 200 ["no board has hardware `beagle`; known: panda, pnada","no board has hardware `pandas`; did you mean `panda`?"]
    PATCH /api/v1/devices/bb 200 ["no image has a boot config for hardware `cow`; known: beagle, panda, pandas"]
    PATCH /api/v1/devices/bb 200 null
    "#);
}
