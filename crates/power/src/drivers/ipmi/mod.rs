//! The power of a machine's chassis, by its BMC and `ipmitool`: `ipmi://bmc-7.lab?credential=lab-bmcs`.
//!
//! A power cycle is off, wait and on: the off time of the BMC's own cycle is the BMC's choice.

mod answer;

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::program::ProgramCall;
use device_io::{CredentialName, Evidence, LocalTrouble, resolve};
use url::Url;

use self::answer::{BmcFault, FaultContext, power_state};
use crate::client::RequestKind;
use crate::credential::{CREDENTIAL_PARAMETER, credential_name};
use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::evidence::evidence_text;
use crate::http::{misconfigured, spellings};
use crate::outlet::{
    ClientCapacity, CycleTiming, MAX_EFFECT_TIME, Outlet, OutletCapabilities, OutletReading, PowerState,
    Readback,
};
use crate::parameters::{EFFECT_PARAMETER, OFF_PARAMETER, PowerUrlParameters, SchemeParameter, number};
use crate::program::ProgramSession;
use crate::scheme::{DeviceScan, OutletConfig, PowerScheme};
use crate::session::connect_error;

/// `ipmi://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "ipmi",
    path: "HOST[:623]",
    about: "a machine with a BMC, by `ipmitool` on the server",
    example: "ipmi://bmc-7.lab?credential=lab-bmcs",
    parameters: &[
        CREDENTIAL_PARAMETER,
        SchemeParameter {
            name: "interface",
            example: "lanplus",
            about: "`lanplus` (IPMI 2.0) or `lan` (IPMI 1.5); the default is `lanplus`",
        },
        SchemeParameter {
            name: "cipher",
            example: "17",
            about: "the cipher suite of `lanplus`, 1 to 17; the default is the best that the BMC offers",
        },
        SchemeParameter {
            name: "privilege",
            example: "operator",
            about: "the privilege level to ask for: `operator` or `administrator`; the default is `administrator`",
        },
        EFFECT_PARAMETER,
        OFF_PARAMETER,
    ],
    parse,
    scan: Some(DeviceScan::each_outlet(|| vec![String::new()])),
};

const PROGRAM: &str = "ipmitool";
/// Source: IPMI v2.0 specification, section 13.1.2: the port of RMCP.
const DEFAULT_PORT: u16 = 623;
/// The last cipher suite of the IPMI v2.0 specification, table 22-20, and of its addenda.
const MAX_CIPHER: u8 = 17;

/// How long a BMC may need until its reading shows an order, as at Redfish.
const DEFAULT_EFFECT_TIME: Duration = Duration::from_secs(12);

/// How the BMC is asked, as arguments of `ipmitool`.
#[derive(Debug, Clone)]
struct IpmiOptions {
    credential: CredentialName,
    arguments: Vec<String>,
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let form = SCHEME.form();
    if !matches!(url.path(), "" | "/") {
        return Err(format!("`{}`: a BMC has one outlet; write {form}", url.path()));
    }
    let credential = credential_name(parameters)?
        .ok_or_else(|| format!("`credential` names user and password in lifeguard.toml; write {form}"))?;
    let interface = match parameters.get("interface") {
        None | Some("lanplus") => "lanplus",
        Some("lan") => "lan",
        Some(other) => return Err(format!("`interface={other}`: write `lanplus` or `lan`")),
    };
    let privilege = match parameters.get("privilege") {
        None | Some("administrator") => "ADMINISTRATOR",
        Some("operator") => "OPERATOR",
        Some(other) => return Err(format!("`privilege={other}`: write `operator` or `administrator`")),
    };
    let mut arguments =
        vec!["-I", interface, "-L", privilege].into_iter().map(str::to_owned).collect::<Vec<_>>();
    if let Some(text) = parameters.get("cipher") {
        let cipher: Option<u8> = number(text).filter(|cipher| (1..=MAX_CIPHER).contains(cipher));
        let cipher = cipher.ok_or_else(|| {
            format!(
                "`cipher={text}`: write a number from 1 to {MAX_CIPHER}, such as 17 or, for older BMCs, 3"
            )
        })?;
        if interface == "lan" {
            return Err("`cipher` is for `interface=lanplus`".to_owned());
        }
        arguments.extend(["-C".to_owned(), cipher.to_string()]);
    }
    let effect_within =
        parameters.span(EFFECT_PARAMETER.name, MAX_EFFECT_TIME)?.unwrap_or(DEFAULT_EFFECT_TIME);
    let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?;
    let options = IpmiOptions { credential, arguments };
    Ok(OutletConfig {
        device: format!("ipmi://{}", endpoint.authority()),
        outlet: "chassis".to_owned(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: Duration::ZERO,
            effect_within,
        },
        open: Arc::new(move |access| {
            Box::new(IpmiOutlet {
                session: ProgramSession::new(access, Duration::ZERO),
                endpoint: endpoint.clone(),
                options: options.clone(),
                failure: None,
            })
        }),
    })
}

