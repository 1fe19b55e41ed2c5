//! Why something cannot be done with a board or an image, in words.

use serde_json::{Map, json};

use super::store::devices::DeviceConflict;
use crate::engine::{EngineError, FaceRefusal};
use crate::formatting::count;
use crate::machine::Instance;
use crate::store::StoreError;

use super::device::Device;
use super::outlets::outlet_of;

fn owner(board: Option<&str>) -> String {
    board.map_or_else(|| "another board".to_owned(), |name| format!("board `{name}`"))
}

fn taken(what: &str, by: Option<&str>) -> EngineError {
    FaceRefusal::new("taken", format!("{what} belongs to {} already", owner(by))).into()
}

/// Another board has its MAC address or its outlet already: `rival`, if it is still there.
pub(super) fn conflict_error(device: &Device, rival: Option<DeviceConflict>) -> EngineError {
    match (rival, outlet_of(device)) {
        (Some(DeviceConflict { name, has_mac: false }), Some(outlet)) => {
            taken(&format!("the power outlet {outlet}"), Some(&name))
        }
        (rival, _) => {
            taken(&format!("the MAC address {}", device.mac), rival.as_ref().map(|rival| rival.name.as_str()))
        }
    }
}

/// The same, where it was seen only as the row was written: another board got it in the same moment.
pub(super) fn map_conflict(error: StoreError, device: &Device) -> EngineError {
    match outlet_of(device) {
        Some(outlet) if error.is_constraint("device_power_outlet_key") => {
            taken(&format!("the power outlet {outlet}"), None)
        }
        _ if error.is_constraint("device_mac_key") => conflict_error(device, None),
        _ => error.into(),
    }
}

/// The board may have a boot link, which is known by its network address: nobody would remove it, and the board would
/// install at every boot.
pub(super) fn boot_link_refusal(instance: &Instance) -> Option<FaceRefusal> {
    let image = instance.data.get("next_image")?.as_str()?;
    let detail = format!(
        "{} may have a boot link for {image}; a cancellation or a reboot removes it, by force if need be (to Cancelling)",
        instance.name
    );
    Some(FaceRefusal::new("boot_link", detail))
}

/// The board's power may be off and is still to be given back, which needs its power URL.
pub(super) fn power_owed_refusal(board: &str) -> FaceRefusal {
    let detail = format!(
        "{board} may be without power, which is still to be given back; it can go when it has it, or when it has no power \
         URL any more"
    );
    FaceRefusal::new("power_owed", detail)
}

/// Boards are being given an image that would have no boot config for them any more: each further try would fail.
pub(super) fn image_in_use_refusal(image: &str, boards: &[String]) -> FaceRefusal {
    let detail = format!(
        "{image} is being given to {}; it can go when they have it, or when that is cancelled",
        first_of(boards)
    );
    let more = Map::from_iter([("boards".to_owned(), json!(boards))]);
    FaceRefusal { more, ..FaceRefusal::new("image_in_use", detail) }
}

/// The first names of a list that may be long.
fn first_of(names: &[String]) -> String {
    const MAX_NAMES: usize = 10;
    let first = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => first,
        more => format!("{first} and {}", count(more, "other")),
    }
}
