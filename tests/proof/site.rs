//! A directory with its own small disks, in its own mount namespace if permitted.
//!
//! A guardian process holds the namespace. When the test process ends, `kill -9` included, the guardian stops every
//! PostgreSQL in the directory and removes it; the disks are removed with the namespace.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use fs_err as fs;
use nix::unistd::{Uid, User};

/// Creates the directory and prints its name, then waits for the end of its input and cleans up. A cluster is at
/// `DISK/postgres`; a process is stopped only if it works in the cluster that names it.
const GUARDIAN: &str = r#"
trap '' PIPE HUP INT
dir=$(mktemp -d "${TMPDIR:-/tmp}/lifeguard-proof-XXXXXX") || exit
chmod 711 "$dir"
echo "$dir"
exec >/dev/null 2>&1
read -r _
for file in "$dir"/*/postgres/postmaster.pid; do
    [ -f "$file" ] || continue
    cluster=${file%/*}
    pid=$(sed -n 1p "$file")
    [ "/proc/$pid/cwd" -ef "$cluster" ] && kill -QUIT "$pid"
    waits=0
    while [ "/proc/$pid/cwd" -ef "$cluster" ] && [ $waits -lt 500 ]; do
        sleep 0.02
        waits=$((waits + 1))
    done
done
for link in "$dir"/run "$dir"/*/run; do
    [ -L "$link" ] || continue
    sockets=$(readlink "$link")
    rm -f "$sockets"/.s.PGSQL.*
    rmdir "$sockets"
done
[ "$1" = private ] && umount "$dir"/*
tries=0
while [ -e "$dir" ] && [ $tries -lt 100 ]; do
    rm -rf "$dir" || sleep 0.05
    tries=$((tries + 1))
done
"#;

/// The second byte of the next site's address.
static NEXT_NETWORK: AtomicU8 = AtomicU8::new(77);

/// The directory, and the namespace of its disks.
pub(crate) struct TestSite {
    path: PathBuf,
    guardian: Child,
    /// Whether it has its own mount namespace, in which disks can be small.
    is_private: bool,
    /// The user that runs PostgreSQL, which refuses root.
    account: Option<(u32, u32)>,
    address: Ipv4Addr,
}

impl TestSite {
    /// Starts the guardian, which creates the directory.
    pub(crate) fn new() -> Self {
        let is_root = Uid::effective().is_root();
        let can_unshare = || {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "true"]).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let is_private = is_root && can_unshare();
        let mut command = if is_private { Command::new("unshare") } else { Command::new("sh") };
        if is_private {
            command.args(["--mount", "--propagation", "private", "sh"]);
        }
        // Its own process group, so that Ctrl-C does not reach it.
        command.args(["-c", GUARDIAN, "guardian"]).current_dir("/").process_group(0);
        if is_private {
            command.arg("private");
        }
        let mut guardian = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut name = String::new();
        BufReader::new(guardian.stdout.take().unwrap()).read_line(&mut name).unwrap();
        assert!(!name.is_empty(), "the guardian makes a directory");
        let account = is_root.then(|| User::from_name("postgres").unwrap().unwrap());
        let account = account.map(|user| (user.uid.as_raw(), user.gid.as_raw()));
        let [_, _, high, low] = std::process::id().to_be_bytes();
        // The lowest addresses belong to simulated boards; each site of this process has its own.
        let address = Ipv4Addr::new(127, NEXT_NETWORK.fetch_add(1, Ordering::Relaxed), high, low.max(1));
        Self { path: PathBuf::from(name.trim_end()), guardian, is_private, account, address }
    }

    /// The directory as seen by processes of the site.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path for the test of what processes of the site see at `path`.
    pub(crate) fn view(&self, path: &Path) -> PathBuf {
        if !self.is_private {
            return path.to_owned();
        }
        let root = PathBuf::from(format!("/proc/{}/root", self.guardian.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// A port on the site's own loopback address, the same for each restart.
    pub(crate) fn addr(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    /// Creates a disk of this size; a plain directory if disks are not possible.
    pub(crate) fn make_disk(&self, name: &str, megabytes: u32, inodes: u32) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir(self.view(&path)).unwrap();
        if self.is_private {
            let options = format!("size={megabytes}m,nr_inodes={inodes},mode=711");
            let mut mount = self.command(Path::new("mount"));
            mount.args(["-t", "tmpfs", "-o", &options, "lifeguard-proof"]).arg(&path);
            assert!(mount.status().unwrap().success(), "a disk is mounted");
        } else {
            self.give(&path);
        }
        path
    }

    /// Whether disks are small, and can be full.
    pub(crate) fn has_disks(&self) -> bool {
        self.is_private
    }

    /// A command that runs as the test's user.
    pub(crate) fn command(&self, program: &Path) -> Command {
        self.command_as(program, None)
    }

    /// A command that runs as PostgreSQL's user.
    pub(crate) fn postgres_command(&self, program: &Path) -> Command {
        let mut command = self.command_as(program, self.account);
        command.process_group(0);
        command
    }

    fn command_as(&self, program: &Path, account: Option<(u32, u32)>) -> Command {
        let mut command;
        if self.is_private {
            command = Command::new("nsenter");
            command.args(["--mount", "--target", &self.guardian.id().to_string()]);
            if let Some((uid, gid)) = account {
                command.args(["--setuid", &uid.to_string(), "--setgid", &gid.to_string()]);
            }
            command.arg(program);
        } else {
            command = Command::new(program);
            if let Some((uid, gid)) = account {
                command.uid(uid).gid(gid);
            }
        }
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    /// Makes PostgreSQL's user the owner of `path`.
    pub(crate) fn give(&self, path: &Path) {
        if let Some((uid, gid)) = self.account {
            std::os::unix::fs::chown(self.view(path), Some(uid), Some(gid)).unwrap();
        }
    }
}

impl Drop for TestSite {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// Fills a disk completely; emptied again on drop.
pub(crate) struct DiskFiller(Vec<PathBuf>);

impl DiskFiller {
    /// Uses all bytes and, with a limit of `inodes`, all inodes.
    pub(crate) fn fill(disk: &Path, inodes: u32) -> Self {
        use std::io::Write;
        let mut files = Vec::new();
        let ballast = disk.join("ballast");
        if let Ok(mut file) = fs::File::create(&ballast) {
            for size in [1 << 20, 4096, 1] {
                let block = vec![0_u8; size];
                while file.write_all(&block).is_ok() {}
            }
        }
        files.push(ballast);
        for number in 0..inodes {
            let file = disk.join(format!("ballast-{number}"));
            if fs::File::create(&file).is_err() {
                break;
            }
            files.push(file);
        }
        Self(files)
    }
}

impl Drop for DiskFiller {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = fs::remove_file(file);
        }
    }
}
