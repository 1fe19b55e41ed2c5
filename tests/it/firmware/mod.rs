//! The quick start of the README on boards with real firmware: PXELINUX and iPXE under QEMU, a real kernel, and a relay
//! board that starts and kills them.

mod board;
mod media;

use std::time::{Duration, Instant};

use fs_err as fs;
use serde_json::Value;

use self::board::{EmulatedBoard, HOST};
use self::media::Media;
use crate::cli::lifeguard;
use crate::guarded_dir::GuardedDir;
use crate::server_process::ServerProcess;

/// How long a board may take to become Ready: many times what it takes on one slow core.
const READY_WITHIN: Duration = Duration::from_mins(5);

/// The board in the README.
const MAC: &str = "02:00:00:00:00:01";

#[derive(Debug, Clone, Copy)]
enum Firmware {
    Pxelinux,
    Ipxe,
}

impl Firmware {
    /// The boot file in the board's DHCP answer.
    fn boot_file(self) -> &'static str {
        match self {
            Self::Pxelinux => "pxelinux.ipxe",
            Self::Ipxe => "boot.ipxe",
        }
    }

    /// The boot config of the live image, in the firmware's syntax.
    fn boot_config(self, tftp: &str, options: &str) -> String {
        match self {
            Self::Pxelinux => {
                let label =
                    "default live\nprompt 0\nlabel live\n    kernel live/vmlinuz\n    initrd live/initrd\n";
                format!("{label}    append {options}\n")
            }
            Self::Ipxe => {
                let files = format!("kernel {tftp}live/vmlinuz {options}\ninitrd {tftp}live/initrd\n");
                format!("#!ipxe\n{files}boot\n")
            }
        }
    }
}

/// A server with one board.
struct FirmwareSite {
    board: EmulatedBoard,
    server: ServerProcess,
    // Removed last.
    _folder: GuardedDir,
}

impl FirmwareSite {
    fn start(media: &Media, firmware: Firmware) -> Self {
        let folder = GuardedDir::new();
        let work = folder.path();
        let data = work.join("data");
        let mut options = vec!["--data-dir".to_owned(), data.to_str().unwrap().to_owned()];
        // Free ports, and otherwise the README's options.
        options.extend(server_options().map(|option| match option {
            "0.0.0.0:8080" | "0.0.0.0:69" => "0.0.0.0:0".to_owned(),
            other => other.to_owned(),
        }));
        let server = ServerProcess::start(&options);

        let tftp = format!("{HOST}:{}", server.tftp().unwrap().port());
        let url = format!("http://{HOST}:{}/api/v1/devices/b1", server.http().port());
        let options =
            format!("console=ttyS0 quiet board.url={url} board.tftp={tftp} board.card=live/card.img");
        let boot_root = data.join("boot");
        media.install(&boot_root, work, &format!("{options} board.role=card"));
        let tftp = format!("tftp://{tftp}/");
        let config = firmware.boot_config(&tftp, &format!("{options} board.role=live"));
        fs::write(boot_root.join("configs/base.panda"), config).unwrap();
        // QEMU's network cards boot by iPXE. It is the PXE firmware that loads PXELINUX, from a port that is not 69.
        let loads_pxelinux = format!("#!ipxe\nset 210:string {tftp}\nchain {tftp}pxelinux.0\n");
        fs::write(boot_root.join("pxelinux.ipxe"), loads_pxelinux).unwrap();

        let board = EmulatedBoard::start(media, work, MAC, &format!("{tftp}{}", firmware.boot_file()));
        Self { board, server, _folder: folder }
    }

    /// Runs a command line of the README.
    async fn run(&self, line: &str) -> String {
        let line = line.replace("relay-3.lab:502", &self.board.relay()).replace('\'', "");
        let args: Vec<&str> = line.split(' ').skip(1).collect();
        let mut command = lifeguard(&args);
        command.env("LIFEGUARD_SERVER", format!("http://127.0.0.1:{}", self.server.http().port()));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{line}: {err}");
        out
    }

