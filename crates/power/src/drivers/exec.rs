//! Outlets that commands of the server's configuration switch: `exec://rack-relays/5`.
//!
//! The power URL comes from any client that may register boards. So it names a table of `lifeguard.toml` and an outlet, and never a
//! program. The outlet is put into arguments; there is no shell.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;
use device_io::program::ProgramCall;
use url::Url;

use crate::client::RequestKind;
use crate::commands::{COMMANDS_PREFIX, PowerCommandTable, check_commands_name, check_outlet};
use crate::error::{OutletError, OutletErrorKind};
use crate::http::misconfigured;
use crate::outlet::{
    ClientCapacity, CycleTiming, MAX_EFFECT_TIME, MAX_SETTLE_TIME, Outlet, OutletCapabilities, OutletReading,
    PowerState, Readback,
};
use crate::parameters::{OFF_PARAMETER, PowerUrlParameters, SchemeParameter};
use crate::program::{EndedProgram, ProgramSession, words};
use crate::scheme::{OutletAccess, OutletConfig, PowerScheme};

/// `exec://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "exec",
    path: "NAME[/OUTLET]",
    about: "an outlet that the commands [power-commands.NAME] of the server's lifeguard.toml switch",
    example: "exec://rack-relays/5",
    parameters: &[
        OFF_PARAMETER,
        SchemeParameter {
            name: "effect",
            example: "12s",
            about: "how long the outlet may need until its reading shows an order; none by default",
        },
        SchemeParameter {
            name: "rest",
            example: "1s",
            about: "how long to wait after each command before the next one",
        },
    ],
    parse,
    scan: None,
};

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let form = SCHEME.form();
    // The host of such a URL keeps its spelling.
    let name = url.host_str().unwrap_or_default().to_owned();
    check_commands_name(&name).map_err(|problem| format!("{problem}; write {form}"))?;
    if url.port().is_some() {
        return Err(format!("it has no port; write {form}"));
    }
    let outlet = url.path().strip_prefix('/').filter(|outlet| !outlet.is_empty()).map(str::to_owned);
    if let Some(outlet) = &outlet {
        check_outlet(outlet).map_err(|problem| format!("{problem}; write {form}"))?;
    }
    let settle_for = parameters.span("rest", MAX_SETTLE_TIME)?.unwrap_or(Duration::ZERO);
    let effect_within = parameters.span("effect", MAX_EFFECT_TIME)?.unwrap_or(Duration::ZERO);
    Ok(OutletConfig {
        device: format!("{COMMANDS_PREFIX}{name}"),
        outlet: outlet.clone().unwrap_or_default(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            // A command that runs for the length of a cycle is killed with its server.
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for,
            effect_within,
        },
        open: Arc::new(move |access: OutletAccess| {
            let commands = access.commands.find(&name, outlet.as_deref()).cloned();
            Box::new(ExecOutlet {
                session: ProgramSession::new(access, settle_for),
                name: name.clone(),
                outlet: outlet.clone(),
                commands,
                failure: None,
            })
        }),
    })
}

struct ExecOutlet {
    session: ProgramSession,
    name: String,
    outlet: Option<String>,
    /// The commands, or why there are none.
    commands: Result<PowerCommandTable, String>,
    /// The last command that failed, with its words.
    failure: Option<String>,
}

impl ExecOutlet {
    fn commands(&self) -> Result<PowerCommandTable, OutletError> {
        self.commands.clone().map_err(misconfigured)
    }

    fn outlet(&self) -> &str {
        self.outlet.as_deref().unwrap_or_default()
    }

    /// Runs a command, which succeeds with exit status 0. One that fails may have switched the outlet.
    async fn run(&mut self, kind: RequestKind, command: &[String]) -> Result<EndedProgram, OutletError> {
        let program = command.first().map(String::as_str).unwrap_or_default();
        let ended = self.session.run(kind, ProgramCall { command, ..ProgramCall::default() }).await;
        let failed = match ended {
            Ok(ended) if ended.status.success() => return Ok(ended),
            Ok(EndedProgram { status, text }) => {
                let reason = format!("`{program}` failed with {status}");
                OutletError::new(OutletErrorKind::Unconfirmed, reason).with_answer(words(&text, &[]))
            }
            Err(error) => error,
        };
        let words = failed.answer.as_ref().filter(|words| !words.is_empty());
        self.failure = Some(match words {
            Some(words) => format!("{}: {words}", failed.reason),
            None => failed.reason.clone(),
        });
        Err(failed)
    }
}

#[async_trait]
impl Outlet for ExecOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::from_iter([("commands".to_owned(), self.name.as_str().into())]);
        for (key, text) in [("outlet", &self.outlet), ("failed_command", &self.failure)] {
            evidence.extend(text.as_ref().map(|text| (key.to_owned(), text.as_str().into())));
        }
        evidence
    }

    fn attempts(&self) -> u32 {
        self.session.attempts
    }

    fn readback(&self) -> Option<Readback> {
        let commands = self.commands.as_ref().ok()?;
        commands.reading(self.outlet()).is_none().then_some(Readback::None)
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.check_lease()?;
        self.commands().map(|_| ())
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let commands = self.commands()?;
        let Some((command, answers)) = commands.reading(self.outlet()) else {
            return Ok(OutletReading { power_state: None, answer: None });
        };
        let ended = self.run(RequestKind::Query, &command).await?;
        // The other text may be in what was not kept.
        let power_state = if ended.text.is_cut { None } else { answers.state(&ended.text.output) };
        let answer = crate::evidence::evidence_text(&ended.text.output, &[]);
        Ok(OutletReading { power_state, answer: Some(answer) })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let command = self.commands()?.order(state, self.outlet());
        self.run(RequestKind::Order, &command).await.map(|_| ())
    }
}
