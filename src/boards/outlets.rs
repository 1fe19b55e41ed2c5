//! What only one board can have: its MAC address, by which boot loaders ask, and the outlet that switches its power.

use std::collections::BTreeMap;
use std::error::Error;

use super::device::Device;
use super::store::devices::{self, OutletAssignment};
use crate::actions;
use crate::store::{Store, StoreError};

/// The outlet that switches a board's power.
pub(super) fn outlet_of(device: &Device) -> Option<String> {
    device.power_url.as_deref().and_then(actions::power_outlet)
}

/// Fills in the outlets of boards that were written by a program which does not know them, and names the boards that
/// share one: they stay, each power operation on one of them strikes the other, and only a person knows which is right.
pub(super) async fn assign_outlets(store: &Store) {
    if let Err(error) = store.within(Store::MAX_STATEMENT_TIME, try_assign_outlets(store)).await {
        tracing::warn!(error = &error as &dyn Error, "power outlets not compared; boards may share one");
    }
}

async fn try_assign_outlets(store: &Store) -> Result<(), StoreError> {
    let wirings = devices::list_outlet_assignments(&mut *store.reader().await?).await?;
    let changed = find_changed_assignments(wirings, |first, second, outlet| {
        tracing::warn!(outlet, first, second, "two boards share a power outlet; change the power URL of one");
    });
    if changed.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    devices::save_outlets(&mut tx, &changed).await?;
    tx.commit().await
}

/// The wirings whose outlets are to be written; `shared` is told of each board that has another one's.
fn find_changed_assignments(
    wirings: Vec<OutletAssignment>,
    mut shared: impl FnMut(&str, &str, &str),
) -> Vec<OutletAssignment> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut changed = Vec::new();
    for wiring in wirings {
        let outlet = wiring.power_url.as_deref().and_then(actions::power_outlet);
        let outlet = outlet.filter(|outlet| match owners.get(outlet) {
            Some(first) => {
                shared(first, &wiring.name, outlet);
                false
            }
            None => true,
        });
        owners.extend(outlet.clone().map(|outlet| (outlet, wiring.name.clone())));
        if outlet != wiring.outlet {
            changed.push(OutletAssignment { outlet, ..wiring });
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::instances::InstanceId;

    #[test]
    fn the_first_of_several_boards_has_the_outlet_and_all_others_are_told() {
        let wiring = |id, url: Option<&str>, outlet: Option<&str>| OutletAssignment {
            id: InstanceId(id),
            name: format!("b{id}"),
            power_url: url.map(str::to_owned),
            outlet: outlet.map(str::to_owned),
        };
        let (five, six) = ("modbus://relay:502/5?unit=1", "modbus://relay:502/6?unit=1");
        let wirings = vec![
            wiring(1, Some("modbus://relay/5"), None),
            wiring(2, Some("modbus://RELAY:502/5?off=9s"), None),
            wiring(3, Some("modbus://relay/6"), Some(six)),
            wiring(4, Some("modbus://relay/6?unit=1"), Some(five)),
            wiring(5, None, Some(five)),
            wiring(6, Some("not a URL"), None),
        ];
        let mut told = Vec::new();
        let changed = find_changed_assignments(wirings, |first, second, outlet| {
            told.push(format!("{first} {second} {outlet}"))
        });
        assert_eq!(told, [format!("b1 b2 {five}"), format!("b3 b4 {six}")]);
        let changed: Vec<_> = changed.into_iter().map(|wiring| (wiring.name, wiring.outlet)).collect();
        let expected = [("b1", Some(five)), ("b4", None), ("b5", None)];
        assert_eq!(changed, expected.map(|(name, outlet)| (name.to_owned(), outlet.map(str::to_owned))));
    }
}
