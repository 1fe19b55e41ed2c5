//! Finding what a service can switch: its systems, and the outlets of its PDUs.

use async_trait::async_trait;
use serde_json::Value;
use url::Url;

use super::outlet::RedfishOutlet;
use super::resource::{POWER_EQUIPMENT, SYSTEMS, members};
use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::http::{HttpLogin, HttpSession, LoginMethod};
use crate::outlet::Outlet as _;
use crate::outlet_reader::{ListedOutlet, OutletLister};
use crate::parameters::PowerUrlParameters;
use crate::scheme::OutletAccess;

/// Lists systems and outlets by the links of the service.
pub(super) struct ResourceLister {
    authority: String,
    service: RedfishOutlet,
}

impl ResourceLister {
    /// Prepares for requests; nothing is sent.
    pub(super) fn open(
        url: &Url,
        parameters: &PowerUrlParameters,
        access: &OutletAccess,
    ) -> Result<Box<dyn OutletLister>, String> {
        let endpoint = DeviceEndpoint::parse_http(url, parameters)?;
        let login = HttpLogin::parse(parameters, LoginMethod::Basic, None)?;
        let authority = endpoint.authority();
        let service = RedfishOutlet::new(HttpSession::new(access.clone(), endpoint, login), None);
        Ok(Box::new(Self { authority, service }))
    }

    /// The paths of the members of a collection with all its pages, at most `limit`.
    async fn members(&mut self, collection: &str, limit: usize) -> Result<Vec<String>, OutletError> {
        let (mut paths, mut page): (Vec<String>, _) = (Vec::new(), Some(collection.to_owned()));
        while let Some(path) = page.take_if(|_| paths.len() < limit) {
            let Some(found) = self.service.find(&path).await? else { break };
            let more = members(&found);
            // A page without members would never reach the limit.
            page = found.get("Members@odata.nextLink").and_then(Value::as_str).map(str::to_owned);
            page = page.filter(|_| !more.is_empty());
            paths.extend(more.into_iter().map(str::to_owned));
        }
        paths.truncate(limit);
        Ok(paths)
    }

    /// The paths of the outlets of all PDUs, at most `limit`.
    async fn outlets(&mut self, limit: usize) -> Result<Vec<String>, OutletError> {
        let Some(equipment) = self.service.find(POWER_EQUIPMENT).await? else { return Ok(Vec::new()) };
        let mut outlets = Vec::new();
        for kind in ["RackPDUs", "FloorPDUs"] {
            let Some(pdus) = link(&equipment, kind) else { continue };
            for path in self.members(pdus, limit).await? {
                let pdu = self.service.find(&path).await?;
                if let Some(of_pdu) = pdu.as_ref().and_then(|pdu| link(pdu, "Outlets")) {
                    let room = limit.saturating_sub(outlets.len());
                    outlets.extend(self.members(of_pdu, room).await?);
                }
            }
        }
        Ok(outlets)
    }
}

#[async_trait]
impl OutletLister for ResourceLister {
    fn attempts(&self) -> u32 {
        self.service.attempts()
    }

    async fn list(&mut self, limit: usize) -> Result<Vec<ListedOutlet>, OutletError> {
        let mut paths = self.members(SYSTEMS, limit).await?;
        let room = limit.saturating_sub(paths.len());
        paths.extend(self.outlets(room).await?);
        if paths.is_empty() {
            let reason =
                format!("{} has neither systems in {SYSTEMS} nor PDUs in {POWER_EQUIPMENT}", self.authority);
            return Err(OutletError::new(OutletErrorKind::Refused, reason));
        }
        Ok(paths.iter().map(|path| ListedOutlet::new(outlet(path))).collect())
    }
}

/// The path that a link of a resource leads to.
fn link<'a>(resource: &'a Value, name: &str) -> Option<&'a str> {
    resource.get(name)?.get("@odata.id")?.as_str()
}

/// The outlet as in a power URL: the Id of a system, or the whole path.
fn outlet(path: &str) -> String {
    let path = path.trim_matches('/');
    let id = path.strip_prefix(SYSTEMS.trim_start_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    id.filter(|id| !id.contains('/')).unwrap_or(path).to_owned()
}
