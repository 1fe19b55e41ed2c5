//! Errors of the private PostgreSQL.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Error of the private PostgreSQL.
///
/// None of these loses acknowledged data: only PostgreSQL changes the cluster's files, and a new cluster is created
/// completely or not at all.
#[derive(Debug, thiserror::Error)]
pub enum PrivatePostgresError {
    /// No server is installed: the operator installs one or configures a database.
    #[error(
        "PostgreSQL's server programs (initdb and postgres) were not found in {looked}: {install}, \
         or name any PostgreSQL 14 or newer with --database-url"
    )]
    NotInstalled {
        /// Where the programs were searched.
        looked: String,
        /// How to install a server, with the command if known.
        install: String,
    },
    /// All installed servers are too old.
    #[error("PostgreSQL {found} is too old, 14 or newer is required: {install}, or use --database-url")]
    TooOld {
        /// The installed major versions.
        found: String,
        /// How to install a server, with the command if known.
        install: String,
    },
    /// The data was written by another major version, which PostgreSQL cannot read.
    #[error(
        "the data in {cluster} is of PostgreSQL {data}, and only PostgreSQL {found} is installed: \
         install the server programs of version {data} beside it, convert the data with pg_upgrade, \
         or start from an empty --data-dir",
        cluster = cluster.display()
    )]
    WrongVersion {
        /// The cluster's directory.
        cluster: PathBuf,
        /// Its major version.
        data: String,
        /// The installed major versions.
        found: String,
    },
    /// Another process uses the same data directory.
    #[error(
        "the data directory is in use by another Lifeguard (process {pid}, lock {lock}): stop that one, choose another \
         --data-dir, or let both share one database with --database-url",
        lock = lock.display()
    )]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// The process ID in the lock file.
        pid: String,
    },
    /// The process is root, and the user that PostgreSQL runs as cannot enter the data directory.
    #[error(
        "PostgreSQL does not run as root, and user {user} cannot enter {directory}, on the path to {data_dir}: \
         choose a --data-dir elsewhere (such as /var/lib/lifeguard) or allow it with: chmod o+x {directory}",
        directory = directory.display(), data_dir = data_dir.display()
    )]
    DataDirInaccessible {
        /// The first inaccessible directory.
        directory: PathBuf,
        /// The data directory.
        data_dir: PathBuf,
        /// The user that PostgreSQL would run as.
        user: String,
    },
    /// The process is root, and there is no other user to run PostgreSQL as.
    #[error("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")]
    NoAccount,
    /// The short directory for the socket cannot be used.
    #[error("cannot use {path} for PostgreSQL's socket: {reason}; remove it or choose a shorter --data-dir",
        path = path.display())]
    SocketDirectory {
        /// The directory.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A left-over server of a killed process does not stop.
    #[error("left-over PostgreSQL of a previous run in {cluster} (process {pid}) does not stop", cluster = cluster.display())]
    OrphanNotStopping {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The process ID.
        pid: i32,
    },
    /// A file or directory cannot be used; the cause names it.
    #[error("cannot use the files of the private PostgreSQL")]
    File(#[from] io::Error),
    /// A program could not be started.
    #[error("cannot run {program}", program = program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// `initdb` failed; no cluster was created.
    #[error("initdb could not create a cluster:\n{output}")]
    Initdb {
        /// Its output.
        output: String,
    },
    /// The server exited before it accepted a connection.
    #[error("PostgreSQL exited at start ({status}); the last lines of {log}:\n{tail}", log = log.display())]
    ExitedAtStart {
        /// Its exit status.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The server did not accept connections in time; it was told to stop.
    #[error("PostgreSQL accepted no connection within {limit_s} s; see {log}", log = log.display())]
    StartTimeout {
        /// The timeout.
        limit_s: u64,
        /// Its log.
        log: PathBuf,
    },
    /// The database `lifeguard` could not be opened or created.
    #[error("cannot open the database of the private PostgreSQL")]
    Database(#[from] sqlx::Error),
    /// The server did not stop in time and was killed; it recovers at its next start and nothing is lost.
    #[error("PostgreSQL did not stop within {limit_s} s and was killed; it recovers at the next start")]
    StopTimeout {
        /// The timeout.
        limit_s: u64,
    },
    /// The supervisor task failed.
    #[error("the supervisor of the private PostgreSQL failed")]
    Supervisor(#[from] tokio::task::JoinError),
}
