//! Export and import of the settings of all resources.

use std::collections::{BTreeMap, BTreeSet};

use super::resource_file::ResourceFile;
use super::service::BoardService;
use super::store::{devices, hardware_loads};
use crate::actions;
use crate::engine::{EngineError, ResourceSettings, SettingsChange, SettingsUpdate, update_settings};
use crate::machine::suggestion;
use crate::store::resource_settings;

/// Whether an import is only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// The changes are made.
    Apply,
    /// Nothing is changed.
    DryRun,
}

/// The result of an import.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceImport {
    /// The changed settings, by resource.
    pub changes: Vec<SettingsChange>,
    /// The changed loads, by hardware.
    pub loads: Vec<LoadChange>,
    /// Warnings, such as of names that may be misspelt.
    pub warnings: Vec<String>,
}

/// The change of the load of hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadChange {
    /// The hardware.
    pub hardware: String,
    /// Its load before, in milliampere.
    pub before: Option<u32>,
    /// Its load after.
    pub after: Option<u32>,
}

impl BoardService {
    /// Reads the settings of all resources that have some, and of those that contain others.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn export_resources(&self) -> Result<ResourceFile, EngineError> {
        let mut db = self.engine().store().snapshot().await?;
        let mut resources = resource_settings::list_settings(&mut db).await?;
        let loads = hardware_loads::list(&mut db).await?;
        let containers: BTreeSet<String> =
            resources.values().filter_map(|settings| settings.within.clone()).collect();
        let none = ResourceSettings::default();
        resources.retain(|name, settings| *settings != none || containers.contains(name));
        Ok(ResourceFile { resources, loads })
    }

    /// Makes the settings of all resources and hardware those of `file`, in one transaction.
    ///
    /// # Errors
    ///
    /// [`EngineError::Refused`] when resources contain each other, or too many; [`EngineError::Store`] when the database
    /// fails. Nothing was changed then.
    pub async fn import_resources(
        &self,
        file: ResourceFile,
        mode: ImportMode,
    ) -> Result<ResourceImport, EngineError> {
        let ResourceFile { resources, loads } = file;
        let names: Vec<String> = resources.keys().cloned().collect();
        let containers: BTreeSet<String> =
            resources.values().filter_map(|settings| settings.within.clone()).collect();
        let mut warnings = self.warn_of_resources(&names, &containers).await?;
        warnings.extend(warn_of_loads(&resources, &loads));
        let mut tx = self.engine().store().begin().await?;
        let known = devices::list_hardware(&mut tx).await?;
        let unknown = loads.keys().filter(|hardware| !known.contains(hardware));
        warnings.extend(unknown.map(|hardware| {
            let similar = suggestion(hardware, known.iter().map(String::as_str));
            format!("no board has the hardware `{hardware}`{similar}")
        }));
        let now = self.engine().clock().now();
        let changes = update_settings(&mut tx, SettingsUpdate::All(resources), now).await?;
        let before = hardware_loads::list(&mut tx).await?;
        hardware_loads::save_all(&mut tx, &loads).await?;
        if mode == ImportMode::Apply {
            tx.commit().await?;
            self.engine().note_resource_change();
        }
        Ok(ResourceImport { changes, loads: load_changes(&before, &loads), warnings })
    }

    /// Returns a warning for each of `names` that nothing uses: no board's power, no action, no definition, and that is not
    /// one of `containers`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn warn_of_resources(
        &self,
        names: &[String],
        containers: &BTreeSet<String>,
    ) -> Result<Vec<String>, EngineError> {
        let mut used = self.engine().used_resources().await?;
        let boards = devices::list_outlet_assignments(&mut *self.engine().store().reader().await?).await?;
        let power_urls = boards.iter().filter_map(|board| board.power_url.as_deref());
        used.extend(power_urls.filter_map(actions::power_resource));
        used.extend(containers.iter().cloned());
        // What states hold of the resource before the `@`, for boards within the one behind it.
        let is_refined = |name: &str| {
            name.split_once('@')
                .is_some_and(|(held, container)| used.contains(held) && used.contains(container))
        };
        let unused = names.iter().filter(|name| !used.contains(*name) && !is_refined(name));
        let warning = |name: &String| {
            let known = (!used.is_empty()).then(|| suggestion(name, used.iter().map(String::as_str)));
            format!("nothing uses the resource `{name}`{}", known.unwrap_or_default())
        };
        Ok(unused.map(warning).collect())
    }
}

/// Warns of loads above a budget: such a board is switched on alone.
fn warn_of_loads(
    resources: &BTreeMap<String, ResourceSettings>,
    loads: &BTreeMap<String, u32>,
) -> Vec<String> {
    let budgets = resources.iter().filter_map(|(name, settings)| Some((name, settings.budget_ma?)));
    let too_large = budgets.flat_map(|(name, budget)| {
        let hardware = loads.iter().filter(move |(_, load)| **load > budget);
        hardware.map(move |(hardware, _)| {
            format!(
                "the load of `{hardware}` is more than the budget of `{name}`: there it is switched on alone"
            )
        })
    });
    too_large.collect()
}

fn load_changes(before: &BTreeMap<String, u32>, after: &BTreeMap<String, u32>) -> Vec<LoadChange> {
    let hardware: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |hardware: &String| LoadChange {
        hardware: hardware.clone(),
        before: before.get(hardware).copied(),
        after: after.get(hardware).copied(),
    };
    hardware.into_iter().map(change).filter(|change| change.before != change.after).collect()
}
