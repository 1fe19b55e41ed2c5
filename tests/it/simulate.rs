//! `lifeguard machine simulate` as its user sees it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const BOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/states/board.yaml");
const FARM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/profiles/board.yaml");

fn simulate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIFEGUARD_") {
            command.env_remove(name);
        }
    }
    command.args(["machine", "simulate"]).args(args).output().unwrap()
}

fn out(args: &[&str]) -> String {
    let output = simulate(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fault(args: &[&str]) -> String {
    let output = simulate(args);
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn text_of(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}

#[test]
fn the_same_seed_prints_the_same_on_any_number_of_threads() {
    let args = |threads, seed| {
        [
            BOARD,
            "--profile",
            FARM,
            "--instances",
            "200",
            "--days",
            "2",
            "--json",
            "--threads",
            threads,
            "--seed",
            seed,
        ]
    };
    let one = out(&args("1", "9"));
    assert_eq!(one, out(&args("1", "9")));
    assert_eq!(one, out(&args("2", "9")));
    assert_eq!(one, out(&args("7", "9")));
    assert_ne!(one, out(&args("2", "10")));
    let report: Value = serde_json::from_str(&one).unwrap();
    assert_eq!((&report["instances"], &report["days"], &report["seed"]), (&200.into(), &2.into(), &9.into()));
    assert!(report["availability"]["share"].as_f64().unwrap() > 0.9);
}

#[test]
fn tables_csv_and_svg_show_the_same_farm() {
    let dir = tempfile::tempdir().unwrap();
    let (csv, svg) = (dir.path().join("farm.csv"), dir.path().join("farm.svg"));
    let files = ["--csv", csv.to_str().unwrap(), "--svg", svg.to_str().unwrap()];
    let size = [BOARD, "--boards", "100", "--days", "2", "--every", "6h"];
    let text = out(&[&size[..], &files].concat());
    for part in [
        "SIMULATION\n100 instances of machine board on 13 relay boards and 4 circuits, 2 days, seed 1",
        "AVAILABILITY\n",
        "INSTANCES IN EACH STATE OVER TIME\nSTATE",
        "TIME TO AVAILABLE AFTER",
        "POWER\n",
    ] {
        assert!(text.contains(part), "no {part}\n{text}");
    }
    let csv = text_of(&csv);
    assert!(csv.starts_with("time_s,state,instances,machine\n0,"), "{csv}");
    for at_s in (0..=48).step_by(6).map(|hours| hours * 3600) {
        let begins = format!("{at_s},");
        let boards: u32 = csv
            .lines()
            .filter(|line| line.starts_with(&begins))
            .map(|line| line.split(',').nth(2).unwrap().parse::<u32>().unwrap())
            .sum();
        assert_eq!(boards, 100, "at {at_s} s\n{csv}");
    }
    assert_eq!(out(&[&size[..], &["--csv", "-"]].concat()), csv);
    let svg = text_of(&svg);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains(">Ready</text>"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn invalid_input_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("p.yaml");
    fs_err::write(&profile, "states:\n  RebootComplet: []\n").unwrap();
    let text = fault(&[BOARD, "--profile", profile.to_str().unwrap()]);
    assert!(
        text.contains(
            "p.yaml:2:3: error[unknown-target]: unknown state `RebootComplet`; did you mean `RebootComplete`?"
        ),
        "{text}"
    );
    assert!(fault(&[BOARD, "--boards", "0"]).contains("at least one instance and one day"));
    assert!(
        fault(&[BOARD, "--boards", "4000000000", "--days", "10"]).contains("at most 12000000 are simulated")
    );
    assert!(fault(&[BOARD, "--every", "1ms"]).contains("a whole number of seconds"));
    assert!(fault(&[BOARD, "--json", "--csv", "-"]).contains("both print on standard output"));
    assert!(fault(&["no-such-file.yaml"]).contains("no-such-file.yaml"));
    let storm = dir.path().join("storm.yaml");
    let text = "{ machine: m, initial: A, states: { A: { about: a rest, resting: true, timeout: { at: 2020-01-01T00:00:00, target: A } } } }";
    fs_err::write(&storm, text).unwrap();
    assert!(fault(&[storm.to_str().unwrap(), "--days", "1"]).contains("does not come to rest: in state A"));
}

#[test]
fn linked_machines_are_in_every_output_and_a_missing_one_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs_err::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let lease = write(
        "lease.yaml",
        "{ machine: lease, initial: Asking, links: { thing: thing }, states: {
             Asking: { resting: true, about: it asks, entry: { raise: { event: claim, to: thing } },
               on: { claim-refused: Refused } },
             Refused: { resting: true, about: somebody else has it } } }",
    );
    let thing = write(
        "thing.yaml",
        "{ machine: thing, initial: Free, events: { claim: { from: { machine: lease } } }, states: {
             Free: { resting: true, about: nobody has it, on: { claim: Held } },
             Held: { resting: true, about: somebody has it } } }",
    );
    let profile = write("p.yaml", "links: { thing: { shared_by: 2 } }");
    let svg = dir.path().join("all.svg");
    let size = ["--instances", "10", "--days", "1"];
    let both = [&[&*lease, &thing, "--profile", &profile][..], &size].concat();
    let text = out(&[&both[..], &["--svg", svg.to_str().unwrap()]].concat());
    let table = "RAISED  BY     AT     TIMES  REFUSED\nclaim   lease  thing  10     5\n\nLINKED MACHINE thing\n5 instances";
    assert!(text.contains(table) && !text.contains("NOT SIMULATED") && !text.contains("POWER"), "{text}");
    let csv = out(&[&both[..], &["--csv", "-"]].concat());
    assert!(csv.contains("\n86400,Refused,5,lease\n") && csv.ends_with("\n86400,Held,5,thing\n"), "{csv}");
    let svg = text_of(&svg);
    assert!(svg.contains(">lease: 10 instances") && svg.contains(">thing: 5 instances"), "{svg}");

    let alone = simulate(&[&[&*lease][..], &size].concat());
    let not_simulated = "events that lease raises at thing by the link `thing` are not simulated (`claim`)";
    let (text, warned) = (String::from_utf8(alone.stdout).unwrap(), String::from_utf8(alone.stderr).unwrap());
    assert!(alone.status.success() && text.contains(not_simulated), "{text}");
    assert!(warned.contains(&format!("warning: {not_simulated}")), "{warned}");
    assert!(fault(&[&lease, BOARD]).contains("leads to board: leave it out"));
}
