//! The boot tree: the directory that boards boot from. Serving files and writing links use the same name resolution, so
//! that a link that was set is the one that is served.
//!
//! Nothing outside the root is ever opened, regardless of links in the tree; see `walk.rs`. The root is
//! resolved for each name, so that it can be replaced, unmounted and mounted again while the server runs.
//!
//! ```text
//! ROOT/configs/NAME                        boot configs, written by the operator
//! ROOT/pxelinux.cfg/01-aa-bb-cc-dd-ee-ff   boards' boot links into `configs`, written by Lifeguard
//! ROOT/pxelinux.cfg/default, boot.ipxe, …  default files, created if missing (`defaults.rs`)
//! ```
//!
//! All functions block as long as the disk or share does: call them through [`run_blocking`].

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
