//! Notifications that an instance is in a state, by an HTTP request (a webhook) or by a program.
//!
//! The message is JSON with the instance, its state and its visit. It can be sent twice after a crash, with the same `key`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use device_io::program::{self, ProgramCall, ProgramError};
use device_io::{LocalTrouble, SecretError, SecretFile};
use reqwest::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::ending::{Evidence, UnfinishedAction};
use super::http::{self, HttpTarget, NoAnswer};
use super::job::Job;
use super::kind::{ActionDescription, RunLocation, TypedActionKind};
use super::notify_policy::{CommandPolicy, NotifyPolicy, OperatorsUrl};
use super::settings::{ActionSettings, SettingField, setting_fault, settings_fault};
use super::signature::{digest, hmac};
use super::span;
use super::trouble::Trouble;
use crate::clock::time_after;
use crate::machine::SettingFault;

/// The time before the second try; it doubles before each further try.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The maximum time between two tries.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);
/// The maximum length of an answer in the evidence.
const MAX_ANSWER_BYTES: usize = 200;

/// The recipient and the message; [`ActionSettings::FIELDS`] describes the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifySettings {
    to: Option<Recipient>,
    url: Option<String>,
    headers: BTreeMap<String, String>,
    secret_file: Option<String>,
    command: Vec<String>,
    message: Option<String>,
    facts: Vec<String>,
    retries: u32,
    #[serde(with = "span")]
    timeout: Duration,
}

/// A recipient whom the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Recipient {
    /// The operators of the server.
    Operators,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            to: None,
            url: None,
            headers: BTreeMap::new(),
            secret_file: None,
            command: Vec::new(),
            message: None,
            facts: Vec::new(),
            retries: 3,
            timeout: Duration::from_secs(10),
        }
    }
}

impl ActionSettings for NotifySettings {
    const FIELDS: &'static [SettingField] = &[
        SettingField {
            name: "to",
            form: "`operators`",
            about: "the operators of the server, by its option `operators-url`, in place of `url` and `command`; a server without \
                    it notifies nobody, and the action succeeds. No local fault suspends the action: it fails",
        },
        SettingField {
            name: "url",
            form: "a URL such as `http://chat.lab/hook`",
            about: "where the message is sent, by POST",
        },
        SettingField {
            name: "headers",
            form: "a mapping from names to texts",
            about: "further headers of the request; everybody who can read the definition can read them",
        },
        SettingField {
            name: "secret_file",
            form: "the absolute path of a file on the server, `….password`, that no other user can read",
            about: "its content signs the request: `X-Lifeguard-Signature: sha256=HMAC` in hexadecimal digits",
        },
        SettingField {
            name: "command",
            form: "a list such as `[mail-admins, --quiet]`",
            about: "a program with its arguments, run without a shell instead of a request; it reads the message from its input",
        },
        SettingField { name: "message", form: "a text", about: "a text for people in the message" },
        SettingField {
            name: "facts",
            form: "a list such as `[resource, reason]`",
            about: "what the message says of the instance besides, where it is known: facts that actions can use, such as a \
                    board's `hardware`; of an instance of another machine, its data",
        },
        SettingField {
            name: "retries",
            form: "a whole number, 0 or more",
            about: "how often a failed try is repeated, after 1s, 2s, 4s and so on, within the action's limit",
        },
        SettingField { name: "timeout", form: "a time such as `10s`", about: "the time limit of one try" },
    ];

    fn check(&self) -> Result<(), SettingFault> {
        if self.to.is_some() {
            return match (&self.url, self.command.first(), self.headers.first_key_value(), &self.secret_file)
            {
                (None, None, None, None) => Ok(()),
                _ => Err(setting_fault(
                    "to",
                    "with `to` there is no `url`, `command`, `headers` or `secret_file`",
                )),
            };
        }
        match (&self.url, self.command.first()) {
            (Some(_), Some(_)) => Err(setting_fault("command", "give either `url` or `command`")),
            (None, None) => Err(settings_fault("say whom to notify: by `url`, by `command` or by `to`")),
            (Some(url), None) => {
                http::parse_url(url).map_err(|problem| setting_fault("url", format!("`url`: {problem}")))?;
                http::parse_headers(&self.headers)
                    .map_err(|problem| setting_fault("headers", format!("`headers`: {problem}")))?;
                if let Some(file) = &self.secret_file {
                    SecretFile::new(file).map_err(|problem| {
                        setting_fault("secret_file", format!("`secret_file`: {problem}"))
                    })?;
                }
                Ok(())
            }
            (None, Some(_)) if !self.headers.is_empty() => {
                Err(setting_fault("headers", "`headers` are for a request to a `url`"))
            }
            (None, Some(_)) if self.secret_file.is_some() => {
                Err(setting_fault("secret_file", "`secret_file` is for a request to a `url`"))
            }
            (None, Some(_)) => Ok(()),
        }
    }
}

