//! Links of instances, as rows store them.
//!
//! A name may be reused after its instance was removed. So a row also stores the ID of each linked instance, and a link leads
//! to the instance of its name only if that has this ID.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::instance_ids::InstanceId;
use crate::machine::{InstanceAddress, Link, LinkName, Links, MachineName, Visit};

/// The IDs of linked instances, by link; an instance that did not exist when it was linked has none.
pub type LinkedIds = BTreeMap<LinkName, InstanceId>;

/// The links of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredLinks(BTreeMap<LinkName, StoredLink>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredLink {
    machine: MachineName,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    visit: Option<Visit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
}

impl StoredLinks {
    /// Combines links with the IDs of the linked instances.
    pub(crate) fn new(links: &Links, ids: &LinkedIds) -> Self {
        let stored = |(name, Link { to, visit }): (&LinkName, &Link)| {
            let id = ids.get(name).map(|id| id.0);
            let stored = StoredLink { machine: to.machine.clone(), name: to.name.clone(), visit: *visit, id };
            (name.clone(), stored)
        };
        Self(links.iter().map(stored).collect())
    }

    /// Returns the links and the IDs of the linked instances.
    pub(crate) fn split(self) -> (Links, LinkedIds) {
        let (mut links, mut ids) = (Links::new(), LinkedIds::new());
        for (link, StoredLink { machine, name, visit, id }) in self.0 {
            ids.extend(id.map(|id| (link.clone(), InstanceId(id))));
            links.insert(link, Link { to: InstanceAddress { machine, name }, visit });
        }
        (links, ids)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_are_read_as_they_were_written_with_an_id_only_if_the_instance_existed() {
        let text = json!({
            "lease": { "machine": "lease", "name": "l/1", "visit": 3, "id": 17 },
            "other": { "machine": "thing", "name": "t1" },
        });
        let stored: StoredLinks = serde_json::from_str(&text.to_string()).unwrap();
        let (links, ids) = stored.clone().split();
        let lease = LinkName::new("lease").unwrap();
        assert_eq!(links[&lease].to.to_string(), "lease/l/1");
        assert_eq!(ids, LinkedIds::from([(lease, InstanceId(17))]));
        assert_eq!(StoredLinks::new(&links, &ids), stored);
        assert_eq!(serde_json::to_value(&stored).unwrap(), text);
    }
}
