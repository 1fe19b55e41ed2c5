//! Limits of the resources that states hold.

use std::collections::BTreeSet;
use std::time::Duration;

use super::dispatcher::ticks;
use super::profile::Profile;
use machine::{Definition, ResourceName};
use schedule::LimitedResource;

/// The resources that states hold, by name, with their limits: those of the profile, otherwise those of the first
/// definition that declares the resource.
///
/// The candidates of a selector are not known here, so a selector is one resource, unlimited unless the profile limits it.
pub(super) fn held_resources<'a>(
    definitions: &[&'a Definition],
    profile: &Profile,
) -> Vec<(&'a ResourceName, Option<LimitedResource>)> {
    let states = definitions.iter().flat_map(|definition| definition.states.values());
    let names: BTreeSet<&'a ResourceName> = states.flat_map(|state| state.hold.keys()).collect();
    names.into_iter().map(|name| (name, limits(name, definitions, profile))).collect()
}

fn limits(name: &ResourceName, definitions: &[&Definition], profile: &Profile) -> Option<LimitedResource> {
    let declared = definitions.iter().find_map(|definition| definition.resources.get(name));
    let declared = declared.filter(|declared| declared.any.is_none());
    let profiled = profile.resources.get(name).copied().unwrap_or_default();
    let capacity = profiled.capacity.or(declared.and_then(|declared| declared.capacity));
    let gap_ms = profiled.gap_ms.or(declared.and_then(|declared| milliseconds(declared.gap))).unwrap_or(0);
    let settle_ms =
        profiled.settle_ms.or(declared.and_then(|declared| milliseconds(declared.settle))).unwrap_or(0);
    (capacity.is_some() || gap_ms > 0 || settle_ms > 0).then(|| LimitedResource {
        gap: ticks(gap_ms),
        settle: ticks(settle_ms),
        ..LimitedResource::of(capacity.unwrap_or(u32::MAX))
    })
}

fn milliseconds(span: Duration) -> Option<u64> {
    u64::try_from(span.as_millis()).ok()
}
