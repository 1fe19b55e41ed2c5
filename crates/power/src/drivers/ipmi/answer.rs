//! What `ipmitool` says, and what that means.
//!
//! Its exit status is 0 or 1, so the words decide. They are those of ipmitool 1.8.19 (`src/plugins/lan/lan.c`,
//! `src/plugins/lanplus/lanplus.c`, `lib/ipmi_chassis.c`, `lib/ipmi_strings.c`), seen at a simulated BMC. Words that are not
//! known leave it open whether the order was executed.

use crate::client::RequestKind;
use crate::error::{OutletError, OutletErrorKind};
use crate::evidence::evidence_text;
use crate::outlet::PowerState;
use crate::program::EndedProgram;

/// What `-v` says of a BMC that works.
const NOISE: [&str; 5] = [
    "Loading IANA PEN Registry",
    "Running Get VSO Capabilities",
    "Invalid completion code received",
    "Discovered IPMB address",
    "Get HPM.x Capabilities request failed",
];

/// The state that the output of `chassis power status` shows; `None` where it shows neither.
pub(super) fn power_state(output: &str) -> Option<PowerState> {
    let states = output.lines().filter_map(|line| match line.trim() {
        "Chassis Power is on" => Some(PowerState::On),
        "Chassis Power is off" => Some(PowerState::Off),
        _ => None,
    });
    let states: Vec<_> = states.collect();
    if let [state] = *states { Some(state) } else { None }
}

/// Why an order or a reading failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BmcFault {
    /// The password is not the BMC's.
    Password,
    /// There is no such user.
    User,
    /// User name or password are too long for IPMI.
    TooLong,
    /// The user has not the privilege level.
    Privilege,
    /// The BMC does not have the interface, the authentication or the cipher suite.
    Session,
    /// The BMC does not know the command.
    Command,
    /// The BMC refuses for now: too many sessions, busy.
    Busy,
    /// The BMC does not answer at all.
    Silent,
    /// There is no session, for another reason.
    NoSession,
    /// The BMC answered in the session before, and not to the command itself.
    Unanswered,
    /// The BMC says that something went wrong, or `ipmitool` says something else.
    Unknown,
}

/// What a fault concerns.
pub(super) struct FaultContext<'a> {
    /// The BMC: `host:port`.
    pub(super) authority: &'a str,
    pub(super) user: &'a str,
    pub(super) credential: &'a str,
    pub(super) kind: RequestKind,
}

impl BmcFault {
    /// Finds the fault in the error output. The first line that says something counts.
    pub(super) fn of(error_output: &str) -> Self {
        error_output.lines().find_map(Self::of_line).unwrap_or(Self::Unknown)
    }

    fn of_line(line: &str) -> Option<Self> {
        let line = line.trim_start_matches("Activate Session error:").trim_start_matches(['>', ' ', '\t']);
        let after = |start: &str| line.strip_prefix(start);
        if let Some(status) = [
            "Error in open session response message",
            "RAKP 2 message indicates an error",
            "RAKP 4 message indicates an error",
        ]
        .into_iter()
        .find_map(after)
        {
            return Some(Self::of_session_status(status));
        }
        if after("Set Chassis Power Control to ")
            .or_else(|| after("Get Chassis Power Status failed"))
            .is_some()
        {
            return Some(Self::of_completion_code(line));
        }
        if let Some(status) = after("Set Session Privilege Level to ") {
            // Without a code, the BMC has not answered.
            return Some(if status.contains(" failed: ") { Self::Privilege } else { Self::NoSession });
        }
        let starts: &[(&str, Self)] = &[
            ("RAKP 2 HMAC is invalid", Self::Password),
            ("Invalid user name", Self::User),
            ("NULL user name not enabled", Self::User),
            ("Username is too long", Self::TooLong),
            ("Insufficient privilege level", Self::Privilege),
            ("Requested privilege level exceeds limit", Self::Privilege),
            ("This BMC does not support IPMI v2", Self::Session),
            ("Authentication type", Self::Session),
            ("No supported authtypes found", Self::Session),
            ("Unsupported cipher suite", Self::Session),
            ("No session slot available", Self::Busy),
            ("No slot available", Self::Busy),
            ("Error issuing Get Channel Authentication Capabilities request", Self::Silent),
            ("Get Auth Capabilities command failed", Self::Silent),
            ("Could not open socket!", Self::NoSession),
            ("Error: Unable to establish", Self::NoSession),
            ("Unable to set Chassis Power Control", Self::Unanswered),
            ("Unable to get Chassis Power Status", Self::Unanswered),
        ];
        let found = starts.iter().find(|(start, _)| line.starts_with(start)).map(|(_, fault)| *fault);
        found.or_else(|| line.contains("password is longer than").then_some(Self::TooLong))
    }

