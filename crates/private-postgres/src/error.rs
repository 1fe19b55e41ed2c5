//! What can go wrong with the private Postgres, and who can mend it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why the private Postgres does not run.
///
/// Nothing that was acknowledged before is lost by any of these: the cluster's files are never changed but by Postgres
/// itself, and a new cluster appears whole or not at all.
#[derive(Debug, thiserror::Error)]
pub enum PrivatePostgresError {
    /// There is no server to start: the operator installs one or names a database.
    #[error(
        "PostgreSQL's server programs (initdb and postgres) were not found in {looked}: {install}, \
         or name any PostgreSQL 14 or newer with --database-url"
    )]
    NotInstalled {
        /// Where they were looked for.
        looked: String,
        /// What to do, with the command where it is known.
        install: String,
    },
    /// The only servers there are do not speak the SQL that we write.
    #[error("PostgreSQL {found} is too old: 14 or newer is needed: {install}, or use --database-url")]
    TooOld {
        /// The major versions that were found.
        found: String,
        /// What to do, with the command where it is known.
        install: String,
    },
    /// The data was written by another major version; Postgres does not read it and we do not convert it.
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
        /// The major versions that were found.
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
        /// What the lock file says of its holder.
        pid: String,
    },
    /// We are root, and the user that Postgres must run as cannot enter the data directory.
    #[error(
        "Postgres does not run as root, and user {user} may not enter {directory}, on the way to {data_dir}: \
         choose a --data-dir elsewhere (such as /var/lib/lifeguard) or allow it with: chmod o+x {directory}",
        directory = directory.display(), data_dir = data_dir.display()
    )]
    DataDirInaccessible {
        /// The first directory that is closed.
        directory: PathBuf,
        /// The data directory.
        data_dir: PathBuf,
        /// The user that Postgres would run as.
        user: String,
    },
    /// We are root, and there is no other user for Postgres to run as.
    #[error("Postgres does not run as root, and there is neither a user postgres nor a user nobody")]
    NoAccount,
    /// The short directory for the socket is not ours.
    #[error("{path} was to hold Postgres's socket, but {reason}: remove it or choose a shorter --data-dir",
        path = path.display())]
    SocketDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Postgres that a killed Lifeguard left behind does not stop.
    #[error("the Postgres that a previous run left in {cluster} (process {pid}) does not stop", cluster = cluster.display())]
    OrphanNotStopping {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The postmaster.
        pid: i32,
    },
    /// A file or directory; the cause names it.
    #[error("the private Postgres's files cannot be used")]
    File(#[from] io::Error),
    /// A program could not be started at all.
    #[error("{program} could not be run", program = program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `initdb` refused; no cluster was made.
    #[error("initdb could not make a new cluster:\n{output}")]
    Initdb {
        /// What it said.
        output: String,
    },
    /// Postgres ended before it accepted a connection.
    #[error("Postgres ended at once ({status}); the last lines of {log} are:\n{tail}", log = log.display())]
    ExitedAtStart {
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Postgres runs, but did not accept connections in time; it was told to stop.
    #[error("Postgres accepted no connection within {limit_s} s; see {log}", log = log.display())]
    StartTimeout {
        /// The time that it had.
        limit_s: u64,
        /// Its log.
        log: PathBuf,
    },
    /// Postgres accepts connections, but the database `lifeguard` could not be opened or made.
    #[error("the database in the private Postgres cannot be opened")]
    Database(#[from] sqlx::Error),
    /// Postgres did not stop when asked and was made to; it recovers at its next start and nothing is lost.
    #[error("Postgres did not stop within {limit_s} s and was killed; it recovers at the next start")]
    StopTimeout {
        /// The time that it had.
        limit_s: u64,
    },
    /// The task that watches over Postgres broke.
    #[error("the task that watches over Postgres broke")]
    Supervisor(#[from] tokio::task::JoinError),
}
