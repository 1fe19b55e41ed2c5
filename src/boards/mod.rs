//! Boards: what is known of them, what they boot, and what they ask for while they do. A face of the engine.
//!
//! The engine drives instances and knows nothing of boards; what guards, actions and people are told of them comes from
//! here, and so does all SQL about them.

mod boot;
mod boot_config_name;
mod boot_link;
mod boot_log;
mod checks;
mod device;
mod devices;
mod face;
mod facts;
mod field;
mod handle;
mod image;
mod images;
mod kinds;
mod mac;
mod name;
mod outlets;
mod refusals;
pub mod store;
mod vocabulary;

pub use boot::{Boot, Coverage, describe_boot};
pub use boot_config_name::{BadConfigName, check_config_name};
pub use boot_link::{ClearBootLink, SetBootLink};
pub use boot_log::{BootLog, LoggedAt, LoggedRequest, NO_FILE};
pub use checks::checked_name;
pub use device::{Board, Device, DeviceChange};
pub use face::BoardFace;
pub use field::{FIELDS, Field, FieldFilter, Form, Unsaid};
pub use handle::Boards;
pub use image::{BootConfigs, Image};
pub use images::ImagePut;
pub use kinds::kinds;
pub use mac::{BadMac, Mac, link_name, mac_in_name, mac_of_link};
pub use vocabulary::{BOARD, vocabulary};
