//! Finding the outlets of a device: walks through the tables in which the known devices have theirs.

use async_snmp::Oid;
use async_trait::async_trait;
use url::Url;

use super::client::{DEFAULT_PORT, SnmpClient};
use super::errors;
use super::objects::{devices, dotted, object};
use super::profiles::{DeviceProfile, PROFILES};
use super::security::{SnmpSecurity, SnmpVersion};
use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::outlet_reader::{ListedOutlet, OutletLister};
use crate::parameters::PowerUrlParameters;
use crate::scheme::OutletAccess;

/// A table of outlets, as the devices of one profile have it.
struct OutletTable {
    client: SnmpClient,
    security: SnmpSecurity,
    /// The column that is read.
    column: Oid,
    /// The profile, except with `device=oid`.
    profile: Option<&'static DeviceProfile>,
}

/// Walks through tables of outlets. The first one with outlets counts: some PDUs have an older table too.
pub(super) struct TableLister {
    authority: String,
    tables: Vec<OutletTable>,
}

impl TableLister {
    /// Prepares for the table of `device`, or for those of all known devices where the URL has none; nothing is sent.
    pub(super) fn open(
        url: &Url,
        parameters: &PowerUrlParameters,
        access: &OutletAccess,
    ) -> Result<Box<dyn OutletLister>, String> {
        let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?;
        let table = |column: &str, version, profile| -> Result<OutletTable, String> {
            let security = SnmpSecurity::parse(parameters, version)?;
            let client = SnmpClient::new(access.clone(), endpoint.clone(), security.clone());
            Ok(OutletTable { client, security, column: object(column)?, profile })
        };
        let device = parameters.get("device");
        let tables: Result<Vec<_>, String> = if device == Some("oid") {
            let column = parameters.get("read-oid").or(parameters.get("oid")).unwrap_or_default();
            table(column, SnmpVersion::V2c, None).map(|table| vec![table])
        } else {
            let named = PROFILES.iter().filter(|profile| device.is_none_or(|name| name == profile.name));
            named.map(|profile| table(profile.state.0, profile.version, Some(profile))).collect()
        };
        Ok(Box::new(Self { authority: endpoint.authority(), tables: tables? }))
    }
}

impl OutletTable {
    /// Lists its outlets, at most `limit`.
    async fn walk(&mut self, limit: usize) -> Result<Vec<ListedOutlet>, OutletError> {
        let (mut outlets, mut at) = (Vec::new(), self.column.clone());
        while outlets.len() < limit {
            let Some(oid) = self.client.get_next(&at).await? else { break };
            let Some(index) = oid.arcs().strip_prefix(self.column.arcs()) else { break };
            if oid <= at {
                return Err(errors::unexpected(&self.client.authority()).with_answer(oid.to_string()));
            }
            outlets.extend(self.outlet(index));
            at = oid;
        }
        Ok(outlets)
    }

    /// The outlet with this index; `None` for an index that no outlet has.
    fn outlet(&self, index: &[u32]) -> Option<ListedOutlet> {
        let Some(profile) = self.profile else { return Some(ListedOutlet::new(dotted(index))) };
        let path = match (profile.unit, index) {
            (_, [.., 0]) => return None,
            (None, [outlet]) => outlet.to_string(),
            (Some((_, default)), [unit, outlet]) if *unit == default => outlet.to_string(),
            (Some(_), [_, _]) => dotted(index),
            (Some(_) | None, _) => return None,
        };
        Some(ListedOutlet { path, parameter: Some(("device", profile.name)) })
    }
}

#[async_trait]
impl OutletLister for TableLister {
    fn attempts(&self) -> u32 {
        self.tables.iter().map(|table| table.client.attempts()).sum()
    }

    async fn list(&mut self, limit: usize) -> Result<Vec<ListedOutlet>, OutletError> {
        let (mut failed, mut has_answered): (Vec<(SnmpSecurity, OutletError)>, _) = (Vec::new(), false);
        for table in &mut self.tables {
            // A device is silent in versions that it does not speak.
            if failed.iter().any(|(security, _)| *security == table.security) {
                continue;
            }
            match table.walk(limit).await {
                Ok(outlets) if !outlets.is_empty() => return Ok(outlets),
                Ok(_) => has_answered = true,
                Err(error)
                    if matches!(error.kind, OutletErrorKind::LeaseExpired | OutletErrorKind::Local(_)) =>
                {
                    return Err(error);
                }
                Err(error) => failed.push((table.security.clone(), error)),
            }
        }
        match failed.into_iter().next() {
            Some((_, error)) if !has_answered => Err(error),
            Some(_) | None => {
                let looked_for = match self.tables.as_slice() {
                    [table] => format!("no outlets below {}", table.column),
                    _ => format!("none of the known tables of outlets; write {}", devices()),
                };
                let reason = format!("{} has {looked_for}", self.authority);
                Err(OutletError::new(OutletErrorKind::Misconfigured, reason))
            }
        }
    }
}
