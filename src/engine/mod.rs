//! Drives instances: what happens to them becomes transitions, by one path.
//!
//! ```text
//! HTTP ──────────┐
//! deadlines ─────┼─▶ queue ─▶ pipeline: read, decide, write and commit ─▶ answer, hint
//! ends of actions┘                                                            │
//!        ▲                                                                    ▼
//!        └───────── worker ◀────────────────────────────────────────────── dispatch
//! ```
//!
//! What a guard asks a hosted model is asked before that, and comes with the event: the pipeline waits for no model.
//!
//! Everything that is to be done is a row: a process that dies leaves nothing behind but a lease that runs out. Several
//! processes may drive the same database; the rows' versions and visits keep them apart.

mod activation;
mod carry;
mod chain;
mod claims;
mod clock_lead;
mod counting;
mod creation;
mod deadline_feed;
mod deadlines;
mod decisions;
mod definitions;
mod dispatch;
mod draft;
mod drafts;
mod drawing;
mod durable;
mod dwell_reader;
mod dwell_times;
mod error;
mod face;
mod facts;
mod feed;
mod feed_reader;
mod finding_writer;
mod findings;
mod grants;
mod handle;
mod hints;
mod housekeeping;
mod instances;
mod kept;
mod lease;
mod link_check;
mod linked;
mod material;
mod model_answers;
mod pictures;
mod pipeline;
mod predictions;
mod queue;
mod recent;
mod refusal;
mod repeats;
pub mod replay;
mod resources;
mod rest;
mod retention;
mod retries;
mod rules;
mod run;
mod running;
mod start;
mod step;
mod submit;
mod targets;
mod tell;
mod timekeeping;
mod trouble_watch;
mod troubles;
mod turn_times;
mod why;
mod work;

pub use self::activation::{CarriedOverInstances, LoadedDefinition, ActivationReport};
pub use self::creation::{LinkTarget, LinkTargets};
pub use self::error::EngineError;
pub use self::face::{FaceSummary, ChangedFacts, Face, Faces, FactChange, LearnedFact, NewFacts, InstanceRemoval};
pub use self::feed::{FeedFollower, FeedUpdate};
pub use self::grants::{PassOnPlan, StartableActions, find_startable, pass_on};
pub use self::handle::Engine;
pub use self::kept::{StateCounts, CachedView, CachedValue};
pub use self::predictions::Predictions;
pub use self::refusal::FaceRefusal;
pub use self::resources::{HolderView, NewLimits, WaitForecast, ResourceView, WaiterView};
pub use self::retention::Retention;
pub use self::retries::RetryCounters;
pub use self::rules::ActiveDefinition;
pub use self::start::{EngineOptions, EngineParts};
pub use self::tell::{describe_values, describe_cause};
pub use self::troubles::OpenTrouble;
pub use self::why::{LastEvidence, StateDwellStatistics, InstanceExplanation};
pub use self::work::{CommittedSubmission, InstanceNote, Submission};

pub use crate::store::definitions::{ActivatedDefinition, DefinitionOrigin};
pub use crate::store::instances::StrandedInstance;
