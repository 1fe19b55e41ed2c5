//! Conformance tests of `exec://`, and commands with quirks. The commands are shell scripts that the tests write.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use clock::ManualClock;
use power::{
    DEFAULT_CALL_TIMEOUT, Evidence, OutletReading, PowerCommandTable, PowerCommandTexts, PowerCommands,
    PowerContext, PowerOperation, PowerRunError, PowerRunErrorKind, PowerState, PowerUrl, operate,
};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::conformance::{self, DeviceBehaviour, ExpectedFailure, TestDevice, context, until};

const URL: &str = "exec://rack/5";

/// Switches the outlet `$2`. Its files are in the directory of the script.
const SCRIPT: &str = r#"
cd "${0%/*}"
echo "$1" >> runs
case $(cat behaviour) in
    Refuses) echo "cannot open the relay" >&2; exit 1 ;;
    Hangs) sleep 1000 ;;
esac
if [ "$1" = read ]; then
    echo "outlet $2 is $(cat state)"
    exit
fi
echo "$1" >> orders
if [ "$(cat behaviour)" != Lies ]; then
    echo "$1" > state.new
    mv state.new state
fi
if [ "$(cat behaviour)" = Mute ]; then sleep 1000; fi
exit 0
"#;

/// An outlet that a script switches.
struct ScriptedOutlet {
    directory: TempDir,
}

impl ScriptedOutlet {
    /// An outlet that `script` switches and reads.
    fn with_script(script: &str, state: PowerState) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let outlet = Self { directory };
        for (name, text) in [
            ("outlet.sh", script),
            ("state", state.name()),
            ("behaviour", "Normal"),
            ("runs", ""),
            ("orders", ""),
        ] {
            outlet.write(name, text);
        }
        outlet
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path().join(name)).unwrap()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(str::to_owned).collect()
    }

    /// `sh SCRIPT ORDER {outlet}`: a script that was just written cannot be executed itself while another test forks.
    fn command(&self, order: &str) -> Vec<String> {
        let script = self.path().join("outlet.sh").to_str().unwrap().to_owned();
        let program = if self.read("behaviour") == "Foreign" { "/nowhere/relay" } else { "sh" };
        vec![program.to_owned(), script, order.to_owned(), "{outlet}".to_owned()]
    }

    fn texts(&self) -> PowerCommandTexts {
        PowerCommandTexts {
            on: self.command("on"),
            off: self.command("off"),
            read: Some(self.command("read")),
            on_answer: Some("is on".to_owned()),
            off_answer: Some("is off".to_owned()),
        }
    }

    async fn run(&self, operation: PowerOperation, url: &str) -> Result<Evidence, PowerRunError> {
        run_in(&context_with_commands(self.texts(), DEFAULT_CALL_TIMEOUT), operation, url).await
    }

    async fn reading(&self) -> OutletReading {
        let url: PowerUrl = URL.parse().unwrap();
        url.open(context_with_commands(self.texts(), DEFAULT_CALL_TIMEOUT).access()).read().await.unwrap()
    }

    /// Waits until the process whose number a script wrote to `pid` has ended.
    async fn until_gone(&self) {
        let status = format!("/proc/{}/stat", self.read("pid").trim());
        until("the process is gone", || {
            fs_err::read_to_string(&status).map_or(true, |stat| stat.contains(") Z "))
        })
        .await;
    }
}

fn context_with_commands(texts: PowerCommandTexts, call_limit: Duration) -> PowerContext {
    let tables = BTreeMap::from([("rack".to_owned(), PowerCommandTable::new(texts).unwrap())]);
    PowerContext { commands: PowerCommands::new("/etc/farm.toml", tables), ..context(call_limit) }
}

async fn run_in(
    context: &PowerContext,
    operation: PowerOperation,
    url: &str,
) -> Result<Evidence, PowerRunError> {
    operate(&url.parse().unwrap(), operation, context, &CancellationToken::new()).await
}

