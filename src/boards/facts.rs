//! What is known of a board as guards and actions see it.

use serde_json::{Map, Value, json};

use super::device::Device;
use super::image::BootConfigs;
use super::name::FACE;
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
        let Device { fqdn, mac, power_url, poll_url: _, hardware, environment, comments: _ } = &self.device;
        let images = shared.get(hardware).and_then(|facts| facts.get(IMAGES));
        let facts = [
            ("name", json!(instance.name)),
            ("fqdn", json!(fqdn)),
            ("mac", json!(mac)),
            ("hardware", json!(hardware)),
            ("environment", json!(environment)),
            ("power", json!(power_url.is_some())),
            (IMAGES, images.cloned().unwrap_or_else(|| json!([]))),
        ];
        facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect()
    }

    fn for_actions(&self, instance: &Instance, shared: &SharedFacts) -> Map<String, Value> {
        let Device { fqdn, mac, power_url, poll_url, hardware, environment, comments: _ } = &self.device;
        let next_image = instance.data.get("next_image").and_then(Value::as_str);
        let boot_config = next_image.and_then(|image| shared.get(hardware)?.get(BOOT_CONFIGS)?.get(image));
        let mut facts = Map::new();
        let mut add = |name: &str, fact: Option<&str>| {
            facts.extend(fact.map(|fact| (name.to_owned(), Value::from(fact))));
        };
        add("name", Some(&instance.name));
        add("fqdn", Some(fqdn));
        add("mac", Some(mac));
        add("power_url", power_url.as_deref());
        add("poll_url", poll_url.as_deref());
        add("hardware", Some(hardware));
        add("environment", Some(environment));
        add(ANSWERED_URL, self.answered_url.as_deref());
        add(BOOT_CONFIG, boot_config.and_then(Value::as_str));
        facts
    }
}
