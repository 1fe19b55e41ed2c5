//! Where everything lies in the data directory, and the lock that keeps a second process out.
//!
//! ```text
//! DATA_DIR/lock            held for the life of the process, 0600; our process id is inside
//! DATA_DIR/postgres/       the cluster
//! DATA_DIR/postgres.new.*  a cluster in the making; whatever a killed process left of one is removed
//! DATA_DIR/postgres.log    what Postgres says, 0600; `postgres.log.1` is what it said before that became long
//! DATA_DIR/run/            the socket, 0700; a link to a short directory elsewhere when the path would be too long
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

/// The longest socket path there is. Source: unix(7), `sun_path` of 108 bytes with its final zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The port, which is only a part of the socket's name.
pub(super) const PORT: u16 = 5432;

/// How the names of directories begin in which clusters are made.
const UNFINISHED_CLUSTER_PREFIX: &str = "postgres.new";

/// The log is begun anew when it is longer than this.
const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// The data directory's lock, held until this value is dropped or the process ends.
#[derive(Debug)]
pub(super) struct DataDirLock(File);

impl Drop for DataDirLock {
    fn drop(&mut self) {
        // Closing would do, but for a child that is between fork and exec and has the file open too. What fails here is
        // mended by the end of the process.
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
    /// What Postgres says.
    pub(super) log: PathBuf,
}

impl DataDirLayout {
    /// Makes the data directory if need be.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::SourceFile`] when it can neither be made nor read.
    pub(super) fn make(data_dir: &Path) -> Result<Self, PrivatePostgresError> {
        // Root's must let another user pass to the cluster, which is 0700 itself.
        let mode = if nix::unistd::Uid::effective().is_root() { 0o711 } else { 0o700 };
        if let Err(error) = directories::create_all_with_mode(data_dir, mode) {
            return Err(io::Error::new(error.kind(), format!("data directory: {error}")).into());
        }
        let data_dir = fs::canonicalize(data_dir)?;
        Ok(Self { cluster: data_dir.join("postgres"), log: data_dir.join("postgres.log"), data_dir })
    }

    /// Takes the data directory for this process.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::LockedInstance`] when another process has it; [`PrivatePostgresError::SourceFile`].
    pub(super) fn lock(&self) -> Result<DataDirLock, PrivatePostgresError> {
        let path = self.data_dir.join("lock");
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path)?;
        // Also one that another version made.
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
        // It holds also where the disk is too full to say whose it is.
        if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::warn!(lock = %path.display(), %error, "cannot write the process id into the lock file");
        }
        Ok(DataDirLock(file))
    }

    /// Removes the directory of the socket when it is not in the data directory; it is made anew at the next start.
    pub(super) fn remove_short_socket_dir(&self) {
        let near = self.data_dir.join("run");
        if let Ok(dir) = fs::read_link(&near) {
            // An empty directory that stays, or a link to none, does no harm.
            let _ = fs::remove_dir(dir);
            let _ = fs::remove_file(near);
        }
    }

    /// Removes what is left of clusters that were never finished, once whoever still works on them has been ended.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::OrphanNotStopping`] when one cannot be ended; [`PrivatePostgresError::SourceFile`].
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

    /// The directory in which a new cluster is made.
    pub(super) fn unfinished_cluster_dir(&self) -> PathBuf {
        self.data_dir.join(format!("{UNFINISHED_CLUSTER_PREFIX}.{}", std::process::id()))
    }

    /// Opens the log for appending; begins it anew when it has become long.
    ///
    /// # Errors
    ///
    /// The system's own, with the path.
    pub(super) fn open_log(&self) -> io::Result<File> {
        self.rotate_long_log()?;
        let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file.into_parts().0)
    }

    /// Begins the log anew when it has become long; what is in it goes to `postgres.log.1`. Whoever has it open for
    /// appending goes on at its new end; what is written in the very moment may be lost.
    ///
    /// # Errors
    ///
    /// The system's own, with the path.
    pub(super) fn rotate_long_log(&self) -> io::Result<()> {
        match fs::metadata(&self.log) {
            Ok(log) if log.len() > MAX_LOG_BYTES => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => return Ok(()),
        }
        let before = self.data_dir.join("postgres.log.1");
        // On a full disk there is no room for it: the bound matters more.
        if let Err(error) = fs::copy(&self.log, &before) {
            tracing::debug!(%error, "what Postgres said before is lost");
            let _ = fs::remove_file(&before);
        }
        fs::OpenOptions::new().write(true).open(&self.log)?.set_len(0)
    }

    /// Makes the directory for the socket, open to `account` alone.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::SocketDirectory`] when the path is too long and the short one belongs to somebody else;
    /// [`PrivatePostgresError::SourceFile`].
    pub(super) fn make_socket_dir(&self, account: &PostgresAccount) -> Result<PathBuf, PrivatePostgresError> {
        let near = self.data_dir.join("run");
        // The data directory may have had a longer name once.
        if near.is_symlink() {
            fs::remove_file(&near)?;
        }
        let dir = if fits_socket_path(&near) {
            near
        } else {
            let dir = short_socket_dir(&self.data_dir, account);
            // Before the directory itself, so that whoever tidies up after us always finds it.
            if !near.exists() {
                fs::os::unix::fs::symlink(&dir, &near)?;
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
        // In a directory that everybody may write to, somebody may have been here first.
        let found = fs::symlink_metadata(&dir)?;
        if !found.is_dir() {
            return Err(PrivatePostgresError::SocketDirectory {
                path: dir,
                reason: "is no directory".to_owned(),
            });
        }
        let own = nix::unistd::Uid::effective().as_raw();
        if found.uid() == own {
            account.take_ownership(&dir)?;
        } else if found.uid() != account.uid() {
            let reason = format!("belongs to user {}", found.uid());
            return Err(PrivatePostgresError::SocketDirectory { path: dir, reason });
        }
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        Ok(dir)
    }
}

/// The socket in `dir`.
pub(super) fn socket_path(dir: &Path) -> PathBuf {
    dir.join(format!(".s.PGSQL.{PORT}"))
}

/// Whether a name is that of a cluster in the making, as this version or an earlier one calls them, and nothing of an
/// operator's.
fn is_unfinished_cluster_name(name: &OsStr) -> bool {
    let Some(rest) = name.as_bytes().strip_prefix(UNFINISHED_CLUSTER_PREFIX.as_bytes()) else { return false };
    let is_pid = |pid: &[u8]| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit);
    rest.is_empty() || rest.strip_prefix(b".").is_some_and(is_pid)
}

/// Whether a socket in `dir` has a path that the system takes.
fn fits_socket_path(dir: &Path) -> bool {
    socket_path(dir).as_os_str().len() <= MAX_SOCKET_PATH_BYTES
}

/// A short directory for `data_dir`'s socket, always the same one.
fn short_socket_dir(data_dir: &Path, account: &PostgresAccount) -> PathBuf {
    // FNV-1a: the name must be the same in every version of us, which the standard hasher does not promise.
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
    fn only_what_is_called_as_we_call_it_is_a_cluster_in_the_making() {
        for (name, is_so) in [
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
            assert_eq!(is_unfinished_cluster_name(name.as_ref()), is_so, "{name}");
        }
    }

    #[test]
    fn a_socket_path_may_have_107_bytes() {
        let dir = |length: usize| PathBuf::from(format!("/{}", "d".repeat(length - 1)));

        assert!(fits_socket_path(&dir(93)));
        assert!(!fits_socket_path(&dir(94)));
    }
}
