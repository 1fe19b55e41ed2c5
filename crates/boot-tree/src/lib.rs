//! The boot tree: the folder that boards boot from. One resolver of names for whoever serves it and whoever writes links
//! into it, so that a link that was set is a link that is served.
//!
//! Nothing outside the root is ever opened, whoever made the links in the tree; `walk.rs` says how. The root is looked up
//! for each name, so that it may be replaced, unmounted and mounted again while the server runs.
//!
//! ```text
//! ROOT/configs/NAME                        boot configs, an operator's
//! ROOT/pxelinux.cfg/01-aa-bb-cc-dd-ee-ff   boards' boot links into `configs`, ours
//! ROOT/pxelinux.cfg/default, boot.ipxe, …  what firmware needs where a board has no link: made if missing (`defaults.rs`)
//! ```
//!
//! All functions block, for as long as the disk or the share does: call them through `work`.

mod blocking;
mod defaults;
mod error;
mod tree;
mod walk;

pub use blocking::{MAX_THREADS, run_blocking, spawn_blocking};
pub use defaults::DEFAULT_FILES;
pub use error::BootTreeError;
pub use tree::{BootFile, BootFolder, BootTree, CONFIGS_FOLDER, LINKS_FOLDER};

#[cfg(test)]
mod tests;
