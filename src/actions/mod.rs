//! Kinds of action: one file a kind, and one line in the registry. The kinds of this module use facts that any instance can
//! have; a kind for the instances of one face is part of that face.
//!
//! A kind knows an instance by its facts, and nothing of databases, HTTP handlers or machines. Every action can be run again
//! for the same job, after a crash or beside a late duplicate, and must be idempotent. *Accepted is not happened*: an action
//! succeeds only by what was observed.
//!
//! `docs/adding-an-action.md` describes how to add a kind.

mod ending;
mod finding;
pub mod http;
mod job;
mod kind;
mod kind_page;
mod notify;
mod notify_policy;
mod poll;
mod power;
mod power_scan;
mod probe;
mod registry;
mod settings;
pub mod signature;
pub mod span;
mod trouble;

pub use ::power::{
    CycleTiming, OutletCapabilities, PowerCommandTable, PowerCommandTexts, PowerCommands, PowerOperation,
    PowerSettings, PowerUrl, Readback, ScanUrl, check_commands_name, schemes as power_schemes,
};
pub use device_io::{Credentials, DeviceUrlError, LocalTrouble, ProcessLease};
pub use ending::{ActionEnding, Evidence, UnfinishedAction};
pub use finding::{Finding, FindingReporter};
pub use job::{Facts, Job, JobSubject};
pub use kind::{
    ActionDescription, ActionKind, BadSettingsPolicy, ResourceClaim, RunLocation, TypedActionKind,
};
pub use kind_page::describe_kind;
pub use notify::{NotifyAction, NotifySettings};
pub use notify_policy::{CommandPolicy, NotifyPolicy, OperatorsUrl};
pub use poll::{PollAction, PollSettings, PollUrl};
pub use power::{
    PowerAction, has_power_wiring, is_power_inverted, missing_power_setting, power_claim, power_device,
    power_outlet, power_resource,
};
pub use power_scan::PowerScanAction;
pub use probe::ProbeAction;
pub use registry::ActionRegistry;
pub use settings::{ActionSettings, NoSettings, SettingField, SettingInfo};
pub use trouble::Trouble;
