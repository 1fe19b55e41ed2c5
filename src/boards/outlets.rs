//! Power outlets of boards: an outlet can belong to one board only.

use std::collections::BTreeMap;

use super::device::Device;
use super::observed_power::ObservedPower;
use super::store::devices::{self, OutletAssignment};
use super::store::powers;
use crate::actions;
use crate::formatting::with_causes;
use crate::outlets::instance_name;
use crate::store::instances::InstanceId;
use crate::store::{DbConnection, Store, StoreError};

/// Returns the outlet that switches a board's power.
pub(super) fn outlet_of(device: &Device) -> Option<String> {
    device.power_url.as_deref().and_then(actions::power_outlet)
}

/// Reads what was last observed of a board's power; `None` where nothing was and nothing can be: it has no power URL.
pub(super) async fn read_power(
    db: &mut DbConnection,
    board: InstanceId,
    device: &Device,
) -> Result<Option<ObservedPower>, StoreError> {
    let outlet = outlet_of(device).map(|outlet| instance_name(&outlet));
    let history = powers::read_history(db, board, outlet.as_deref()).await?;
    let is_known = device.power_url.is_some() || !history.observations.is_empty();
    let has_wiring = device.power_url.as_deref().is_some_and(actions::has_power_wiring);
    Ok(is_known.then(|| ObservedPower::of_history(&history, has_wiring)))
}

/// Assigns outlets to boards that were written by earlier releases, and logs boards that share one.
///
/// Shared outlets stay as they are until an operator corrects a power URL: a power operation on one board affects the other.
pub(super) async fn assign_outlets(store: &Store) {
    if let Err(error) = store.within(Store::MAX_STATEMENT_TIME, try_assign_outlets(store)).await {
        tracing::warn!(error = %with_causes(&error), "cannot check whether boards share a power outlet, trying again at the next start");
    }
}

async fn try_assign_outlets(store: &Store) -> Result<(), StoreError> {
    let assignments = devices::list_outlet_assignments(&mut *store.reader().await?).await?;
    let changed = find_changed_assignments(assignments, |first, second, outlet| {
        tracing::warn!(outlet, first, second, "two boards share a power outlet; change the power URL of one");
    });
    if changed.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    devices::save_outlets(&mut tx, &changed).await?;
    tx.commit().await
}

/// Returns the assignments that changed, and calls `on_shared` for each board that has the outlet of an earlier one.
fn find_changed_assignments(
    assignments: Vec<OutletAssignment>,
    mut on_shared: impl FnMut(&str, &str, &str),
) -> Vec<OutletAssignment> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut changed = Vec::new();
    for assignment in assignments {
        let outlet = assignment.power_url.as_deref().and_then(actions::power_outlet);
        let outlet = outlet.filter(|outlet| match owners.get(outlet) {
            Some(first) => {
                on_shared(first, &assignment.name, outlet);
                false
            }
            None => true,
        });
        owners.extend(outlet.clone().map(|outlet| (outlet, assignment.name.clone())));
        if outlet != assignment.outlet {
            changed.push(OutletAssignment { outlet, ..assignment });
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_boards_has_the_outlet_and_the_others_are_reported() {
        let assignment = |id, url: Option<&str>, outlet: Option<&str>| OutletAssignment {
            id: InstanceId(id),
            name: format!("b{id}"),
            power_url: url.map(str::to_owned),
            outlet: outlet.map(str::to_owned),
        };
        let (five, six) = ("modbus://relay:502/5?unit=1", "modbus://relay:502/6?unit=1");
        let assignments = vec![
            assignment(1, Some("modbus://relay/5"), None),
            assignment(2, Some("modbus://RELAY:502/5?off=9s"), None),
            assignment(3, Some("modbus://relay/6"), Some(six)),
            assignment(4, Some("modbus://relay/6?unit=1"), Some(five)),
            assignment(5, None, Some(five)),
            assignment(6, Some("not a URL"), None),
        ];
        let mut shared = Vec::new();
        let changed = find_changed_assignments(assignments, |first, second, outlet| {
            shared.push(format!("{first} {second} {outlet}"));
        });
        assert_eq!(shared, [format!("b1 b2 {five}"), format!("b3 b4 {six}")]);
        let changed: Vec<_> =
            changed.into_iter().map(|assignment| (assignment.name, assignment.outlet)).collect();
        let expected = [("b1", Some(five)), ("b4", None), ("b5", None)];
        assert_eq!(changed, expected.map(|(name, outlet)| (name.to_owned(), outlet.map(str::to_owned))));
    }
}
