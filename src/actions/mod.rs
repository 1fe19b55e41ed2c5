//! Kinds of action: what changes the world. One file a kind, and one line in the registry. Those that are here go by facts that
//! any instance may have; what only one face's things can be asked for is with that face.
//!
//! A kind knows the instance that it acts on by its facts, and nothing of databases, HTTP handlers or machines. Every action
//! may be run again for the same job, after a crash or beside a late twin, and must end in the same place however often it
//! runs. *Accepted is not happened*: an action succeeds by what was observed.
//!
//! How a kind is added is told in `docs/adding-an-action.md`.

mod command_policy;
mod ending;
mod finding;
pub mod http;
mod job;
mod kind;
mod kind_page;
mod notify;
mod poll;
mod power;
pub mod program;
mod registry;
mod settings;
pub mod signature;
pub mod span;
mod trouble;

pub use ::power::{PowerOperation, PowerUrl, schemes as power_schemes};
pub use command_policy::CommandPolicy;
pub use device_io::{DeviceUrlError, LocalTrouble, ProcessLease};
pub use ending::{ActionEnding, Evidence, UnfinishedAction};
pub use finding::{Finding, FindingReporter};
pub use job::{Facts, Job, JobSubject};
pub use kind::{
    ActionDescription, ActionKind, BadSettingsPolicy, ResourceClaim, RunLocation, TypedActionKind,
};
pub use kind_page::describe_kind;
pub use notify::{NotifyAction, NotifySettings};
pub use poll::{PollAction, PollSettings, PollUrl};
pub use power::{PowerAction, power_outlet, power_resource};
pub use registry::ActionRegistry;
pub use settings::{ActionSettings, NoSettings, SettingField, SettingInfo};
pub use trouble::Trouble;
