//! Tests of `ipmi://` with `ipmitool`, at `ipmi_sim`: programs of others, which CI installs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use device_io::{CredentialName, CredentialSource, Credentials, Secret, SecretSource};
use power::{
    DEFAULT_CALL_TIMEOUT, Evidence, PowerContext, PowerOperation, PowerRunError, PowerRunErrorKind,
    PowerState, PowerUrl, operate,
};
use tokio_util::sync::CancellationToken;

use crate::conformance::{self, DeviceBehaviour, ExpectedFailure, TestDevice, context};
use crate::ipmi_bmc::{PASSWORD, TestBmc, USER, programs};

fn with_credentials(context: PowerContext) -> PowerContext {
    let credential = |user: &str, password: &str| CredentialSource {
        user: Some(user.to_owned()),
        password: Some(SecretSource::Text(Secret::new(password))),
        ..CredentialSource::default()
    };
    let all = [
        ("bmcs", credential(USER, PASSWORD)),
        ("viewer", credential("viewer", PASSWORD)),
        ("stranger", credential("stranger", PASSWORD)),
        ("wrong", credential(USER, "wr0ng-pass")),
        ("long", credential(USER, "a-password-of-30-characters-xx")),
        ("userless", CredentialSource { user: None, ..credential("", PASSWORD) }),
    ];
    let by_name = all.map(|(name, source)| (CredentialName::new(name).unwrap(), source));
    PowerContext { credentials: Credentials::new("/etc/farm.toml", BTreeMap::from(by_name)), ..context }
}

async fn run(operation: PowerOperation, url: &str) -> Result<Evidence, PowerRunError> {
    let context = with_credentials(context(DEFAULT_CALL_TIMEOUT));
    operate(&url.parse().unwrap(), operation, &context, &CancellationToken::new()).await
}

impl TestDevice for TestBmc {
    const ANSWER_TIMEOUT: Duration = DEFAULT_CALL_TIMEOUT;

    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        Self::start(behaviour, state).await
    }

    fn configure(&self, context: PowerContext) -> PowerContext {
        with_credentials(context)
    }

    /// Datagrams are not refused, and those that are not IPMI are ignored: all that can be said is that nothing answers.
    fn expected_failure(behaviour: DeviceBehaviour) -> ExpectedFailure {
        ExpectedFailure {
            reason: "no answer from 127.0.0.1:",
            kind: PowerRunErrorKind::Failed,
            // Killed at its limit, `ipmitool` has said nothing yet.
            has_answer: behaviour != DeviceBehaviour::Hangs,
        }
    }

    fn url(&self, parameters: &str) -> String {
        // The simulator does not say which cipher suites it has.
        format!("ipmi://{}?credential=bmcs&cipher=3&effect=500ms&{parameters}", self.addr)
    }

    fn url_of_missing_outlet(&self) -> Option<String> {
        None
    }

    fn state(&self) -> PowerState {
        self.state()
    }

    fn received_orders(&self) -> Vec<PowerState> {
        self.received_orders()
    }

    fn connections(&self) -> usize {
        self.clients()
    }

    async fn set_behaviour(&self, behaviour: DeviceBehaviour) {
        self.set_behaviour(behaviour);
    }
}

#[tokio::test]
async fn a_bmc_passes_the_conformance_tests() {
    if programs().is_some() {
        Box::pin(conformance::run_conformance_tests::<TestBmc>()).await;
    }
}

#[tokio::test]
async fn a_bmc_is_switched_by_both_interfaces_and_its_words_are_evidence() {
    if programs().is_none() {
        return;
    }
    let bmc = TestBmc::start(DeviceBehaviour::Normal, PowerState::On).await;
    for parameters in ["interface=lan", "interface=lanplus&cipher=3", "privilege=operator"] {
        let url = format!("ipmi://{}?credential=bmcs&off=20ms&{parameters}", bmc.addr);
        let evidence = run(PowerOperation::Cycle, &url).await.unwrap();
        assert_eq!(
            (&evidence["observed"], &evidence["answer"]),
            (&"on".into(), &"Chassis Power is on".into())
        );
        assert_eq!(evidence["bmc"], bmc.addr.to_string());
        assert!(!evidence.contains_key("ipmitool"), "{evidence:?}");
    }
    assert_eq!(bmc.received_orders(), [PowerState::Off, PowerState::On].repeat(3));
}

