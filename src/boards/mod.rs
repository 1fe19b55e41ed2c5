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

pub use boot::{BootProgress, BootCoverage, describe_boot};
pub use boot_config_name::{BadConfigName, check_config_name};
pub use boot_link::{ClearBootLink, SetBootLink};
pub use boot_log::{BootLog, BootLogEntry, LoggedRequest, NO_SUCH_FILE};
pub use checks::checked_name;
pub use device::{Board, Device, DeviceChange};
pub use face::BoardFace;
pub use field::{DEVICE_FIELDS, DeviceField, FieldFilter, FieldParser, FieldDefault};
pub use handle::BoardService;
pub use image::{BootConfigs, Image};
pub use images::ImageWritten;
pub use kinds::action_kinds;
pub use mac::{BadMac, Mac, link_name, mac_in_name, mac_of_link};
pub use vocabulary::{BOARD_SOURCE, vocabulary};
