//! The user that PostgreSQL runs as: the own user, or another one if the process is root, because PostgreSQL refuses
//! root.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fs_err as fs;
use nix::unistd::{Uid, User};
use tokio::process::Command;

use super::error::PrivatePostgresError;

/// The user that PostgreSQL runs as and that owns its files.
#[derive(Debug, Clone)]
pub(super) struct PostgresAccount {
    name: String,
    uid: u32,
    gid: u32,
    /// Whether this differs from the own user, so that commands must change to it.
    is_other_user: bool,
}

impl PostgresAccount {
    /// Chooses the user: the own user; if that is root, the owner of the existing cluster, else `postgres`, else
    /// `nobody`.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::NoAccount`] when the process is root and no other user exists;
    /// [`PrivatePostgresError::File`] when the cluster or the list of users cannot be read.
    pub(super) fn choose(cluster: &Path) -> Result<Self, PrivatePostgresError> {
        let own = Uid::effective();
        if !own.is_root() {
            let gid = nix::unistd::Gid::effective();
            return Ok(Self {
                name: own.to_string(),
                uid: own.as_raw(),
                gid: gid.as_raw(),
                is_other_user: false,
            });
        }
        match fs::metadata(cluster) {
            Ok(of) if of.uid() != 0 => {
                let name = format!("{}", of.uid());
                return Ok(Self { name, uid: of.uid(), gid: of.gid(), is_other_user: true });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name).map_err(io::Error::from)? {
                let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
                return Ok(Self { name: user.name, uid, gid, is_other_user: true });
            }
        }
        Err(PrivatePostgresError::NoAccount)
    }

    /// The user's ID.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// Creates a command that runs as this user, in `/`, without input and in its own process group, so that Ctrl-C at
    /// the terminal does not reach it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        if self.is_other_user {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Makes this user the owner of `path`.
    ///
    /// # Errors
    ///
    /// The system's error, with the path.
    pub(super) fn take_ownership(&self, path: &Path) -> io::Result<()> {
        if !self.is_other_user {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
            .map_err(|error| io::Error::new(error.kind(), format!("chown {}: {error}", path.display())))
    }

    /// Checks that this user can enter `data_dir`, by running `program` there.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::DataDirInaccessible`] with the first inaccessible directory.
    pub(super) async fn check_access(
        &self,
        data_dir: &Path,
        program: &Path,
    ) -> Result<(), PrivatePostgresError> {
        if !self.is_other_user || self.can_enter(data_dir, program).await {
            return Ok(());
        }
        let mut ancestors: Vec<&Path> = data_dir.ancestors().collect();
        ancestors.reverse();
        let mut directory: PathBuf = data_dir.to_owned();
        for ancestor in ancestors {
            if !self.can_enter(ancestor, program).await {
                ancestor.clone_into(&mut directory);
                break;
            }
        }
        Err(PrivatePostgresError::DataDirInaccessible {
            directory,
            data_dir: data_dir.to_owned(),
            user: self.name.clone(),
        })
    }

    /// Whether a process of this user can run in `directory`.
    async fn can_enter(&self, directory: &Path, program: &Path) -> bool {
        let mut command = self.command(program);
        command.arg("--version").current_dir(directory).output().await.is_ok()
    }
}