impl TestDevice for ScriptedOutlet {
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        let outlet = Self::with_script(SCRIPT, state);
        outlet.set_behaviour(behaviour).await;
        outlet
    }

    fn configure(&self, context: PowerContext) -> PowerContext {
        PowerContext { commands: context_with_commands(self.texts(), context.call_limit).commands, ..context }
    }

    fn expected_failure(behaviour: DeviceBehaviour) -> ExpectedFailure {
        let failed = |reason| ExpectedFailure { reason, kind: PowerRunErrorKind::Failed, has_answer: false };
        match behaviour {
            DeviceBehaviour::Refuses => {
                ExpectedFailure { has_answer: true, ..failed("`sh` failed with exit status: 1") }
            }
            DeviceBehaviour::Foreign => ExpectedFailure {
                kind: PowerRunErrorKind::Misconfigured,
                ..failed("cannot run `/nowhere/relay`: No such file")
            },
            DeviceBehaviour::Normal
            | DeviceBehaviour::Hangs
            | DeviceBehaviour::Mute
            | DeviceBehaviour::Lies => failed("`sh` timed out after 200ms, and was killed"),
        }
    }

    fn url(&self, parameters: &str) -> String {
        format!("{URL}?{parameters}")
    }

    fn url_of_missing_outlet(&self) -> Option<String> {
        None
    }

    fn state(&self) -> PowerState {
        if self.read("state").trim() == "on" { PowerState::On } else { PowerState::Off }
    }

    fn received_orders(&self) -> Vec<PowerState> {
        let state = |order: &str| if order == "on" { PowerState::On } else { PowerState::Off };
        self.lines("orders").iter().map(|order| state(order)).collect()
    }

    fn connections(&self) -> usize {
        self.lines("runs").len()
    }

    async fn set_behaviour(&self, behaviour: DeviceBehaviour) {
        self.write("behaviour", &format!("{behaviour:?}"));
    }
}

#[tokio::test]
async fn outlets_by_commands_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<ScriptedOutlet>()).await;
}

#[tokio::test]
async fn a_command_that_fails_after_it_switched_is_confirmed_by_reading() {
    let script = SCRIPT.replace("exit 0", "echo 'lost contact' >&2; exit 3");
    let outlet = ScriptedOutlet::with_script(&script, PowerState::On);
    let evidence = outlet.run(PowerOperation::Cycle, &format!("{URL}?off=20ms")).await.unwrap();
    assert_eq!((&evidence["observed"], &evidence["answer"]), (&"on".into(), &"outlet 5 is on".into()));
    assert_eq!(evidence["failed_command"], "`sh` failed with exit status: 3: lost contact");
    assert_eq!(outlet.received_orders(), [PowerState::Off, PowerState::On], "nothing is repeated");
}

#[tokio::test]
async fn the_words_of_a_command_that_fails_are_bounded() {
    let script = "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 9";
    let outlet = ScriptedOutlet::with_script(script, PowerState::On);
    let failed = outlet.run(PowerOperation::Off, URL).await.unwrap_err();
    assert_eq!(
        (failed.reason.as_str(), failed.kind),
        ("`sh` failed with exit status: 9", PowerRunErrorKind::Failed)
    );
    assert_eq!(failed.evidence["answer"], format!("{} …", "x".repeat(200)));
    assert_eq!(outlet.received_orders(), []);
}

#[tokio::test]
async fn what_a_command_leaves_running_does_not_switch_the_outlet_later() {
    let script =
        SCRIPT.replace("exit 0", "(trap '' TERM HUP; sleep 1000; echo off > state) & echo $! > pid; exit 0");
    let outlet = ScriptedOutlet::with_script(&script, PowerState::Off);
    let evidence = outlet.run(PowerOperation::On, URL).await.unwrap();
    assert_eq!(evidence["observed"], "on");
    outlet.until_gone().await;
    assert_eq!(outlet.state(), PowerState::On);
}

