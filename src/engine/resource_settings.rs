//! Changes of what operators set for resources.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};

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

/// The change of one setting. In JSON it is left out, null or the new value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SettingChange<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is not set any more.
    Unset,
    /// It is set to this.
    Set(T),
}

impl<T> SettingChange<T> {
    /// The same change, where a setting that would stay is unset.
    #[must_use]
    pub fn or_unset(self) -> Self {
        match self {
            Self::Keep => Self::Unset,
            Self::Unset | Self::Set(_) => self,
        }
    }

    /// Converts the new value.
    ///
    /// # Errors
    ///
    /// The error of `convert`.
    pub fn try_map<U, E>(self, convert: impl FnOnce(T) -> Result<U, E>) -> Result<SettingChange<U>, E> {
        Ok(match self {
            Self::Keep => SettingChange::Keep,
            Self::Unset => SettingChange::Unset,
            Self::Set(value) => SettingChange::Set(convert(value)?),
        })
    }

    fn apply_to(self, setting: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Unset => *setting = None,
            Self::Set(value) => *setting = Some(value),
        }
    }

    /// Returns the new value of a setting that is `T::default()` where it is not set.
    fn value(self, present: T) -> T
    where
        T: Default,
    {
        match self {
            Self::Keep => present,
            Self::Unset => T::default(),
            Self::Set(value) => value,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for SettingChange<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Unset, Self::Set))
    }
}

/// New values of settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettingsPatch {
    /// The number of units.
    pub capacity: SettingChange<u32>,
    /// The time between two grants, in milliseconds.
    pub gap_ms: SettingChange<u64>,
    /// The time between a release and the next grant, in milliseconds.
    pub settle_ms: SettingChange<u64>,
    /// How long released units with load count as in use, in milliseconds.
    pub window_ms: SettingChange<u64>,
    /// The load that may be in use, in milliampere.
    pub budget_ma: SettingChange<u32>,
    /// The least time for which a cycle keeps off what it switches, in milliseconds.
    pub min_off_ms: SettingChange<u64>,
    /// The resource that contains it.
    pub within: SettingChange<String>,
    /// What it is, for people.
    pub about: SettingChange<String>,
}

impl SettingsPatch {
    fn apply_to(self, settings: &mut ResourceSettings) {
        let overrides = &mut settings.overrides;
        self.capacity.apply_to(&mut overrides.capacity);
        self.gap_ms.apply_to(&mut overrides.gap_ms);
        self.settle_ms.apply_to(&mut overrides.settle_ms);
        settings.window_ms = self.window_ms.value(settings.window_ms);
        self.budget_ma.apply_to(&mut settings.budget_ma);
        settings.min_off_ms = self.min_off_ms.value(settings.min_off_ms);
        self.within.apply_to(&mut settings.within);
        self.about.apply_to(&mut settings.about);
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
        let settings = |within: Option<&str>| ResourceSettings {
            within: within.map(str::to_owned),
            ..ResourceSettings::default()
        };
        pairs.iter().map(|(name, within)| ((*name).to_owned(), settings(*within))).collect()
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