struct IpmiOutlet {
    session: ProgramSession,
    endpoint: DeviceEndpoint,
    options: IpmiOptions,
    /// The words of the last command that failed.
    failure: Option<String>,
}

impl IpmiOutlet {
    /// Finds an address of the BMC that this machine has a route to. Nothing is sent.
    async fn find_address(&self) -> Result<IpAddr, OutletError> {
        let DeviceEndpoint { host, port, .. } = &self.endpoint;
        let authority = self.endpoint.authority();
        let access = &self.session.access;
        let addresses = resolve(&*access.clock, host, *port, access.call_limit)
            .await
            .map_err(|error| connect_error(&authority, error))?;
        let mut last = None;
        for address in addresses {
            let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let Err(error) = UdpSocket::bind(local).and_then(|socket| socket.connect(address)) else {
                return Ok(address.ip());
            };
            let kind = LocalTrouble::of_socket(&error, address.ip())
                .map_or(OutletErrorKind::NotConnected, OutletErrorKind::Local);
            last = Some(OutletError::new(kind, format!("no connection to {authority}: {error}")));
        }
        Err(last.unwrap_or_else(|| misconfigured(format!("{host} has no address"))))
    }

    /// Runs `ipmitool chassis power COMMAND` and returns its output.
    async fn chassis_power(&mut self, kind: RequestKind, command: &str) -> Result<String, OutletError> {
        self.session.check_lease()?;
        let access = &self.session.access;
        let credential = access.credentials.read(&self.options.credential).await?;
        let (user, password) =
            (credential.require_user()?.to_owned(), credential.require_password()?.clone());
        let address = self.find_address().await?;
        let retransmission_s = retransmission_s(access.call_limit);
        let (address, port) = (address.to_string(), self.endpoint.port.to_string());
        // `-v` says why there is no session; without it a wrong password looks like silence. `-E` reads the environment.
        let own = ["-v", "-H", &address, "-p", &port, "-U", &user, "-E", "-N", &retransmission_s, "-R", "1"];
        let arguments = self.options.arguments.iter().map(String::as_str).chain(own);
        let arguments = arguments.chain(["chassis", "power", command]);
        let command: Vec<String> = std::iter::once(PROGRAM).chain(arguments).map(str::to_owned).collect();
        let secrets = spellings(password.expose());
        let environment = [("IPMI_PASSWORD", password)];
        let call = ProgramCall { command: &command, environment: &environment, ..ProgramCall::default() };
        let ended = self.session.run(kind, call).await;
        let context = FaultContext {
            authority: &self.endpoint.authority(),
            user: &user,
            credential: self.options.credential.as_str(),
            kind,
        };
        let failed = match ended {
            Ok(ended) if ended.status.success() => return Ok(ended.text.output),
            Ok(ended) => BmcFault::of(&ended.text.error_output).error(&context, &ended, &secrets),
            Err(error) => unfinished(error, &context),
        };
        self.failure.clone_from(&failed.answer);
        Err(failed)
    }
}

/// The error where `ipmitool` gave no result.
fn unfinished(error: OutletError, context: &FaultContext<'_>) -> OutletError {
    let reason = if error.kind == OutletErrorKind::Misconfigured {
        format!("{}: on Debian and Ubuntu, `apt-get install {PROGRAM}` on the server", error.reason)
    } else if matches!(error.kind, OutletErrorKind::AnswerPending | OutletErrorKind::ConnectionLost) {
        format!("no answer from {}: {}", context.authority, error.reason)
    } else {
        error.reason
    };
    let answer = error.answer.map(|answer| answer::significant(&answer)).filter(|answer| !answer.is_empty());
    OutletError { reason, answer, ..error }
}

/// The time after which `ipmitool` sends a message again, once, so that it gives up within the limit of the call.
///
/// Source: measured with ipmitool 1.8.19 at a BMC that does not answer, `lanplus` and `lan`: `-N 1 -R 1` ends after 2.1 s,
/// `-N 2 -R 1` after 4.2 s, `-N 1 -R 2` after 6.2 s, and `-R 0` only after 20 s (2026-12-02).
fn retransmission_s(call_limit: Duration) -> String {
    if call_limit >= Duration::from_secs(5) { "2" } else { "1" }.to_owned()
}

#[async_trait]
impl Outlet for IpmiOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::from_iter([("bmc".to_owned(), self.endpoint.authority().into())]);
        evidence.extend(self.failure.as_ref().map(|words| ("ipmitool".to_owned(), words.as_str().into())));
        evidence
    }

    fn attempts(&self) -> u32 {
        self.session.attempts
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.check_lease()
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let output = self.chassis_power(RequestKind::Query, "status").await?;
        Ok(OutletReading { power_state: power_state(&output), answer: Some(evidence_text(&output, &[])) })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        // The BMC answers at once and may switch later: the reading decides.
        self.chassis_power(RequestKind::Order, state.name()).await.map(|_| ())
    }
}