    /// Source: IPMI v2.0 specification, table 13-15 (RMCP+ status codes).
    fn of_session_status(status: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|words| status.contains(words));
        if has(&["unauthorized name", "invalid name length"]) {
            Self::User
        } else if has(&["unauthorized role", "invalid role"]) {
            Self::Privilege
        } else if has(&["algorithm", "cipher suite", "integrity payload"]) {
            Self::Session
        } else if has(&["integrity check value"]) {
            Self::Password
        } else if has(&["insufficient resources"]) {
            Self::Busy
        } else {
            Self::NoSession
        }
    }

    /// Source: IPMI v2.0 specification, table 5-2 (completion codes).
    fn of_completion_code(line: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|words| line.contains(words));
        if has(&["Insufficient privilege level"]) {
            Self::Privilege
        } else if has(&["Invalid command", "Parameter out of range", "Invalid data field"]) {
            Self::Command
        } else if has(&["Node busy", "Out of space", "Destination unavailable"]) {
            Self::Busy
        } else {
            Self::Unknown
        }
    }

    /// The error, with the words of `ipmitool`.
    pub(super) fn error(
        self,
        context: &FaultContext<'_>,
        ended: &EndedProgram,
        secrets: &[String],
    ) -> OutletError {
        let FaultContext { authority, user, credential, kind } = context;
        let (kind, reason) = match self {
            Self::Password => (
                OutletErrorKind::Misconfigured,
                format!("{authority} rejects the password of user `{user}` (credential `{credential}`)"),
            ),
            Self::User => (
                OutletErrorKind::Misconfigured,
                format!("{authority} has no user `{user}` (credential `{credential}`)"),
            ),
            Self::TooLong => (
                OutletErrorKind::Misconfigured,
                format!(
                    "credential `{credential}` is too long for IPMI: a user name has 16 bytes at most, a password 20 (16 with \
                     `interface=lan`)"
                ),
            ),
            Self::Privilege => (
                OutletErrorKind::Misconfigured,
                format!(
                    "{authority} does not give user `{user}` (credential `{credential}`) the privilege: `operator` is needed, and \
                     has to be written as `privilege=operator` where the user is no administrator"
                ),
            ),
            Self::Session => (
                OutletErrorKind::Misconfigured,
                format!(
                    "{authority} does not support this interface or cipher suite: try `cipher=3` or `interface=lan`"
                ),
            ),
            Self::Command => (
                OutletErrorKind::Misconfigured,
                format!(
                    "{authority} does not know the command: it cannot switch or read the power of a chassis"
                ),
            ),
            Self::Busy => (OutletErrorKind::Refused, format!("{authority} refuses for now")),
            Self::Silent => (OutletErrorKind::NotConnected, format!("no answer from {authority}")),
            Self::NoSession => (OutletErrorKind::NotConnected, format!("no session with {authority}")),
            Self::Unanswered => (
                match kind {
                    RequestKind::Order => OutletErrorKind::AnswerPending,
                    RequestKind::Query => OutletErrorKind::ConnectionLost,
                },
                format!("no answer from {authority} to the command"),
            ),
            Self::Unknown => (
                OutletErrorKind::Unconfirmed,
                format!("`ipmitool` failed with {} at {authority}", ended.status),
            ),
        };
        OutletError::new(kind, reason)
            .with_answer(evidence_text(&significant(&ended.text.error_output), secrets))
    }
}

