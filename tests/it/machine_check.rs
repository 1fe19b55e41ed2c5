//! Tests of `lifeguard machine check`: the shipped definitions are clean, and each seeded fault is found by its rule.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use insta::assert_snapshot;
use lifeguard::machine::{Rule, Severity, SourceFault, check};
use serde_json::Value;

/// The YAML files of a directory of the project.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn the_shipped_definitions_are_proved() {
    let (shipped, examples) = (files("states"), files("states/examples"));
    assert!(!shipped.is_empty() && !examples.is_empty());
    for file in shipped.into_iter().chain(examples) {
        let checked = check(&fs::read_to_string(&file).unwrap(), lifeguard::boards::vocabulary());
        let findings: Vec<String> = checked
            .faults
            .iter()
            .map(|fault| fault.display(&file.display().to_string()).to_string())
            .collect();
        assert!(checked.definition.is_some() && findings.is_empty(), "{}", findings.join("\n"));
    }
}

#[test]
fn each_seeded_fault_is_found_by_its_rule_at_its_position() {
    let files = files("fixtures/faults");
    assert!(files.len() >= 20, "{} seeded faults", files.len());
    let mut found_rules = BTreeSet::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let expected: BTreeSet<(String, u64)> = text
            .lines()
            .map_while(|line| line.strip_prefix("# expect: "))
            .map(|line| line.split_once(" at ").unwrap())
            .map(|(rule, line)| (rule.to_owned(), line.parse().unwrap()))
            .collect();
        assert!(!expected.is_empty(), "{}", file.display());
        let errors: Vec<_> = check(&text, lifeguard::boards::vocabulary())
            .faults
            .into_iter()
            .filter(SourceFault::is_error)
            .collect();
        let found: BTreeSet<(String, u64)> =
            errors.iter().map(|fault| (fault.rule.to_string(), fault.line)).collect();
        assert_eq!(found, expected, "{}: {errors:#?}", file.display());
        found_rules.extend(errors.iter().map(|fault| fault.rule));
    }
    let errors = Rule::ALL.iter().filter(|rule| rule.severity() == Severity::Error);
    let missing: Vec<&Rule> = errors.filter(|rule| !found_rules.contains(rule)).collect();
    assert!(missing.is_empty(), "no fault is seeded for {missing:?}");
}

#[test]
fn the_endless_power_cycle_is_shown_as_a_trace() {
    let text = include_str!("../../fixtures/faults/power-cycles-without-end.yaml");
    let faults = check(text, lifeguard::boards::vocabulary()).faults;
    assert_snapshot!(faults[0].message, @"these states can follow one another endlessly: `ReimageBooted`, `ReimageBooting`, `ReimageClearing`, `ReimageComplete`, `ReimageInstalling`, `ReimageRebooting`; ReimageRebooting --(power-cycle-ok)--> ReimageBooting --(live-running)--> ReimageBooted --(image-installing)--> ReimageInstalling --(image-installed)--> ReimageClearing --(clear-pxe-ok)--> ReimageComplete --(10m pass)--> ReimageRebooting. Nothing ends it: give a `timeout` on the way a `limit`, or count in a transition and go on only `if: counters.NAME < N`");
}

#[test]
fn the_original_mozpool_machine_has_its_endless_power_cycle() {
    let text = include_str!("../../fixtures/mozpool-as-it-was.yaml");
    let faults = check(text, lifeguard::boards::vocabulary()).faults;
    let endless: Vec<&str> =
        faults.iter().filter(|fault| fault.rule == Rule::EndlessLoop).map(|fault| &*fault.message).collect();
    assert_snapshot!(endless[0], @"these states can follow one another endlessly: `pc_pinging`, `pc_power_cycling`, `pc_rebooting`; pc_power_cycling --(power-cycle-ok)--> pc_rebooting --(2m pass)--> pc_pinging --(10s pass, limit 12 exceeded)--> pc_power_cycling. Nothing ends it: `exceeded` of the timeout of `pc_pinging` leads on within it: lead it out");
    assert!(endless.len() == 2 && endless[1].contains("`failed_android_downloading`"), "{endless:?}");
    let others: BTreeSet<String> = faults.iter().map(|fault| fault.rule.to_string()).collect();
    let expected = ["endless-loop", "no-deadline", "unhandled-failed", "unreachable"].map(str::to_owned);
    assert_eq!(others, expected.into());
}

