//! Kinds of action: what changes the world. One file a kind, and one line in the registry. Those that are here go by facts that
//! any instance may have; what only one face's things can be asked for is with that face.
//!
//! A kind knows the instance that it acts on by its facts, and nothing of databases, HTTP handlers or machines. Every action
//! may be run again for the same job, after a crash or beside a late twin, and must end in the same place however often it
//! runs. *Accepted is not happened*: an action succeeds by what was observed.
//!
//! How a kind is added is told in `docs/adding-an-action.md`.

mod commands;
mod ending;
mod finding;
pub mod http;
mod job;
mod kind;
mod notify;
mod page;
mod poll;
mod power;
pub mod program;
mod registry;
mod settings;
pub mod signature;
pub mod span;
mod trouble;

pub use ::power::{Operation, PowerUrl, schemes as power_schemes};
pub use commands::Commands;
pub use device_io::{BadUrl, Lease, LocalTrouble};
pub use ending::{Ending, Evidence, Unfinished};
pub use finding::{Finding, Findings};
pub use job::{Facts, Job, Subject};
pub use kind::{BadSettings, Claim, Description, Kind, Runs, TypedKind};
pub use notify::{Notify, NotifySettings};
pub use page::page;
pub use poll::{Poll, PollSettings, PollUrl};
pub use power::{Power, power_outlet, power_resource};
pub use registry::Registry;
pub use settings::{Field, NoSettings, SettingInfo, Settings};
pub use trouble::Trouble;
