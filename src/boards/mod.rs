//! Boards: the inventory, images and boot configs, boot links, and boot logs. A face of the engine.
//!
//! The engine drives instances and does not know boards. Their facts for guards, actions and operators come from here, and
//! all SQL about them is here.

mod action_kinds;
mod boot;
mod boot_config_name;
mod boot_link;
mod boot_log;
mod checks;
mod current;
mod device;
mod devices;
mod face;
mod face_name;
mod facts;
mod field;
mod image;
mod images;
mod mac;
mod manual_power;
mod observed_power;
mod outlets;
mod refusals;
mod resource_file;
mod resource_import;
mod service;
pub mod store;
mod summary;
mod vocabulary;

pub use action_kinds::action_kinds;
pub use boot::{BootCoverage, BootProgress, describe_boot};
pub use boot_config_name::{BadConfigName, check_config_name};
pub use boot_link::{ClearBootLink, SetBootLink};
pub use boot_log::{BootLog, BootLogEntry, LoggedRequest, NO_SUCH_FILE};
pub use checks::checked_name;
pub use current::{format_current, from_ampere, parse_current};
pub use device::{Board, Device, DeviceChange};
pub use face::BoardFace;
pub use field::{DEVICE_FIELDS, DeviceField, FieldDefault, FieldFilter, FieldParser};
pub use image::{BootConfigs, Image};
pub use images::ImageWritten;
pub use mac::{BadMac, Mac, link_name, mac_in_name, mac_of_link};
pub use manual_power::{BoardOutlet, ManualSwitch};
pub use observed_power::{ObservedPower, ObservedPowerState, PowerSource};
pub use resource_file::{
    MAX_LIMIT_SPAN, MAX_MIN_OFF, MAX_RESOURCE_ABOUT_BYTES, MAX_RESOURCE_NAME_BYTES, ResourceFile,
    format_settings, refuse_resource_name,
};
pub use resource_import::{ImportMode, LoadChange, ResourceImport};
pub use service::BoardService;
pub use summary::{BoardSummary, ImageName};
pub use vocabulary::{BOARD_SOURCE, vocabulary};
