//! A board's boot from power-on: firmware, boot config, card or live image, reports.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use serde_json::{Value, json};

use super::board::{BoardActivity, SimulatedBoard};
use super::boot_config::{BootConfig, LiveTask};
use super::fault_rates::BoardFault;
use super::network::{BootConfigAnswer, OpenPort};
use random::Random;

/// Boots, and boots again when the board reboots itself; the caller drops it when the power is lost.
pub(super) async fn run(board: &SimulatedBoard) -> Infallible {
    while SimulatedBoot::begin(board).run().await == BootEnd::Reboots {}
    board.be_silent().await
}

/// How a boot ends, other than by loss of power.
#[derive(PartialEq, Eq)]
enum BootEnd {
    /// The board reboots itself.
    Reboots,
    /// The board does nothing more.
    Hangs,
}

/// One boot, with the state in the board's memory.
struct SimulatedBoot<'a> {
    board: &'a SimulatedBoard,
    random: Random,
    fault: Option<BoardFault>,
    visit: Option<u64>,
    has_reported: bool,
}

impl<'a> SimulatedBoot<'a> {
    fn begin(board: &'a SimulatedBoard) -> Self {
        board.update(|status| {
            status.boots += 1;
            status.activity = BoardActivity::Firmware;
        });
        // The random numbers of a boot depend only on its number, not on the previous boot's progress.
        let mut random = Random::stream(board.seed, board.status().boots);
        let fault = board.faults.borrow().draw(&mut random);
        if let Some(fault) = fault {
            tracing::debug!(board = board.registration.name, ?fault, "simulated board fault injected");
        }
        Self { board, random, fault, visit: None, has_reported: false }
    }

    async fn run(mut self) -> BootEnd {
        self.pause(self.board.timings.firmware).await;
        if self.has_fault(BoardFault::DoesNotBoot) {
            return BootEnd::Hangs;
        }
        let link = format!("pxelinux.cfg/01-{}", self.board.registration.mac.replace(':', "-"));
        let answer = self.board.network.fetch_config(&link).await;
        if self.has_fault(BoardFault::HangsAfterAsking) {
            return BootEnd::Hangs;
        }
        if self.has_fault(BoardFault::ReportsPreviousBoot)
            && let Some((event, visit)) = self.board.status().last_report
        {
            self.send(&event, None, Some(visit)).await;
        }
        match answer {
            BootConfigAnswer::None => self.boot_card().await,
            // Like the boot scripts of real boards: without the network it boots from the card.
            BootConfigAnswer::Failed(error) => {
                self.log_failure("simulated board cannot fetch its boot config", &error);
                self.boot_card().await
            }
            BootConfigAnswer::Text(text) => match text.parse() {
                Ok(config) => self.boot_live(config).await,
                Err(error) => {
                    self.log_failure("simulated board cannot parse its boot config", &error);
                    BootEnd::Hangs
                }
            },
        }
    }

    async fn boot_card(&mut self) -> BootEnd {
        if self.board.status().card_image.is_none() {
            return BootEnd::Hangs;
        }
        self.board.set_activity(BoardActivity::Booting);
        self.pause(self.board.timings.boot).await;
        if self.has_fault(BoardFault::HangsBeforeReporting) {
            return BootEnd::Hangs;
        }
        // The port is open before the report, so that an immediate poll succeeds.
        let Some(port) = self.open_port() else { return BootEnd::Hangs };
        self.board.set_activity(BoardActivity::Running);
        let board = self.board;
        tokio::select! {
            never = answer_polls(board, port) => match never {},
            () = async {
                self.report("image-running", None).await;
                if self.has_fault(BoardFault::Crashes) {
                    self.pause(self.board.timings.crash_after).await;
                } else {
                    pending::<()>().await;
                }
            } => BootEnd::Hangs,
        }
    }

    async fn boot_live(&mut self, config: BootConfig) -> BootEnd {
        self.board.set_activity(BoardActivity::Fetching);
        for file in [Some(&config.kernel), config.initrd.as_ref()].into_iter().flatten() {
            if let Err(error) = self.board.network.fetch(file).await {
                self.log_failure("simulated board cannot fetch its live image", &error);
                return BootEnd::Hangs;
            }
        }
        self.board.set_activity(BoardActivity::Booting);
        self.pause(self.board.timings.live).await;
        if self.has_fault(BoardFault::HangsBeforeReporting) {
            return BootEnd::Hangs;
        }
        self.board.set_activity(BoardActivity::Live);
        match config.task {
            LiveTask::Install => self.install(config.image).await,
            LiveTask::SelfTest => {
                self.report("self-test-running", None).await;
                self.pause(self.board.timings.self_test).await;
                self.stay_up("self-test-ok").await
            }
            LiveTask::Maintenance => self.stay_up("maintenance-running").await,
        }
    }

