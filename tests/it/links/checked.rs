//! Tests of `lifeguard machine check` with linked machines, and `instance create --link`.

use serde_json::json;

use super::{THING, create, load, show, world};
use crate::api::send;
use crate::cli::lifeguard;

/// The program's output, its errors, and its exit status.
async fn run(args: Vec<String>) -> String {
    let run = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        lifeguard(&args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}exit {}", text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_checked_together_are_checked_against_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let deaf = folder.path().join("deaf.yaml");
    fs_err::write(
        &deaf,
        THING.replace("  release: { from: { machine: lease }", "  release: { from: operator"),
    )
    .unwrap();
    let (lease, thing) = ("tests/it/links/lease.yaml", "tests/it/links/thing.yaml");
    let check = async |files: &[&str]| {
        let args = ["machine", "check"].iter().chain(files).map(|arg| (*arg).to_owned());
        run(args.collect()).await
    };
    let right = check(&[lease, thing]).await;
    assert!(right.ends_with("exit 0") && !right.contains("[links]"), "{right}");
    let alone = check(&[lease]).await;
    let expected = "warning[links]: lease: link `thing` leads to the machine `thing`, which does not exist";
    assert!(alone.contains(expected) && alone.ends_with("exit 0"), "{alone}");
    let wrong = check(&[lease, deaf.to_str().unwrap()]).await;
    let expected =
        "error[links]: lease raises `release` at thing, which does not declare it `from: { machine: lease }`";
    assert!(wrong.contains(expected) && wrong.ends_with("exit 1"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_refuses_definitions_that_contradict_the_resources_of_active_ones() {
    let job = |machine: &str, first: &str, capacity: u32| {
        format!(
            "machine: {machine}\ninitial: Idle\nresources: {{ a: 1, b: {capacity} }}\nevents: {{ go: {{ from: operator }} }}\n\
             states:\n  Idle: {{ resting: true, about: x, on: {{ go: First }} }}\n  \
             First: {{ about: x, hold: {{ {first}: 1 }}, invoke: [power-cycle], timeout: {{ after: 1s, target: Idle }}, \
             on: {{ power-cycle-ok: Both, power-cycle-failed: Idle }} }}\n  \
             Both: {{ about: x, hold: {{ a: 1, b: 1 }}, invoke: [power-cycle], timeout: {{ after: 1s, target: Idle }}, \
             on: {{ power-cycle-ok: Idle, power-cycle-failed: Idle }} }}\n"
        )
    };
    let world = world().await;
    load(&world, "one", &job("one", "a", 1)).await;
    load(&world, "two", &job("two", "a", 1)).await;
    for (text, expected) in [
        (job("two", "b", 1), "instances may deadlock: in one from `First` to `Both` `a` is held"),
        (job("two", "a", 2), "two declares `b` as { capacity: 2 }, and one as { capacity: 1 }"),
    ] {
        let answer = send(&world, "PUT /api/v1/machines/two", text).await;
        assert_eq!(answer.status, 409, "{}", answer.text);
        assert!(
            answer.text.contains("\"code\":\"links\"") && answer.text.contains(expected),
            "{}",
            answer.text
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_links_instances_by_the_command_line() {
    let world = world().await;
    create(&world, "thing/t1", json!({})).await;
    let server = format!("http://{}", world.server.http);
    let at = async |words: &str| {
        let args = words.split(' ').chain(["--server", &server]).map(str::to_owned);
        run(args.collect()).await
    };
    assert_eq!(at("instance create lease l1 --link thing=t1").await, "lease l1: Asking\nexit 0");
    assert_eq!(show(&world, "thing/t1").await["state"], "Booting");
    let shown = at("instance show lease l1").await;
    assert!(shown.contains("linked     thing: thing/t1"), "{shown}");
    let why = at("instance why lease l1").await;
    assert!(why.contains("On entry to this state it raised claim at thing/t1."), "{why}");
    let refused = at("instance create lease l2 --link thing=t2").await;
    assert!(refused.contains("there is no thing \"t2\"") && refused.ends_with("exit 1"), "{refused}");
}