    async fn device(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/devices/b1", self.server.http().port());
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    /// Everything known of the board, for the failure message.
    async fn board_report(&self) -> String {
        let history = self.run("lifeguard device history b1").await;
        format!("{history}\nthe end of its serial line:\n{}", self.board.serial())
    }

    /// Waits until the board is Ready.
    async fn until_ready(&self) -> Duration {
        let started = Instant::now();
        loop {
            let state = self.device().await["state"].clone();
            if state == "Ready" {
                return started.elapsed();
            }
            let is_lost = state.as_str().unwrap().starts_with("Failed") || started.elapsed() > READY_WITHIN;
            assert!(!is_lost, "the board is not Ready but {state}\n{}", self.board_report().await);
            pause().await;
        }
    }

    /// Checks for a while that the board stays Ready.
    async fn stays_ready(&self, span: Duration) {
        let started = Instant::now();
        while started.elapsed() < span {
            let state = self.device().await["state"].clone();
            assert!(
                state == "Ready",
                "after {:?} it is {state}\n{}",
                started.elapsed(),
                self.board_report().await
            );
            pause().await;
        }
    }
}

async fn pause() {
    #[expect(clippy::disallowed_methods, reason = "the board runs by the machine's clock")]
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// The README's server options for real boards.
fn server_options() -> impl Iterator<Item = &'static str> {
    let mut lines = include_str!("../../../README.md").lines().map(str::trim);
    let is_for_boards =
        |line: &&str| line.starts_with("lifeguard serve ") && line.contains(" --tftp-listen ");
    let line = lines.find(is_for_boards).unwrap();
    // The test has a data directory of its own.
    line.split(' ').skip(2).filter(|word| !["--data-dir", "farm"].contains(word))
}

/// The README's commands that register and reimage a board, and those that show it afterwards.
fn readme() -> (Vec<&'static str>, Vec<&'static str>) {
    let lines = include_str!("../../../README.md").lines().map(str::trim);
    let lines = lines.skip_while(|line| !line.starts_with("lifeguard image set"));
    let lines: Vec<&str> = lines.take_while(|line| line.starts_with("lifeguard ")).collect();
    let (setup, looks) = lines.split_at(3);
    (setup.to_vec(), looks.to_vec())
}

#[expect(clippy::print_stdout, reason = "the proof prints how long it took")]
async fn assert_ready_as_the_readme_has_it(firmware: Firmware) {
    let Some(media) = Media::find() else { return };
    // How long a Ready board is watched: not at all in the short form.
    let seconds = std::env::var_os("LIFEGUARD_PROOF_SECONDS").map(|value| value.into_string().unwrap());
    let watched = Duration::from_secs(seconds.map_or(0, |seconds| seconds.parse().unwrap()));

    let site = FirmwareSite::start(&media, firmware);
    let (setup, looks) = readme();
    for line in setup {
        site.run(line).await;
    }
    let reimaged = site.until_ready().await;
    site.run("lifeguard device reboot b1").await;
    let rebooted = site.until_ready().await;
    println!("{firmware:?}: Ready {reimaged:.1?} after reimage, {rebooted:.1?} after reboot");

    site.stays_ready(watched).await;
    for line in looks {
        let shown = site.run(line).await;
        assert!(shown.contains("Ready"), "{line}: {shown}");
    }
    assert_eq!(site.device().await["image"], "base");
    // Each request succeeds at the first try, and nothing follows.
    assert_eq!(site.board.power_cuts(), [true, false, true, false], "{}", site.board_report().await);
    println!("{firmware:?}: still Ready {watched:?} later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: docs/proofs.md"]
async fn a_board_that_boots_by_pxelinux_is_reimaged_and_rebooted_and_stays_ready() {
    assert_ready_as_the_readme_has_it(Firmware::Pxelinux).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: docs/proofs.md"]
async fn a_board_that_boots_by_ipxe_is_reimaged_and_rebooted_and_stays_ready() {
    assert_ready_as_the_readme_has_it(Firmware::Ipxe).await;
}
