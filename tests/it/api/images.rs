use insta::assert_snapshot;

use super::contract;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_set_listed_and_forgotten() {
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
    422 invalid: boot_configs.panda: `../b.cfg` is not a boot config: give the plain name of a file in the boot tree's `configs` folder, not beginning with a dot

    PUT /api/v1/images/b
    422 invalid: hardware: "pan da" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`

    PUT /api/v1/images/b
    422 invalid: boot_configs.panda: invalid type: number, expected a string

    PUT /api/v1/images/b
    422 invalid: boot_configs: invalid type: sequence, expected a map

    PUT /api/v1/images/b
    422 invalid: unknown field `boot_config`, expected `about` or `boot_configs`

    PUT /api/v1/images/b
    400 bad_json: the body is empty; a JSON object is needed

    DELETE /api/v1/images/b%00ase
    404 no_image: there is no image "b\0ase"

    DELETE /api/v1/images/base
    204

    DELETE /api/v1/images/base
    404 no_image: there is no image "base"

    GET /api/v1/images
    200 {"images":[]}

    GET /api/v1/images/base
    405 method_not_allowed: this path does not take this method; `Allow` says which it takes
    "#);
}
