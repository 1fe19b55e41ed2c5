//! Refusals of operations on boards and images.

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
    FaceRefusal::new("taken", format!("{what} is already used by {}", owner(by))).into()
}

/// Builds the error that another board has the MAC address or the outlet: `conflict`, if it still exists.
pub(super) fn conflict_error(device: &Device, conflict: Option<DeviceConflict>) -> EngineError {
    match (conflict, outlet_of(device)) {
        (Some(DeviceConflict { name, has_mac: false }), Some(outlet)) => {
            taken(&format!("the power outlet {outlet}"), Some(&name))
        }
        (conflict, _) => {
            let name = conflict.as_ref().map(|conflict| conflict.name.as_str());
            taken(&format!("the MAC address {}", device.mac), name)
        }
    }
}

/// Converts the violated constraint if another board got the address or the outlet at the same moment.
pub(super) fn map_conflict(error: StoreError, device: &Device) -> EngineError {
    match outlet_of(device) {
        Some(outlet) if error.is_constraint("device_power_outlet_key") => {
            taken(&format!("the power outlet {outlet}"), None)
        }
        _ if error.is_constraint("device_mac_key") => conflict_error(device, None),
        _ => error.into(),
    }
}

/// Refuses to remove a board or its MAC address while it may have a boot link.
///
/// The link is named after the address: nothing would remove it, and the board would install at every boot.
pub(super) fn boot_link_refusal(instance: &Instance) -> Option<FaceRefusal> {
    let image = instance.data.get("next_image")?.as_str()?;
    let detail = format!(
        "{} may have a boot link for {image}; cancel or reboot to remove it, by a forced move to Cancelling if necessary",
        instance.name
    );
    Some(FaceRefusal::new("boot_link", detail))
}

/// Refuses to remove a board whose power may be off: restoring it needs the power URL.
pub(super) fn power_owed_refusal(board: &str) -> FaceRefusal {
    let detail = format!(
        "{board} may be powered off by an interrupted power cycle; remove it after power is restored, or after its power \
         URL is removed"
    );
    FaceRefusal::new("power_owed", detail)
}

/// Refuses to remove boot configs of an image while it is being installed on boards: each further attempt would fail.
pub(super) fn image_in_use_refusal(image: &str, boards: &[String]) -> FaceRefusal {
    let detail = format!(
        "{image} is being installed on {}; try again after that has finished or was cancelled",
        first_of(boards)
    );
    let more = Map::from_iter([("boards".to_owned(), json!(boards))]);
    FaceRefusal { more, ..FaceRefusal::new("image_in_use", detail) }
}

/// Formats the first names of a list that may be long.
fn first_of(names: &[String]) -> String {
    const MAX_NAMES: usize = 10;
    let first = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => first,
        more => format!("{first} and {}", count(more, "other")),
    }
}
