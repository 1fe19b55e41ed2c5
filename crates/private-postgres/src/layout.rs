//! Paths in the data directory, and the lock against a second process.
//!
//! ```text
//! DATA_DIR/lock            held while the process runs, 0600; contains its process ID
//! DATA_DIR/postgres/       the cluster
//! DATA_DIR/postgres.new.*  a cluster being created; removed if its process was killed
//! DATA_DIR/postgres.log    PostgreSQL's log, 0600; `postgres.log.1` is the rotated one
//! DATA_DIR/run/            the socket, 0700; a link to a short directory elsewhere if the path would be too long
//! ```

use std::ffi::OsStr;
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

use super::account::PostgresAccount;
use super::error::PrivatePostgresError;
use super::orphans;

/// The longest socket path. Source: unix(7), `sun_path` of 108 bytes with its final zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The port, used only in the socket's name.
pub(super) const PORT: u16 = 5432;

/// Name prefix of directories in which clusters are created.
const UNFINISHED_CLUSTER_PREFIX: &str = "postgres.new";

/// The log is rotated when it is longer than this.
const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// The data directory's lock, held until this value is dropped or the process ends.
#[derive(Debug)]
pub(super) struct DataDirLock(File);

impl Drop for DataDirLock {
    fn drop(&mut self) {
        // Explicitly, because a child between fork and exec has the file open too. A failure does not matter: the lock
        // ends with the process.
        let _ = self.0.unlock();
    }
}

/// The paths in one data directory.
#[derive(Debug, Clone)]
pub(super) struct DataDirLayout {
    /// The data directory, absolute and without symbolic links.
    pub(super) data_dir: PathBuf,
    /// The cluster.
    pub(super) cluster: PathBuf,
    /// PostgreSQL's log.
    pub(super) log: PathBuf,
}

impl DataDirLayout {
    /// Creates the data directory if it is missing.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::File`] when it can be neither created nor read.
    pub(super) fn make(data_dir: &Path) -> Result<Self, PrivatePostgresError> {
        // For root, another user must be able to reach the cluster, which is 0700 itself.
        let mode = if nix::unistd::Uid::effective().is_root() { 0o711 } else { 0o700 };
        if let Err(error) = directories::create_all_with_mode(data_dir, mode) {
            return Err(io::Error::new(error.kind(), format!("data directory: {error}")).into());
        }
        let data_dir = fs::canonicalize(data_dir)?;
        Ok(Self { cluster: data_dir.join("postgres"), log: data_dir.join("postgres.log"), data_dir })
    }