/// The lines of an error output without what `-v` adds.
pub(super) fn significant(error_output: &str) -> String {
    let is_significant = |line: &&str| !NOISE.iter().any(|noise| line.starts_with(noise));
    error_output.lines().filter(is_significant).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_exact_line_is_a_state() {
        for (output, state) in [
            ("Chassis Power is on", Some(PowerState::On)),
            ("\nChassis Power is off\n", Some(PowerState::Off)),
            ("Chassis Power is o", None),
            ("Chassis Power is on\nChassis Power is off", None),
            ("System Power: on", None),
            ("chassis power is ON", None),
            ("", None),
        ] {
            assert_eq!(power_state(output), state, "{output}");
        }
    }

    /// Recorded from ipmitool 1.8.19, most of them at `ipmi_sim` 1.0.13.
    #[test]
    fn the_words_of_ipmitool_say_what_is_wrong() {
        let v2 = "Error: Unable to establish IPMI v2 / RMCP+ session";
        for (words, fault) in [
            (format!("Loading IANA PEN Registry...\n> RAKP 2 HMAC is invalid\n{v2}"), BmcFault::Password),
            (format!("RAKP 2 message indicates an error : unauthorized name\n{v2}"), BmcFault::User),
            (format!("RAKP 2 message indicates an error : unauthorized role requested\n{v2}"), BmcFault::Privilege),
            (format!("Error in open session response message : invalid authentication algorithm\n\n{v2}"), BmcFault::Session),
            (format!("Error in open session response message : insufficient resources for session\n\n{v2}"), BmcFault::Busy),
            (format!("Get Auth Capabilities error\nError issuing Get Channel Authentication Capabilities request\n{v2}"), BmcFault::Silent),
            ("Get Auth Capabilities command failed\nError: Unable to establish LAN session".to_owned(), BmcFault::Silent),
            (format!("Timeout in open session response message.\n{v2}"), BmcFault::NoSession),
            (format!("Set Session Privilege Level to ADMINISTRATOR failed: Insufficient privilege level\n{v2}"), BmcFault::Privilege),
            (format!("Set Session Privilege Level to ADMINISTRATOR failed\n{v2}"), BmcFault::NoSession),
            ("Invalid user name\nError: Unable to establish LAN session".to_owned(), BmcFault::User),
            ("Activate Session error:\tNo session slot available".to_owned(), BmcFault::Busy),
            ("Activate Session command failed\nError: Unable to establish LAN session".to_owned(), BmcFault::NoSession),
            ("lanplus: password is longer than 20 bytes.".to_owned(), BmcFault::TooLong),
            ("Username is too long (> 16 bytes)".to_owned(), BmcFault::TooLong),
            (
                "Activate Session error:\tRequested privilege level exceeds limit\nError: Unable to establish LAN session".to_owned(),
                BmcFault::Privilege,
            ),
            // The first two lines are about an extension that few BMCs have.
            (
                "Get HPM.x Capabilities request failed, compcode = d4\nInvalid completion code received: Insufficient privilege \
                 level\nUnable to set Chassis Power Control to Up/On\nClose Session command failed"
                    .to_owned(),
                BmcFault::Unanswered,
            ),
            ("Set Chassis Power Control to Up/On failed: Insufficient privilege level".to_owned(), BmcFault::Privilege),
            ("Set Chassis Power Control to Up/On failed: Node busy".to_owned(), BmcFault::Busy),
            ("Set Chassis Power Control to Down/Off failed: Unspecified error".to_owned(), BmcFault::Unknown),
            // Dell's answer at a machine that is off already.
            (
                "Set Chassis Power Control to Down/Off failed: Command not supported in present state".to_owned(),
                BmcFault::Unknown,
            ),
            ("Get Chassis Power Status failed: Invalid command".to_owned(), BmcFault::Command),
            ("ipmitool: lanplus.c:1839: ipmi_lanplus_build_v2x_msg: Assertion `0' failed.".to_owned(), BmcFault::Unknown),
            (String::new(), BmcFault::Unknown),
        ] {
            assert_eq!(BmcFault::of(&words), fault, "{words}");
        }
    }
}
