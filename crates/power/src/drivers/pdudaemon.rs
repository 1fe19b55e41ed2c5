//! Outlets behind pdudaemon, by its HTTP listener: `pdudaemon://daemon.lab/pdu-3/5`.
//!
//! Source: pdudaemon, `httplistener.py`, `listener.py` and `pdurunner.py` of commit 91261da (2026-06-30) and of the
//! releases before it. Status 200 means that the order is queued; newer versions answer after their driver ran. Nothing
//! can be read back. Its `reboot` is not used: it waits between off and on in the memory of the daemon.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;
use url::{Url, form_urlencoded};

use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::http::{HttpAnswer, HttpRequest, HttpSession};
use crate::outlet::{
    ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, PowerState, Readback,
};
use crate::parameters::{OFF_PARAMETER, PowerUrlParameters};
use crate::scheme::{OutletAccess, OutletConfig, PowerScheme};

/// `pdudaemon://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "pdudaemon",
    path: "HOST[:16421]/PDU-HOSTNAME/PORT",
    about: "a port of a PDU that pdudaemon switches, by its HTTP listener; it cannot be read",
    example: "pdudaemon://pdudaemon.lab/rack-7-pdu/3",
    parameters: &[OFF_PARAMETER],
    parse,
    scan: None,
};

/// Source: pdudaemon, `httplistener.py`.
const DEFAULT_PORT: u16 = 16421;
/// Source: pdudaemon, `httplistener.py`: the beginnings of its two answers.
const ACCEPTED: &str = "OK - accepted request";
const INVALID: &str = "Invalid request";

/// One outlet of a PDU, with the daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PduOutlet {
    endpoint: DeviceEndpoint,
    /// As in the daemon's configuration, which tells upper and lower case apart.
    pdu: String,
    outlet: String,
}

fn parse(url: &Url, _: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let path = url.path().strip_prefix('/').unwrap_or_default();
    let (pdu, outlet) = path
        .split_once('/')
        .filter(|(pdu, outlet)| is_plain(pdu) && is_plain(outlet))
        .ok_or_else(|| format!("`{path}` is not a PDU's hostname and a port: {}", SCHEME.form()))?;
    let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?;
    let outlet = PduOutlet { endpoint, pdu: pdu.to_owned(), outlet: outlet.to_owned() };
    Ok(OutletConfig {
        device: format!("pdudaemon://{}", outlet.endpoint.authority()),
        outlet: path.to_owned(),
        capabilities: OutletCapabilities {
            readback: Readback::None,
            cycle_timing: CycleTiming::Caller,
            // It queues the orders for each PDU itself.
            client_capacity: ClientCapacity::Many,
            settle_for: Duration::ZERO,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(DaemonOutlet::new(access, outlet.clone()))),
    })
}

/// Whether a hostname or port needs no encoding in a path, so that it has one spelling only.
fn is_plain(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    !text.is_empty() && text.chars().all(is_allowed)
}

/// Outlet behind the daemon.
struct DaemonOutlet {
    session: HttpSession,
    outlet: PduOutlet,
}

impl DaemonOutlet {
    fn new(access: OutletAccess, outlet: PduOutlet) -> Self {
        Self { session: HttpSession::new(access, outlet.endpoint.clone(), None), outlet }
    }

    fn target(&self, state: PowerState) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("hostname", &self.outlet.pdu).append_pair("port", &self.outlet.outlet);
        format!("/power/control/{}?{}", state.name(), query.finish())
    }

    /// Whether the answer accepts the order.
    fn check(&self, answer: &HttpAnswer) -> Result<(), OutletError> {
        let (authority, pdu) = (self.session.authority(), &self.outlet.pdu);
        if answer.status == 200 && answer.body.starts_with(ACCEPTED) {
            return Ok(());
        }
        let (kind, reason) = match answer.status {
            // Newer versions say the same when their driver failed, which may have switched the port.
            500 if answer.body.starts_with(INVALID) => (
                OutletErrorKind::Unconfirmed,
                format!("pdudaemon at {authority} has no PDU `{pdu}`, or failed to switch it"),
            ),
            500.. => (
                OutletErrorKind::Unconfirmed,
                format!("{authority} answered with HTTP status {}", answer.status),
            ),
            status => {
                let refused = (400..500).contains(&status);
                let kind =
                    if refused { OutletErrorKind::Misconfigured } else { OutletErrorKind::WrongProtocol };
                (kind, format!("{authority} answered, but not as pdudaemon: HTTP status {status}"))
            }
        };
        Err(OutletError::new(kind, reason))
    }
}

#[async_trait]
impl Outlet for DaemonOutlet {
    fn evidence(&self) -> Evidence {
        Evidence::from_iter([
            ("pdu".to_owned(), self.outlet.pdu.as_str().into()),
            ("port".to_owned(), self.outlet.outlet.as_str().into()),
        ])
    }

    fn attempts(&self) -> u32 {
        self.session.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.connect().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        // Not called: it cannot be read.
        Ok(OutletReading { power_state: None, answer: None })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let request = HttpRequest::get(self.target(state), Some(state));
        let answer = self.session.send(request).await?;
        self.check(&answer).map_err(|error| error.with_answer(answer.words))
    }
}