    /// Locks the data directory for this process.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::Locked`] when another process holds the lock; [`PrivatePostgresError::File`].
    pub(super) fn lock(&self) -> Result<DataDirLock, PrivatePostgresError> {
        let path = self.data_dir.join("lock");
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path)?;
        // Also for a file created by another version.
        file.set_permissions(Permissions::from_mode(0o600))?;
        let mut file = file.into_parts().0;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid)?;
                return Err(PrivatePostgresError::Locked { lock: path, pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // The lock holds even if the disk is too full for the process ID.
        if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::warn!(lock = %path.display(), %error, "cannot write the process id into the lock file");
        }
        Ok(DataDirLock(file))
    }

    /// Removes the socket's directory if it is outside the data directory; the next start creates it again.
    pub(super) fn remove_short_socket_dir(&self) {
        let default_dir = self.data_dir.join("run");
        if let Ok(dir) = fs::read_link(&default_dir) {
            // A remaining empty directory or dangling link does no harm.
            let _ = fs::remove_dir(dir);
            let _ = fs::remove_file(default_dir);
        }
    }

    /// Kills left-over processes of unfinished clusters and removes those clusters.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::OrphanNotStopping`] when a process cannot be killed; [`PrivatePostgresError::File`].
    pub(super) async fn remove_unfinished(&self) -> Result<(), PrivatePostgresError> {
        for entry in fs::read_dir(&self.data_dir)? {
            let entry = entry?;
            if is_unfinished_cluster_name(&entry.file_name()) {
                orphans::kill_all(&entry.path()).await?;
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// The directory in which a new cluster is created.
    pub(super) fn unfinished_cluster_dir(&self) -> PathBuf {
        self.data_dir.join(format!("{UNFINISHED_CLUSTER_PREFIX}.{}", std::process::id()))
    }

    /// Opens the log for appending; rotates it if it is too long.
    ///
    /// # Errors
    ///
    /// The system's error, with the path.
    pub(super) fn open_log(&self) -> io::Result<File> {
        self.rotate_long_log()?;
        let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file.into_parts().0)
    }

    /// Truncates the log if it is too long, after copying it to `postgres.log.1`. Writers that append continue at the
    /// new end; lines written during the rotation may be lost.
    ///
    /// # Errors
    ///
    /// The system's error, with the path.
    pub(super) fn rotate_long_log(&self) -> io::Result<()> {
        match fs::metadata(&self.log) {
            Ok(log) if log.len() > MAX_LOG_BYTES => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => return Ok(()),
        }
        let before = self.data_dir.join("postgres.log.1");
        // On a full disk the copy fails; limiting the log matters more.
        if let Err(error) = fs::copy(&self.log, &before) {
            tracing::debug!(%error, "cannot copy the old PostgreSQL log");
            let _ = fs::remove_file(&before);
        }
        fs::OpenOptions::new().write(true).open(&self.log)?.set_len(0)
    }

    /// Creates the socket's directory, accessible only to `account`.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::SocketDirectory`] when the path is too long and the short directory belongs to another
    /// user; [`PrivatePostgresError::File`].
    pub(super) fn make_socket_dir(&self, account: &PostgresAccount) -> Result<PathBuf, PrivatePostgresError> {
        let default_dir = self.data_dir.join("run");
        // The data directory may have had a longer name before.
        if default_dir.is_symlink() {
            fs::remove_file(&default_dir)?;
        }
        let dir = if fits_socket_path(&default_dir) {
            default_dir
        } else {
            let dir = short_socket_dir(&self.data_dir, account);
            // The link is created before the directory, so that a cleanup always finds the directory.
            if !default_dir.exists() {
                fs::os::unix::fs::symlink(&dir, &default_dir)?;
            }
            dir
        };
        match directories::create_with_mode(&dir, 0o700) {
            Ok(()) => account.take_ownership(&dir)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(PrivatePostgresError::SocketDirectory { path: dir, reason: error.to_string() });
            }
        }
        // In a world-writable directory, another user may have created it first.
        let found = fs::symlink_metadata(&dir)?;
        if !found.is_dir() {
            return Err(PrivatePostgresError::SocketDirectory {
                path: dir,
                reason: "it is not a directory".to_owned(),
            });
        }
        let own = nix::unistd::Uid::effective().as_raw();
        if found.uid() == own {
            account.take_ownership(&dir)?;
        } else if found.uid() != account.uid() {
            let reason = format!("it belongs to user {}", found.uid());
            return Err(PrivatePostgresError::SocketDirectory { path: dir, reason });
        }
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        Ok(dir)
    }
}

/// Returns the socket's path in `dir`.
pub(super) fn socket_path(dir: &Path) -> PathBuf {
    dir.join(format!(".s.PGSQL.{PORT}"))
}

/// Whether a name is that of a cluster being created by this or an earlier version, and not an operator's file.
fn is_unfinished_cluster_name(name: &OsStr) -> bool {
    let Some(rest) = name.as_bytes().strip_prefix(UNFINISHED_CLUSTER_PREFIX.as_bytes()) else { return false };
    let is_pid = |pid: &[u8]| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit);
    rest.is_empty() || rest.strip_prefix(b".").is_some_and(is_pid)
}

/// Whether a socket in `dir` has a valid path length.
fn fits_socket_path(dir: &Path) -> bool {
    socket_path(dir).as_os_str().len() <= MAX_SOCKET_PATH_BYTES
}

/// Returns a short directory for the socket of `data_dir`, always the same one.
fn short_socket_dir(data_dir: &Path, account: &PostgresAccount) -> PathBuf {
    // FNV-1a: the name must be the same in all versions, which the standard hasher does not guarantee.
    let hash = data_dir.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let runtime = PathBuf::from(format!("/run/user/{}", account.uid()));
    let is_ours = !nix::unistd::Uid::effective().is_root() && runtime.is_dir();
    let parent = if is_ours { runtime } else { PathBuf::from("/tmp") };
    parent.join(format!("lifeguard-{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_count_as_unfinished_clusters() {
        for (name, expected) in [
            ("postgres.new", true),
            ("postgres.new.1", true),
            ("postgres.new.4194303", true),
            ("postgres.new-17", false),
            ("postgres.new.", false),
            ("postgres.new.17.bak", false),
            ("postgres.new.x", false),
            ("postgres.newer", false),
            ("postgres", false),
        ] {
            assert_eq!(is_unfinished_cluster_name(name.as_ref()), expected, "{name}");
        }
    }

    #[test]
    fn a_socket_path_may_have_107_bytes() {
        let dir = |length: usize| PathBuf::from(format!("/{}", "d".repeat(length - 1)));

        assert!(fits_socket_path(&dir(93)));
        assert!(!fits_socket_path(&dir(94)));
    }
}
