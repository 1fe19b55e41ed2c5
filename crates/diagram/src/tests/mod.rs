//! Properties of diagrams of any definition.

mod generate;
mod meeting;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::draw::draw;
use super::scene::ScenePart;
use super::{InstanceOverlay, dot, mermaid, svg};
use generate::for_generated;
use machine::testing::{load_unproved, vocabulary};
use machine::{Definition, StateName};
use meeting::faults;

const ACTIONS: &[&str] = &["clear-pxe", "poll", "power-cycle", "power-off", "power-on", "set-pxe"];
const BOARD: &str = include_str!("../../../../states/board.yaml");
const MOZPOOL: &str = include_str!("../../../../states/mozpool.yaml");
const MOZPOOL_ORIGINAL: &str = include_str!("../../../../fixtures/mozpool-as-it-was.yaml");

fn read(text: &str) -> Definition {
    load_unproved(text, &vocabulary(ACTIONS)).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn state(name: &str) -> StateName {
    StateName::new(name).unwrap()
}

#[test]
fn nothing_overlaps_in_the_diagrams_of_the_shipped_machines() {
    let counts =
        |definition: &Definition| definition.states.keys().map(|name| (name.clone(), 88_888)).collect();
    for text in [BOARD, MOZPOOL, MOZPOOL_ORIGINAL] {
        let definition = read(text);
        let overlay = InstanceOverlay { present: None, counts: counts(&definition) };
        let scene = draw(&definition).with_overlay(&overlay);
        assert_eq!(faults(&scene), Vec::<String>::new(), "{}", definition.machine);
        assert!(scene.width <= 1360, "{} is {} wide", definition.machine, scene.width);
        assert!(scene.frames.len() >= definition.states.len());
        for name in definition.states.keys() {
            let drawn = scene.frames.iter().filter(|frame| frame.state.as_deref() == Some(name.as_str()));
            assert_eq!(drawn.count(), 1, "{name}");
        }
    }
}

#[test]
fn overlaps_are_found() {
    let definition = read(BOARD);
    let scene = draw(&definition);
    let mut moved = scene.clone();
    for part in &mut moved.frames[3].parts {
        if let ScenePart::Text(text) = part {
            text.x += 300;
        }
    }
    assert!(faults(&moved).iter().any(|fault| fault.contains("is outside of")));
    let mut moved = scene.clone();
    moved.frames[3].rect = moved.frames[4].rect;
    assert!(faults(&moved).iter().any(|fault| fault.contains("overlaps")));
    let mut moved = scene;
    let shifted =
        moved.lines.iter().map(|line| line.points.iter().map(|(x, y)| (x + 60, *y)).collect::<Vec<_>>());
    let shifted: Vec<_> = shifted.collect();
    moved.lines.iter_mut().zip(shifted).for_each(|(line, points)| line.points = points);
    assert!(faults(&moved).iter().any(|fault| fault.contains("runs through")));
}

#[test]
fn nothing_overlaps_in_generated_diagrams() {
    for_generated(200, 1..16, |definition| {
        let scene = draw(definition);
        prop_assert_eq!(faults(&scene), Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn a_machine_of_two_hundred_states_is_drawn() {
    for_generated(1, 200..201, |definition| {
        let scene = draw(definition);
        prop_assert_eq!(faults(&scene), Vec::<String>::new());
        prop_assert_eq!(scene.frames.iter().filter(|frame| frame.state.is_some()).count(), 201);
        Ok(())
    });
}

/// The names of a document's tags; checks that tags are closed, entities known and attributes quoted.
fn tags(document: &str) -> Vec<&str> {
    let (mut open, mut names) = (Vec::new(), Vec::new());
    for (index, piece) in document.split('<').enumerate() {
        let Some((tag, _)) = piece.split_once('>') else {
            assert!(index == 0 && piece.is_empty(), "{piece}");
            continue;
        };
        for entity in piece.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
            assert!(known.iter().any(|known| entity.starts_with(known)), "&{entity}");
        }
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            let name = tag.split(' ').next().unwrap_or_default();
            open.push(name);
            names.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    names
}

#[test]
fn an_svg_is_well_formed_and_deterministic() {
    for_generated(50, 1..8, |definition| {
        let picture = svg(definition, &InstanceOverlay::default());
        prop_assert!(tags(&picture).len() > 5);
        prop_assert_eq!(&picture, &svg(definition, &InstanceOverlay::default()));
        Ok(())
    });
    for text in [BOARD, MOZPOOL] {
        assert!(tags(&svg(&read(text), &InstanceOverlay::default())).len() > 100);
    }
}

#[test]
fn the_overlay_highlights_a_state_and_shows_counts_without_moving_anything() {
    let definition = read(BOARD);
    let plain = svg(&definition, &InstanceOverlay::default());
    assert!(!plain.contains(" present\"") && !plain.contains("class=\"count\""));
    let counts =
        BTreeMap::from([(state("Ready"), 1_234_567), (state("New"), 0), (state("ReimageBooting"), 3)]);
    let overlay = InstanceOverlay { present: Some(state("ReimageBooting")), counts };
    let marked = svg(&definition, &overlay);
    assert!(marked.contains("<g class=\"state working present\" data-state=\"ReimageBooting\">"));
    assert_eq!(marked.matches("class=\"state working present\"").count(), 1);
    assert!(marked.contains(">1234k</text>") && marked.contains(">3</text>"));
    assert_eq!(marked.matches("class=\"count\"").count(), 2);
    let paths = |picture: &str| {
        let tags =
            picture.split_inclusive('>').filter_map(|tag| tag.split_once(" d=\"").map(|(_, path)| path));
        let mut paths: Vec<String> = tags.map(str::to_owned).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(&plain), paths(&marked));
}

/// A machine with one element of each kind.
const SMALL: &str = r#"
machine: small
initial: Idle
events:
  start: { from: operator, about: "begin: now" }
  up: { from: board }
states:
  Idle: { resting: true, on: { start: Working } }
  Working:
    invoke: [power-cycle]
    timeout: { after: 1m, target: Working, limit: 2, exceeded: FailedWorking }
    on:
      up: [{ if: data.x == 1, target: Done }, Idle]
      power-cycle-failed: FailedWorking
  FailedWorking: { on: { start: Working } }
  Parked: { resting: true, on: { start: Working } }
  Done: { final: true }
"#;

#[test]
fn mermaid_has_every_state_and_every_edge() {
    insta::assert_snapshot!(mermaid(&read(SMALL)), @r##"
    ---
    title: small
    ---
    stateDiagram-v2
      direction TB
      classDef resting fill:#e9f6ee,stroke:#1c7d46,color:#1d2330
      classDef working fill:#ffffff,stroke:#5a6473,color:#1d2330
      classDef failed fill:#fcedeb,stroke:#b3261e,color:#1d2330
      classDef final fill:#ffffff,stroke:#1d2330,stroke-width:3px,color:#1d2330
      classDef shared fill:#f7effb,stroke:#7a2ea8,stroke-dasharray:5 3,color:#1d2330
      state "A: FailedWorking, Idle and Parked" as shared0
      class shared0 shared
      state "Done" as s0
      class s0 final
      state "FailedWorking" as s1
      class s1 failed
      s1: takes A
      state "Idle" as s2
      class s2 resting
      s2: takes A
      state "Parked" as s3
      class s3 resting
      s3: takes A
      state "Working" as s4
      class s4 working
      s4: runs power-cycle
      s4: again after 1m, 2× (time)
      [*] --> s2
      shared0 --> s4: start (operator)
      s4 --> s0: up ? (board)
      s4 --> s1: power-cycle-failed (action), 3rd time (time)
      s4 --> s2: up ? (board)
      s0 --> [*]
    "##);
}

#[test]
fn dot_has_every_state_and_every_edge() {
    insta::assert_snapshot!(dot(&read(SMALL)), @r##"
    digraph "small" {
      label="small";
      rankdir=TB; newrank=true; labelloc=t; fontname="Helvetica";
      node [fontname="Helvetica", fontsize=11, style=filled, shape=box];
      edge [fontname="Helvetica", fontsize=10];
      "Idle" [label="Idle\ntakes A", style="filled,rounded", fillcolor="#e9f6ee", color="#1c7d46"];
      "Parked" [label="Parked\ntakes A", style="filled,rounded", fillcolor="#e9f6ee", color="#1c7d46"];
      subgraph cluster_0 {
        label=""; color="#c8cdd5";
        "Working" [label="Working\nruns power-cycle\nagain after 1m, 2×", fillcolor="#ffffff", color="#5a6473"];
        "FailedWorking" [label="FailedWorking\ntakes A", shape=octagon, fillcolor="#fcedeb", color="#b3261e"];
        "Done" [label="Done", peripheries=2, fillcolor="#ffffff", color="#1d2330"];
      }
      "(A)" [label="A: FailedWorking, Idle and Parked", style=dashed, color="#7a2ea8"];
      "(A)" -> "Working" [label="start", color="#7a2ea8", fontcolor="#7a2ea8"];
      "(begin)" [shape=point, label=""];
      "(begin)" -> "Idle";
      "Working" -> "Done" [label="up ?", color="#1559b8", fontcolor="#1559b8"];
      "Working" -> "FailedWorking" [label="power-cycle-failed\n3rd time", color="#08746b", fontcolor="#08746b"];
      "Working" -> "Idle" [label="up ?", color="#1559b8", fontcolor="#1559b8", constraint=false];
    }
    "##);
}