#[tokio::test]
async fn only_an_output_with_one_of_the_texts_is_a_state() {
    for (output, state) in [
        ("outlet 5 is on", Some(PowerState::On)),
        ("outlet 5 is o", None),
        ("5 is on, 6 is off", None),
        ("", None),
    ] {
        let outlet = ScriptedOutlet::with_script(&format!("printf '%s' '{output}'"), PowerState::On);
        let reading = outlet.reading().await;
        assert_eq!(reading, OutletReading { power_state: state, answer: Some(output.to_owned()) });
    }
    // What is beyond the beginning of an output could be the other text.
    let script = "echo is on; head -c 100000 /dev/zero | tr '\\0' x";
    assert_eq!(ScriptedOutlet::with_script(script, PowerState::On).reading().await.power_state, None);
    // Error output is no answer.
    let outlet = ScriptedOutlet::with_script("echo is on >&2", PowerState::On);
    assert_eq!(outlet.reading().await.power_state, None);
}

#[tokio::test]
async fn without_a_command_that_reads_an_order_is_accepted_and_not_observed() {
    let outlet = ScriptedOutlet::with_script(SCRIPT, PowerState::On);
    let texts = PowerCommandTexts { read: None, on_answer: None, off_answer: None, ..outlet.texts() };
    let context = context_with_commands(texts, DEFAULT_CALL_TIMEOUT);
    let evidence = run_in(&context, PowerOperation::Cycle, &format!("{URL}?off=20ms")).await.unwrap();
    assert_eq!(
        (&evidence["result"], &evidence["readback"]),
        (&"accepted, not observed".into(), &"none".into())
    );
    assert_eq!(outlet.lines("runs"), ["off", "on"]);
}

#[tokio::test]
async fn the_outlet_is_one_argument_whatever_it_is() {
    let script = "cd \"${0%/*}\"; printf '%s,' \"$#\" \"$2\" >> orders; echo is on";
    let outlet = ScriptedOutlet::with_script(script, PowerState::On);
    outlet.run(PowerOperation::On, "exec://rack/A.1:b-2_c").await.unwrap();
    assert_eq!(outlet.read("orders"), "2,A.1:b-2_c,2,A.1:b-2_c,");
}

#[tokio::test]
async fn a_table_that_does_not_fit_the_url_is_a_configuration_error() {
    let outlet = ScriptedOutlet::with_script(SCRIPT, PowerState::On);
    let without_outlet = |order: &str| vec!["sh".to_owned(), "-c".to_owned(), order.to_owned()];
    let one = PowerCommandTexts {
        on: without_outlet("exit 0"),
        off: without_outlet("exit 1"),
        ..PowerCommandTexts::default()
    };
    for (texts, url, reason) in [
        (
            outlet.texts(),
            "exec://lab/5",
            "no power commands `lab`: add [power-commands.lab] to /etc/farm.toml",
        ),
        (outlet.texts(), "exec://rack", "are for several outlets (`{outlet}`): write exec://rack/OUTLET"),
        (one.clone(), URL, "are for one outlet: write exec://rack, or put `{outlet}`"),
    ] {
        let failed = run_in(&context_with_commands(texts, DEFAULT_CALL_TIMEOUT), PowerOperation::Cycle, url)
            .await
            .unwrap_err();
        assert!(failed.reason.contains(reason), "{failed}");
        assert_eq!(
            (failed.kind, &failed.evidence["attempts"]),
            (PowerRunErrorKind::Misconfigured, &0.into())
        );
    }
    let context = context_with_commands(one, DEFAULT_CALL_TIMEOUT);
    let evidence = run_in(&context, PowerOperation::On, "exec://rack").await.unwrap();
    assert_eq!(evidence["observed"], "unknown");
}

