//! Tests of the command line: output, streams and exit status.

use std::process::{Command, Stdio};

use fs_err as fs;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::models::{Folders, Hosting, onnxruntime};
use crate::world::{World, pass_a_little_time, unreachable_power, wait_until};

/// What a command printed, and how it ended.
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl CommandOutput {
    pub(crate) fn output_text(&self) -> String {
        let parts = [("", &self.out), ("stderr: ", &self.err)];
        let parts = parts.iter().filter(|(_, text)| !text.is_empty());
        let parts: Vec<String> = parts.map(|(what, text)| format!("{what}{}", text.trim_end())).collect();
        format!("{}\nexit {}", parts.join("\n"), self.code).trim_start().to_owned()
    }
}

/// The program, without settings from our environment.
pub(crate) fn lifeguard(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIFEGUARD_") {
            command.env_remove(name);
        }
    }
    command.env("TZ", "UTC").env("COLUMNS", "100").stdin(Stdio::null()).args(args);
    command
}

pub(crate) async fn run(mut command: Command) -> CommandOutput {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    CommandOutput { code: output.status.code().unwrap(), out, err }
}

/// Runs a command against a server; its words are separated by spaces.
async fn at(world: &World, words: &str) -> CommandOutput {
    let args: Vec<&str> = words.split(' ').collect();
    let mut command = lifeguard(&args);
    command.env("LIFEGUARD_SERVER", format!("http://{}", world.server.http));
    run(command).await
}

/// Runs each of `lines` in sequence; returns the output.
async fn session(world: &World, lines: &[&str]) -> String {
    let mut output = Vec::new();
    for line in lines {
        output.push(format!("$ {line}\n{}", at(world, line).await.output_text()));
    }
    output.join("\n\n")
}

