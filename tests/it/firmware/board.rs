//! A board emulated by QEMU, with real firmware, whose power is a coil.

use std::io::{Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use lifeguard::farm::relay::{RelayBehaviour, RelayBoard};
use tokio::task::JoinSet;

use super::media::Media;

/// The host as seen by boards: QEMU forwards this address to 127.0.0.1.
pub(super) const HOST: &str = "10.0.2.2";

/// The coil of the board in the README, which switches off its power.
const COIL: u16 = 5;

/// Runs the emulator until its input ends, which is when the test drops it or dies.
const GUARDIAN: &str = r#"
"$@" </dev/null &
exec 2>/dev/null
read -r _
kill -KILL $!
wait $!
"#;

/// A board that runs while its coil is off.
pub(super) struct EmulatedBoard {
    relay: RelayBoard,
    serial: PathBuf,
    _power: JoinSet<()>,
}

impl EmulatedBoard {
    /// Starts a board, with an empty card in `work`, whose firmware loads `boot_file`.
    pub(super) fn start(media: &Media, work: &Path, mac: &str, boot_file: &str) -> Self {
        let [card, serial] = ["card", "serial"].map(|name| work.join(name));
        Media::write_empty_card(&card);
        fs::write(&serial, "").unwrap();
        let words = "-accel tcg -m 256 -display none -monitor none -machine pc,graphics=off -boot order=n";
        let mut args = vec![media.qemu.display().to_string()];
        args.extend(words.split(' ').map(str::to_owned));
        let chardev = format!("file,id=serial,append=on,path={}", serial.display());
        args.extend(["-chardev".to_owned(), chardev, "-serial".to_owned(), "chardev:serial".to_owned()]);
        args.extend(["-drive".to_owned(), format!("if=virtio,format=raw,file={}", card.display())]);
        args.extend(["-nic".to_owned(), format!("user,model=virtio-net-pci,mac={mac},bootfile={boot_file}")]);

        let relay = RelayBoard::start(([127, 0, 0, 1], 0).into(), COIL + 1, RelayBehaviour::OneClientAtATime)
            .unwrap();
        let mut coil = relay.coil(COIL);
        let mut power = JoinSet::new();
        power.spawn(async move {
            let mut running = None;
            loop {
                let cuts = *coil.borrow_and_update();
                running = if cuts { None } else { running.or_else(|| Some(Emulator::start(&args))) };
                if coil.changed().await.is_err() {
                    return;
                }
            }
        });
        Self { relay, serial, _power: power }
    }

    /// `HOST:PORT` of its relay board.
    pub(super) fn relay(&self) -> String {
        self.relay.addr().to_string()
    }

    /// The changes of its power so far: whether it was switched off.
    pub(super) fn power_cuts(&self) -> Vec<bool> {
        self.relay.coil_changes().iter().map(|operation| operation.is_on).collect()
    }

    /// The end of its serial output.
    pub(super) fn serial(&self) -> String {
        const SHOWN: u64 = 6000;
        let mut file = fs::File::open(&self.serial).unwrap();
        let from = file.metadata().unwrap().len().saturating_sub(SHOWN);
        file.seek(SeekFrom::Start(from)).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A running QEMU, killed on drop.
struct Emulator {
    guardian: Child,
}

impl Emulator {
    fn start(args: &[String]) -> Self {
        let mut command = Command::new("sh");
        // Its own process group, so that Ctrl-C does not reach the guardian.
        command.args(["-c", GUARDIAN, "guardian"]).args(args).process_group(0);
        Self { guardian: command.stdin(Stdio::piped()).spawn().unwrap() }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        self.guardian.wait().unwrap();
    }
}
