//! What a module says, parsed.
//!
//! Source: Numato Lab, Ethernet relay modules, user guide (prompts, commands and their answers); that options are
//! negotiated after the user name, and that a module repeats commands, was seen by the authors of other clients.

use super::telnet;
use crate::client::ParsedAnswer;

/// Ends each answer.
const PROMPT: char = '>';
const USER_PROMPT: &str = "User Name:";
const PASSWORD_PROMPT: &str = "Password:";
const LOGIN_REFUSED: &str = "denied";
/// First words of servers of other protocols that speak first.
const FOREIGN_GREETINGS: [&str; 2] = ["SSH-", "HTTP/"];

/// What a module wants before it takes commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoginStep {
    /// Answers to telnet options.
    Refusals(Vec<u8>),
    /// The user name, after answers to telnet options.
    User(Vec<u8>),
    /// The password, after answers to telnet options.
    Password(Vec<u8>),
    /// Nothing: it takes commands.
    Nothing,
    /// It refused user name or password.
    Refused,
}

/// Parses what the module said since the last step of the login.
pub(super) fn parse_login(bytes: &[u8]) -> ParsedAnswer<LoginStep> {
    let Some(said) = telnet::parse(bytes) else { return ParsedAnswer::Incomplete };
    let text = said.text.trim();
    if FOREIGN_GREETINGS.iter().any(|greeting| text.starts_with(greeting)) {
        return ParsedAnswer::Foreign("");
    }
    ParsedAnswer::Answer(if text.contains(LOGIN_REFUSED) {
        LoginStep::Refused
    } else if text.ends_with(PROMPT) {
        LoginStep::Nothing
    } else if text.ends_with(USER_PROMPT) {
        LoginStep::User(said.refusals)
    } else if text.ends_with(PASSWORD_PROMPT) {
        LoginStep::Password(said.refusals)
    } else if text.is_empty() && !said.refusals.is_empty() {
        LoginStep::Refusals(said.refusals)
    } else {
        return ParsedAnswer::Incomplete;
    })
}

/// Parses the answer to a command: its lines without the repeated command. `None` before the next prompt.
fn answer_lines(bytes: &[u8], command: &str) -> Option<Vec<String>> {
    let text = telnet::parse(bytes)?.text;
    let text = text.trim_end().strip_suffix(PROMPT)?;
    let lines = text.split(['\r', '\n']).map(|line| line.trim_start_matches([PROMPT, ' ']).trim_end());
    Some(lines.filter(|line| !line.is_empty() && *line != command).map(str::to_owned).collect())
}

/// Parses the answer to a read: `Some` where it is on or off. A prompt alone belongs to an earlier command.
pub(super) fn parse_state(bytes: &[u8], command: &str) -> ParsedAnswer<Option<bool>> {
    let Some(lines) = answer_lines(bytes, command) else { return ParsedAnswer::Incomplete };
    match lines.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ParsedAnswer::Incomplete,
        ["on"] => ParsedAnswer::Answer(Some(true)),
        ["off"] => ParsedAnswer::Answer(Some(false)),
        _ => ParsedAnswer::Answer(None),
    }
}

/// Parses the answer to an order: a prompt and nothing else.
pub(super) fn parse_confirmation(bytes: &[u8], command: &str) -> ParsedAnswer<()> {
    match answer_lines(bytes, command) {
        None => ParsedAnswer::Incomplete,
        Some(lines) if lines.is_empty() => ParsedAnswer::Answer(()),
        Some(_) => ParsedAnswer::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_with_and_without_the_repeated_command() {
        for (bytes, expected) in [
            ("relay read A\n\r\non\r\n>", ParsedAnswer::Answer(Some(true))),
            ("\r\noff\r\n>", ParsedAnswer::Answer(Some(false))),
            // The end of the answer to the command before.
            (">", ParsedAnswer::Incomplete),
            (">\r\n>relay read A\r\non\r\n> ", ParsedAnswer::Answer(Some(true))),
            ("relay read A\r\non\r\n", ParsedAnswer::Incomplete),
            ("relay read A\r\nUnknown command\r\n>", ParsedAnswer::Answer(None)),
        ] {
            assert_eq!(parse_state(bytes.as_bytes(), "relay read A"), expected, "{bytes:?}");
        }
    }

    #[test]
    fn each_step_of_a_login_is_recognised() {
        for (bytes, expected) in [
            (&b"Numato Lab 8 Channel Ethernet Relay Module\r\n"[..], ParsedAnswer::Incomplete),
            (b"Numato Lab\r\n\r\nUser Name: ", ParsedAnswer::Answer(LoginStep::User(vec![]))),
            (b"Password: \xff\xfb\x01", ParsedAnswer::Answer(LoginStep::Password(vec![255, 254, 1]))),
            (b"\xff\xfb\x01", ParsedAnswer::Answer(LoginStep::Refusals(vec![255, 254, 1]))),
            (b"\xff\xfb", ParsedAnswer::Incomplete),
            (b"\r\nLogged in successfully\r\n\r\n>", ParsedAnswer::Answer(LoginStep::Nothing)),
            (b"\r\nAccess denied\r\n", ParsedAnswer::Answer(LoginStep::Refused)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", ParsedAnswer::Foreign("")),
        ] {
            assert_eq!(parse_login(bytes), expected, "{bytes:?}");
        }
    }
}
