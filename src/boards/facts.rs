//! What is known of a board as guards and actions see it.

use serde_json::{Map, Value, json};

use super::device::Device;
use super::face_name::FACE;
use super::field::DEVICE_FIELDS;
use super::image::BootConfigs;
use crate::machine::Instance;
use crate::store::{InstanceFacts, SharedFacts};

/// What is known of a board, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::boards) struct BoardFacts {
    /// The board; what people wrote about it is left out.
    pub(in crate::boards) device: Device,
    /// The poll URL at which it has answered a poll.
    pub(in crate::boards) answered_url: Option<String>,
}

/// The facts of boards that have all the images of a type of hardware in common.
pub(super) const IMAGES: &str = "images";
/// The same for the files that boot them, by image.
pub(super) const BOOT_CONFIGS: &str = "boot_configs";
/// The file that boots a board's next image.
pub(super) const BOOT_CONFIG: &str = "boot_config";
/// The poll URL at which a board has answered.
pub(super) const ANSWERED_URL: &str = "answered_url";

/// What boards of one type of hardware have in common, by hardware.
pub(super) fn shared(by_hardware: Vec<BootConfigs>) -> SharedFacts {
    let of_one = |one: BootConfigs| {
        let images: Vec<&str> = one.files.iter().map(|(image, _)| image.as_str()).collect();
        let images = json!(images);
        let files = one.files.into_iter().map(|(image, file)| (image, Value::from(file))).collect();
        let facts = [(IMAGES, images), (BOOT_CONFIGS, Value::Object(files))];
        (one.hardware, facts.map(|(name, fact)| (name.to_owned(), fact)).into_iter().collect())
    };
    by_hardware.into_iter().map(of_one).collect()
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
        let images = shared.get(&self.device.hardware).and_then(|facts| facts.get(IMAGES));
        facts.insert(IMAGES.to_owned(), images.cloned().unwrap_or_else(|| json!([])));
        facts
    }

    fn for_actions(&self, instance: &Instance, shared: &SharedFacts) -> Map<String, Value> {
        let mut facts = self.device.to_fields();
        facts.retain(|name, value| {
            !value.is_null() && DEVICE_FIELDS.iter().any(|field| field.name == *name && field.is_for_actions)
        });
        facts.insert("name".to_owned(), json!(instance.name));
        if let Some(url) = &self.answered_url {
            facts.insert(ANSWERED_URL.to_owned(), json!(url));
        }
        let next_image = instance.data.get("next_image").and_then(Value::as_str);
        let configs = shared.get(&self.device.hardware).and_then(|facts| facts.get(BOOT_CONFIGS));
        if let Some(file) = next_image.and_then(|image| configs?.get(image)) {
            facts.insert(BOOT_CONFIG.to_owned(), file.clone());
        }
        facts
    }
}
