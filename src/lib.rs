//! Lifeguard keeps the boards of a bare-metal farm moving through their lifecycles.
//!
//! Everything with a lifecycle is an instance of a machine definition. A small pure kernel decides, Postgres
//! remembers, an engine drives, actions change the world.
//!
//! ```text
//! cli → api, dashboard → boards → engine → { store, model, worker → action }
//! ```
//!
//! What stands by itself is a crate in `crates/`, and the compiler sees to it that it knows nothing of the rest:
//!
//! * [`machine`]: the kernel. Pure: no I/O, no clock, no async, no SQL.
//! * [`diagram`]: machine definitions as drawings.
//! * [`explain`]: what an instance waits for, and why it stands where it stands.
//! * [`activation`]: what it means that a definition takes another's place.
//! * [`import`]: StateService's files as machine definitions.
//! * [`schedule`]: who is granted what is limited, and when whoever waits may expect a turn.
//! * [`simulate`]: fleets of instances under virtual time.
//! * [`clock`]: the farm's time, as an argument.
//! * [`formatting`]: spans of time, times, counts and lists as text.
//! * [`device_io`]: how devices are named and reached, and trouble of our own told apart from theirs.
//! * [`power`]: power outlets, one file a driver.
//! * [`random`]: chance that repeats, for simulated hardware and simulated farms.
//! * [`directories`]: directories whose modes are what we say.
//! * [`boot_tree`]: the folder that boards boot from: names to files, and the fixed files that firmware needs.
//! * [`tftp`]: the TFTP server over the boot tree.
//! * [`private_postgres`]: the installed PostgreSQL server, as a child of ours.
//! * [`overview`]: simulated boards and relay boards on real sockets.
//!
//! The product:
//!
//! * [`store`]: the SQL of the core.
//! * [`engine`]: drives instances: commits, deadlines, handing out actions.
//! * [`boards`]: a face of the engine: what is known of boards, with its SQL, and what they boot.
//! * [`actions`]: what changes the world: power, probes, notifications.
//! * [`model`]: hosted prediction models.
//! * [`worker`]: who carries actions out.
//! * [`api`]: HTTP, one file an endpoint.
//! * [`dashboard`]: the web pages.
//! * [`csp`]: what browsers may do with them.
//! * [`cli`]: one file a command.
//!
//! Above it stands `crates/bench`: what measures the product, as the program `lifeguard-bench`.
//!
//! # Glossary
//!
//! * **Instance**: one thing with a lifecycle: for `states/board.yaml`, one board.
//! * **Visit**: one entry of a state, numbered; whatever speaks of an earlier visit is stale and changes nothing.
//! * **Stimulus**: what happens to an instance: an event, an action's beginning, a deadline, a forced move.
//! * **Action**: something to do in the world because a state was entered; it ends in `NAME-ok` or `NAME-failed`.
//! * **Resource**: what is limited, such as a relay board's connections: so many units, with a gap between grants and a settle
//!   time after a release.
//! * **Claim**: what an action needs of a resource before it may begin; it gets all of its claims at once, in the order of the
//!   queue.
//! * **Hold**: units that an instance keeps for as long as it is in certain states.
//! * **Selector**: a name by which a face says which resources will do, where the definition does not name them.
//! * **Link**: an instance that another one knows by a name of its own, and may raise events at.
//! * **Boot config**: the file that a board's boot loader follows, one for each image and hardware type.

pub mod actions;
pub mod api;
pub mod boards;
pub mod cli;
pub mod csp;
pub mod dashboard;
pub mod engine;
pub mod model;
pub mod store;
pub mod worker;

// What stands by itself is a crate, and goes by the name that it has here.
pub use {
    activation, boot_tree, clock, diagram, directories, explain, farm, formatting, import, machine, random,
    simulate, tftp,
};
