//! Resources with a power state: what is read of them, which order they accept, and what they say of a failure.

use serde_json::{Value, json};

use crate::outlet::PowerState;

/// The collection of computer systems. Source: DSP0266, the links of the service root.
pub(super) const SYSTEMS: &str = "/redfish/v1/Systems";
/// The equipment of which PDUs are a part. Source: DSP2046, `PowerEquipment`.
pub(super) const POWER_EQUIPMENT: &str = "/redfish/v1/PowerEquipment";
/// The beginning of all resources. Source: DSP0266, protocol version.
pub(super) const ROOT: &str = "/redfish/v1/";
/// How many members of a collection an error lists.
const MAX_LISTED_MEMBERS: usize = 20;

/// An action that switches the power.
#[derive(Debug, PartialEq, Eq)]
struct ControlKind {
    /// Its name in `Actions`.
    name: &'static str,
    /// Its parameter.
    parameter: &'static str,
    /// The values that switch on; the first one allowed is sent.
    on: &'static [&'static str],
    /// The values that switch off at once, without asking the operating system.
    off: &'static [&'static str],
}

/// Source: DSP2046, `ComputerSystem.Reset` and `Outlet.PowerControl`.
const KINDS: &[ControlKind] = &[
    ControlKind {
        name: "#ComputerSystem.Reset",
        parameter: "ResetType",
        on: &["On", "ForceOn"],
        off: &["ForceOff"],
    },
    ControlKind { name: "#Outlet.PowerControl", parameter: "PowerState", on: &["On"], off: &["Off"] },
];

/// A resource whose power can be switched, as it was read.
#[derive(Debug)]
pub(super) struct PowerResource {
    /// `None` while it changes, and where it is none of on and off.
    pub(super) power_state: Option<PowerState>,
    action: PowerControl,
}

#[derive(Debug)]
struct PowerControl {
    kind: &'static ControlKind,
    target: String,
    /// The values that the resource allows; `None` where it does not say so.
    allowed: Option<Vec<String>>,
}

impl PowerResource {
    /// Reads a resource; `None` where its power cannot be switched.
    pub(super) fn read(resource: &Value) -> Option<Self> {
        let actions = resource.get("Actions")?;
        let (kind, action) =
            KINDS.iter().find_map(|kind| actions.get(kind.name).map(|action| (kind, action)))?;
        let target = action.get("target")?.as_str().filter(|target| target.starts_with('/'))?.to_owned();
        let allowed = action.get(format!("{}@Redfish.AllowableValues", kind.parameter));
        let allowed = allowed
            .and_then(Value::as_array)
            .map(|values| values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect());
        let power_state = match resource.get("PowerState").and_then(Value::as_str) {
            Some("On") => Some(PowerState::On),
            Some("Off") => Some(PowerState::Off),
            // `PoweringOn`, `PoweringOff`, `Paused`; `null` while the controller starts.
            _ => None,
        };
        Some(Self { power_state, action: PowerControl { kind, target, allowed } })
    }

    /// The path and the body of the order for `state`.
    ///
    /// # Errors
    ///
    /// What the resource allows instead.
    pub(super) fn order(&self, state: PowerState) -> Result<(String, Value), String> {
        let PowerControl { kind, target, allowed } = &self.action;
        let values = match state {
            PowerState::On => kind.on,
            PowerState::Off => kind.off,
        };
        let is_allowed = |value: &&&str| {
            allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|other| other == **value))
        };
        let value = values.iter().find(is_allowed).ok_or_else(|| {
            let allowed = allowed.as_deref().unwrap_or_default().join(", ");
            format!("{} allows no {}: {} is one of {allowed}", kind.name, values.join(" or "), kind.parameter)
        })?;
        Ok((target.clone(), json!({ kind.parameter: value })))
    }
}

/// The paths of the members of a collection.
pub(super) fn members(collection: &Value) -> Vec<&str> {
    let members = collection.get("Members").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    members.iter().filter_map(|member| member.get("@odata.id")?.as_str()).collect()
}

/// The only member of a collection.
///
/// # Errors
///
/// The members, if there are several; an empty text, if there is none.
pub(super) fn only_member(collection: &Value) -> Result<String, String> {
    let paths = members(collection);
    match *paths {
        [path] if path.starts_with('/') => Ok(path.to_owned()),
        _ => {
            let ids = paths.iter().map(|path| path.trim_end_matches('/').rsplit('/').next().unwrap_or(path));
            let more = if paths.len() > MAX_LISTED_MEMBERS { ", …" } else { "" };
            let ids: Vec<_> = ids.take(MAX_LISTED_MEMBERS).map(|id| format!("`{id}`")).collect();
            Err(format!("{}{more}", ids.join(", ")))
        }
    }
}