#[tokio::test]
async fn success_waits_until_the_bmc_has_switched() {
    if programs().is_none() {
        return;
    }
    let bmc = TestBmc::start(DeviceBehaviour::Normal, PowerState::On).await;
    bmc.switch_late(4);
    let url = format!("ipmi://{}?credential=bmcs&cipher=3&off=20ms", bmc.addr);
    let evidence = run(PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!((bmc.state(), &evidence["observed"]), (PowerState::On, &"on".into()));
    assert!(evidence.contains_key("off_at"), "it was read off: {evidence:?}");
    assert_eq!(bmc.received_orders(), [PowerState::Off, PowerState::On], "nothing is repeated");
}

#[tokio::test]
async fn what_a_bmc_refuses_is_reported_with_its_words_and_without_secrets() {
    if programs().is_none() {
        return;
    }
    let bmc = TestBmc::start(DeviceBehaviour::Normal, PowerState::On).await;
    for (parameters, reason, words) in [
        (
            "credential=wrong&cipher=3",
            "rejects the password of user `lifeguard` (credential `wrong`)",
            "RAKP 2 HMAC is invalid",
        ),
        ("credential=stranger&cipher=3", "has no user `stranger`", "unauthorized name"),
        ("credential=stranger&interface=lan", "has no user `stranger`", "Invalid user name"),
        ("credential=bmcs&cipher=17", "try `cipher=3`", "invalid authentication algorithm"),
        ("credential=long", "a user name has 16 bytes at most", "password is longer than 20 bytes"),
        ("credential=userless", "credential `userless` has no user", ""),
        ("credential=none", "no credential `none`: add [credentials.none] to /etc/farm.toml", ""),
    ] {
        let url = format!("ipmi://{}?{parameters}", bmc.addr);
        let failed = run(PowerOperation::Cycle, &url).await.unwrap_err();
        assert!(failed.reason.contains(reason), "{parameters}: {failed}");
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed}");
        let answer = failed.evidence.get("answer").and_then(|answer| answer.as_str()).unwrap_or_default();
        assert!(answer.contains(words) && !answer.contains("IANA"), "{failed:?}");
        let shown = format!("{failed:?}");
        assert!(
            !shown.contains(PASSWORD) && !shown.contains("wr0ng") && !shown.contains("a-password"),
            "{shown}"
        );
    }
    assert_eq!(bmc.received_orders(), []);
}

#[tokio::test]
async fn a_user_who_may_only_read_cannot_switch() {
    if programs().is_none() {
        return;
    }
    let bmc = TestBmc::start(DeviceBehaviour::Normal, PowerState::On).await;
    let url = format!("ipmi://{}?credential=viewer&interface=lan&privilege=operator", bmc.addr);
    let failed = run(PowerOperation::Off, &url).await.unwrap_err();
    assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed}");
    assert!(failed.reason.contains("does not give user `viewer`"), "{failed}");
    assert_eq!((bmc.state(), bmc.received_orders()), (PowerState::On, Vec::new()));
}

#[tokio::test]
async fn the_password_is_in_the_environment_of_ipmitool_and_in_no_argument() {
    if programs().is_none() {
        return;
    }
    let bmc = TestBmc::start(DeviceBehaviour::Hangs, PowerState::On).await;
    let url: PowerUrl = bmc.url("").parse().unwrap();
    let context = with_credentials(context(DEFAULT_CALL_TIMEOUT));
    let cancel = CancellationToken::new();
    let mut running = Box::pin(operate(&url, PowerOperation::On, &context, &cancel));
    let port = bmc.addr.port().to_string();
    let arguments = tokio::select! {
        ended = &mut running => panic!("{ended:?}"),
        arguments = async {
            loop {
                if let Some(arguments) = arguments_of("ipmitool", &port) {
                    return arguments;
                }
                clock::sleep_real_time(Duration::from_millis(10)).await;
            }
        } => arguments,
    };
    assert!(arguments.contains("-E") && arguments.contains("lifeguard"), "{arguments}");
    assert!(!arguments.contains(PASSWORD), "{arguments}");
}

/// The arguments of the running program `name` that has the argument `with`.
fn arguments_of(name: &str, with: &str) -> Option<String> {
    fs_err::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let file: PathBuf = entry.path().join("cmdline");
        let arguments = std::fs::read(file).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        (arguments.starts_with(name) && arguments.contains(with)).then_some(arguments)
    })
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (url, right) in [
        (
            "ipmi://bmc.lab",
            "`credential` names user and password in lifeguard.toml; write `ipmi://HOST[:623]",
        ),
        ("ipmi://bmc.lab/1?credential=a", "`/1`: a BMC has one outlet"),
        ("ipmi://bmc.lab?credential=a&interface=open", "write `lanplus` or `lan`"),
        ("ipmi://bmc.lab?credential=a&cipher=0", "a number from 1 to 17"),
        ("ipmi://bmc.lab?credential=a&cipher=18", "a number from 1 to 17"),
        ("ipmi://bmc.lab?credential=a&interface=lan&cipher=3", "`cipher` is for `interface=lanplus`"),
        ("ipmi://bmc.lab?credential=a&privilege=root", "write `operator` or `administrator`"),
        ("ipmi://bmc.lab?credential=a/b", "is not the name of a credential"),
        ("ipmi://bmc.lab?credential=a&password=hidden", "unknown parameter `password`"),
    ] {
        let error = url.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right) && !error.contains("hidden"), "{url}: {error}");
    }
    let url: PowerUrl = "ipmi://BMC-7.lab./?credential=a".parse().unwrap();
    assert_eq!(
        (url.resource(), url.outlet().as_str()),
        (Some("ipmi://bmc-7.lab:623"), "ipmi://bmc-7.lab:623/chassis")
    );
    let same: PowerUrl = "ipmi://bmc-7.lab:623?credential=b&interface=lan&off=9s".parse().unwrap();
    assert_eq!(url.outlet(), same.outlet());
}
