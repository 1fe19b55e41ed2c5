//! Pictures of definitions, with how their instances stand.

use super::error::EngineError;
use super::handle::Engine;
use crate::diagram::InstanceOverlay;
use crate::machine::MachineName;
use crate::store::instances::InstanceKey;

impl Engine {
    /// Draws the definition of `machine` that is in force: with the state of the instance `name` lit, or with the number
    /// of instances in each state.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoMachine`] when no definition of it is in force, [`EngineError::NoInstance`] when there is no such
    /// instance; [`EngineError::Busy`] when too many others are drawn; [`EngineError::Store`] when the database fails.
    pub async fn draw_diagram(
        &self,
        machine: &MachineName,
        name: Option<&str>,
    ) -> Result<String, EngineError> {
        let definition = self.definition(machine)?;
        let mut marks = InstanceOverlay::default();
        if let Some(name) = name {
            let none = || EngineError::NoInstance(InstanceKey::Name(machine.clone(), name.to_owned()));
            marks.present = Some(self.find(machine, name).await?.ok_or_else(none)?.instance.state.clone());
        } else {
            let counts = self.count_by_state(machine).await?;
            let known = |state: &str| definition.states.get_key_value(state).map(|(name, _)| name.clone());
            let count = |(state, count): (&String, &i64)| Some((known(state)?, u64::try_from(*count).ok()?));
            marks.counts = counts.value.iter().filter_map(count).collect();
        }
        self.inner.diagrams.draw(definition, marks).await
    }
}
