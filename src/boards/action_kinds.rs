//! The kinds of action that boards' definitions may invoke.

use std::path::Path;

use super::boot_link::{ClearBootLink, SetBootLink};
use crate::actions::{ActionRegistry, NotifyPolicy, PowerSettings};

/// Returns the kinds for instances of any machine, with what power URLs name at this server, and those of boards, which change
/// links in the boot tree at `boot_root`.
#[must_use]
pub fn action_kinds(boot_root: &Path, notify: NotifyPolicy, settings: &PowerSettings) -> ActionRegistry {
    ActionRegistry::standard(notify, settings)
        .with(ClearBootLink::new(boot_root.to_owned()))
        .with(SetBootLink::new(boot_root.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Map, Value};

    use super::*;
    use crate::machine::{ActionCatalogue as _, ActionName};

    fn registry() -> ActionRegistry {
        action_kinds(Path::new(""), NotifyPolicy::default(), &PowerSettings::default())
    }

    fn name(name: &str) -> ActionName {
        ActionName::new(name).unwrap()
    }

    #[test]
    fn every_kind_has_a_complete_description() {
        let registry = registry();
        for action in registry.names() {
            let description = registry.description(action).unwrap();
            assert!(ActionName::new(action).is_ok() && !description.about.is_empty(), "{action}");
            let known = |other: &&str| registry.find(other).is_some();
            assert!(description.compensation.iter().all(known), "{action}");
            assert!(description.supersedes.iter().all(known), "{action}");
            let none = registry.check_settings(&name(action), &Map::new());
            assert!(none.iter().all(|fault| fault.key.is_none()), "{action}: {none:?}");
        }
        let limit = |name: &str| registry.description(name).map(|description| description.limit);
        assert_eq!(limit("power-on"), Some(Duration::from_secs(45)));
        assert_eq!(limit("power-off"), Some(Duration::from_secs(45)));
        assert_eq!(limit("power-cycle"), Some(Duration::from_secs(110)));
        assert_eq!(limit("set-pxe"), Some(Duration::from_secs(5)));
        assert_eq!(limit("poll"), Some(Duration::from_hours(24)));
        assert_eq!(limit("power"), None);
    }

    #[test]
    fn every_described_setting_exists() {
        let registry = registry();
        for action in registry.names() {
            for info in registry.find(action).unwrap().settings() {
                let none = Map::from_iter([(info.field.name.to_owned(), Value::Null)]);
                let faults = registry.check_settings(&name(action), &none);
                let is_known = faults.iter().all(|fault| !fault.message.contains("unknown"));
                assert!(is_known && !info.field.about.is_empty(), "{action}: {faults:?}");
            }
        }
    }
}