#[tokio::test]
async fn a_command_is_killed_when_the_lease_expires() {
    let script = SCRIPT.replace("exit 0", "trap '' TERM; echo $$ > pid; sleep 1000");
    let outlet = ScriptedOutlet::with_script(&script, PowerState::On);
    let context = context_with_commands(outlet.texts(), Duration::from_secs(15));
    // A server has a lease from its start.
    context.lease.extend(Instant::now() + Duration::from_mins(1));
    let url = format!("{URL}?off=20ms");
    let running = run_in(&context, PowerOperation::Cycle, &url);
    let (result, ()) = tokio::join!(running, async {
        until("the command runs", || outlet.path().join("pid").exists()).await;
        until("its number is written", || !outlet.read("pid").is_empty()).await;
        context.lease.extend(Instant::now());
    });
    let failed = result.unwrap_err();
    assert!(failed.reason.contains("lease expired"), "{failed}");
    outlet.until_gone().await;
    assert_eq!(outlet.lines("runs"), ["read", "off"], "the next holder restores the power");
}

#[tokio::test]
async fn after_an_interrupted_run_no_command_is_started_before_an_earlier_one_can_have_ended() {
    let outlet = ScriptedOutlet::with_script(SCRIPT, PowerState::On);
    let clock = ManualClock::new(DateTime::UNIX_EPOCH);
    let context = PowerContext {
        clock: Arc::new(clock.clone()),
        interrupted_runs: 1,
        ..context_with_commands(outlet.texts(), DEFAULT_CALL_TIMEOUT)
    };
    let url: PowerUrl = URL.parse().unwrap();
    let mut opened = url.open(context.access());
    let mut reading = Box::pin(opened.read());
    assert!(poll_once(&mut reading).is_none());
    clock.advance(DEFAULT_CALL_TIMEOUT);
    assert!(poll_once(&mut reading).is_none());
    assert_eq!(outlet.connections(), 0, "an earlier command may still run");
    clock.advance(Duration::from_secs(2));
    assert_eq!(reading.await.unwrap().power_state, Some(PowerState::On));
}

#[tokio::test]
async fn the_next_command_waits_for_the_rest() {
    let outlet = ScriptedOutlet::with_script(SCRIPT, PowerState::On);
    let clock = ManualClock::new(DateTime::UNIX_EPOCH);
    let context = PowerContext {
        clock: Arc::new(clock.clone()),
        ..context_with_commands(outlet.texts(), DEFAULT_CALL_TIMEOUT)
    };
    let url: PowerUrl = format!("{URL}?rest=3s").parse().unwrap();
    let mut opened = url.open(context.access());
    for reads in [1, 2] {
        let mut reading = Box::pin(opened.read());
        assert!(poll_once(&mut reading).is_none());
        assert_eq!(outlet.connections(), reads - 1, "it rests");
        clock.advance(Duration::from_secs(3));
        assert_eq!(reading.await.unwrap().power_state, Some(PowerState::On));
        assert_eq!(outlet.connections(), reads);
    }
}

/// Polls a future once.
fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (url, right) in [
        ("exec:rack/5", "is not the name of power commands"),
        ("exec:///5", "is not the name of power commands"),
        ("exec://rack.lab/5", "letters, digits, `-` and `_`"),
        ("exec://rack:80/5", "it has no port; write `exec://NAME[/OUTLET]"),
        ("exec://rack/-5", "it begins with a letter or digit"),
        ("exec://rack/--help", "it begins with a letter or digit"),
        ("exec://rack/5/6", "`5/6` is not an outlet"),
        ("exec://rack/5%20", "`5%20` is not an outlet"),
        ("exec://rack/$(id)", "is not an outlet"),
        ("exec://rack/5?command=id", "unknown parameter `command`; valid are `off`, `effect`, `rest`"),
        ("exec://rack/5?rest=6s", "the maximum is 5s"),
    ] {
        let error = url.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right), "{url}: {error}");
    }
    let url: PowerUrl = "exec://Rack_2/A1?off=1s".parse().unwrap();
    assert_eq!((url.resource(), url.outlet().as_str()), (Some("exec://Rack_2"), "exec://Rack_2/A1"));
    assert_ne!(url.outlet(), "exec://rack_2/A1".parse::<PowerUrl>().unwrap().outlet());
}