    async fn install(&mut self, image: Option<String>) -> BootEnd {
        self.report("live-running", None).await;
        let arguments = self.boot_arguments().await;
        self.visit = arguments.get("visit").and_then(Value::as_u64).or(self.visit);
        let next = arguments.get("next_image").and_then(Value::as_str).filter(|name| !name.is_empty());
        let Some(image) = next.map(ToOwned::to_owned).or(image) else {
            let reason = "neither the boot config nor the boot arguments name an image";
            self.report("image-failed", Some(json!({ "fault": "image", "reason": reason }))).await;
            return BootEnd::Hangs;
        };
        self.report("image-installing", None).await;
        self.board.update(|status| status.card_image = None);
        self.pause(self.board.timings.install).await;
        if self.has_fault(BoardFault::ImageFails) {
            let (fault, reason) = match self.random.next_below(2) {
                0 => ("image", format!("the checksum of {image} is wrong")),
                _ => ("board", "the card has bad blocks".to_owned()),
            };
            self.report("image-failed", Some(json!({ "fault": fault, "reason": reason }))).await;
            return BootEnd::Hangs;
        }
        self.board.update(|status| status.card_image = Some(image));
        self.report("image-installed", None).await;
        BootEnd::Reboots
    }

    /// Reports `event` and answers polls from then on.
    async fn stay_up(&mut self, event: &str) -> BootEnd {
        let Some(port) = self.open_port() else { return BootEnd::Hangs };
        let board = self.board;
        tokio::select! {
            never = answer_polls(board, port) => match never {},
            () = async {
                self.report(event, None).await;
                pending::<()>().await;
            } => BootEnd::Hangs,
        }
    }

    fn open_port(&self) -> Option<OpenPort<'a>> {
        let opened = self.board.network.open_port();
        opened.inspect_err(|error| self.log_failure("simulated board cannot open its port", error)).ok()
    }

    /// Reports `event` until the server accepts it, subject to this boot's fault.
    async fn report(&mut self, event: &str, arguments: Option<Value>) {
        if self.has_fault(BoardFault::ReportsLate) && !self.has_reported {
            self.pause(self.board.timings.late_by).await;
        }
        self.has_reported = true;
        let visit = self.visit.filter(|_| self.board.has_visit_in_reports);
        self.visit = self.send(event, arguments.as_ref(), visit).await;
        if let Some(visit) = self.visit {
            self.board.update(|status| status.last_report = Some((event.to_owned(), visit)));
        }
        if self.has_fault(BoardFault::ReportsTwice) {
            self.send(event, arguments.as_ref(), visit).await;
        }
    }

    /// Sends a report until it is answered with 2xx; returns the visit in the answer.
    async fn send(&mut self, event: &str, arguments: Option<&Value>, visit: Option<u64>) -> Option<u64> {
        loop {
            match self.board.network.report(event, arguments, visit).await {
                Ok(answer) => {
                    self.board.update(|status| status.accepted_reports += 1);
                    return answer.get("visit").and_then(Value::as_u64);
                }
                Err(error) => {
                    self.board.update(|status| status.rejected_reports += 1);
                    self.log_failure("simulated board repeats its report", &error);
                    self.pause(self.board.timings.retry_after).await;
                }
            }
        }
    }

    async fn boot_arguments(&mut self) -> serde_json::Map<String, Value> {
        loop {
            match self.board.network.boot_arguments().await {
                Ok(arguments) => return arguments,
                Err(error) => {
                    self.log_failure("simulated board repeats its request for boot arguments", &error);
                    self.pause(self.board.timings.retry_after).await;
                }
            }
        }
    }

    fn has_fault(&self, fault: BoardFault) -> bool {
        self.fault == Some(fault)
    }

    async fn pause(&mut self, span: Duration) {
        let span = self.random.spread(span);
        self.board.clock.sleep(span).await;
    }

    fn log_failure(&self, what: &str, error: &(dyn std::error::Error + 'static)) {
        tracing::debug!(board = self.board.registration.name, error, "{what}");
    }
}

async fn answer_polls(board: &SimulatedBoard, port: OpenPort<'_>) -> Infallible {
    loop {
        if let Err(error) = port.answer_poll().await {
            tracing::debug!(board = board.registration.name, %error, "simulated board cannot accept a poll");
            board.clock.sleep(Duration::from_secs(1)).await;
        }
    }
}
