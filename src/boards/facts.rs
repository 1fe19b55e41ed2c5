//! The facts of boards for guards and actions.

use serde_json::{Map, Value, json};

use super::device::Device;
use super::face_name::FACE;
use super::field::DEVICE_FIELDS;
use super::image::BootConfigs;
use crate::machine::Instance;
use crate::store::{InstanceFacts, SharedFacts};

/// The facts of a board, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::boards) struct BoardFacts {
    /// The inventory data, without comments.
    pub(in crate::boards) device: Device,
    /// The poll URL at which it has answered.
    pub(in crate::boards) answered_url: Option<String>,
}

/// The shared fact with the images for a type of hardware.
pub(super) const IMAGES_FACT: &str = "images";
/// The shared fact with the boot configs for a type of hardware, by image.
pub(super) const BOOT_CONFIGS_FACT: &str = "boot_configs";
/// The fact with the boot config of a board's next image.
pub(super) const BOOT_CONFIG_FACT: &str = "boot_config";
/// The fact with the poll URL at which a board has answered.
pub(super) const ANSWERED_URL_FACT: &str = "answered_url";

/// Returns the facts shared by all boards of a type of hardware, by hardware.
pub(super) fn shared(by_hardware: Vec<BootConfigs>) -> SharedFacts {
    let facts_of = |configs: BootConfigs| {
        let images: Vec<&str> = configs.files.iter().map(|(image, _)| image.as_str()).collect();
        let images = json!(images);
        let files = configs.files.into_iter().map(|(image, file)| (image, Value::from(file))).collect();
        let facts = [(IMAGES_FACT, images), (BOOT_CONFIGS_FACT, Value::Object(files))];
        (configs.hardware, facts.map(|(name, fact)| (name.to_owned(), fact)).into_iter().collect())
    };
    by_hardware.into_iter().map(facts_of).collect()
}

impl InstanceFacts for BoardFacts {
    fn face(&self) -> &'static str {
        FACE
    }

    fn for_guards(&self, instance: &Instance, shared: &SharedFacts) -> Map<String, Value> {
        let known = self.device.to_fields();
        let conditions =
            DEVICE_FIELDS.iter().filter_map(|field| Some((field.guard_fact?, known.get(field.name)?)));
        let mut facts: Map<String, Value> = conditions
            .map(|(condition, value)| (condition.name.to_owned(), (condition.from_field)(value)))
            .collect();
        facts.insert("name".to_owned(), json!(instance.name));
        let images = shared.get(&self.device.hardware).and_then(|facts| facts.get(IMAGES_FACT));
        facts.insert(IMAGES_FACT.to_owned(), images.cloned().unwrap_or_else(|| json!([])));
        facts
    }

    fn for_actions(&self, instance: &Instance, shared: &SharedFacts) -> Map<String, Value> {
        let mut facts = self.device.to_fields();
        facts.retain(|name, value| {
            !value.is_null() && DEVICE_FIELDS.iter().any(|field| field.name == *name && field.is_for_actions)
        });
        facts.insert("name".to_owned(), json!(instance.name));
        if let Some(url) = &self.answered_url {
            facts.insert(ANSWERED_URL_FACT.to_owned(), json!(url));
        }
        let next_image = instance.data.get("next_image").and_then(Value::as_str);
        let configs = shared.get(&self.device.hardware).and_then(|facts| facts.get(BOOT_CONFIGS_FACT));
        if let Some(file) = next_image.and_then(|image| configs?.get(image)) {
            facts.insert(BOOT_CONFIG_FACT.to_owned(), file.clone());
        }
        facts
    }
}
