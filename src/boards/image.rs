//! Images and their boot configs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An image that can be installed on boards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// A one-line description, or empty.
    pub about: String,
    /// For each type of hardware, the file in the boot tree's `configs` folder that boots it.
    pub boot_configs: BTreeMap<String, String>,
}

/// The boot configs for one type of hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootConfigs {
    /// The type of hardware.
    pub hardware: String,
    /// The images, in the order of their names, each with the file in the boot tree's `configs` folder that boots it.
    pub files: Vec<(String, String)>,
}
