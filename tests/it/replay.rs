//! Replay of history through the kernel: it must give the stored instances.

use futures_util::TryStreamExt;
use lifeguard::boards::Board;
use lifeguard::boards::store::devices;
use lifeguard::boards::store::lists::{self, BoardFilter};
use lifeguard::engine::replay::{ReplayRequest, replay};
use lifeguard::machine::MachineName;
use lifeguard::store::Store;
use lifeguard::store::history;

/// All boards with all fields.
pub(crate) async fn boards(store: &Store) -> Vec<Board> {
    let machine = MachineName::new("board").unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    let listed = lists::read(&mut snapshot, &machine, &BoardFilter::default(), "", i64::MAX).unwrap();
    let listed: Vec<_> = listed.try_collect().await.unwrap();
    let mut boards = Vec::new();
    for listed in listed {
        let name = listed.read().unwrap().name;
        boards.push(devices::find(&mut snapshot, &machine, name).await.unwrap().unwrap());
    }
    boards
}

/// Replays the history of every instance and compares the result with the stored instance, including the outcomes of
/// single entries.
pub(crate) async fn assert_history_gives_instances(store: &Store) {
    let machine = MachineName::new("board").unwrap();
    let wanted = ReplayRequest { machine, name: None, since: None, what_if_definition: None };
    let replayed = replay(store, lifeguard::boards::vocabulary(), &wanted).await.unwrap();
    assert!(replayed.instances > 0 && replayed.forgotten == 0, "{replayed:?}");
    assert_eq!(replayed.difference, None);
    // Every entry into a state was written once: `always` enters two at once, and nothing else skips a visit.
    for Board { id, instance, .. } in boards(store).await {
        let entries = history::list_all(&mut store.reader().await.unwrap(), id).await.unwrap();
        let mut entered: Vec<i64> =
            entries.iter().filter(|entry| entry.outcome == "moved").map(|entry| entry.visit.0).collect();
        let all = entered.len();
        entered.dedup();
        assert_eq!(entered.len(), all, "{}: {entries:?}", instance.name);
    }
}
