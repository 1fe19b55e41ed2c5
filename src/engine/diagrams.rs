//! Diagrams of definitions with the states of instances.

use super::error::EngineError;
use super::handle::Engine;
use crate::diagram::InstanceOverlay;
use crate::machine::MachineName;
use crate::store::instances::InstanceKey;

impl Engine {
    /// Draws the active definition of `machine`, with the state of the instance `name` highlighted, or with the number of
    /// instances in each state.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoMachine`] when there is no active definition; [`EngineError::NoInstance`] when there is no such
    /// instance; [`EngineError::Busy`] when other diagrams take too long; [`EngineError::Store`] when the database fails.
    pub async fn draw_diagram(
        &self,
        machine: &MachineName,
        name: Option<&str>,
    ) -> Result<String, EngineError> {
        let definition = self.definition(machine)?;
        let mut overlay = InstanceOverlay::default();
        if let Some(name) = name {
            let none = || EngineError::NoInstance(InstanceKey::Name(machine.clone(), name.to_owned()));
            overlay.present = Some(self.find(machine, name).await?.ok_or_else(none)?.instance.state.clone());
        } else {
            let counts = self.count_by_state(machine).await?;
            let known = |state: &str| definition.states.get_key_value(state).map(|(name, _)| name.clone());
            let count = |(state, count): (&String, &i64)| Some((known(state)?, u64::try_from(*count).ok()?));
            overlay.counts = counts.value.iter().filter_map(count).collect();
        }
        self.inner.diagrams.draw(definition, overlay).await
    }
}
