//! History replayed through the kernel: it must give the instances as they are stored.

use std::collections::BTreeMap;

use lifeguard::action::ACTIONS;
use lifeguard::machine::{self, Cause, Decision, Definition, Instance, MachineName, Outcome};
use lifeguard::store::Store;
use lifeguard::store::devices::{self, Board, Filter};
use lifeguard::store::history::{self, Entry, Told};

/// The board lifecycle that is built in.
const BOARD_YAML: &str = include_str!("../../states/board.yaml");

/// All boards in full.
pub(crate) async fn boards(store: &Store) -> Vec<Board> {
    let machine = MachineName::new("board").unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    let listed = devices::list(&mut snapshot, &machine, &Filter::default(), "", i64::MAX).await.unwrap();
    let mut boards = Vec::new();
    for board in listed {
        boards.push(devices::find(&mut snapshot, &machine, &board.name).await.unwrap().unwrap());
    }
    boards
}

/// Replays the history of every instance and compares what comes out with what is stored, outcomes of single entries
/// included. Nothing may be writing meanwhile: stop or kill the servers first.
pub(crate) async fn assert_history_gives_instances(store: &Store) {
    let definition = machine::load(BOARD_YAML, ACTIONS).unwrap();
    let boards = boards(store).await;
    let mut db = store.reader().await.unwrap();
    assert!(!boards.is_empty(), "there is nothing to replay");
    for Board { id, instance: stored, .. } in boards {
        let entries = history::list_all(&mut db, id).await.unwrap();
        let replayed = replay(&definition, &stored.name, &entries);
        assert_eq!(replayed, stored, "{} is not what its history says", stored.name);
    }
}

fn replay(definition: &Definition, name: &str, entries: &[Entry]) -> Instance {
    let mut decided = entries.iter().filter_map(|entry| match &entry.told {
        Told::Stimulus(stimulus) => Some((entry, stimulus)),
        Told::Note(_) => None,
    });
    let (first, created) = decided.next().unwrap_or_else(|| panic!("{name} has no history"));
    assert_eq!(created.cause, Cause::Created, "the first that is known of {name}");
    let mut instance = machine::create(definition, name, created.device.clone(), first.at).instance;
    let mut counted = BTreeMap::from([(instance.visit, 1)]);
    for (entry, stimulus) in decided {
        let decision = machine::decide(definition, &instance, stimulus, entry.at);
        assert_agrees(&decision, &instance, entry);
        if matches!(decision.outcome, Outcome::Moved { .. }) {
            *counted.entry(decision.instance.visit).or_insert(0) += 1;
        }
        instance = decision.instance;
    }
    // Every entry of a state was written once: `always` enters two at once, and nothing else skips a number.
    assert!(counted.values().all(|times| *times == 1), "{name}: visits {counted:?}");
    instance
}

/// Says whether an entry tells what the kernel makes of its stimulus.
fn assert_agrees(decision: &Decision, before: &Instance, entry: &Entry) {
    let outcome = match &decision.outcome {
        Outcome::Moved { .. } => "moved",
        Outcome::Stayed => "stayed",
        Outcome::Ignored(_) => "ignored",
    };
    let name = &before.name;
    assert_eq!(entry.outcome, outcome, "{name}: {entry:?}");
    assert_eq!((&entry.from, &entry.to), (&before.state, &decision.instance.state), "{name}: {entry:?}");
    assert_eq!(entry.visit, decision.instance.visit, "{name}: {entry:?}");
}