/// The program's output and exit status, in the project's directory.
fn check_output(args: &[&str], input: &[u8]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["machine", "check"]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that does not read its input may have exited already.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}exit {}", text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn the_command_reports_faults_and_its_exit_status() {
    let fixture = "fixtures/faults/no-deadline-while-booting.yaml";
    assert_snapshot!(check_output(&["states/board.yaml"], b""), @"
    states/board.yaml: machine board: no errors; 35 states, 24 events
    exit 0
    ");
    assert_snapshot!(check_output(&[fixture, "states/board.yaml"], b""), @"
    fixtures/faults/no-deadline-while-booting.yaml:156:3: error[no-deadline]: `ReimageBooted` may wait forever for an event that never comes: give it `timeout: { after: …, target: … }`; or declare `resting: true` if no work is in progress in it
    states/board.yaml: machine board: no errors; 35 states, 24 events
    exit 1
    ");
    assert_snapshot!(check_output(&["states/none.yaml", fixture], b""), @"
    fixtures/faults/no-deadline-while-booting.yaml:156:3: error[no-deadline]: `ReimageBooted` may wait forever for an event that never comes: give it `timeout: { after: …, target: … }`; or declare `resting: true` if no work is in progress in it
    lifeguard: failed to open file `states/none.yaml`: No such file or directory
    exit 2
    ");
    assert_snapshot!(check_output(&["-"], b"machine: m\ninitial: A\nstates: { A: { resting: true } }"), @"
    standard input:3:11: warning[no-about]: `A` has no `about`: describe in a line what it waits for or what an operator should do
    standard input: machine m: no errors; 1 state, 0 events
    exit 0
    ");
    assert_snapshot!(check_output(&["-"], b"machine: \xff"), @"
    lifeguard: standard input: this is not text in UTF-8
    exit 2
    ");
    assert_snapshot!(check_output(&[], b""), @"
    error: the following required arguments were not provided:
      <FILE>...

    Usage: lifeguard machine check [OPTIONS] [FILE]...

    For more information, try '--help'.
    exit 2
    ");
}

#[test]
fn json_output_has_all_findings() {
    let fixture = "fixtures/faults/misspelt-target.yaml";
    assert_snapshot!(check_output(&["--json", fixture, "states/board.yaml"], b""), @r#"
    [
      {
        "faults": [
          {
            "column": 22,
            "line": 127,
            "message": "unknown target `Redy`; did you mean `Ready`?",
            "rule": "unknown-target",
            "severity": "error"
          }
        ],
        "file": "fixtures/faults/misspelt-target.yaml",
        "ok": false
      },
      {
        "faults": [],
        "file": "states/board.yaml",
        "ok": true
      }
    ]
    exit 1
    "#);
    let answer = check_output(&["--json", "states/board.yaml"], b"");
    let all: Value = serde_json::from_str(answer.strip_suffix("exit 0").unwrap()).unwrap();
    assert_eq!(all[0]["ok"], true);
}

#[test]
fn a_misspelt_setting_is_refused_with_the_valid_settings() {
    let text = include_bytes!("../../fixtures/faults/setting-misspelt.yaml");
    assert_snapshot!(check_output(&["-"], text), @"
    standard input:15:38: error[settings]: unknown setting `intervall`; did you mean `interval`? The settings are `interval` (a time such as `30s`; 30s if left out), `failures` (a whole number, from 1; 3 if left out), `limit` (a time such as `5s`; 5s if left out)
    exit 1
    ");
}

#[test]
fn actions_are_explained_with_their_settings() {
    assert_snapshot!(check_output(&["--explain", "poll"], b""), @"
    poll (action)

    Polls a board at its poll URL. It fails when the board, which has answered there before, gives no
    answer several times in a row; otherwise it runs until the state is left.

    Settings (`with:`)

        interval: a time such as `30s`; 30s if left out
            from the start of one probe to the start of the next
        failures: a whole number, from 1; 3 if left out
            how many probes in a row must fail before the board counts as silent
        limit: a time such as `5s`; 5s if left out
            the time limit of one probe

    Facts of the instance that it uses

        poll_url, answered_url, power_url

    It ends in

        poll-ok, poll-failed

    Limit

        1d, unless `limit:` says otherwise

    It runs

        in the server, or on a worker elsewhere
    exit 0
    ");
    assert_snapshot!(check_output(&["--explain", "power-cycle"], b""), @"
    power-cycle (action)

    Switches the power of a board off and on again, at its power URL. An interrupted power cycle ends
    with the power on.

    Settings (`with:`)

        none

    Facts of the instance that it uses

        power_url

    It ends in

        power-cycle-ok, power-cycle-failed

    Limit

        1m 50s, unless `limit:` says otherwise

    If it is interrupted

        power-on is run

    It runs

        in the server, or on a worker elsewhere
    exit 0
    ");
}

#[test]
fn rules_are_explained() {
    assert_snapshot!(check_output(&["--explain", "no-deadline"], b""), @"
    no-deadline (error)

    A working state (one that is neither `resting`, `final` nor failed) has no `timeout`, and no
    `always` transition leaves it unconditionally.

    Why it matters

    It waits for an event that may never come: reports get lost, boards hang, relay boards lose power. A
    deadline limits the delay to minutes; without one, the board stays in the state until an operator
    notices.

    Wrong

        machine: m
        initial: Booting
        events: { image-running: { from: board } }
        states:
          Booting: { about: the image should report, on: { image-running: Idle } }
          Idle: { resting: true, about: nothing is under way }

    Right

        machine: m
        initial: Booting
        events: { image-running: { from: board } }
        states:
          Booting: { about: the image should report, timeout: { after: 10m, target: Idle }, on: { image-running: Idle } }
          Idle: { resting: true, about: nothing is under way }

    If this is intended

    Declare `resting: true` if no work is in progress in the state and an instance may stay
    indefinitely.
    exit 0
    ");
    assert_snapshot!(check_output(&["--explain", "list"], b""), @"
    RULE              SEVERITY  WHAT IT FINDS
    yaml              error     the text is not YAML
    form              error     something has the wrong form, is missing, or is present twice
    name              error     a name contains an invalid character
    label             error     a state's label is too long, or contains control characters
    unknown-target    error     a state is named that does not exist
    unknown-event     error     an event is named that cannot occur
    unknown-action    error     an action is named that does not exist
    unknown-counter   error     a condition names a counter that nothing counts
    unknown-variable  error     a condition names a variable that does not exist
    unknown-link      error     a link is named that is not declared
    unknown-resource  error     a resource is named that is not declared, or a selector that does not exist
    settings          error     an action has settings that it does not accept
    guard-form        error     a condition cannot be parsed, or contains what conditions may not
    guard-type        error     a condition uses a value of the wrong type, such as a text for a number
    two-senders       error     both an operator and a reporter may send an event
    two-groups        error     two groups define what an event does in a state
    shadowed          error     a transition is never taken, because one before it always is
    always-loop       error     `always` transitions form a cycle
    unreachable       error     nothing leads to a state
    no-way-out        error     a working state cannot be left
    failed-for-ever   error     no operator's event leads out of a failed state
    final-goes-on     error     a final state does something, or can be left
    no-deadline       error     a working state may last forever
    endless-loop      error     working states can follow one another endlessly
    unclaimed-hold    error     a state holds a resource that nothing claims before it is entered
    hold-order        error     states claim the resources that they hold in different orders
    unhandled-ok      error     no state awaits an action's success
    unhandled-failed  error     a state does not handle its action's failure
    never-holds       warning   a condition never holds
    unused-event      warning   no state handles an event
    unused-resource   warning   a resource is declared, and no state holds it
    idle-counter      warning   a counter is counted or cleared without effect
    no-about          warning   a state has no description (`about`)
    long-duration     warning   a duration is in months or years

    ACTION       SETTINGS
    clear-pxe
    notify       to, url, headers, secret_file, command, message, facts, retries, timeout
    poll         interval, failures, limit
    power-cycle
    power-off
    power-on
    power-read
    power-scan
    probe
    set-pxe
    exit 0
    ");
    for (what, advice) in [
        ("endless", "`--explain list` lists all"),
        ("endless-lop", "did you mean `endless-loop`?"),
        ("pol", "did you mean `poll`?"),
    ] {
        let unknown = check_output(&["--explain", what], b"");
        let error = format!("lifeguard: no such rule or action: {what}; {advice}\nexit 2");
        assert!(unknown.ends_with(&error) && unknown.lines().count() == 2, "{unknown}");
    }
}

/// The example below `heading`, without its indentation.
fn example(page: &str, heading: &str) -> String {
    let below = page.split(&format!("\n{heading}\n\n")).nth(1).unwrap_or_default();
    let lines = below.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_page_shows_a_fault_and_its_correction() {
    for rule in Rule::ALL {
        let page = check_output(&["--explain", rule.id()], b"");
        assert!(page.starts_with(&format!("{rule} ({})\n", rule.severity())), "{rule}: {page}");
        for heading in ["Why it matters", "Wrong", "Right", "If this is intended"] {
            assert!(page.contains(&format!("\n\n{heading}\n\n")), "{rule}: {heading}");
        }
        let found = |heading| {
            let faults = check(&example(&page, heading), lifeguard::boards::vocabulary()).faults;
            faults.iter().map(|fault| fault.rule).collect::<BTreeSet<_>>()
        };
        assert_eq!(found("Wrong"), BTreeSet::from([*rule]), "{rule}");
        assert_eq!(found("Right"), BTreeSet::new(), "{rule}");
        assert!(page.lines().all(|line| line.chars().count() <= 120), "{rule}");
    }
}
