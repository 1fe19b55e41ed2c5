//! Lifeguard keeps the boards of a bare-metal farm moving through their lifecycles.
//!
//! Everything with a lifecycle is an instance of a machine definition. A small pure kernel decides, PostgreSQL stores, the
//! engine drives the instances, and actions change the world.
//!
//! ```text
//! cli → api, dashboard → boards, outlets → engine → { store, model, worker → action }
//! ```
//!
//! Independent parts are crates in `crates/`; the compiler enforces that they use nothing of the product:
//!
//! * [`machine`]: the kernel. Pure: no I/O, no clock, no async, no SQL.
//! * [`diagram`]: machine definitions as drawings.
//! * [`explain`]: why an instance is in its state, and what it waits for.
//! * [`activation`]: the differences between two definitions, and what they mean for instances.
//! * [`import`]: StateService's files as machine definitions.
//! * [`schedule`]: grants of limited resources, and forecasts for waiting requests.
//! * [`simulate`]: fleets of instances under virtual time.
//! * [`clock`]: the farm's time, as an argument.
//! * [`formatting`]: spans of time, times, counts and lists as text.
//! * [`device_io`]: addresses of devices and connections to them; local faults are distinguished from faults of devices.
//! * [`power`]: power outlets, one file a driver.
//! * [`random`]: reproducible random numbers for simulated hardware and simulated farms.
//! * [`directories`]: directories with given permissions.
//! * [`boot_tree`]: the folder that boards boot from: names to files, and the fixed files that firmware needs.
//! * [`tftp`]: the TFTP server over the boot tree.
//! * [`private_postgres`]: the installed PostgreSQL server as a child process.
//! * [`farm`]: simulated boards and relay boards on real sockets.
//!
//! The product:
//!
//! * [`store`]: the SQL of the core.
//! * [`engine`]: drives instances: commits, deadlines, handing out actions.
//! * [`boards`]: a face of the engine: the facts of boards, with their SQL, and what boards boot.
//! * [`outlets`]: a face of the engine: outlets that are switched by hand.
//! * [`actions`]: the kinds of action: power, probes, notifications.
//! * [`model`]: hosted prediction models.
//! * [`worker`]: runs actions.
//! * [`api`]: HTTP, one file an endpoint.
//! * [`dashboard`]: the web pages.
//! * [`csp`]: their content security policy.
//! * [`cli`]: one file a command.
//!
//! `crates/bench` uses the product: it is the program `lifeguard-bench`, which measures it.
//!
//! # Glossary
//!
//! * **Instance**: something with a lifecycle; for `states/board.yaml`, one board.
//! * **Visit**: one numbered entry of a state; a stimulus for an earlier visit is stale and changes nothing.
//! * **Stimulus**: what an instance decides on: an event, the start of an action, a deadline, a forced move.
//! * **Action**: work that a state requests when it is entered; it ends in `NAME-ok` or `NAME-failed`.
//! * **Resource**: something limited, such as the connections of a relay board: a number of units, with a gap between grants
//!   and a settle time after a release.
//! * **Claim**: the units of a resource that an action needs before it starts; all claims of an action are granted at once, in
//!   the order of the queue.
//! * **Hold**: units that an instance holds while it is in certain states.
//! * **Selector**: a name for any of several resources, which a face lists, where the definition does not name them.
//! * **Link**: a named reference from one instance to another, at which it can raise events.
//! * **Boot config**: the file that a board's boot loader follows, one for each image and hardware type.

pub mod actions;
pub mod api;
pub mod boards;
pub mod cli;
pub mod csp;
pub mod dashboard;
pub mod engine;
pub mod model;
pub mod outlets;
pub mod store;
pub mod worker;

// Independent parts are crates, and are used by these names.
pub use {
    activation, boot_tree, clock, diagram, directories, explain, farm, formatting, import, machine, random,
    simulate, tftp,
};
