//! The outlet: an object that is set and an object that is read.

use std::sync::Arc;
use std::time::Duration;

use async_snmp::Value;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use clock::{Clock, time_after};
use device_io::Evidence;

use super::client::SnmpClient;
use super::errors;
use super::objects::SnmpObjects;
use super::profiles::detection_name;
use crate::error::OutletError;
use crate::outlet::{Outlet, OutletReading, PowerState};

/// How long a device may take to show what it was told, in each of the three tries of a phase. PDUs switch one outlet
/// after the other. Source: Ironic's `[snmp] power_timeout` is 10 s, `--power-timeout` of fence-agents 20 s.
const FOLLOW_TIME: Duration = Duration::from_secs(4);
/// Time between two readings during that.
const FOLLOW_POLL: Duration = Duration::from_millis(250);
/// The longest part of a value, in characters, that goes into the evidence.
const MAX_VALUE_CHARS: usize = 200;

/// One outlet.
pub(super) struct SnmpOutlet {
    clock: Arc<dyn Clock>,
    client: SnmpClient,
    objects: SnmpObjects,
    /// The state that was ordered last, until a reading shows it or it is too late.
    ordered: Option<(PowerState, DateTime<Utc>)>,
    /// The load that was detected last.
    detection: Option<String>,
}

impl SnmpOutlet {
    pub(super) fn new(clock: Arc<dyn Clock>, client: SnmpClient, objects: SnmpObjects) -> Self {
        Self { clock, client, objects, ordered: None, detection: None }
    }

    async fn read_once(&mut self) -> Result<OutletReading, OutletError> {
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

    /// Reads the outlet. After an order it waits until the device shows what it was told.
    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        loop {
            let reading = self.read_once().await?;
            match self.ordered {
                Some((state, until)) if reading.power_state != Some(state) && self.clock.now() < until => {
                    self.clock.sleep(FOLLOW_POLL).await;
                }
                Some(_) | None => {
                    self.ordered = None;
                    return Ok(reading);
                }
            }
        }
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let set = self.client.set(self.objects.order(state)).await;
        let may_follow = set.as_ref().map_or_else(OutletError::may_have_switched, |()| true);
        self.ordered = may_follow.then(|| (state, time_after(self.clock.now(), FOLLOW_TIME)));
        set
    }
}
