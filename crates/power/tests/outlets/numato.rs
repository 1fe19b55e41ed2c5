//! Tests of `numato://`, at a module of our own.

use std::net::SocketAddr;
use std::time::Duration;

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl};

use crate::conformance::{self, DeviceBehaviour, TestDevice, run, run_with};
use crate::fake::{Decoded, DeviceQuirks, FakeDevice, FakeProtocol, RelayOrder};

const PASSWORD: &str = "se cret";
/// A telnet offer to echo what is typed, and its refusal.
const WILL_ECHO: &[u8] = &[255, 251, 1];
const DONT_ECHO: &[u8] = &[255, 254, 1];

/// Returns the answer to a read, given whether the relay is on.
type AnswerFn = fn(bool) -> &'static str;

#[derive(Clone)]
struct Numato {
    has_password: bool,
    /// Whether the module repeats commands.
    echoes: bool,
    answer: AnswerFn,
}

impl Default for Numato {
    fn default() -> Self {
        Self { has_password: false, echoes: true, answer: |is_on| if is_on { "on" } else { "off" } }
    }
}

/// How far the login is.
#[derive(Default)]
enum Login {
    #[default]
    User,
    Password {
        user: String,
    },
    Done,
}

impl FakeProtocol for Numato {
    const RELAY: usize = 5;
    const POWER_IF_ON: bool = true;
    type Session = Login;

    fn url(&self, addr: SocketAddr, parameters: &str) -> String {
        format!("numato://{addr}/5?{parameters}")
    }

    /// The module's words for that are not documented.
    fn url_of_missing_outlet(&self, _: SocketAddr) -> Option<String> {
        None
    }

    fn greeting(&self) -> Vec<u8> {
        let prompt = if self.has_password { "User Name: " } else { ">" };
        format!("Numato Lab 8 Channel Ethernet Relay Module\r\n\r\n{prompt}").into_bytes()
    }

    fn decode(&self, session: &mut Login, relays: [bool; 8], received: &[u8]) -> Decoded {
        let Some(end) = received.windows(2).position(|end| end == b"\r\n") else {
            return Decoded::Incomplete;
        };
        let (line, length) = (&received[..end], end + 2);
        let answer = |answer: &[u8]| Decoded::Request { length, order: None, answer: answer.to_vec() };
        let text = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
        match session {
            Login::User if self.has_password => {
                *session = Login::Password { user: text(line) };
                return answer(&[b"Password: ", WILL_ECHO].concat());
            }
            Login::Password { user } => {
                // Without an answer to the telnet option, the module takes no password.
                let is_right = user == "admin" && line == [DONT_ECHO, PASSWORD.as_bytes()].concat();
                if !is_right {
                    *session = Login::User;
                    return answer(format!("{PASSWORD}\r\nAccess denied\r\n\r\nUser Name: ").as_bytes());
                }
                *session = Login::Done;
                return answer(b"\r\nLogged in successfully\r\n\r\n>");
            }
            Login::User | Login::Done => {}
        }
        let line = text(line);
        let echo = if self.echoes { format!("{line}\n\r\n") } else { "\r\n".to_owned() };
        let read = line.strip_prefix("relay read ").and_then(|relay| relay.parse::<usize>().ok());
        let read = read.and_then(|relay| relays.get(relay));
        let (order, words) = match (line.as_str(), read) {
            (_, Some(is_on)) => (None, format!("{echo}{}\r\n>", (self.answer)(*is_on))),
            ("relay on 5", _) => (Some(true), format!("{echo}>")),
            ("relay off 5", _) => (Some(false), format!("{echo}>")),
            _ => (None, format!("{echo}Unknown command\r\n>")),
        };
        let order = order.map(|is_on| RelayOrder { relay: Self::RELAY, is_on, reverts_after: None });
        Decoded::Request { length, order, answer: words.into_bytes() }
    }
}

async fn with(protocol: Numato, quirks: DeviceQuirks) -> FakeDevice<Numato> {
    FakeDevice::with(protocol, quirks, DeviceBehaviour::Normal, PowerState::On).await
}

#[tokio::test]
async fn numato_outlets_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<FakeDevice<Numato>>()).await;
}

