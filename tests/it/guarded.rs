//! A directory that goes, with every Postgres at work in it, however the test process ends: `kill -9` included.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which comes when the test process drops it or dies, then cleans up `$1`.
///
/// A cluster is two levels down at most. A process is stopped only if it works in the cluster that names it. An
/// `initdb` that outlived us may go on writing for a moment, so removing is tried for a while.
const GUARDIAN: &str = r#"
read -r _
dir=$1
tries=0
while [ -e "$dir" ] && [ $tries -lt 200 ]; do
    for file in "$dir"/postgres/postmaster.pid "$dir"/*/postgres/postmaster.pid; do
        [ -f "$file" ] || continue
        cluster=${file%/*}
        pid=$(sed -n 1p "$file")
        sockets=$(sed -n 5p "$file")
        [ "/proc/$pid/cwd" -ef "$cluster" ] && kill -QUIT "$pid"
        waits=0
        while [ "/proc/$pid/cwd" -ef "$cluster" ] && [ $waits -lt 500 ]; do
            sleep 0.02
            waits=$((waits + 1))
        done
        [ -n "$sockets" ] && rm -f "$sockets"/.s.PGSQL.* && rmdir "$sockets"
    done
    rm -rf "$dir" || sleep 0.05
    tries=$((tries + 1))
done 2>/dev/null
"#;

/// A new directory, entered by every user, that its guardian removes.
pub(crate) struct GuardedDir {
    path: PathBuf,
    guardian: Child,
}

impl GuardedDir {
    /// Makes the directory and starts its guardian.
    pub(crate) fn new() -> Self {
        // The guardian first would not know the name; a process killed in between leaves an empty directory.
        let mut builder = tempfile::Builder::new();
        builder.prefix("lifeguard-test-").permissions(std::fs::Permissions::from_mode(0o711));
        let path = builder.tempdir().unwrap().keep();
        let mut command = Command::new("sh");
        command.args(["-c", GUARDIAN, "guardian"]).arg(&path);
        // Its own group, as Ctrl-C must not take it; no output of ours, as whoever reads that waits for its end.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { path, guardian: command.current_dir("/").spawn().unwrap() }
    }

    /// The directory.
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
