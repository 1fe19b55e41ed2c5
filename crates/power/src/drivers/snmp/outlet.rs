//! The outlet: an object that is set and an object that is read.

use async_snmp::Value;
use async_trait::async_trait;
use device_io::Evidence;

use super::client::SnmpClient;
use super::errors;
use super::objects::SnmpObjects;
use super::profiles::detection_name;
use crate::error::OutletError;
use crate::outlet::{Outlet, OutletReading, PowerState};

/// The longest part of a value, in characters, that goes into the evidence.
const MAX_VALUE_CHARS: usize = 200;

/// One outlet.
pub(super) struct SnmpOutlet {
    client: SnmpClient,
    objects: SnmpObjects,
    /// The load that was detected last.
    detection: Option<String>,
}

impl SnmpOutlet {
    pub(super) fn new(client: SnmpClient, objects: SnmpObjects) -> Self {
        Self { client, objects, detection: None }
    }
}

#[async_trait]
impl Outlet for SnmpOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::from_iter([
            ("outlet".to_owned(), self.objects.index.as_str().into()),
            ("oid".to_owned(), self.objects.on.oid.to_string().into()),
        ]);
        if let Some(detection) = &self.detection {
            evidence.insert("detection".to_owned(), detection.as_str().into());
        }
        evidence
    }

    fn attempts(&self) -> u32 {
        self.client.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.client.connect().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let oids = [Some(self.objects.state.clone()), self.objects.detection.clone()];
        let oids: Vec<_> = oids.into_iter().flatten().collect();
        let values = self.client.get(&oids).await?;
        let Some(value) = values.first() else {
            return Err(errors::unexpected(&self.client.authority()));
        };
        if value.is_exception() {
            return Err(errors::no_such_outlet(&self.client.authority(), &value.to_string()));
        }
        self.detection = values.get(1).and_then(Value::as_i32).map(|status| match detection_name(status) {
            Some(name) => name.to_owned(),
            None => status.to_string(),
        });
        let shown: String = value.to_string().chars().take(MAX_VALUE_CHARS).collect();
        Ok(OutletReading {
            power_state: self.objects.power_state(value),
            answer: Some(format!("{} = {shown}", self.objects.state_name)),
        })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        self.client.set(self.objects.order(state)).await
    }
}
