//! The operations on outlets, for the API.

use serde_json::{Map, Value, json};

use super::definition::{CANCEL_EVENT, OUTLET_MACHINE, is_outlet_definition};
use super::name::instance_name;
use super::operation::OutletOperation;
use super::result::OperationResult;
use crate::actions::{PowerUrl, ScanUrl};
use crate::engine::{CommittedSubmission, Engine, EngineError, FaceRefusal, Submission};
use crate::machine::{Cause, Definition, EventName, EventSource, IgnoreReason, MachineName, Outcome, Visit};
use crate::store::actions::{self, ActionSummary};
use crate::store::history;
use crate::store::instances::{InstanceId, InstanceKey};

/// The newest entries of history among which the result of an operation is found: it is read as soon as it ended.
const RESULT_ENTRIES: i64 = 50;

/// What an operator asks of an outlet, or of a device.
#[derive(Debug, Clone)]
pub enum OutletRequest {
    /// An operation at an outlet.
    Operate(OutletOperation, PowerUrl, String),
    /// A scan of a device.
    Scan(ScanUrl, String),
}

/// An operation that has begun: a visit of its outlet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedOperation {
    /// The number of the instance.
    pub id: InstanceId,
    /// Its name.
    pub instance: String,
    /// The visit.
    pub visit: Visit,
}

/// The outlets that are switched by hand, over the engine that drives them.
#[derive(Clone)]
pub struct OutletService {
    engine: Engine,
    machine: MachineName,
}

impl OutletRequest {
    /// The event, the URL as a named argument, and the outlet or device in canonical spelling.
    fn parts(&self) -> (&'static str, (&'static str, &str), String) {
        match self {
            Self::Operate(operation, url, text) => {
                let event = match operation {
                    OutletOperation::Status => "rq-status",
                    OutletOperation::Test => "rq-test",
                    OutletOperation::On => "rq-on",
                    OutletOperation::Off => "rq-off",
                    OutletOperation::Cycle => "rq-cycle",
                };
                (event, ("power_url", text), url.outlet())
            }
            Self::Scan(url, text) => ("rq-scan", ("scan_url", text), url.device().to_owned()),
        }
    }
}

impl OutletService {
    /// Creates the service over `engine`; `machine` is [`OUTLET_MACHINE`].
    #[must_use]
    pub fn new(engine: Engine, machine: MachineName) -> Self {
        Self { engine, machine }
    }

    /// Returns the machine whose instances the outlets are.
    #[must_use]
    pub fn machine(&self) -> &MachineName {
        &self.machine
    }

    /// Begins an operation. Its outlet gets an instance if it has none; `more` goes to its history.
    ///
    /// # Errors
    ///
    /// [`EngineError::Refused`] while another operation by hand is under way at the outlet, or when the server's machine
    /// `outlet` is not that of outlets; otherwise those of [`Engine::submit`]. Nothing was begun then.
    pub async fn begin(
        &self,
        request: &OutletRequest,
        more: Map<String, Value>,
        sender: Option<String>,
    ) -> Result<StartedOperation, EngineError> {
        let definition = self.engine.definition(&self.machine)?;
        if !is_outlet_definition(&definition) {
            return Err(foreign_definition().into());
        }
        let (event, (argument, url), outlet) = request.parts();
        let instance = instance_name(&outlet);
        let mut args = more;
        args.insert(argument.to_owned(), url.into());
        let committed = match self.send(&instance, (event, args.clone(), None), sender.clone()).await {
            Err(EngineError::NoInstance(_)) => {
                match self.engine.create(&self.machine, &instance, None, sender.clone()).await {
                    // Another request may have created it at the same moment.
                    Ok(_) | Err(EngineError::Exists(_)) => {}
                    Err(error) => return Err(error),
                }
                self.send(&instance, (event, args, None), sender).await?
            }
            committed => committed?,
        };
        match &committed.outcome {
            Outcome::Moved { .. } => {
                Ok(StartedOperation { id: committed.id, instance, visit: committed.instance.visit })
            }
            Outcome::Ignored(reason) => Err(busy(&outlet, &instance, &definition, &committed, reason).into()),
            Outcome::Stayed => Err(foreign_definition().into()),
        }
    }

    /// Gives up an operation, if it is still under way.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::submit`].
    pub async fn cancel(
        &self,
        started: &StartedOperation,
        sender: Option<String>,
    ) -> Result<(), EngineError> {
        let event = (CANCEL_EVENT, Map::new(), Some(started.visit));
        self.send(&started.instance, event, sender).await.map(|_| ())
    }

    /// Reads the result of an operation; `None` if it has not ended.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn result(&self, started: &StartedOperation) -> Result<Option<OperationResult>, EngineError> {
        let mut db = self.engine.store().reader().await?;
        let entries = history::list(&mut db, started.id, None, RESULT_ENTRIES).await?;
        Ok(OperationResult::find(&entries, started.visit))
    }

    /// Reads the open action of an outlet, if there is one.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn open_action(
        &self,
        started: &StartedOperation,
    ) -> Result<Option<ActionSummary>, EngineError> {
        let mut db = self.engine.store().reader().await?;
        Ok(actions::list_summaries(&mut db, started.id)
            .await?
            .into_iter()
            .find(|action| !action.is_cancelled))
    }

    async fn send(
        &self,
        instance: &str,
        (event, args, visit): (&str, Map<String, Value>, Option<Visit>),
        sender: Option<String>,
    ) -> Result<CommittedSubmission, EngineError> {
        let name = EventName::new(event).map_err(|_| foreign_definition())?;
        let cause = Cause::Event { name, source: EventSource::Operator, args, visit };
        let target = InstanceKey::Name(self.machine.clone(), instance.to_owned());
        self.engine.submit(Submission { sender, ..Submission::new(target, cause) }).await
    }
}

/// The refusal while another operation is under way at the outlet.
fn busy(
    outlet: &str,
    instance: &str,
    definition: &Definition,
    committed: &CommittedSubmission,
    reason: &IgnoreReason,
) -> FaceRefusal {
    let state = &committed.instance.state;
    let under_way = definition.states.get(state).map(|state| state.about.as_str()).unwrap_or_default();
    let detail = if under_way.is_empty() {
        format!("{outlet}: {reason}")
    } else {
        format!(
            "another operation by hand is under way at {outlet}: {under_way}; wait for its end, or give it up by \
             `lifeguard instance send {OUTLET_MACHINE} {instance} {CANCEL_EVENT}`"
        )
    };
    let more = Map::from_iter([("instance".to_owned(), json!(instance)), ("state".to_owned(), json!(state))]);
    FaceRefusal { more, ..FaceRefusal::new("outlet_busy", detail) }
}

/// The refusal where the server's machine is not that of outlets.
fn foreign_definition() -> FaceRefusal {
    let detail = format!(
        "the machine `{OUTLET_MACHINE}` of this server is not that of power outlets, so power cannot be switched by hand: give \
         that machine another name"
    );
    FaceRefusal::new("no_outlets", detail)
}
