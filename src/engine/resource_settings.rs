//! Changes of what operators set for resources.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::error::EngineError;
use super::handle::Engine;
use super::refusal::FaceRefusal;
use super::resource_requests::MAX_CONTAINERS;
use crate::machine::suggestion;
use crate::store::queue::ResourceSettings;
use crate::store::{Tx, resource_settings};

/// How long a resource must not have been used before its row is deleted: longer than a grant takes to be written.
const MIN_UNUSED: TimeDelta = TimeDelta::minutes(1);

/// An update of settings.
#[derive(Debug, Clone, PartialEq)]
pub enum SettingsUpdate {
    /// The settings of one resource, in place of those before.
    One(String, ResourceSettings),
    /// Changes of the settings of one resource; the others stay.
    Patch(String, SettingsPatch),
    /// Of one resource nothing is set any more.
    Remove(String),
    /// The settings of all resources; of those that are missing nothing is set any more.
    All(BTreeMap<String, ResourceSettings>),
}

/// New values of settings; `Some(None)` unsets one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettingsPatch {
    /// The number of units.
    pub capacity: Option<Option<u32>>,
    /// The time between two grants, in milliseconds.
    pub gap_ms: Option<Option<u64>>,
    /// The time between a release and the next grant, in milliseconds.
    pub settle_ms: Option<Option<u64>>,
    /// How long released units with load count as in use, in milliseconds.
    pub window_ms: Option<Option<u64>>,
    /// The load that may be in use, in milliampere.
    pub budget_ma: Option<Option<u32>>,
    /// The least time for which a cycle keeps off what it switches, in milliseconds.
    pub min_off_ms: Option<Option<u64>>,
    /// The resource that contains it.
    pub within: Option<Option<String>>,
    /// What it is, for people.
    pub about: Option<Option<String>>,
}

impl SettingsPatch {
    fn apply_to(self, settings: &mut ResourceSettings) {
        let overrides = &mut settings.overrides;
        overrides.capacity = self.capacity.unwrap_or(overrides.capacity);
        overrides.gap_ms = self.gap_ms.unwrap_or(overrides.gap_ms);
        overrides.settle_ms = self.settle_ms.unwrap_or(overrides.settle_ms);
        settings.window_ms = self.window_ms.map_or(settings.window_ms, Option::unwrap_or_default);
        settings.budget_ma = self.budget_ma.unwrap_or(settings.budget_ma);
        settings.min_off_ms = self.min_off_ms.map_or(settings.min_off_ms, Option::unwrap_or_default);
        if let Some(within) = self.within {
            settings.within = within;
        }
        if let Some(about) = self.about {
            settings.about = about;
        }
    }
}

/// The change of a resource's settings; default settings are none.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsChange {
    /// The resource.
    pub name: String,
    /// The settings before.
    pub before: ResourceSettings,
    /// The settings after.
    pub after: ResourceSettings,
}

/// Applies an update, and returns what changed, by name.
///
/// # Errors
///
/// [`EngineError::Refused`] when a resource is within one that does not exist, within itself, or too deep;
/// [`EngineError::Store`] when a statement fails. The transaction must not be committed then.
pub async fn update_settings(
    tx: &mut Tx,
    update: SettingsUpdate,
    now: DateTime<Utc>,
) -> Result<Vec<SettingsChange>, EngineError> {
    resource_settings::lock_all(tx).await?;
    let before = resource_settings::list_settings(tx).await?;
    let mut after = before.clone();
    let removed: Vec<String> = match update {
        SettingsUpdate::One(name, settings) => {
            after.insert(name, settings);
            check_containers(&after)?;
            Vec::new()
        }
        SettingsUpdate::Patch(name, patch) => {
            patch.apply_to(after.entry(name).or_default());
            check_containers(&after)?;
            Vec::new()
        }
        SettingsUpdate::Remove(name) if !before.contains_key(&name) => return Ok(Vec::new()),
        SettingsUpdate::Remove(name) => {
            if let Some(inner) = find_within(&after, &name) {
                let detail = format!("`{inner}` is within `{name}`: change or remove that first");
                return Err(FaceRefusal::new("contains_resources", detail).into());
            }
            after.insert(name.clone(), ResourceSettings::default());
            vec![name]
        }
        SettingsUpdate::All(all) => {
            check_containers(&all)?;
            let removed = after.keys().filter(|name| !all.contains_key(*name)).cloned().collect();
            for settings in after.values_mut() {
                *settings = ResourceSettings::default();
            }
            after.extend(all);
            removed
        }
    };
    after.retain(|name, settings| before.get(name) != Some(&*settings));
    let changed = after;
    resource_settings::save_settings(tx, &changed).await?;
    resource_settings::delete_unused(tx, &removed, now - MIN_UNUSED).await?;
    let change = |(name, after): (String, ResourceSettings)| {
        let before = before.get(&name).cloned().unwrap_or_default();
        SettingsChange { name, before, after }
    };
    Ok(changed.into_iter().map(change).collect())
}

