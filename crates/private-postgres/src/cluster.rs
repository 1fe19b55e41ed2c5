//! The cluster's files: created once, and used by a server at each start.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use fs_err as fs;
use nix::sys::statvfs::statvfs;
use nix::sys::sysinfo::sysinfo;

use super::account::PostgresAccount;
use super::binaries::Binaries;
use super::error::PrivatePostgresError;
use super::layout::{DataDirLayout, PORT, socket_path};
use super::options::{CommitDurability, PrivatePostgresOptions, USER};
use super::postmaster::{Postmaster, StartFailure, stop_orphaned_server};

/// How much of the log's end is read for an error message.
const LOG_TAIL_BYTES: u64 = 4096;
/// A disk with less free space counts as full: a segment of the write-ahead log needs this much.
const MIN_FREE_BYTES: u64 = 16 * 1024 * 1024;
/// How many of the log's last lines an error message shows.
const LOG_TAIL_LINES: usize = 12;

/// The server's `shared_buffers` in MB: an eighth of the available memory, within useful bounds. A million boards take
/// 350 MB, and an event among them cost a quarter more with 128 MB. Source of both: measured, November 2026.
fn shared_buffers_mb() -> u64 {
    let of_machine = sysinfo().map_or(0, |info| info.ram_total());
    // A container may have less memory than the machine; without a limit the file contains `max`.
    let of_container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = of_container.and_then(|limit| limit.trim().parse().ok()).unwrap_or(u64::MAX);
    (of_machine.min(limit) / 8 / 1024 / 1024).clamp(128, 1024)
}

/// An existing cluster, with everything needed to start its server.
#[derive(Debug)]
pub(super) struct Cluster {
    binaries: Binaries,
    account: PostgresAccount,
    /// The paths in the data directory.
    pub(super) layout: DataDirLayout,
    /// The directory of the socket.
    pub(super) socket_dir: PathBuf,
    durability: CommitDurability,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// The directory of the server's programs.
    pub(super) fn bin_dir(&self) -> &Path {
        self.binaries.dir()
    }

    /// Prepares the cluster in `layout`; creates it if there is none.
    ///
    /// # Errors
    ///
    /// As [`PrivatePostgres::start`](crate::PrivatePostgres::start); nothing is written except a complete new cluster.
    pub(super) async fn prepare(
        layout: DataDirLayout,
        options: PrivatePostgresOptions,
    ) -> Result<Self, PrivatePostgresError> {
        let account = PostgresAccount::choose(&layout.cluster)?;
        let binaries = Binaries::find(options.bin_dir.as_deref(), &layout.cluster, &account).await?;
        account.check_access(&layout.data_dir, &binaries.postgres()).await?;
        let socket_dir = layout.make_socket_dir(&account)?;
        let PrivatePostgresOptions { data_dir: _, bin_dir: _, durability, settings } = options;
        let cluster = Self { binaries, account, layout, socket_dir, durability, settings };
        cluster.layout.remove_unfinished().await?;
        if !cluster.layout.cluster.exists() {
            cluster.initialise().await?;
        }
        Ok(cluster)
    }

    /// Creates the cluster in a temporary directory and renames it, so that an incomplete one is never used.
    async fn initialise(&self) -> Result<(), PrivatePostgresError> {
        let fresh = self.layout.unfinished_cluster_dir();
        let mut output = String::new();
        // Not every system has C.UTF-8. C always exists; it only lacks the letter case of other alphabets.
        for locale in ["C.UTF-8", "C"] {
            directories::create_with_mode(&fresh, 0o700)?;
            self.account.take_ownership(&fresh)?;
            let Output { status, stdout, stderr } = self.initdb(&fresh, locale).await?;
            if status.success() {
                fs::rename(&fresh, &self.layout.cluster)?;
                // The rename is durable once the directory is synced.
                fs::File::open(&self.layout.data_dir)?.sync_all()?;
                return Ok(());
            }
            output = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
            fs::remove_dir_all(&fresh)?;
        }
        Err(PrivatePostgresError::Initdb { output: last_lines(&output) })
    }

    /// Runs `initdb`; it is killed when this future is dropped.
    async fn initdb(&self, fresh: &Path, locale: &str) -> Result<Output, PrivatePostgresError> {
        let program = self.binaries.initdb();
        let mut command = self.account.command(&program);
        // Relative to its working directory: if the directory is removed meanwhile, initdb must fail instead of
        // creating it again.
        command.current_dir(fresh).args(["-D", ".", "-U", USER, "--auth=trust", "-E", "UTF8"]);
        command.arg(format!("--locale={locale}")).kill_on_drop(true);
        if self.durability == CommitDurability::Fast {
            command.arg("--no-sync");
        }
        command.output().await.map_err(|source| PrivatePostgresError::Run { program, source })
    }