/// `notify`.
#[derive(Debug, Clone)]
pub struct NotifyAction {
    policy: NotifyPolicy,
}

impl NotifyAction {
    /// The action of a server with this policy.
    #[must_use]
    pub fn new(policy: NotifyPolicy) -> Self {
        Self { policy }
    }
}

#[async_trait]
impl TypedActionKind for NotifyAction {
    type Settings = NotifySettings;

    fn description(&self) -> ActionDescription {
        ActionDescription {
            // It reads files of the server, and runs programs there.
            run_location: RunLocation::InServer,
            ..ActionDescription::new(
                "notify",
                "Notifies that the instance is in this state: by a POST to a URL, which succeeds when the answer's status is \
                 2xx, or by a program, which succeeds when it exits with 0. After a crash a notification can be sent twice, \
                 with the same key.",
                Duration::from_mins(2),
            )
        }
    }

    async fn run(
        &self,
        job: &Job,
        settings: &NotifySettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        let mut evidence = Evidence::new();
        if settings.to.is_some() && self.policy.operators_url.is_none() {
            evidence.insert("to".to_owned(), "nobody: this server has no operators-url".into());
            return Ok(evidence);
        }
        let channel = NotifyChannel::new(job, settings, &self.policy).await?;
        evidence.insert("to".to_owned(), channel.describe().into());
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(NotifyFailure::Permanent("cancelled".to_owned())),
            result = try_repeatedly(job, settings, &channel, &mut evidence) => result,
        };
        match result {
            Ok(()) => Ok(evidence),
            // Nothing waits for the repair of the way to the operators.
            Err(NotifyFailure::Local(_, reason)) if settings.to.is_some() => {
                Err(UnfinishedAction::failed(reason, evidence))
            }
            Err(NotifyFailure::Local(trouble, reason)) => {
                Err(UnfinishedAction::suspended(trouble, reason, evidence))
            }
            Err(NotifyFailure::Temporary(reason) | NotifyFailure::Permanent(reason)) => {
                Err(UnfinishedAction::failed(reason, evidence))
            }
        }
    }
}

/// Why a try failed.
enum NotifyFailure {
    /// Another try can succeed.
    Temporary(String),
    /// Another try would fail as well.
    Permanent(String),
    /// A local fault prevented the try.
    Local(Trouble, String),
}

/// Tries until the notification was accepted, or no further try makes sense.
async fn try_repeatedly(
    job: &Job,
    settings: &NotifySettings,
    channel: &NotifyChannel,
    evidence: &mut Evidence,
) -> Result<(), NotifyFailure> {
    let mut wait = FIRST_BACK_OFF;
    for tries in 1.. {
        if !job.lease.may_act() {
            return Err(NotifyFailure::Permanent("the lease of this process expired".to_owned()));
        }
        evidence.insert("tries".to_owned(), tries.into());
        match channel.try_once(job, settings.timeout, evidence).await {
            Err(NotifyFailure::Temporary(_) | NotifyFailure::Local(..)) if tries <= settings.retries => {}
            result => return result,
        }
        job.clock.sleep(wait).await;
        wait = (wait * 2).min(MAX_BACK_OFF);
    }
    Ok(())
}

/// How a notification is sent.
enum NotifyChannel {
    Post { target: Box<HttpTarget>, origin: String, headers: HeaderMap, message: Vec<u8> },
    Run { command: Vec<String>, message: Vec<u8> },
}

