//! Tests of polling, with a manual clock.

use lifeguard::actions::{
    ActionEnding, ActionKind as _, Finding, FindingReporter, LocalTrouble, PollAction, Trouble,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::world::yield_briefly;

fn poll_job(clock: &Arc<dyn Clock>, url: String, settings: &Value) -> Job {
    let mut job = job("");
    set_fact(&mut job.facts, "poll_url", url.as_str());
    set_fact(&mut job.facts, "answered_url", url);
    job.settings.clone_from(settings.as_object().unwrap());
    job.clock = Arc::clone(clock);
    job
}

async fn answer(listener: &TcpListener, status: u16) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let head = format!("HTTP/1.1 {status} Test\r\nlocation: /gone\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    (listener, authority)
}

#[tokio::test]
async fn only_failures_in_a_row_count() {
    let ((clock, shared), (listener, authority)) = (manual(), listener().await);
    let job = poll_job(&shared, format!("http://{authority}/up"), &json!({ "limit": "10m" }));
    let (driver, token) = (PollAction, CancellationToken::new());
    let board = async {
        for status in [500, 404, 200, 503, 500, 302, 500, 500, 503] {
            answer(&listener, status).await;
            clock.advance(Duration::from_secs(30));
        }
    };
    let (ended, ()) = within_long_timeout("three failures in a row", async {
        tokio::join!(driver.run(&job, &token), board)
    })
    .await;
    let failed = ended.unwrap_err();
    assert_eq!(failed.reason, "no answer 3 times in a row; last: HTTP status 503 Service Unavailable");
    assert_eq!(failed.evidence["probes"], 9);
}

#[tokio::test]
async fn a_board_that_is_down_is_found_by_the_first_probe_at_once() {
    let ((_stands_still, shared), (listener, authority)) = (manual(), listener().await);
    drop(listener);
    for scheme in ["tcp", "http"] {
        let job = poll_job(&shared, format!("{scheme}://{authority}"), &json!({ "failures": 1 }));
        let run = PollAction;
        let failed =
            within_long_timeout("a refusal", run.run(&job, &CancellationToken::new())).await.unwrap_err();
        assert_eq!(failed.reason, "no answer 1 time in a row; last: connection refused");
    }
}

#[tokio::test]
async fn a_board_that_accepts_the_connection_and_sends_nothing_does_not_answer() {
    let ((clock, shared), (listener, authority)) = (manual(), listener().await);
    let job = poll_job(&shared, format!("http://{authority}/"), &json!({ "failures": 1 }));
    let (driver, token) = (PollAction, CancellationToken::new());
    let board = async {
        let silent = listener.accept().await.unwrap();
        clock.advance(Duration::from_secs(5));
        silent
    };
    let (ended, _silent) =
        within_long_timeout("the limit", async { tokio::join!(driver.run(&job, &token), board) }).await;
    assert_eq!(ended.unwrap_err().reason, "no answer 1 time in a row; last: no answer within 5s");
}

#[tokio::test]
async fn polling_continues_until_it_is_cancelled() {
    let ((clock, shared), (listener, authority)) = (manual(), listener().await);
    let job = poll_job(&shared, format!("tcp://{authority}"), &json!({ "limit": "10m" }));
    let (driver, token) = (PollAction, CancellationToken::new());
    let board = async {
        for _ in 0..20 {
            let _: (TcpStream, _) = listener.accept().await.unwrap();
            clock.advance(Duration::from_secs(30));
        }
        token.cancel();
    };
    let (ended, ()) =
        within_long_timeout("its end", async { tokio::join!(driver.run(&job, &token), board) }).await;
    assert_eq!(ended.unwrap_err().reason, "cancelled");
}

#[tokio::test]
async fn polling_succeeds_if_it_ends_before_enough_probes_failed() {
    let ((clock, shared), (listener, authority)) = (manual(), listener().await);
    let with = json!({ "interval": "3h", "limit": "1h", "failures": 2 });
    let job = poll_job(&shared, format!("tcp://{authority}"), &with);
    let (driver, token) = (PollAction, CancellationToken::new());
    let board = async {
        for _ in 0..6 {
            listener.accept().await.unwrap();
            clock.advance(Duration::from_hours(3));
        }
    };
    let (ended, ()) =
        within_long_timeout("its end", async { tokio::join!(driver.run(&job, &token), board) }).await;
    assert_eq!(ended.unwrap()["probes"], 6, "at 0, 3, 6, 9, 12 and 15 hours of 24");
}

#[tokio::test]
async fn a_board_that_falls_silent_near_the_end_gets_all_its_probes() {
    let ((clock, shared), (listener, authority)) = (manual(), listener().await);
    let with = json!({ "interval": "3h", "limit": "1h", "failures": 2 });
    let job = poll_job(&shared, format!("tcp://{authority}"), &with);
    let (driver, token) = (PollAction, CancellationToken::new());
    let board = async {
        for _ in 0..5 {
            listener.accept().await.unwrap();
            clock.advance(Duration::from_hours(3));
        }
        drop(listener);
        loop {
            yield_briefly().await;
            clock.advance(Duration::from_mins(10));
        }
    };
    let ended = within_long_timeout("its end", async {
        tokio::select! {
            ended = driver.run(&job, &token) => ended,
            () = board => unreachable!("time goes by for ever"),
        }
    })
    .await;
    let failed = ended.unwrap_err();
    assert!(failed.reason.contains("2 times in a row"), "{failed}");
    assert_eq!(failed.evidence["probes"], 7, "at 0, 3, 6, 9, 12, 15 and 18 hours");
}

#[tokio::test]
async fn a_bad_setting_or_url_is_reported_with_the_right_form_and_does_not_blame_the_board() {
    let (_stands_still, shared) = manual();
    let driver = PollAction;
    for (url, with, right) in [
        ("tcp://board-1.lab:22", json!({ "failures": 0 }), "at least 1"),
        ("ssh://board-1.lab", json!({}), "tcp://HOST:PORT"),
    ] {
        let (token, (sender, mut findings)) = (CancellationToken::new(), mpsc::unbounded_channel());
        let mut job = poll_job(&shared, url.to_owned(), &with);
        job.findings = FindingReporter::to_listener(move |finding| sender.send(finding).unwrap());
        let run = driver.run(&job, &token);
        let cancelled = async {
            let finding = findings.recv().await.unwrap();
            token.cancel();
            finding
        };
        let (ended, finding) =
            within_long_timeout("what is wrong", async { tokio::join!(run, cancelled) }).await;
        assert!(matches!(&finding, Finding::Misconfigured(reason) if reason.contains(right)), "{finding:?}");
        assert_eq!(ended.unwrap_err().reason, "cancelled");
    }
}

#[tokio::test]
async fn a_board_that_never_answered_is_reported_once_and_an_impossible_probe_suspends() {
    let ((clock, shared), (listener, authority)) = (manual(), listener().await);
    drop(listener);
    let (token, (sender, mut findings)) = (CancellationToken::new(), mpsc::unbounded_channel());
    let mut job = poll_job(&shared, format!("tcp://{authority}"), &json!({ "failures": 2 }));
    job.facts.remove("answered_url");
    job.findings = FindingReporter::to_listener(move |finding| sender.send(finding).unwrap());
    let driver = PollAction;
    let time = async {
        for _ in 0..50 {
            yield_briefly().await;
            clock.advance(Duration::from_secs(30));
        }
        token.cancel();
    };
    let (ended, ()) =
        within_long_timeout("its end", async { tokio::join!(driver.run(&job, &token), time) }).await;
    let ended = ended.unwrap_err();
    assert_eq!((ended.reason.as_str(), &ended.kind), ("cancelled", &ActionEnding::Failed));
    let finding = findings.try_recv().unwrap();
    assert!(
        matches!(&finding, Finding::Misconfigured(reason) if reason.contains("nothing has ever answered"))
    );
    assert!(findings.try_recv().is_err(), "it was reported twice");

    // Connecting to this address is always refused locally.
    for url in ["tcp://255.255.255.255:22", "http://255.255.255.255/"] {
        let job = poll_job(&shared, url.to_owned(), &json!({ "failures": 1 }));
        let run = PollAction;
        let ended =
            within_long_timeout("no way", run.run(&job, &CancellationToken::new())).await.unwrap_err();
        let is_network = matches!(
            ended.kind,
            ActionEnding::Suspended { trouble: Trouble::Local(LocalTrouble::Network(_)), .. }
        );
        assert!(is_network, "{url}: {ended:?}");
    }
}