/// Finds a resource that is directly within `name`.
fn find_within<'a>(all: &'a BTreeMap<String, ResourceSettings>, name: &str) -> Option<&'a str> {
    let mut inner = all.iter().filter(|(_, settings)| settings.within.as_deref() == Some(name));
    inner.next().map(|(inner, _)| inner.as_str())
}

/// Refuses a container that does not exist, or that contains itself.
fn check_containers(known: &BTreeMap<String, ResourceSettings>) -> Result<(), FaceRefusal> {
    for name in known.keys() {
        let mut chain = vec![name.as_str()];
        let mut at = name;
        while let Some(within) = known.get(at).and_then(|settings| settings.within.as_ref()) {
            if !known.contains_key(within) {
                let similar = suggestion(within, known.keys().map(String::as_str));
                let detail = format!("`{at}` is within `{within}`, which does not exist{similar}");
                return Err(FaceRefusal::new("no_container", detail));
            }
            if chain.contains(&within.as_str()) {
                chain.push(within);
                let detail = format!("a resource contains itself: `{}`", chain.join("` within `"));
                return Err(FaceRefusal::new("container_cycle", detail));
            }
            chain.push(within);
            if chain.len() > MAX_CONTAINERS + 1 {
                let detail = format!("`{name}` is within more than {MAX_CONTAINERS} others");
                return Err(FaceRefusal::new("too_many_containers", detail));
            }
            at = within;
        }
    }
    Ok(())
}

impl Engine {
    /// Changes an operator's settings of resources; limits that are not set are those of the claims.
    ///
    /// # Errors
    ///
    /// Those of [`update_settings`]; nothing was written then.
    pub async fn update_resources(&self, update: SettingsUpdate) -> Result<Vec<SettingsChange>, EngineError> {
        let mut tx = self.store().begin().await?;
        let changes = update_settings(&mut tx, update, self.clock().now()).await?;
        tx.commit().await?;
        self.note_resource_change();
        Ok(changes)
    }

    /// Looks at the queues again: limits were changed.
    pub fn note_resource_change(&self) {
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, ResourceSettings> {
        let settings = |within: &Option<&str>| ResourceSettings {
            within: within.map(str::to_owned),
            ..ResourceSettings::default()
        };
        pairs.iter().map(|(name, within)| ((*name).to_owned(), settings(within))).collect()
    }

    #[test]
    fn containers_exist_and_contain_neither_themselves_nor_too_many_others() {
        let check =
            |pairs: &[(&str, Option<&str>)]| check_containers(&all(pairs)).map_err(|refusal| refusal.detail);
        assert_eq!(check(&[("d", Some("c")), ("c", Some("s")), ("s", None)]), Ok(()));
        let missing = check(&[("d", Some("circiut")), ("circuit", None)]).unwrap_err();
        assert_eq!(missing, "`d` is within `circiut`, which does not exist; did you mean `circuit`?");
        let cycle = check(&[("a", Some("b")), ("b", Some("a"))]).unwrap_err();
        assert_eq!(cycle, "a resource contains itself: `a` within `b` within `a`");
        let names: Vec<String> = (0..12).map(|number| format!("r{number:02}")).collect();
        let chain = |length: usize| {
            let within = |at: usize| (at + 1 < length).then(|| names[at + 1].as_str());
            (0..length).map(|at| (names[at].as_str(), within(at))).collect::<Vec<_>>()
        };
        assert_eq!(check(&chain(MAX_CONTAINERS + 1)), Ok(()));
        assert!(check(&chain(MAX_CONTAINERS + 2)).unwrap_err().contains("more than 8"));
    }
}
