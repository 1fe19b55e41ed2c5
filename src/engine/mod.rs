//! The engine drives instances: every stimulus becomes a transition by one path.
//!
//! ```text
//! HTTP ──────────┐
//! deadlines ─────┼─▶ queue ─▶ pipeline: read, decide, write and commit ─▶ answer, notify
//! ends of actions┘                                                            │
//!        ▲                                                                    ▼
//!        └───────── worker ◀────────────────────────────────────────────── dispatch
//! ```
//!
//! Hosted models are queried before an event enters the pipeline, which waits for no model.
//!
//! All pending work is stored in rows: a crashed process leaves only a lease that expires. Several processes can drive the
//! same database; row versions and visits prevent conflicts between them.

mod action_run;
mod activation;
mod batch_commit;
mod batch_decisions;
mod batch_input;
mod cached_view;
mod chain;
mod claims;
mod clock_sync;
mod creation;
mod deadline_feed;
mod deadlines;
mod definition_cache;
mod definitions;
mod diagram_cache;
mod diagrams;
mod dispatch;
mod dwell_reader;
mod dwell_times;
mod error;
mod face;
mod facts;
mod failing_actions;
mod feed;
mod feed_reader;
mod finding_writer;
mod grants;
mod handle;
mod hints;
mod history_text;
mod housekeeping;
mod incidents;
mod instance_cache;
mod instances;
mod lease;
mod link_check;
mod linked_instances;
mod model_answers;
mod open_action;
mod pending_findings;
mod pending_update;
mod pending_updates;
mod pipeline;
mod predictions;
mod refusal;
mod repeated_reports;
pub mod replay;
mod resource_requests;
mod resource_settings;
mod resource_snapshot;
mod resource_turns;
mod resource_view;
mod resources;
mod retention;
mod retry_counters;
mod retry_pause;
mod run;
mod running_actions;
mod start;
mod state_counts;
mod step;
mod submit;
mod tag_condition;
mod targets;
mod timekeeping;
mod trouble_watch;
mod troubles;
mod turn_times;
mod why;
mod work_item;
mod work_queue;

pub use self::activation::{ActivationReport, CarriedOverInstances, LoadedDefinition};
pub use self::cached_view::{CachedValue, CachedView, StateCounts};
pub use self::claims::to_stored_claim;
pub use self::creation::{LinkTarget, LinkTargets};
pub use self::definition_cache::ActiveDefinition;
pub use self::error::EngineError;
pub use self::face::{
    ChangedFacts, Face, FaceSummary, Faces, FactChange, InstanceRemoval, LearnedFact, NewFacts,
};
pub use self::feed::{FeedFollower, FeedUpdate};
pub use self::grants::{PassOnPlan, StartableActions, find_grantable, find_unqueued, pass_on};
pub use self::handle::Engine;
pub use self::history_text::{describe_cause, describe_values};
pub use self::incidents::IncidentView;
pub use self::open_action::OpenAction;
pub use self::predictions::Predictions;
pub use self::refusal::FaceRefusal;
pub use self::resource_settings::{
    SettingChange, SettingsChange, SettingsPatch, SettingsUpdate, update_settings,
};
pub use self::resource_snapshot::{BlockingIncident, WaitForecast};
pub use self::resource_view::{CoolingView, HolderView, QueuedActionView, ResourceView, WaiterView};
pub use self::retention::Retention;
pub use self::retry_counters::RetryCounters;
pub use self::start::{EngineOptions, EngineParts};
pub use self::tag_condition::TagCondition;
pub use self::troubles::OpenTrouble;
pub use self::why::{InstanceExplanation, LastEvidence, StateDwellStatistics};
pub use self::work_item::{CommittedSubmission, InstanceNote, Submission};

pub use crate::store::definitions::{ActivatedDefinition, DefinitionOrigin};
pub use crate::store::incidents::IncidentFilter;
pub use crate::store::instances::StrandedInstance;
pub use crate::store::queue::{LimitOverrides, ResourceSettings};