#[tokio::test]
async fn modules_are_switched_whether_or_not_they_repeat_commands() {
    for echoes in [true, false] {
        let device = with(Numato { echoes, ..Numato::default() }, DeviceQuirks::default()).await;
        let evidence = run(PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
        assert_eq!((&evidence["observed"], &evidence["attempts"]), (&"on".into(), &1.into()));
        let answer = if echoes { "relay read 5 on >" } else { "on >" };
        assert_eq!((&evidence["relay"], &evidence["answer"]), (&5.into(), &answer.into()));
        assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
    }
}

#[tokio::test]
async fn modules_with_quirks_are_coped_with() {
    let rest = Duration::from_millis(40);
    for quirks in [
        DeviceQuirks { rest: Some(rest), ..DeviceQuirks::default() },
        DeviceQuirks { half_answers: 1, ..DeviceQuirks::default() },
        DeviceQuirks { rest: Some(rest), half_answers: 2, ..DeviceQuirks::default() },
    ] {
        let device = with(Numato { has_password: true, ..Numato::default() }, quirks).await;
        let url = device.url("off=20ms&rest=200ms&credential=plugs");
        let evidence = run_with((None, PASSWORD), PowerOperation::Cycle, &url).await.unwrap();
        assert_eq!(evidence["observed"], "on", "{quirks:?}");
        assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On], "{quirks:?}");
        assert_eq!(device.lock().turned_away, 0, "{quirks:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_neither_on_nor_off_is_recorded() {
    let device = with(Numato { answer: |_| "busy", ..Numato::default() }, DeviceQuirks::default()).await;
    let failed = run(PowerOperation::Off, &device.url("")).await.unwrap_err();
    assert_eq!(failed.reason, "the outlet reads neither on nor off");
    assert_eq!(failed.evidence["answer"], "relay read 5 busy >");
    let failed = run(PowerOperation::Off, &format!("numato://{}/10", device.addr)).await.unwrap_err();
    assert_eq!(failed.evidence["answer"], "relay read A Unknown command >");
    assert!(device.received_orders().is_empty());
}

#[tokio::test]
async fn a_password_is_sent_where_it_is_asked_for_and_shown_nowhere_else() {
    let device = with(Numato { has_password: true, ..Numato::default() }, DeviceQuirks::default()).await;
    let url = device.url("off=20ms&credential=plugs");
    let evidence = run_with((None, PASSWORD), PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!((&evidence["observed"], device.received_orders().len()), (&"on".into(), 2));
    assert!(!format!("{evidence:?}").contains(PASSWORD), "{evidence:?}");

    for (parameters, login, right) in [
        ("", (None, PASSWORD), "requires a password: write `credential=NAME`"),
        ("credential=plugs", (None, "wrong"), "rejects user and password of credential `plugs`"),
        ("credential=plugs", (Some("me"), PASSWORD), "rejects user and password of credential `plugs`"),
    ] {
        let failed = run_with(login, PowerOperation::Off, &device.url(parameters)).await.unwrap_err();
        assert!(failed.reason.contains(right), "{failed}");
        assert_eq!(
            (&failed.kind, &failed.evidence["attempts"]),
            (&PowerRunErrorKind::Misconfigured, &1.into())
        );
        // The module repeats the right password.
        assert!(!format!("{failed:?}").contains(PASSWORD), "{failed:?}");
    }
    assert_eq!(device.received_orders().len(), 2);
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (text, right) in [
        ("numato://relay.lab", "0 to 31: `numato://HOST[:23]/RELAY["),
        ("numato://relay.lab/32", "0 to 31"),
        ("numato://relay.lab/A", "0 to 31"),
        ("numato://relay.lab:0/1", "1 to 65535"),
        ("numato://relay.lab/1?user=me", "unknown parameter `user`"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right), "{text}: {error}");
    }
    let url: PowerUrl = "numato://Relay.lab/05".parse().unwrap();
    assert_eq!(
        (url.outlet().as_str(), url.resource()),
        ("numato://relay.lab:23/5", Some("numato://relay.lab:23"))
    );
}
