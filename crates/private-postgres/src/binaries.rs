//! Finds the installed server programs; if there are none, says what to install.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::account::PostgresAccount;
use super::error::PrivatePostgresError;

/// The oldest supported major version.
const MIN_MAJOR_VERSION: u32 = 14;

/// One installed server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    dir: PathBuf,
    major_version: u32,
}

impl Binaries {
    /// The directory of the programs.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The program that creates a cluster.
    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// The server.
    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// Finds the server for `cluster`: the cluster's version if it exists, else the first of at least version 14. With
    /// `bin_dir`, only that directory is searched.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::NotInstalled`], [`PrivatePostgresError::TooOld`] or
    /// [`PrivatePostgresError::WrongVersion`] when no server fits; [`PrivatePostgresError::Run`] when a server cannot
    /// be run; [`PrivatePostgresError::File`].
    pub(super) async fn find(
        bin_dir: Option<&Path>,
        cluster: &Path,
        account: &PostgresAccount,
    ) -> Result<Self, PrivatePostgresError> {
        let wanted = cluster_version(cluster)?;
        let mut dirs = bin_dir.map_or_else(installed_dirs, |dir| vec![dir.to_owned()]);
        dirs.retain(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file());
        if dirs.is_empty() {
            let looked = bin_dir.map_or_else(
                || "/usr/lib/postgresql, /usr/pgsql-*, Homebrew's directories and the PATH".to_owned(),
                |dir| dir.display().to_string(),
            );
            return Err(PrivatePostgresError::NotInstalled { looked, install: install_hint() });
        }
        let mut found = Vec::new();
        for dir in dirs {
            let major = major_of(&dir, account).await?;
            found.push(Self { dir, major_version: major });
        }
        choose(found, wanted.as_deref(), cluster)
    }
}

/// Chooses from `found`, in this order.
fn choose(
    found: Vec<Binaries>,
    wanted: Option<&str>,
    cluster: &Path,
) -> Result<Binaries, PrivatePostgresError> {
    let mut majors: Vec<String> = found.iter().map(|server| server.major_version.to_string()).collect();
    majors.dedup();
    let majors = majors.join(" and ");
    let fits = |server: &Binaries| {
        server.major_version >= MIN_MAJOR_VERSION
            && wanted.is_none_or(|wanted| wanted == server.major_version.to_string())
    };
    if let Some(server) = found.into_iter().find(fits) {
        return Ok(server);
    }
    Err(match wanted {
        Some(data) => PrivatePostgresError::WrongVersion {
            cluster: cluster.to_owned(),
            data: data.to_owned(),
            found: majors,
        },
        None => PrivatePostgresError::TooOld { found: majors, install: install_hint() },
    })
}

/// The major version that wrote `cluster`; `None` when there is no cluster yet.
fn cluster_version(cluster: &Path) -> Result<Option<String>, PrivatePostgresError> {
    if !cluster.exists() {
        return Ok(None);
    }
    Ok(Some(fs::read_to_string(cluster.join("PG_VERSION"))?.trim().to_owned()))
}

/// The usual directories of servers, the likeliest first.
fn installed_dirs() -> Vec<PathBuf> {
    let mut dirs = versioned_dirs("/usr/lib/postgresql", "", "bin");
    dirs.extend(versioned_dirs("/usr", "pgsql-", "bin"));
    for homebrew in ["/opt/homebrew", "/usr/local"] {
        dirs.extend(versioned_dirs(&format!("{homebrew}/opt"), "postgresql@", "bin"));
    }
    if let Some(path) = std::env::var_os("PATH") {
        dirs.extend(std::env::split_paths(&path).filter(|dir| dir.is_absolute()));
    }
    dirs
}

/// The directories `parent/PREFIXnumber/tail`, the highest number first.
fn versioned_dirs(parent: &str, prefix: &str, tail: &str) -> Vec<PathBuf> {
    // A missing or unreadable directory has no usable server.
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(tail)))
        })
        .collect();
    found.sort_by(|left, other| other.cmp(left));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// Runs the server in `dir` to get its major version.
async fn major_of(dir: &Path, account: &PostgresAccount) -> Result<u32, PrivatePostgresError> {
    let program = dir.join("postgres");
    let output = account.command(&program).arg("--version").output().await;
    let output = output.map_err(|source| PrivatePostgresError::Run { program, source })?;
    // A server without a readable version counts as too old.
    Ok(parse_major(&String::from_utf8_lossy(&output.stdout)).unwrap_or(0))
}

/// Reads `postgres (PostgreSQL) 15.13 (Debian …)` as 15, and `16beta1` as 16.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// How to install a server on this machine.
fn install_hint() -> String {
    // Without this file, the general hint is used.
    install_hint_for(&fs::read_to_string("/etc/os-release").unwrap_or_default())
}

/// How to install a server on the system described by `os_release`.
fn install_hint_for(os_release: &str) -> String {
    let ids: Vec<&str> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|ids| ids.trim_matches(['"', '\'']).split_whitespace())
        .collect();
    let has = |names: &[&str]| ids.iter().any(|id| names.contains(id));
    let command = if has(&["debian", "ubuntu"]) {
        "apt-get install postgresql"
    } else if has(&["fedora", "rhel", "centos"]) {
        "dnf install postgresql-server"
    } else if has(&["alpine"]) {
        "apk add postgresql"
    } else if has(&["arch"]) {
        "pacman -S postgresql"
    } else if has(&["suse", "opensuse"]) {
        "zypper install postgresql-server"
    } else {
        return "install PostgreSQL's server package".to_owned();
    };
    format!("install them with `{command}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_install_hint_fits_the_distribution() {
        let cases = [
            ("ID=debian\n", "apt-get install postgresql"),
            ("NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "apt-get install postgresql"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install postgresql-server"),
            ("ID=alpine\n", "apk add postgresql"),
            ("ID=arch\n", "pacman -S postgresql"),
            ("", "server package"),
        ];
        for (os_release, command) in cases {
            assert!(install_hint_for(os_release).contains(command), "{os_release}");
        }
    }

    #[test]
    fn printed_versions_are_parsed() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_major("something else"), None);
    }

    #[test]
    fn the_server_of_the_data_is_preferred_to_the_newest() {
        let server = |major| Binaries { dir: PathBuf::from(format!("/pg/{major}")), major_version: major };
        let found = vec![server(17), server(15), server(13)];
        let cluster = Path::new("/data");

        assert_eq!(choose(found.clone(), None, cluster).unwrap().major_version, 17);
        assert_eq!(choose(found.clone(), Some("15"), cluster).unwrap().major_version, 15);
        let refused = choose(found, Some("16"), cluster).unwrap_err().to_string();
        assert!(refused.contains("PostgreSQL 16") && refused.contains("17 and 15 and 13"), "{refused}");
        let old = choose(vec![server(13)], None, cluster).unwrap_err();
        assert!(matches!(old, PrivatePostgresError::TooOld { .. }), "{old}");
    }
}