/// Picks what a service says from the body of an answer: the messages of an error, or the power state.
pub(super) fn words(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let Some(error) = body.get("error") else {
        return body.get("PowerState").map(|state| format!("\"PowerState\": {state}"));
    };
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let infos = match error.get("@Message.ExtendedInfo") {
        Some(Value::Array(infos)) => infos.as_slice(),
        // Some services send one message without its list.
        Some(info) => std::slice::from_ref(info),
        None => &[],
    };
    let messages: Vec<_> = infos.iter().filter_map(|info| text(info, "Message")).collect();
    if !messages.is_empty() {
        return Some(messages.join(" "));
    }
    text(error, "message").or_else(|| infos.iter().find_map(|info| text(info, "MessageId")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(power_state: &Value, allowed: &Value) -> Value {
        let target = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
        let reset = json!({ "target": target, "ResetType@Redfish.AllowableValues": allowed });
        json!({ "PowerState": power_state, "Actions": { "#ComputerSystem.Reset": reset } })
    }

    #[test]
    fn a_state_is_on_or_off_or_unknown() {
        for (state, expected) in [
            (json!("On"), Some(PowerState::On)),
            (json!("Off"), Some(PowerState::Off)),
            (json!("PoweringOff"), None),
            (json!("Paused"), None),
            (json!("on"), None),
            (Value::Null, None),
            (json!(true), None),
        ] {
            let resource = PowerResource::read(&system(&state, &Value::Null)).unwrap();
            assert_eq!(resource.power_state, expected, "{state}");
        }
        assert!(PowerResource::read(&json!({ "PowerState": "On" })).is_none(), "it has no action");
    }

    #[test]
    fn an_order_is_a_value_that_the_resource_allows() {
        let order = |allowed: Value, state| {
            let resource = PowerResource::read(&system(&json!("On"), &allowed)).unwrap();
            resource.order(state).map(|(_, body)| body["ResetType"].as_str().unwrap().to_owned())
        };
        for (allowed, state, expected) in [
            (json!(["On", "ForceOff", "ForceOn"]), PowerState::On, "On"),
            (json!(["ForceOn", "ForceOff"]), PowerState::On, "ForceOn"),
            (json!(["On", "ForceOff", "GracefulShutdown"]), PowerState::Off, "ForceOff"),
            (Value::Null, PowerState::Off, "ForceOff"),
            (Value::Null, PowerState::On, "On"),
        ] {
            assert_eq!(order(allowed, state).as_deref(), Ok(expected));
        }
        let refused = order(json!(["GracefulShutdown", "On"]), PowerState::Off).unwrap_err();
        assert_eq!(
            refused,
            "#ComputerSystem.Reset allows no ForceOff: ResetType is one of GracefulShutdown, On"
        );
    }

    #[test]
    fn an_outlet_of_a_pdu_has_an_action_of_its_own() {
        let target = "/redfish/v1/PowerEquipment/RackPDUs/1/Outlets/A1/Actions/Outlet.PowerControl";
        let actions = json!({ "#Outlet.PowerControl": { "target": target } });
        let outlet = PowerResource::read(&json!({ "PowerState": "Off", "Actions": actions })).unwrap();
        let expected = (target.to_owned(), json!({ "PowerState": "On" }));
        assert_eq!((outlet.power_state, outlet.order(PowerState::On)), (Some(PowerState::Off), Ok(expected)));
    }

    #[test]
    fn the_messages_of_an_error_are_picked_word_for_word() {
        let message = |text: &str| json!({ "MessageId": "Base.1.8.GeneralError", "Message": text });
        let error = |info: Value| json!({ "error": { "message": "See.", "@Message.ExtendedInfo": info } });
        for (body, expected) in [
            (error(json!([message("It is off."), message("Try later.")])), Some("It is off. Try later.")),
            (error(message("It is off.")), Some("It is off.")),
            (error(json!([{ "MessageId": "Base.1.8.GeneralError" }])), Some("See.")),
            (
                json!({ "error": { "@Message.ExtendedInfo": [{ "MessageId": "Base.1.8.X" }] } }),
                Some("Base.1.8.X"),
            ),
            (system(&json!("PoweringOn"), &Value::Null), Some("\"PowerState\": \"PoweringOn\"")),
            (json!({ "Members": [] }), None),
        ] {
            assert_eq!(words(&body.to_string()).as_deref(), expected, "{body}");
        }
        assert_eq!(words("<html>"), None);
    }
}