impl NotifyChannel {
    async fn new(
        job: &Job,
        settings: &NotifySettings,
        policy: &NotifyPolicy,
    ) -> Result<Self, UnfinishedAction> {
        let key = notification_key(job);
        let facts: Map<String, Value> = settings
            .facts
            .iter()
            .filter_map(|name| Some((name.clone(), job.facts.get(name)?.clone())))
            .collect();
        let mut message = json!({
            "machine": job.subject.machine,
            "instance": job.subject.name,
            "state": job.subject.state,
            "visit": job.subject.visit,
            "action": job.action,
            "action_id": job.id,
            "key": key,
            "message": settings.message,
        });
        if !facts.is_empty() {
            message["facts"] = Value::Object(facts);
        }
        let message = message.to_string().into_bytes();
        let operators = settings.to.and(policy.operators_url.as_ref()).map(OperatorsUrl::as_str);
        let Some(text) = operators.or(settings.url.as_deref()) else {
            return match policy.commands {
                CommandPolicy::Allowed => Ok(Self::Run { command: settings.command.clone(), message }),
                CommandPolicy::Refused => Err(UnfinishedAction::misconfigured(
                    "this server runs no programs for definitions: start it with --allow-commands, or notify a `url`",
                )),
            };
        };
        let read = || -> Result<_, String> {
            let url = http::parse_url(text)?;
            let origin = url.origin().ascii_serialization();
            Ok((Box::new(HttpTarget::new(url)?), origin, http::parse_headers(&settings.headers)?))
        };
        let (target, origin, mut headers) = read().map_err(UnfinishedAction::misconfigured)?;
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let mut set = |name: &'static str, value: String| {
            headers.extend(
                HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value)),
            );
        };
        set("idempotency-key", key);
        if let Some(file) = &settings.secret_file {
            let secret = SecretFile::new(file).map_err(UnfinishedAction::misconfigured)?.read().await;
            let secret = secret.map_err(|error| match error {
                SecretError::Local(trouble) => {
                    let reason = trouble.to_string();
                    UnfinishedAction::suspended(trouble.into(), reason, Evidence::new())
                }
                SecretError::Misconfigured(reason) => UnfinishedAction::misconfigured(reason),
            })?;
            set("x-lifeguard-signature", format!("sha256={}", hmac(secret.as_bytes(), &message)));
        }
        Ok(Self::Post { target, origin, headers, message })
    }

    /// Describes the recipient for history, without the path and the arguments, which can be secret.
    fn describe(&self) -> String {
        match self {
            Self::Post { origin, .. } => origin.clone(),
            Self::Run { command, .. } => command.first().cloned().unwrap_or_default(),
        }
    }

    async fn try_once(
        &self,
        job: &Job,
        limit: Duration,
        evidence: &mut Evidence,
    ) -> Result<(), NotifyFailure> {
        match self {
            Self::Post { target, headers, message, .. } => {
                let build =
                    |client: &Client, url| client.post(url).headers(headers.clone()).body(message.clone());
                let ends_at = time_after(job.clock.now(), limit);
                let answer = target.send(&*job.clock, limit, build).await.map_err(|error| match error {
                    // The definition names the recipient, so an unknown name is no fault of this machine.
                    NoAnswer::Ours { trouble: Trouble::Local(LocalTrouble::Name(_)), reason } => {
                        NotifyFailure::Temporary(reason)
                    }
                    NoAnswer::Ours { trouble, reason } => NotifyFailure::Local(trouble, reason),
                    NoAnswer::Refused(_) | NoAnswer::Silent(_) => NotifyFailure::Temporary(error.to_string()),
                })?;
                let status = answer.status();
                evidence.insert("status".to_owned(), status.as_u16().into());
                let left = (ends_at - job.clock.now()).to_std().unwrap_or_default();
                let text = job.clock.timeout(left, http::read_beginning(answer, MAX_ANSWER_BYTES)).await;
                evidence.extend(text.map(|text| ("answer".to_owned(), text.into())));
                if status.is_success() {
                    Ok(())
                } else if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
                    Err(NotifyFailure::Temporary(format!("HTTP status {status}")))
                } else {
                    Err(NotifyFailure::Permanent(format!("HTTP status {status}")))
                }
            }
            Self::Run { command, message } => {
                let call = ProgramCall { command, input: message, ..ProgramCall::default() };
                let ended = program::run(&*job.clock, call, limit).await;
                let (status, text) = ended.map_err(|error| match (error.local_trouble(), &error) {
                    (Some(trouble), _) => NotifyFailure::Local(trouble.into(), error.to_string()),
                    (None, ProgramError::TimedOut { .. }) => NotifyFailure::Temporary(error.to_string()),
                    (None, ProgramError::Io(..) | ProgramError::NoCommand) => {
                        NotifyFailure::Permanent(error.to_string())
                    }
                })?;
                let text = if text.output.is_empty() { text.error_output } else { text.output };
                evidence.insert(
                    "answer".to_owned(),
                    text.chars().take(MAX_ANSWER_BYTES).collect::<String>().into(),
                );
                if status.success() { Ok(()) } else { Err(NotifyFailure::Temporary(status.to_string())) }
            }
        }
    }
}

/// Returns the key of a notification: unique, and the same in all of its tries.
fn notification_key(job: &Job) -> String {
    let subject = &job.subject;
    let text = format!("{}\0{}\0{}\0{}", subject.machine, subject.name, subject.visit.0, job.id);
    digest(text.as_bytes())
}
