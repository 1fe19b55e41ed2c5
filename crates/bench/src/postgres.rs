//! The private Postgres of the bench, and pgbench, which measures its limit.

use std::error::Error;
use std::path::{Path, PathBuf};

use private_postgres::{PrivatePostgres, PrivatePostgresOptions};
use tokio::process::Command;
use url::Url;

use crate::database::{BenchDatabase, PGBENCH_SCRIPTS, PostgresSettings, ScratchDatabase};
use crate::process;

/// Number of boards from which the pgbench scripts choose.
pub(crate) const PGBENCH_BOARDS: i64 = 10_000;

/// Names of the pgbench scripts, the forms of the equivalent transaction.
pub(crate) const PGBENCH_SCRIPT_NAMES: [&str; 3] =
    [PGBENCH_SCRIPTS[0].0, PGBENCH_SCRIPTS[1].0, PGBENCH_SCRIPTS[2].0];

/// A private Postgres with full durability.
#[derive(Debug)]
pub(crate) struct BenchPostgres {
    postgres: PrivatePostgres,
    /// Its version and settings.
    pub(crate) durability: PostgresSettings,
    /// The process ID of its postmaster.
    pub(crate) pid: i32,
    scripts: PathBuf,
}

/// The result of a pgbench run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PgbenchResult {
    /// Transactions per second.
    pub(crate) per_second: f64,
    /// Mean latency of a transaction, in milliseconds.
    pub(crate) latency_ms: f64,
}

impl BenchPostgres {
    /// Starts it in `dir`; fails where acknowledged commits could be lost.
    pub(crate) async fn start(dir: &Path, bin_dir: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        if is_in_memory(dir) {
            return Err(format!(
                "{} is in memory, where nothing is durable: name a directory on a disk with --dir",
                dir.display()
            )
            .into());
        }
        let settings = [
            // The database records the times of commits.
            ("track_commit_timestamp", "on"),
            // Enough for two servers and all clients of pgbench at once.
            ("max_connections", "200"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options =
            PrivatePostgresOptions { bin_dir, settings, ..PrivatePostgresOptions::new(dir.join("data")) };
        let postgres = PrivatePostgres::start(options).await?;
        match inspect(&postgres, dir).await {
            Ok((durability, pid, scripts)) => Ok(Self { postgres, durability, pid, scripts }),
            Err(error) => {
                postgres.stop().await?;
                Err(error)
            }
        }
    }

    /// Creates a database, replacing an earlier one.
    pub(crate) async fn make(&self, scratch: ScratchDatabase) -> Result<BenchDatabase, Box<dyn Error>> {
        Ok(BenchDatabase::make(&self.postgres.connect_options(), scratch).await?)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, scratch: ScratchDatabase) -> Result<Url, Box<dyn Error>> {
        let options = self.postgres.connect_options();
        let mut url = Url::parse("postgresql:///")?;
        url.set_path(scratch.name());
        let socket = options.get_socket().ok_or("the private PostgreSQL has no socket")?;
        let socket = socket.to_str().ok_or("--dir: the directory's name is not Unicode")?;
        url.query_pairs_mut()
            .append_pair("host", socket)
            .append_pair("user", options.get_username())
            .append_pair("sslmode", "disable");
        Ok(url)
    }

    /// Runs pgbench with one form of the equivalent transaction on [`ScratchDatabase::Pgbench`].
    pub(crate) async fn pgbench(
        &self,
        form: &str,
        clients: usize,
        seconds: u64,
    ) -> Result<PgbenchResult, Box<dyn Error>> {
        let options = self.postgres.connect_options();
        let program = self.postgres.bin_dir().join("pgbench");
        let mut command = Command::new(&program);
        command.args(["-n", "-M", "prepared", "-T", &seconds.to_string(), "-c", &clients.to_string()]);
        let threads = std::thread::available_parallelism()?.get().min(clients);
        command.args(["-j", &threads.to_string(), "-f"]).arg(self.scripts.join(form));
        if let Some(socket) = options.get_socket() {
            command.arg("-h").arg(socket);
        }
        command.args(["-U", options.get_username(), ScratchDatabase::Pgbench.name()]);
        let output = command.process_group(0).kill_on_drop(true).output().await;
        let output = output.map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        match parse(&stdout) {
            Some(pgbench) if output.status.success() => Ok(pgbench),
            Some(_) | None => Err(format!(
                "pgbench, {form}, {clients} clients: {}\n{stdout}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
            .into()),
        }
    }

    /// Stops the server.
    pub(crate) async fn stop(self) -> Result<(), Box<dyn Error>> {
        Ok(self.postgres.stop().await?)
    }
}

async fn inspect(
    postgres: &PrivatePostgres,
    dir: &Path,
) -> Result<(PostgresSettings, i32, PathBuf), Box<dyn Error>> {
    let bin_dir = postgres.bin_dir();
    if !bin_dir.join("pgbench").is_file() {
        return Err(format!(
            "no pgbench in {}: it is part of the PostgreSQL server package",
            bin_dir.display()
        )
        .into());
    }
    let mut database = BenchDatabase::connect(&postgres.connect_options()).await?;
    let durability = database.durability().await?;
    let missing = durability.missing();
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        return Err(
            format!("{missing} is off in the private PostgreSQL: figures would not be durable").into()
        );
    }
    let pid = process::parent(database.backend().await?)?;
    let scripts = dir.join("pgbench");
    fs_err::create_dir(&scripts)?;
    for (name, text) in PGBENCH_SCRIPTS {
        fs_err::write(scripts.join(name), text)?;
    }
    Ok((durability, pid, scripts))
}

/// Whether `dir` is on a file system in memory.
fn is_in_memory(dir: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::statfs::{TMPFS_MAGIC, statfs};
        // If this is unknown, errors with the directory show up later.
        statfs(dir).is_ok_and(|status| status.filesystem_type() == TMPFS_MAGIC)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = dir;
        false
    }
}

/// Parses the output of pgbench (Source: PostgreSQL 15 manual, pgbench, "Notes").
fn parse(output: &str) -> Option<PgbenchResult> {
    let value = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(PgbenchResult { per_second: value("tps = ")?, latency_ms: value("latency average = ")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_pgbench_is_parsed() {
        let output = "transaction type: one-statement\nnumber of failed transactions: 0 (0.000%)\n\
                    latency average = 1.234 ms\ninitial connection time = 9.9 ms\n\
                    tps = 8103.727 (without initial connection time)\n";
        assert_eq!(parse(output), Some(PgbenchResult { per_second: 8103.727, latency_ms: 1.234 }));
        assert_eq!(parse("pgbench: error: connection failed"), None);
    }
}
