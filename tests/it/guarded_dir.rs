//! A directory that is removed, with every PostgreSQL in it, however the test process ends, including `kill -9`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;

/// Creates the directory and prints its name, then waits for the end of its input, which is when the test process drops
/// it or dies, and cleans up. As it creates the directory itself, the directory is always removed.
///
/// A cluster is at most two levels down. A process is stopped only if it works in the cluster that names it. An
/// `initdb` that outlives the test may write for a moment, so the removal is retried for a while.
const GUARDIAN: &str = r#"
trap '' PIPE
dir=$(mktemp -d "${TMPDIR:-/tmp}/lifeguard-test-XXXXXX") || exit
chmod 711 "$dir"
echo "$dir"
exec >/dev/null 2>&1
read -r _
tries=0
while [ -e "$dir" ] && [ $tries -lt 200 ]; do
    for file in "$dir"/postgres/postmaster.pid "$dir"/*/postgres/postmaster.pid; do
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
    rm -rf "$dir" || sleep 0.05
    tries=$((tries + 1))
done
"#;

/// A new directory, accessible to every user, that its guardian removes.
pub(crate) struct GuardedDir {
    path: PathBuf,
    guardian: Child,
}

impl GuardedDir {
    /// Starts a guardian, which creates the directory.
    pub(crate) fn new() -> Self {
        let mut command = Command::new("sh");
        // Its own process group, so that Ctrl-C does not reach it.
        command.args(["-c", GUARDIAN]).current_dir("/").process_group(0);
        let mut guardian = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut name = String::new();
        BufReader::new(guardian.stdout.take().unwrap()).read_line(&mut name).unwrap();
        let path = fs::canonicalize(name.trim_end()).expect("the guardian makes a directory");
        Self { path, guardian }
    }

    /// The directory, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for GuardedDir {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        self.guardian.wait().unwrap();
    }
}