    /// Starts a server and waits until it accepts connections. A left-over server of a killed process is stopped first.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::ExitedAtStart`], [`PrivatePostgresError::StartTimeout`],
    /// [`PrivatePostgresError::OrphanNotStopping`], [`PrivatePostgresError::Run`],
    /// [`PrivatePostgresError::SocketDirectory`], [`PrivatePostgresError::File`]; no server runs then.
    pub(super) async fn launch(&self) -> Result<Postmaster, PrivatePostgresError> {
        stop_orphaned_server(&self.layout.cluster).await?;
        // The directory may have been removed since, for example from `/tmp`.
        self.layout.make_socket_dir(&self.account)?;
        let log = self.layout.open_log()?;
        let program = self.binaries.postgres();
        let mut command = self.account.command(&program);
        command.arg("-D").arg(&self.layout.cluster);
        let compression = self.wal_compression().await?;
        for (name, value) in self.all_settings(compression) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut sockets = std::ffi::OsString::from("unix_socket_directories=");
        sockets.push(quoted(&self.socket_dir));
        command.arg("-c").arg(sockets);
        command.stdout(log.try_clone()?).stderr(Stdio::from(log));
        let child = command.spawn().map_err(|source| PrivatePostgresError::Run { program, source })?;
        let mut postmaster = Postmaster::new(child);
        match postmaster.wait_ready(&self.layout.cluster).await {
            Ok(()) => Ok(postmaster),
            Err(StartFailure::Exited(status)) => Err(PrivatePostgresError::ExitedAtStart {
                status,
                log: self.layout.log.clone(),
                tail: self.log_tail(),
            }),
            Err(StartFailure::Timeout(limit)) => Err(PrivatePostgresError::StartTimeout {
                limit_s: limit.as_secs(),
                log: self.layout.log.clone(),
            }),
            Err(StartFailure::File(error)) => Err(error.into()),
        }
    }

    /// Returns the compression of pages in the write-ahead log: lz4 if the server supports it, otherwise its own
    /// method, which takes many times as long. A server does not start with an unknown value.
    async fn wal_compression(&self) -> Result<&'static str, PrivatePostgresError> {
        let program = self.binaries.postgres();
        let mut command = self.account.command(&program);
        // Prints the setting and exits; `-C` must come first, or root is refused.
        command.args(["-C", "wal_compression", "-c", "wal_compression=lz4", "-D"]).arg(&self.layout.cluster);
        command.kill_on_drop(true);
        let output =
            command.output().await.map_err(|source| PrivatePostgresError::Run { program, source })?;
        Ok(if output.status.success() { "lz4" } else { "on" })
    }

    /// Returns the settings, which override those of the cluster's files. If two have the same name, the
    /// later one counts.
    fn all_settings(&self, wal_compression: &str) -> Vec<(String, String)> {
        let durable = match self.durability {
            CommitDurability::Full => "on",
            CommitDurability::Fast => "off",
        };
        let port = PORT.to_string();
        let buffers = format!("{}MB", shared_buffers_mb());
        let defaults = [
            ("fsync", durable),
            ("synchronous_commit", durable),
            ("full_page_writes", durable),
            ("listen_addresses", ""),
            ("port", &port),
            ("unix_socket_permissions", "0700"),
            ("shared_buffers", &buffers),
            ("max_connections", "100"),
            ("wal_compression", wal_compression),
            // After a checkpoint, each page is written to the log completely once. A resting board is written every 300
            // s: with a checkpoint as often (the default) that is 43 bytes each time, with one in 15 minutes a third of
            // it.
            ("checkpoint_timeout", "15min"),
            // Under load, the size of the log triggers checkpoints. At most about this much is replayed after a crash,
            // at 0.6 s of CPU per 100 MB. Source of both: measured, November 2026.
            ("max_wal_size", "2GB"),
            // The statements are short: compiling one costs more than running it.
            ("jit", "off"),
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            ("log_checkpoints", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        let defaults = defaults.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        defaults.chain(self.settings.iter().cloned()).collect()
    }

    /// Whether the socket exists.
    pub(super) fn has_socket(&self) -> bool {
        socket_path(&self.socket_dir).exists()
    }

    /// Returns the last lines of the log, and whether the disk is full, which the log on it cannot record.
    pub(super) fn log_tail(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = fs::File::open(&self.layout.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(last_lines(&String::from_utf8_lossy(&bytes)))
        };
        let mut tail = read().unwrap_or_else(|error| format!("(cannot read the log: {error})"));
        let free = statvfs(&self.layout.data_dir).map(|disk| disk.blocks_available() * disk.fragment_size());
        if free.is_ok_and(|free| free < MIN_FREE_BYTES) {
            tail.push_str("\n(disk full)");
        }
        tail
    }
}

/// Returns the last lines of `text` for an error message.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default().join("\n")
}

/// Quotes `dir` as one element of a PostgreSQL list.
fn quoted(dir: &Path) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut text = vec![b'"'];
    for byte in dir.as_os_str().as_bytes() {
        if *byte == b'"' {
            text.push(b'"');
        }
        text.push(*byte);
    }
    text.push(b'"');
    std::ffi::OsString::from_vec(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_commas_and_quotes_stays_one_directory() {
        assert_eq!(quoted(Path::new("/a b,c/\"d\"")), "\"/a b,c/\"\"d\"\"\"");
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        let lines: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        let text = lines.join("\n");

        assert!(last_lines(&text).starts_with("88\n") && last_lines(&text).ends_with("\n99"));
        assert_eq!(last_lines("one"), "one");
    }
}