#[tokio::test]
async fn times_without_an_offset_are_local_times() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("1 by time.yaml");
    let state = |name: &str, target: &str, at: &str| {
        format!("- {{name: {name}, func: time, target: {{name: {target}, when: {{value: '{at}'}}}}}}\n")
    };
    let states = [
        state("a", "b", "2026-07-01T12:00:00"),
        // Skipped when clocks are set forward.
        state("b", "c", "2026-03-29T02:30:17"),
        // Ambiguous when clocks are set back.
        state("c", "d", "2026-10-25T02:30:00"),
        state("d", "e", "2026-07-01T12:00:00-05:00"),
    ];
    fs::write(&file, format!("current_state: a\nstates:\n{}- {{name: e}}\n", states.concat())).unwrap();
    let mut command = lifeguard(&["machine", "import"]);
    command.arg(&file).env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3");
    let ran = run(command).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let output = |line: &&str| line.contains("machine:") || line.contains("timeout:");
    let output: Vec<&str> = ran.out.lines().filter(output).map(str::trim).collect();
    let expected = [
        "machine: \"m1-by-time\"",
        "timeout: { at: 2026-07-01T10:00:00Z, target: b }",
        "timeout: { at: 2026-03-29T01:00:00Z, target: c }",
        "timeout: { at: 2026-10-25T00:30:00Z, target: d }",
        "timeout: { at: 2026-07-01T17:00:00Z, target: e }",
    ];
    assert_eq!(output, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_managed_from_the_command_line() {
    let world = World::with_state_service(&crate::state_service::waits_for(2)).await.unwrap();
    let output = session(
        &world,
        &[
            "instance list states",
            "instance create states web",
            "instance create states a/b",
            "instance create nothing web",
            "instance create sates web",
            "machine show sates",
            "instance create board b1",
            "instance create states web",
            "instance send states web a",
            "instance send states web b",
            "instance send states web a --args [1]",
            "instance send states web a --args {\"a\":",
            "instance show states web",
            "instance list states",
            "instance force states web --from a --to b --reason enough",
            "instance send states web a",
            "instance why states web",
            "instance history states web",
            "instance history states web --limit 1 --json",
            "instance remove states web",
            "instance show states web",
        ],
    )
    .await;
    assert_snapshot!(output, @r#"
    $ instance list states
    NAME    STATE  SINCE                    DEADLINE  VISIT
    shared  a      2026-01-01 12:00:00 UTC            1
    exit 0

    $ instance create states web
    states web: a
    exit 0

    $ instance create states a/b
    stderr: lifeguard: name: "a/b" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    exit 1

    $ instance create nothing web
    stderr: lifeguard: there is no machine nothing; `PUT /api/v1/machines/nothing` defines one
    exit 1

    $ instance create sates web
    stderr: lifeguard: there is no machine sates; did you mean `states`?
    exit 1

    $ machine show sates
    stderr: lifeguard: there is no machine "sates"; did you mean `states`?
    exit 1

    $ instance create board b1
    stderr: lifeguard: instances of `board` are boards: use `lifeguard device`
    exit 1

    $ instance create states web
    states web: a (it exists already)
    exit 0

    $ instance send states web a
    states web: noted, still a
    exit 0

    $ instance send states web b
    stderr: lifeguard: states has no event "b" that can be sent; known: a
    exit 1

    $ instance send states web a --args [1]
    stderr: error: invalid value '[1]' for '--args <JSON>': a JSON object is needed

    For more information, try '--help'.
    exit 2

    $ instance send states web a --args {"a":
    stderr: error: invalid value '{"a":' for '--args <JSON>': a JSON object is needed: it ends too early, at line 1 column 5

    For more information, try '--help'.
    exit 2

    $ instance show states web
    machine   states
    name      web
    state     a since 2026-01-01 12:00:00 UTC
              waits until 2 things that belong to it are done
    requests  a
    counters  {"a":1}
    exit 0

    $ instance list states
    NAME    STATE  SINCE                    DEADLINE  VISIT
    shared  a      2026-01-01 12:00:00 UTC            1
    web     a      2026-01-01 12:00:00 UTC            1
    exit 0

    $ instance force states web --from a --to b --reason enough
    states web: a → b
    exit 0

    $ instance send states web a
    stderr: lifeguard: state b does not wait for a, nor for any other request; only a forced move leaves it
    exit 1

    $ instance why states web
    web  b (final)
    Finished since 12:00:00 UTC (0 s): the end; an operator may only move it by force.
    It came from a at 12:00:00 UTC, when an operator (127.0.0.1) moved it to b by force: enough.
    No dwell statistics yet: no samples since 2026-01-01.
    exit 0

    $ instance history states web
    AT                       EVENT    FROM  TO  VISIT  DEFINITION  SENDER     REASON
    2026-01-01 12:00:00 UTC  a                  2      1           127.0.0.1  state b does not wait for a
    2026-01-01 12:00:00 UTC  forced   a     b   2      1           127.0.0.1  forced: enough
    2026-01-01 12:00:00 UTC  a                  1      1           127.0.0.1
    2026-01-01 12:00:00 UTC  created  a     a   1      1           127.0.0.1
    exit 0

    $ instance history states web --limit 1 --json
    {
      "history": [
        {
          "at": "2026-01-01T12:00:00Z",
          "definition": 1,
          "event": "a",
          "from": "b",
          "id": 9,
          "kind": "event",
          "outcome": "ignored",
          "reason": "state b does not wait for a",
          "sender": "127.0.0.1",
          "to": "b",
          "visit": 2
        }
      ],
      "next": 9
    }
    exit 0

    $ instance remove states web
    states web: removed
    exit 0

    $ instance show states web
    stderr: lifeguard: there is no states "web"
    exit 1
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_are_managed_from_the_command_line() {
    let world = World::new().await;
    fs::write(world.folder.path().join("boot/configs/base.cfg"), "").unwrap();
    let output = session(
        &world,
        &[
            "image set base --about small --boot-config panda=base.cfg --boot-config beagle=base.cfg",
            "image list",
            "device list",
            "device add b1 --mac 02:00:00:00:00:01 --hardware panda --environment lab --fqdn 127.0.0.1",
            "device add b2 --mac 02-00-00-00-00-02 --hardware cow --comments cow",
            "device add b1 --mac 02:00:00:00:00:03 --hardware panda",
            "device add b/3 --mac 02:00:00:00:00:03 --hardware panda",
            "device list",
            "device list --hardware cow",
            "device show b2",
            "device show b3",
            "device show ..",
            "device self-test b1",
            "device maintenance b1",
            "device lock-out b2",
            "device lock-out b2 --reason mad --by ann",
            "device show b2",
            "device list",
            "device reboot b1 b3 b2",
            "device force b1 --from Ready --to LockedOut --reason why",
            "device force b1 --from Reday --to LockedOut --reason why",
            "device force b1 --from New --to Nowhere --reason why",
            "device force b1 --from New --to Redy --reason why",
            "device force b1 --from New --to ReimageBooted --reason why",
            "device show b1",
            "device force b1 --from ReimageBooted --to New --reason enough",
            "device cancel b1",
            "device add b4 --mac 02:00:00:00:00:04 --hardware panda --power-url modbus://127.0.0.1:1/0",
            "device add b5 --mac 02:00:00:00:00:04 --hardware panda",
            "device add b5 --mac 02:00:00:00:00:05 --hardware pnada --power-url modbus://127.0.0.1:0001/00?off=9s",
            "device add b5 --mac 02:00:00:00:00:05 --hardware pnada",
            "device set b5 --labels rack-7 --comments slow",
            "device set b5 --mac ff:ff:ff:ff:ff:ff",
            "device set b5",
            "device reimage b2 b4 --image base --boot-config {\"quiet\":true}",
            "device force b4 --from ReimageRebooting --to New --reason enough",
            "device reimage b4 --image none",
            "device reimage b4 --image base --boot-config [1]",
            "device reimage b4 --image base --boot-config {x",
            "device reimage b4",
            "device history b2",
            "device history b2 --limit 1",
            "device history b2 --limit 0",
            "device history b2 --limit -1",
            "device history b2 --limit 1001",
            "device unlock b1 b2",
            "device remove b4 b3 b2",
            "image remove base",
            "image set base --boot-config cow=base.cfg",
            "image set spare --boot-config pnada=base.cfg --boot-config sheep=base.cfg",
            "image remove spar",
            "image remove spare",
            "image remove spare",
            "image set base --boot-config base.cfg",
            "device history b2 --limit some",
            "device list --state Reday",
            "device list --hardware shep",
        ],
    )
    .await;
    assert_snapshot!(output, @r#"
    $ image set base --about small --boot-config panda=base.cfg --boot-config beagle=base.cfg
    base is registered: beagle=base.cfg panda=base.cfg
    exit 0

    $ image list
    IMAGE  BOOT CONFIGS                    ABOUT
    base   beagle=base.cfg panda=base.cfg  small
    exit 0

    $ device list
    NAME  STATE  SINCE  DEADLINE  IMAGE  HARDWARE  ENVIRONMENT  REASON  COMMENTS
    exit 0

    $ device add b1 --mac 02:00:00:00:00:01 --hardware panda --environment lab --fqdn 127.0.0.1
    b1 is registered, New
    exit 0

    $ device add b2 --mac 02-00-00-00-00-02 --hardware cow --comments cow
    b2 is registered, New
    stderr: lifeguard: warning: no image has a boot config for hardware `cow`; known: beagle, panda
    exit 0

    $ device add b1 --mac 02:00:00:00:00:03 --hardware panda
    stderr: lifeguard: there is a board `b1` already
    exit 1

    $ device add b/3 --mac 02:00:00:00:00:03 --hardware panda
    stderr: lifeguard: name: "b/3" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`
    exit 1

    $ device list
    NAME  STATE  SINCE                    DEADLINE  IMAGE  HARDWARE  ENVIRONMENT  REASON  COMMENTS
    b1    New    2026-01-01 12:00:00 UTC                   panda     lab
    b2    New    2026-01-01 12:00:00 UTC                   cow                            cow
    exit 0

    $ device list --hardware cow
    NAME  STATE  SINCE                    DEADLINE  IMAGE  HARDWARE  ENVIRONMENT  REASON  COMMENTS
    b2    New    2026-01-01 12:00:00 UTC                   cow                            cow
    exit 0

    $ device show b2
    name      b2
    state     New since 2026-01-01 12:00:00 UTC
              nobody has asked for anything yet
    requests  rq-lock-out
    refused   rq-maintenance, rq-reboot, rq-reimage, rq-self-test: the board has no power URL, so its power cannot be cycled
    hardware  cow
    fqdn      b2
    mac       02:00:00:00:00:02
    comments  cow
    exit 0

    $ device show b3
    stderr: lifeguard: there is no board "b3"
    exit 1

    $ device show ..
    stderr: lifeguard: ".." is not a name
    exit 1

    $ device self-test b1
    stderr: lifeguard: rq-self-test: the board has no power URL, so its power cannot be cycled
    exit 1

    $ device maintenance b1
    stderr: lifeguard: rq-maintenance: the board has no power URL, so its power cannot be cycled
    exit 1

    $ device lock-out b2
    stderr: error: the following required arguments were not provided:
      --reason <REASON>

    Usage: lifeguard device lock-out [OPTIONS] --reason <REASON> [NAMES]...

    For more information, try '--help'.
    exit 2

    $ device lock-out b2 --reason mad --by ann
    b2: New → LockedOut
    exit 0

    $ device show b2
    name        b2
    state       LockedOut since 2026-01-01 12:00:00 UTC
                Lifeguard does not touch this board until it is unlocked
    locked out  mad
                by ann
    requests    rq-lock-out, rq-unlock
    hardware    cow
    fqdn        b2
    mac         02:00:00:00:00:02
    comments    cow
    exit 0

    $ device list
    NAME  STATE      SINCE                    DEADLINE  IMAGE  HARDWARE  ENVIRONMENT  REASON           COMMENTS
    b1    New        2026-01-01 12:00:00 UTC                   panda     lab
    b2    LockedOut  2026-01-01 12:00:00 UTC                   cow                    locked out: mad  cow
    exit 0

    $ device reboot b1 b3 b2
    stderr: lifeguard: b1: rq-reboot: the board has no power URL, so its power cannot be cycled
    lifeguard: b3: there is no board "b3"
    lifeguard: b2: state LockedOut does not wait for rq-reboot; now it takes rq-lock-out, rq-unlock
    lifeguard: failed for 3 of 3 boards
    exit 1

    $ device force b1 --from Ready --to LockedOut --reason why
    stderr: lifeguard: the state is New, not Ready
    exit 1

    $ device force b1 --from Reday --to LockedOut --reason why
    stderr: lifeguard: no state Reday in this machine; did you mean `Ready`?
    exit 1

    $ device force b1 --from New --to Nowhere --reason why
    stderr: lifeguard: no state Nowhere in this machine
    exit 1

    $ device force b1 --from New --to Redy --reason why
    stderr: lifeguard: no state Redy in this machine; did you mean `Ready`?
    exit 1

    $ device force b1 --from New --to ReimageBooted --reason why
    b1: New → ReimageBooted
    exit 0

    $ device show b1
    name         b1
    state        ReimageBooted since 2026-01-01 12:00:00 UTC
                 live image runs, waiting for it to install
                 the live image runs; it should begin to install
    waits for    image-failed from the board, then FailedBadImage, FailedBadBoard, ReimageRebooting, FailedReimageBooted
    waits for    image-installing from the board, then ReimageInstalling
    deadline     2026-01-01 12:01:00 UTC
    on deadline  ReimageRebooting 1m after entry (passed 0 times; more than 10 leads to FailedReimageBooted)
    requests     rq-cancel, rq-lock-out
    hardware     panda
    environment  lab
    fqdn         127.0.0.1
    mac          02:00:00:00:00:01
    exit 0

    $ device force b1 --from ReimageBooted --to New --reason enough
    b1: ReimageBooted → New
    exit 0

    $ device cancel b1
    stderr: lifeguard: state New does not wait for rq-cancel; now it takes rq-lock-out, rq-maintenance, rq-reboot, rq-reimage, rq-self-test
    exit 1

    $ device add b4 --mac 02:00:00:00:00:04 --hardware panda --power-url modbus://127.0.0.1:1/0
    b4 is registered, New
    exit 0

    $ device add b5 --mac 02:00:00:00:00:04 --hardware panda
    stderr: lifeguard: the MAC address 02:00:00:00:00:04 is already used by board `b4`
    exit 1

    $ device add b5 --mac 02:00:00:00:00:05 --hardware pnada --power-url modbus://127.0.0.1:0001/00?off=9s
    stderr: lifeguard: the power outlet modbus://127.0.0.1:1/0?unit=1 is already used by board `b4`
    exit 1

    $ device add b5 --mac 02:00:00:00:00:05 --hardware pnada
    b5 is registered, New
    stderr: lifeguard: warning: no image has a boot config for hardware `pnada`; did you mean `panda`?
    exit 0

    $ device set b5 --labels rack-7 --comments slow
    b5 is changed
    exit 0

    $ device set b5 --mac ff:ff:ff:ff:ff:ff
    stderr: lifeguard: mac: ff:ff:ff:ff:ff:ff is the address of no network card
    exit 1

    $ device set b5
    stderr: error: the following required arguments were not provided:
      <--mac <MAC>|--hardware <HARDWARE>|--fqdn <FQDN>|--power-url <POWER_URL>|--poll-url <POLL_URL>|--environment <ENVIRONMENT>|--labels <LABELS>|--comments <COMMENTS>>

    Usage: lifeguard device set [OPTIONS] <--mac <MAC>|--hardware <HARDWARE>|--fqdn <FQDN>|--power-url <POWER_URL>|--poll-url <POLL_URL>|--environment <ENVIRONMENT>|--labels <LABELS>|--comments <COMMENTS>> <NAME>

    For more information, try '--help'.
    exit 2

    $ device reimage b2 b4 --image base --boot-config {"quiet":true}
    b4: New → ReimageRebooting
    stderr: lifeguard: b2: state LockedOut does not wait for rq-reimage; now it takes rq-lock-out, rq-unlock
    lifeguard: failed for 1 of 2 boards
    exit 1

    $ device force b4 --from ReimageRebooting --to New --reason enough
    b4: ReimageRebooting → New
    exit 0

    $ device reimage b4 --image none
    stderr: lifeguard: rq-reimage: there is no image `none`; known: base
    exit 1

    $ device reimage b4 --image base --boot-config [1]
    stderr: error: invalid value '[1]' for '--boot-config <JSON>': a JSON object is needed

    For more information, try '--help'.
    exit 2

    $ device reimage b4 --image base --boot-config {x
    stderr: error: invalid value '{x' for '--boot-config <JSON>': a JSON object is needed: this is not JSON, at line 1 column 2

    For more information, try '--help'.
    exit 2

    $ device reimage b4
    stderr: error: the following required arguments were not provided:
      --image <IMAGE>

    Usage: lifeguard device reimage [OPTIONS] --image <IMAGE> [NAMES]...

    For more information, try '--help'.
    exit 2

    $ device history b2
    AT                       EVENT        FROM  TO         VISIT  DEFINITION  SENDER     REASON
    2026-01-01 12:00:00 UTC  rq-reimage                    2      1           127.0.0.1  state LockedOut does not wait for rq-reimage
    2026-01-01 12:00:00 UTC  rq-reboot                     2      1           127.0.0.1  state LockedOut does not wait for rq-reboot
    2026-01-01 12:00:00 UTC  rq-lock-out  New   LockedOut  2      1           127.0.0.1  mad
    2026-01-01 12:00:00 UTC  created      New   New        1      1           127.0.0.1
    exit 0

    $ device history b2 --limit 1
    AT                       EVENT       FROM  TO  VISIT  DEFINITION  SENDER     REASON
    2026-01-01 12:00:00 UTC  rq-reimage            2      1           127.0.0.1  state LockedOut does not wait for rq-reimage
    exit 0

    $ device history b2 --limit 0
    stderr: error: invalid value '0' for '--limit <LIMIT>': a whole number is needed, 1 or more

    For more information, try '--help'.
    exit 2

    $ device history b2 --limit -1
    stderr: error: invalid value '-1' for '--limit <LIMIT>': a whole number is needed, 1 or more

    For more information, try '--help'.
    exit 2

    $ device history b2 --limit 1001
    stderr: lifeguard: limit=1001: from 1 to 1000 entries can be asked for
    exit 1

    $ device unlock b1 b2
    b2: LockedOut → New
    stderr: lifeguard: b1: state New does not wait for rq-unlock; now it takes rq-lock-out, rq-maintenance, rq-reboot, rq-reimage, rq-self-test
    lifeguard: failed for 1 of 2 boards
    exit 1

    $ device remove b4 b3 b2
    b2: removed
    stderr: lifeguard: b4: b4 may have a boot link for base; cancel or reboot to remove it, by a forced move to Cancelling if necessary
    lifeguard: b3: there is no board "b3"
    lifeguard: failed for 2 of 3 boards
    exit 1

    $ image remove base
    stderr: lifeguard: base is being installed on b4; try again after that has finished or was cancelled
    exit 1

    $ image set base --boot-config cow=base.cfg
    stderr: lifeguard: base is being installed on b4; try again after that has finished or was cancelled
    exit 1

    $ image set spare --boot-config pnada=base.cfg --boot-config sheep=base.cfg
    spare is registered: pnada=base.cfg sheep=base.cfg
    stderr: lifeguard: warning: no board has hardware `sheep`; known: panda, pnada
    exit 0

    $ image remove spar
    stderr: lifeguard: there is no image "spar"; did you mean `spare`?
    exit 1

    $ image remove spare
    spare: removed
    exit 0

    $ image remove spare
    stderr: lifeguard: there is no image "spare"
    exit 1

    $ image set base --boot-config base.cfg
    stderr: error: invalid value 'base.cfg' for '--boot-config <HARDWARE=FILE>': HARDWARE=FILE is needed, such as panda=panda-base.cfg

    For more information, try '--help'.
    exit 2

    $ device history b2 --limit some
    stderr: error: invalid value 'some' for '--limit <LIMIT>': a whole number is needed, 1 or more

    For more information, try '--help'.
    exit 2

    $ device list --state Reday
    stderr: lifeguard: no state `Reday`; did you mean `Ready`?
    exit 1

    $ device list --hardware shep
    stderr: lifeguard: no board has hardware `shep`; known: panda, pnada
    exit 1
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosted_models_are_queried_from_the_command_line() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &["green", "red", "blue"]);
    folders.host("four_classes", &["green", "red", "blue"]);
    let hosting = Hosting::start(folders.args(&library)).await;
    let mut output = Vec::new();
    for line in [
        "model list",
        "model predict colors_v1 [[100,50],[501,300],[\"100\",300]]",
        "model predict colors_v1 [[100,50]] --json",
        "model predict colors_v1 [[100]]",
        "model predict colors_v1 [[100,",
        "model predict none [[1]]",
        "model load four_classes",
        "model list",
        "model show colors_v1",
        "model show ..",
    ] {
        let mut command = lifeguard(&line.split(' ').collect::<Vec<_>>());
        command.env("LIFEGUARD_SERVER", format!("http://{}", hosting.http()));
        output.push(format!("$ {line}\n{}", run(command).await.output_text()));
    }
    assert_snapshot!(output.join("\n\n"), @r#"
    $ model list
    MODEL         STATUS      STATES            FILE                    ERROR
    colors_v1     not loaded  green, red, blue  team/colors_v1.onnx
    four_classes  not loaded  green, red, blue  team/four_classes.onnx
    exit 0

    $ model predict colors_v1 [[100,50],[501,300],["100",300]]
    green
    blue
    red
    exit 0

    $ model predict colors_v1 [[100,50]] --json
    {
      "states": [
        "green"
      ]
    }
    exit 0

    $ model predict colors_v1 [[100]]
    stderr: lifeguard: values: each row has 1 number, and this model takes 2
    exit 1

    $ model predict colors_v1 [[100,
    stderr: lifeguard: ROWS: a JSON list of rows is needed, such as [[1, 2.5], [3, 4]]: it ends too early, at line 1 column 6
    exit 1

    $ model predict none [[1]]
    stderr: lifeguard: there is no model "none"
    exit 1

    $ model load four_classes
    stderr: lifeguard: team/four_classes.onnx: it has 4 classes, and its config has 3 states
    exit 1

    $ model list
    MODEL         STATUS  STATES            FILE                    ERROR
    colors_v1     loaded  green, red, blue  team/colors_v1.onnx
    four_classes  failed  green, red, blue  team/four_classes.onnx  team/four_classes.onnx: it has 4 classes, and its config has 3 states
    exit 0

    $ model show colors_v1
    name         colors_v1
    status       loaded
    states       green, red, blue
    team         team
    model        colors_v1.onnx
    failures     1
    loaded at    2026-01-01 12:00:00 UTC
    loads        1
    predictions  2
    rows         4
    size bytes   725
    width        2
    exit 0

    $ model show ..
    stderr: lifeguard: ".." is not a name
    exit 1
    "#);
    hosting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_boards_is_explained_in_a_few_lines() {
    let world = World::new().await;
    world.image("self-test").await;
    world.register("b1", unreachable_power(0)).await;
    world.register("b2", unreachable_power(1)).await;
    world.force("b2", "ReimageBooting").await;
    world.clock.advance(std::time::Duration::from_secs(42));
    let output = session(
        &world,
        &[
            "device list",
            "device why b1",
            "device why b1 b3 b2",
            "device why b3",
            "device why ..",
            "device why",
        ],
    )
    .await;
    assert_snapshot!(output, @r#"
    $ device list
    NAME  STATE           SINCE                    DEADLINE                 IMAGE  HARDWARE  ENVIRONMENT  REASON  COMMENTS  LABEL
    b1    New             2026-01-01 12:00:00 UTC                                  panda
    b2    ReimageBooting  2026-01-01 12:00:00 UTC  2026-01-01 12:03:00 UTC         panda                                    power is back, waiting for the live image
    exit 0

    $ device why b1
    b1  New (resting)
    Rests since 12:00:00 UTC (42 s): nobody has asked for anything yet; nothing is under way; an operator may ask for rq-lock-out, rq-reboot, rq-reimage or rq-self-test, or move it by force.
    Refused now: rq-maintenance (the maintenance image has no boot config for this board's hardware).
    It was registered at 12:00:00 UTC (127.0.0.1).
    Dwell time: 0 s (median), 95 % within 0 s; from 1 sample since 2026-01-01.
    Power: unknown: no observation in its history.
    Requests
      rq-lock-out     leave the board alone until it is unlocked; by, the name of who asks, may come with it  needs reason
      rq-maintenance  boot the maintenance image and leave the board to a person                              refused now: the maintenance image has no boot config for this board's hardware
      rq-reboot       power-cycle the board and wait for its image
      rq-reimage      install an image; boot_config, an object, may come with it                              needs image
      rq-self-test    boot the self-test image and wait for its verdict
    exit 0

    $ device why b1 b3 b2
    b1  New (resting)
    Rests since 12:00:00 UTC (42 s): nobody has asked for anything yet; nothing is under way; an operator may ask for rq-lock-out, rq-reboot, rq-reimage or rq-self-test, or move it by force.
    Refused now: rq-maintenance (the maintenance image has no boot config for this board's hardware).
    It was registered at 12:00:00 UTC (127.0.0.1).
    Dwell time: 0 s (median), 95 % within 0 s; from 1 sample since 2026-01-01.
    Power: unknown: no observation in its history.
    Requests
      rq-lock-out     leave the board alone until it is unlocked; by, the name of who asks, may come with it  needs reason
      rq-maintenance  boot the maintenance image and leave the board to a person                              refused now: the maintenance image has no boot config for this board's hardware
      rq-reboot       power-cycle the board and wait for its image
      rq-reimage      install an image; boot_config, an object, may come with it                              needs image
      rq-self-test    boot the self-test image and wait for its verdict

    b2  ReimageBooting: power is back, waiting for the live image (working)
    Waits since 12:00:00 UTC (42 s) for live-running or image-failed from the board; at 12:03:00 UTC (in 2 min 18 s) it goes to ReimageRebooting (try 1 of 30, 29 left after it), in the end to FailedReimageBooting.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.
    It came from New at 12:00:00 UTC, when an operator (127.0.0.1) moved it to ReimageBooting by force: the test wants it there.
    No dwell statistics yet: no samples since 2026-01-01.
    Power: unknown: no observation in its history.
    Requests
      rq-cancel    give up what is under way, and remove the boot link
      rq-lock-out  leave the board alone until it is unlocked; by, the name of who asks, may come with it  needs reason
    stderr: lifeguard: b3: there is no board "b3"
    lifeguard: failed for 1 of 3 boards
    exit 1

    $ device why b3
    stderr: lifeguard: there is no board "b3"
    exit 1

    $ device why ..
    stderr: lifeguard: ".." is not a name
    exit 1

    $ device why
    stderr: error: the following required arguments were not provided:
      <NAMES>...

    Usage: lifeguard device why [OPTIONS] <NAMES>...

    For more information, try '--help'.
    exit 2
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_and_instances_are_named_alike_and_earlier_options_still_work() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let list = at(&world, "machine list").await.out;
    let heading: Vec<&str> = list.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["MACHINE", "DEFINITION", "ACTIVATED", "ORIGIN", "DIGEST"]);
    for options in ["machine show board --definition 1", "machine show board --number 1"] {
        let shown = at(&world, options).await;
        assert!(shown.code == 0 && shown.out.contains("\nmachine: board\n"), "{}", shown.output_text());
    }
    for options in ["machine replay --instance b1", "machine replay --device b1"] {
        let replayed = at(&world, options).await.output_text();
        assert_eq!(replayed, "1 instance, 1 entry of history\nreplay matches the stored history\nexit 0");
    }
    let unknown = at(&world, "machine replay --machine bord").await;
    assert_snapshot!(unknown.output_text(), @r#"
    stderr: lifeguard: there is no machine "bord"; did you mean `board`?
    exit 1
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_boards_and_operators_are_escaped_on_the_terminal() {
    let world = World::new().await;
    let comments = format!("\u{1b}[2J first\nsecond\t{}", "long ".repeat(12));
    world.register("b1", json!({ "comments": comments })).await;
    world.force("b1", "ReimageBooted").await;
    let event = "/api/v1/devices/b1/events/image-failed";
    let body = json!({ "fault": "board", "reason": "\u{1b}]0;mine\u{7} no card" });
    assert_eq!(world.call(reqwest::Method::POST, event, Some(body)).await.0, 200);
    let list = at(&world, "device list").await;
    assert_snapshot!(list.output_text(), @"
    NAME  STATE           SINCE                    DEADLINE  IMAGE  HARDWARE  ENVIRONMENT  REASON             COMMENTS
    b1    FailedBadBoard  2026-01-01 12:00:00 UTC                   panda                  �]0;mine� no card  �[2J first second�long long long long long long long long long long long long
    exit 0
    ");
    let history = at(&world, "device history b1 --limit 1").await;
    assert_snapshot!(history.output_text(), @"
    AT                       EVENT         FROM           TO              VISIT  DEFINITION  SENDER     REASON
    2026-01-01 12:00:00 UTC  image-failed  ReimageBooted  FailedBadBoard  3      1           127.0.0.1  �]0;mine� no card
    exit 0
    ");
    let show = at(&world, "device show b1").await;
    assert!(show.out.contains("failure") && show.out.contains("]0;mine� no card"), "{}", show.out);
    assert!(show.out.contains("long ".repeat(12).trim_end()), "one board is shown whole: {}", show.out);
    for ran in [list, history, show] {
        assert!(!ran.out.contains(|c: char| c.is_control() && c != '\n'), "{:?}", ran.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_output_is_the_server_s_answer() {
    let world = World::new().await;
    let add =
        "device add b1 --mac 02:00:00:00:00:01 --hardware panda --power-url modbus://127.0.0.1:1/0 --json";
    let shown: Value = serde_json::from_str(&at(&world, add).await.out).unwrap();
    assert_eq!(shown, world.get("/api/v1/devices/b1").await);
    for (words, path) in [
        ("device --json list", "/api/v1/devices"),
        ("device show b1 --json", "/api/v1/devices/b1"),
        ("device history b1 --json", "/api/v1/devices/b1/history"),
        ("device why b1 --json", "/api/v1/devices/b1/why"),
        ("image list --json", "/api/v1/images"),
    ] {
        let mut shown: Value = serde_json::from_str(&at(&world, words).await.out).unwrap();
        let mut answer = world.get(path).await;
        // A cursor may include transactions that have ended meanwhile.
        for value in [&mut shown, &mut answer] {
            value.as_object_mut().unwrap().remove("cursor");
        }
        assert_eq!(shown, answer, "{words}");
    }
    let output = session(
        &world,
        &[
            "device reboot b1 b2 --json",
            "device force b1 --from RebootRebooting --to LockedOut --reason r --json",
            "device remove b1 --json",
            "image set base --boot-config panda=p.cfg --json",
            "image remove base --json",
        ],
    )
    .await;
    assert_snapshot!(output, @r#"
    $ device reboot b1 b2 --json
    {"from":"New","name":"b1","outcome":"moved","to":"RebootRebooting","visit":2}
    stderr: lifeguard: b2: there is no board "b2"
    lifeguard: failed for 1 of 2 boards
    exit 1

    $ device force b1 --from RebootRebooting --to LockedOut --reason r --json
    {
      "from": "RebootRebooting",
      "outcome": "moved",
      "to": "LockedOut",
      "visit": 3
    }
    exit 0

    $ device remove b1 --json
    {"name":"b1","outcome":"removed"}
    exit 0

    $ image set base --boot-config panda=p.cfg --json
    {
      "about": "",
      "boot_configs": {
        "panda": "p.cfg"
      },
      "name": "base"
    }
    exit 0

    $ image remove base --json
    {
      "name": "base",
      "outcome": "removed"
    }
    exit 0
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_server_is_reported_clearly() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut output = Vec::new();
    for server in [
        &*format!("http://{closed}"),
        "https://lifeguard.lab",
        "lifeguard.lab:8080",
        "lifeguard.lab",
        "http://",
    ] {
        for args in [["device", "reboot", "b1"].as_slice(), &["image", "list", "--server", server]] {
            let mut command = lifeguard(args);
            command.env("LIFEGUARD_SERVER", server);
            let ran = run(command).await;
            output.push(format!("{server}\n{}", ran.output_text()).replace(&closed.to_string(), "SERVER"));
        }
    }
    assert_snapshot!(output.join("\n\n"), @"
    http://SERVER
    stderr: lifeguard: cannot reach http://SERVER/: connection refused (is `lifeguard serve` running there?)
    exit 1

    http://SERVER
    stderr: lifeguard: cannot reach http://SERVER/: connection refused (is `lifeguard serve` running there?)
    exit 1

    https://lifeguard.lab
    stderr: error: invalid value 'https://lifeguard.lab' for 'LIFEGUARD_SERVER': Lifeguard has no TLS; a URL such as http://HOST:PORT is needed, or a tunnel to it

    For more information, try '--help'.
    exit 2

    https://lifeguard.lab
    stderr: error: invalid value 'https://lifeguard.lab' for '--server <URL>': Lifeguard has no TLS; a URL such as http://HOST:PORT is needed, or a tunnel to it

    For more information, try '--help'.
    exit 2

    lifeguard.lab:8080
    stderr: error: invalid value 'lifeguard.lab:8080' for 'LIFEGUARD_SERVER': a URL such as http://HOST:PORT is needed

    For more information, try '--help'.
    exit 2

    lifeguard.lab:8080
    stderr: error: invalid value 'lifeguard.lab:8080' for '--server <URL>': a URL such as http://HOST:PORT is needed

    For more information, try '--help'.
    exit 2

    lifeguard.lab
    stderr: error: invalid value 'lifeguard.lab' for 'LIFEGUARD_SERVER': a URL such as http://HOST:PORT is needed

    For more information, try '--help'.
    exit 2

    lifeguard.lab
    stderr: error: invalid value 'lifeguard.lab' for '--server <URL>': a URL such as http://HOST:PORT is needed

    For more information, try '--help'.
    exit 2

    http://
    stderr: error: invalid value 'http://' for 'LIFEGUARD_SERVER': a URL such as http://HOST:PORT is needed

    For more information, try '--help'.
    exit 2

    http://
    stderr: error: invalid value 'http://' for '--server <URL>': a URL such as http://HOST:PORT is needed

    For more information, try '--help'.
    exit 2
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_output_pipe_is_not_an_error() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for args in [["device", "list"].as_slice(), &["device", "show", "b1", "--json"], &["device", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = lifeguard(args);
        command.env("LIFEGUARD_SERVER", format!("http://{}", world.server.http)).stdout(writer);
        let ended = tokio::task::spawn_blocking(move || command.stderr(Stdio::piped()).spawn().unwrap());
        let ended = ended.await.unwrap().wait_with_output().unwrap();
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]), "{args:?}");
    }
}

#[tokio::test]
async fn every_command_says_what_it_does_and_only_settings_come_from_the_environment() {
    // Of all commands: the log, which server, and where a library of others is.
    const SETTINGS: [&str; 5] = ["log", "log-format", "server", "config-file", "onnxruntime"];

    let commands = [
        "serve",
        "config show",
        "config check",
        "demo",
        "device add",
        "device list",
        "device show",
        "device why",
        "device reboot",
        "device reimage",
        "device self-test",
        "device maintenance",
        "device cancel",
        "device lock-out",
        "device unlock",
        "device force",
        "device history",
        "device remove",
        "image set",
        "image list",
        "image remove",
        "machine check",
        "machine diagram",
        "instance create",
        "instance list",
        "instance show",
        "instance send",
        "instance why",
        "instance history",
        "instance force",
        "instance remove",
        "machine import",
        "machine load",
        "machine list",
        "machine show",
        "machine replay",
        "model convert",
        "model list",
        "model show",
        "model load",
        "incident list",
        "incident show",
        "incident close",
        "resource list",
        "resource show",
        "resource set",
        "resource queue",
        "resource remove",
        "resource export",
        "resource import",
        "model predict",
    ];
    for words in commands {
        let mut args: Vec<&str> = words.split(' ').collect();
        args.push("--help");
        let help = run(lifeguard(&args)).await.out;
        let about = help.lines().next().unwrap();
        assert!(about.len() > 10 && !about.starts_with("Usage"), "{words}: {help}");
        for option in help.split("\n      --").skip(1) {
            // Arguments of a request are typed.
            if ["reason <", "by <"].iter().any(|typed| option.starts_with(typed)) {
                continue;
            }
            let words_of_it: Vec<&str> = option.split_whitespace().collect();
            // The demo takes none of a server, whose database could be in use.
            let is_setting = match words {
                "serve" => true,
                "demo" => words_of_it[0].starts_with("log"),
                _ => SETTINGS.contains(&words_of_it[0]),
            };
            let has_variable = words_of_it.join(" ").contains("[env: LIFEGUARD_");
            assert_eq!(has_variable, is_setting, "{words}: --{option}");
        }
    }
    assert_snapshot!(run(lifeguard(&["--help"])).await.out, @"
    Device lifecycle manager for bare-metal board farms

    Usage: lifeguard [OPTIONS] <COMMAND>

    Commands:
      serve     Run the server: engine, HTTP, TFTP, and a private PostgreSQL if no database is given
      config    Show the configuration of a server and where each option comes from, or check a
                configuration file
      demo      Run a server with simulated boards and relay boards on loopback
      device    Register, list, show, reboot and reimage boards of a server
      image     Register images: which boot config boots an image on which hardware
      power     Read and switch power outlets by hand, list the power drivers, and find the outlets of a
                device
      resource  Show resources, who holds them and who waits for them, and set their limits
      incident  Show resources that do not answer and who waits for them, and close such incidents
      instance  Create, show and move instances of any machine
      machine   Check, draw, simulate and load machine definitions
      model     Convert scikit-learn models, and use the models that a server hosts
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Log:
          --log-format <FORMAT>  The format of log lines on standard error: text, or one JSON object a
                                 line [env: LIFEGUARD_LOG_FORMAT=] [default: text] [possible values:
                                 text, json]
          --log <FILTER>         The level of log lines, or a filter such as
                                 `lifeguard=debug,sqlx=error` [default: info,sqlx=error for servers]
                                 [env: LIFEGUARD_LOG=]

    Server:
          --server <URL>  The server's URL, for the commands that ask a server [env: LIFEGUARD_SERVER]
    ");
    assert_snapshot!(run(lifeguard(&["serve", "--help"])).await.out, @"
    Run the server: engine, HTTP, TFTP, and a private PostgreSQL if no database is given

    Usage: lifeguard serve [OPTIONS]

    Options:
          --config-file <FILE>
              The configuration file, whose keys are the options of `serve` without dashes [default:
              /etc/lifeguard/lifeguard.toml, if it exists] [env: LIFEGUARD_CONFIG_FILE=]
          --listen <ADDRESS:PORT>
              The address of the HTTP server [env: LIFEGUARD_LISTEN=] [default: 127.0.0.1:8080]
          --insecure[=<true|false>]
              Serve HTTP beyond loopback although Lifeguard has no authentication: every client may do
              everything [env: LIFEGUARD_INSECURE=] [default: false]
          --tftp-listen <ADDRESS:PORT>
              The address of the TFTP server for the boot tree, such as 0.0.0.0:69 [default: no TFTP
              server] [env: LIFEGUARD_TFTP_LISTEN=]
          --tftp-single-port[=<true|false>]
              Answer TFTP requests from the server's port, for boards behind NAT; only for trusted
              networks [env: LIFEGUARD_TFTP_SINGLE_PORT=] [default: false]
          --tftp-transfers <NUMBER>
              The maximum number of concurrent TFTP transfers [env: LIFEGUARD_TFTP_TRANSFERS=] [default:
              512]
          --tftp-per-address <NUMBER>
              The maximum number of concurrent TFTP transfers to one address [env:
              LIFEGUARD_TFTP_PER_ADDRESS=] [default: 128]
          --tftp-transfer-time <DURATION>
              How long one TFTP transfer may take [env: LIFEGUARD_TFTP_TRANSFER_TIME=] [default: 1h]
          --boot-root <DIRECTORY>
              The boot tree, with the folders `pxelinux.cfg` and `configs` [default: `boot` in the data
              directory] [env: LIFEGUARD_BOOT_ROOT=]
          --database-url <URL>
              The PostgreSQL database (14 or newer) to use; several servers may share it. Of several
              hosts the first writable one is used: `postgres://USER@HOST1,HOST2/DATABASE` [default: a
              private PostgreSQL] [env: LIFEGUARD_DATABASE_URL]
          --database-connections <NUMBER>
              The maximum number of connections to the database [env: LIFEGUARD_DATABASE_CONNECTIONS=]
              [default: 25]
          --event-timeout <DURATION>
              How long an event may wait until it is committed; then it is answered 503 [env:
              LIFEGUARD_EVENT_TIMEOUT=] [default: 30s]
          --database-url-file <FILE>
              A file with the URL of the database, for URLs with a password: every user of the machine
              can read arguments [env: LIFEGUARD_DATABASE_URL_FILE=]
          --data-dir <DIRECTORY>
              The directory of the private PostgreSQL and the boot tree [default: /var/lib/lifeguard for
              root, or else `lifeguard` in the user's state directory] [env: LIFEGUARD_DATA_DIR=]
          --pg-bin <DIRECTORY>
              The directory of PostgreSQL's server programs [default: the newest installed version]
              [env: LIFEGUARD_PG_BIN=]
          --states <PATH>
              A machine definition, or a directory of them [default: the built-in board lifecycle] [env:
              LIFEGUARD_STATES=]
          --machine <FILE>
              The shared machine at /state, as in StateService: a StateService file, or a machine
              definition [default: none] [env: LIFEGUARD_MACHINE_FILE=]
          --allow-commands[=<true|false>]
              Run the programs that machine definitions name in actions (`notify` with `command:`), as
              the server's user. Every client that can load a definition can then run any program [env:
              LIFEGUARD_ALLOW_COMMANDS=] [default: false]
          --operators-url <URL>
              Where messages to the operators are sent, by POST and plain HTTP, such as
              `http://chat.lab/hook`: that an incident has opened, and what definitions send by `notify`
              with `to: operators` [default: nowhere] [env: LIFEGUARD_OPERATORS_URL]
          --history-retention <DURATION>
              How long history is stored, in whole days: `90d`, or `forever` [env:
              LIFEGUARD_HISTORY_RETENTION=] [default: 90d]
      -h, --help
              Print help

    HTTP:
          --server-name <NAME>
              A host name that clients use for the server, such as boards.lab; may be given several
              times. Addresses, `localhost` and the machine's own name are always accepted [env:
              LIFEGUARD_SERVER_NAMES=]
          --http-connections <NUMBER>
              The maximum number of connections [default: 4096, or fewer if the process may open few
              files] [env: LIFEGUARD_HTTP_CONNECTIONS=]
          --http-connections-per-client <NUMBER>
              The maximum number of connections from one address [default: half of all] [env:
              LIFEGUARD_HTTP_CONNECTIONS_PER_CLIENT=]
          --http-header-timeout <DURATION>
              How long a client may take to send the header of a request [env:
              LIFEGUARD_HTTP_HEADER_TIMEOUT=] [default: 10s]
          --http-body-timeout <DURATION>
              How long a client may take to send the body of a request, plus one second for each 4096
              bytes [env: LIFEGUARD_HTTP_BODY_TIMEOUT=] [default: 10s]
          --http-idle-timeout <DURATION>
              How long a connection may be idle [env: LIFEGUARD_HTTP_IDLE_TIMEOUT=] [default: 1min]
          --http-answer-timeout <DURATION>
              How long an answer may wait for a client to read it, plus one second for each 4096 bytes
              that are read [env: LIFEGUARD_HTTP_ANSWER_TIMEOUT=] [default: 30s]
          --http-answer-memory <BYTES>
              The maximum size in bytes of all unread answers above 64 KiB; one client may have a
              quarter of it [env: LIFEGUARD_HTTP_ANSWER_MEMORY=] [default: 67108864]
          --http-long-polls <NUMBER>
              The maximum number of long polls (requests with `wait=`); one client may have half of them
              [env: LIFEGUARD_HTTP_LONG_POLLS=] [default: 1024]

    Models:
          --config <DIRECTORY>    The directory of the configs of hosted models, `*.json` [default: no
                                  models are hosted] [env: LIFEGUARD_CONFIG=]
          --models <DIRECTORY>    The directory of the model files, `TEAM/MODEL` [default: no models are
                                  hosted] [env: LIFEGUARD_MODELS=]
          --model-memory <BYTES>  The maximum size in bytes of the model files in memory; the least
                                  recently used model is evicted first [env: LIFEGUARD_MODEL_MEMORY=]
                                  [default: 268435456]
          --onnxruntime <FILE>    ONNX Runtime's shared library [default: where the system's linker
                                  finds it, or `onnxruntime` in the data directory] [env:
                                  LIFEGUARD_ONNXRUNTIME=]

    Log:
          --log-format <FORMAT>  The format of log lines on standard error: text, or one JSON object a
                                 line [env: LIFEGUARD_LOG_FORMAT=] [default: text] [possible values:
                                 text, json]
          --log <FILTER>         The level of log lines, or a filter such as
                                 `lifeguard=debug,sqlx=error` [default: info,sqlx=error for servers]
                                 [env: LIFEGUARD_LOG=]

    Examples:
      lifeguard serve
      lifeguard serve --config-file lifeguard.toml --tftp-listen 192.168.7.1:69
    ");
    assert_snapshot!(run(lifeguard(&["device", "reimage", "--help"])).await.out, @r#"
    Install an image on boards

    Usage: lifeguard device reimage [OPTIONS] --image <IMAGE> [NAMES]...

    Arguments:
      [NAMES]...  The boards; without names, those that the options select

    Options:
          --state <STATE>              Only boards in these states, separated by commas; `Failed*`
                                       matches all that begin with Failed
          --hardware <HARDWARE>        Only this type of hardware
          --environment <ENVIRONMENT>  Only this environment
          --labels <LABELS>            Only boards with this label
          --all                        All boards of the server
          --image <IMAGE>              The image
          --boot-config <JSON>         A JSON object that the board can fetch while it installs
      -h, --help                       Print help

    Server:
          --server <URL>  The server's URL [env: LIFEGUARD_SERVER=] [default: http://127.0.0.1:8080]
          --json          Print the server's answer as JSON

    Examples:
      lifeguard device reimage b1 b2 --image base
      lifeguard device reimage b1 --image base --boot-config '{"quiet": true}'
    "#);
}

#[tokio::test]
async fn the_help_of_a_command_has_its_own_options_without_the_headings_of_others() {
    assert_snapshot!(run(lifeguard(&["config", "show", "--help"])).await.out, @"
    Show every option of a server: its value, and whether a flag, a variable, the configuration file or
    its default set it

    Usage: lifeguard config show [OPTIONS]

    Options:
          --json                Print the options as JSON
          --config-file <FILE>  The configuration file, whose keys are the options of `serve` without
                                dashes [default: /etc/lifeguard/lifeguard.toml, if it exists] [env:
                                LIFEGUARD_CONFIG_FILE=]
      -h, --help                Print help

    Examples:
      lifeguard config show
      lifeguard config show --config-file lifeguard.toml --json
    ");
    let demo = run(lifeguard(&["demo", "--help"])).await.out;
    assert!(demo.contains("[default: warn,sqlx=error]"), "{demo}");
}

#[tokio::test]
async fn a_missing_answer_is_described_in_plain_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ssh = async {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(client.read(&mut request).await.unwrap() > 0);
        client.write_all(b"SSH-2.0-server\r\n").await.unwrap();
        // Until the client has gone.
        while client.read(&mut request).await.is_ok_and(|length| length > 0) {}
    };
    let list = |server: &str| run(lifeguard(&["device", "list", "--server", server]));
    let unknown = list("http://no-such-host.invalid:8080").await.output_text();
    let (other, ()) = tokio::join!(list(&format!("http://{address}")), ssh);
    let output = [unknown, other.output_text().replace(&address.to_string(), "SERVER")];
    assert_snapshot!(output.join("\n\n"), @"
    stderr: lifeguard: cannot reach http://no-such-host.invalid:8080/: the name no-such-host.invalid cannot be resolved (is `lifeguard serve` running there?)
    exit 1

    stderr: lifeguard: cannot reach http://SERVER/: it closed the connection, or its answer is not HTTP (is `lifeguard serve` running there?)
    exit 1
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_is_listed_shown_and_closed() {
    let world = World::new().await;
    assert_eq!(at(&world, "incident list").await.output_text(), "no incidents\nexit 0");
    for (coil, name) in ["b1", "b2"].into_iter().enumerate() {
        world.register(name, json!({ "power_url": format!("modbus://127.0.0.1:1/{coil}") })).await;
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
    }
    let opened = async || {
        pass_a_little_time(&world.clock).await;
        at(&world, "incident list").await.out.contains("modbus://127.0.0.1:1  open ")
    };
    wait_until("the incident is listed", opened).await;
    let show = async || at(&world, "incident show modbus://127.0.0.1:1").await.out;
    let waiting = async || {
        let shown = show().await;
        let names = shown.lines().filter_map(|line| line.strip_prefix("waiting "));
        names.map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    };
    wait_until("both boards wait", async || waiting().await == ["b1", "b2"]).await;
    let shown = show().await;
    assert!(shown.contains("connection refused") || shown.contains("no connection"), "{shown}");
    let closed = at(&world, "incident close modbus_127.0.0.1_1 --reason replaced").await;
    assert!(closed.code == 0 && closed.out.contains("closed"), "{}", closed.output_text());
    let history = at(&world, "instance history incident modbus_127.0.0.1_1").await.out;
    assert!(history.contains("replaced"), "{history}");
    let none = at(&world, "incident show x").await;
    assert_snapshot!(none.output_text(), @r#"
    stderr: lifeguard: no such incident: there has been none at "x"
    exit 1
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_named_before_or_after_the_command() {
    let world = World::new().await;
    let server = format!("http://{}", world.server.http);
    for line in [
        "--server SERVER device list",
        "device --server SERVER list",
        "device list --server SERVER",
        "--server SERVER machine list",
        "machine --server SERVER list",
        "machine list --server SERVER",
        "--server SERVER model list",
    ] {
        let words: Vec<&str> =
            line.split(' ').map(|word| if word == "SERVER" { &server } else { word }).collect();
        let mut command = lifeguard(&words);
        // What is typed takes precedence.
        command.env("LIFEGUARD_SERVER", "http://127.0.0.1:1");
        let ran = run(command).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
    }
    let mut refused = Vec::new();
    for line in ["--server http://lab serve", "machine check board.yaml --server http://lab"] {
        refused.push(run(lifeguard(&line.split(' ').collect::<Vec<_>>())).await.output_text());
    }
    assert_snapshot!(refused.join("\n\n"), @"
    stderr: error: unexpected argument '--server': `lifeguard serve` asks no server

    Usage: lifeguard serve [OPTIONS]

    For more information, try '--help'.
    exit 2

    stderr: error: unexpected argument '--server': `lifeguard machine check` asks no server

    Usage: lifeguard machine check [OPTIONS] [FILE]...

    For more information, try '--help'.
    exit 2
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_of_a_request_never_come_from_the_environment() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let mut command = lifeguard(&["device", "force", "b1"]);
    command.env("LIFEGUARD_SERVER", format!("http://{}", world.server.http));
    for (name, value) in [("FROM", "New"), ("TO", "LockedOut"), ("REASON", "nobody said so")] {
        command.env(format!("LIFEGUARD_{name}"), value);
    }
    let ran = run(command).await;
    assert_eq!(ran.code, 2, "{}", ran.output_text());
    assert_eq!(world.get("/api/v1/devices/b1").await["state"], "New");
}

#[tokio::test]
async fn an_empty_variable_is_unset() {
    let help = run(lifeguard(&["serve", "--help"])).await.out;
    let variables = help.split_whitespace().filter_map(|word| {
        word.trim_start_matches("[env:")
            .strip_prefix("LIFEGUARD_")
            .map(|rest| rest.trim_end_matches(['=', ']']))
    });
    let variables: Vec<&str> = variables.collect();
    assert!(variables.len() > 10, "{variables:?}");
    let options = ["serve", "--listen", "127.0.0.1:0", "--states", "/nowhere"];
    let mut command = lifeguard(&options);
    for variable in variables {
        command.env(format!("LIFEGUARD_{variable}"), "");
    }
    assert_eq!(run(command).await.output_text(), run(lifeguard(&options)).await.output_text());
}

#[tokio::test]
async fn an_invalid_definition_is_refused_before_anything_starts() {
    const BOARD: &str = include_str!("../../states/board.yaml");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("board.yaml");
    let data = folder.path().join("data");
    let mut output = Vec::new();
    for (right, wrong) in [
        ("image-running: Ready", "image-running: Redy"),
        ("timeout: { after: 5m,", "timeot: { after: 5m,"),
        ("after: 5m,", "after: 5 fortnights,"),
        ("if: args.fault == 'image'", "if: args.fault = 'image'"),
        ("if: args.fault == 'board'", "if: arg.fault == 'board'"),
        ("counters.ReimageBooted < 10", "counters.ReimageBoted < 10"),
        ("initial: New", "initial: [New"),
        ("machine: board", "machine: boat"),
    ] {
        assert!(BOARD.contains(right), "{right}");
        fs::write(&file, BOARD.replacen(right, wrong, 1)).unwrap();
        let mut command = lifeguard(&["serve", "--listen", "127.0.0.1:0", "--states"]);
        command.arg(&file).arg("--data-dir").arg(&data);
        output.push(run(command).await.output_text());
        assert!(!data.exists(), "{wrong}: no Postgres was made");
    }
    for path in ["none.yaml", ""] {
        let mut command = lifeguard(&["serve", "--listen", "127.0.0.1:0", "--states"]);
        fs::create_dir_all(folder.path().join("empty")).unwrap();
        let at = if path.is_empty() { folder.path().join("empty") } else { folder.path().join(path) };
        command.arg(at).arg("--data-dir").arg(&data);
        output.push(run(command).await.output_text());
        assert!(!data.exists());
    }
    let output = output.join("\n\n").replace(folder.path().to_str().unwrap(), "FOLDER");
    assert_snapshot!(output, @"
    stderr: lifeguard: FOLDER/board.yaml:186:22: error[unknown-target]: unknown target `Redy`; did you mean `Ready`?
    exit 1

    stderr: lifeguard: FOLDER/board.yaml:137:5: error[form]: unknown key `timeot`; did you mean `timeout`?
    exit 1

    stderr: lifeguard: FOLDER/board.yaml:137:23: error[form]: bad duration `5 fortnights`: there is no unit `fortnights`; units are `ms`, `s`, `m`, `h`, `d` and `w`; write it like `60s`, `5m` or `1h 30m`
    exit 1

    stderr: lifeguard: FOLDER/board.yaml:216:28: error[guard-form]: this condition is not CEL: token recognition error at: '= '; write it like `args.fault == 'network' && counters.Booting < 3`
    FOLDER/board.yaml:216:30: error[guard-form]: this condition is not CEL: extraneous input ''image'' expecting <EOF>; write it like `args.fault == 'network' && counters.Booting < 3`
    exit 1

    stderr: lifeguard: FOLDER/board.yaml:217:17: error[unknown-variable]: unknown variable `arg`; did you mean `args`?
    exit 1

    stderr: lifeguard: FOLDER/board.yaml:234:23: error[unknown-counter]: unknown counter `ReimageBoted`; did you mean `ReimageBooted`?
    exit 1

    stderr: lifeguard: FOLDER/board.yaml:44:1: error[yaml]: while parsing a flow sequence, expected ',' or ']'
    exit 1

    stderr: lifeguard: FOLDER/board.yaml: no definition of the machine `board` found
    exit 1

    stderr: lifeguard: failed to open file `FOLDER/none.yaml`: No such file or directory
    exit 1

    stderr: lifeguard: FOLDER/empty: no definition of the machine `board` found
    exit 1
    ");
}

#[tokio::test]
async fn invalid_listen_addresses_are_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let mut output = Vec::new();
    for listen in ["0.0.0.0:0", "[::]:0", &*taken, "localhost:8080", "8080"] {
        let mut command = lifeguard(&["serve", "--listen", listen, "--data-dir"]);
        command.arg(&data);
        output.push(run(command).await.output_text().replace(&taken, "TAKEN"));
        assert!(!data.exists(), "{listen}: no Postgres was made");
    }
    let mut command = lifeguard(&["serve", "--listen", "0.0.0.0:0", "--states", "/nowhere"]);
    command.env("LIFEGUARD_INSECURE", "true");
    output.push(run(command).await.output_text());
    let mut command = lifeguard(&["serve", "--database-url", "postgres://db.lab/lifeguard", "--data-dir"]);
    command.arg(&data);
    output.push(run(command).await.output_text().replace(data.to_str().unwrap(), "DATA"));
    assert_snapshot!(output.join("\n\n"), @"
    stderr: lifeguard: listening beyond loopback without authentication on 0.0.0.0:0: listen on 127.0.0.1, or use --insecure if the network is trusted
    exit 1

    stderr: lifeguard: listening beyond loopback without authentication on [::]:0: listen on 127.0.0.1, or use --insecure if the network is trusted
    exit 1

    stderr: lifeguard: cannot listen on TAKEN: Address already in use
    exit 1

    stderr: error: invalid value 'localhost:8080' for '--listen <ADDRESS:PORT>': an IP address and a port are needed, such as 127.0.0.1:8080 or [::1]:8080

    For more information, try '--help'.
    exit 2

    stderr: error: invalid value '8080' for '--listen <ADDRESS:PORT>': an IP address and a port are needed, such as 127.0.0.1:8080 or [::1]:8080

    For more information, try '--help'.
    exit 2

    stderr: lifeguard: failed to open file `/nowhere`: No such file or directory
    exit 1

    stderr: error: the argument '--database-url <URL>' cannot be used with '--data-dir <DIRECTORY>'

    Usage: lifeguard serve [OPTIONS]

    For more information, try '--help'.
    exit 2
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading_the_active_definition_again_changes_nothing() {
    let world = World::new().await;
    let board = concat!(env!("CARGO_MANIFEST_DIR"), "/states/board.yaml");
    let output =
        session(&world, &[&format!("machine load {board} --dry-run"), &format!("machine load {board}")])
            .await;
    let said = "definition 1 of board is active with this text already: nothing to change\nexit 0";
    assert_eq!(output.matches(said).count(), 2, "{output}");
}
