//! The private Postgres that everything is measured on, and pgbench, which says what it can do at most.

use std::error::Error;
use std::path::{Path, PathBuf};

use private_postgres::{PrivatePostgres, PrivatePostgresOptions};
use tokio::process::Command;
use url::Url;

use crate::database::{BenchDatabase, PGBENCH_SCRIPTS, PostgresSettings, ScratchDatabase};
use crate::process;

/// How many boards the scripts of pgbench choose from.
pub(crate) const PGBENCH_BOARDS: i64 = 10_000;

/// The forms of the equal transaction, by the names of their scripts.
pub(crate) const PGBENCH_SCRIPT_NAMES: [&str; 3] =
    [PGBENCH_SCRIPTS[0].0, PGBENCH_SCRIPTS[1].0, PGBENCH_SCRIPTS[2].0];

/// A private Postgres with full durability.
#[derive(Debug)]
pub(crate) struct BenchPostgres {
    postgres: PrivatePostgres,
    /// What it says of itself.
    pub(crate) durability: PostgresSettings,
    /// Its first process.
    pub(crate) pid: i32,
    scripts: PathBuf,
}

/// What one run of pgbench found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PgbenchResult {
    /// Transactions a second.
    pub(crate) per_second: f64,
    /// The mean time of one, in milliseconds.
    pub(crate) latency_ms: f64,
}

impl BenchPostgres {
    /// Starts it in `dir`, and refuses it where a commit that it acknowledged could be lost.
    pub(crate) async fn start(dir: &Path, bin_dir: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        if is_in_memory(dir) {
            return Err(format!(
                "{} is in memory, where nothing is durable: name a directory on a disk with --dir",
                dir.display()
            )
            .into());
        }
        let settings = [
            // So that the database itself says when something was committed.
            ("track_commit_timestamp", "on"),
            // For two servers and all clients of pgbench at once.
            ("max_connections", "200"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options =
            PrivatePostgresOptions { bin_dir, settings, ..PrivatePostgresOptions::new(dir.join("data")) };
        let postgres = PrivatePostgres::start(options).await?;
        let asked = ask(&postgres, dir).await;
        match asked {
            Ok((durability, pid, scripts)) => Ok(Self { postgres, durability, pid, scripts }),
            Err(error) => {
                postgres.stop().await?;
                Err(error)
            }
        }
    }

    /// Makes a database anew.
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

    /// Runs pgbench with one form of the equal transaction on [`ScratchDatabase::PgbenchResult`].
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
        let output = output.map_err(|error| format!("{} could not be run: {error}", program.display()))?;
        let told = String::from_utf8_lossy(&output.stdout);
        match parse(&told) {
            Some(pgbench) if output.status.success() => Ok(pgbench),
            Some(_) | None => Err(format!(
                "pgbench, {form}, {clients} clients: {}\n{told}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
            .into()),
        }
    }

    /// Stops it.
    pub(crate) async fn stop(self) -> Result<(), Box<dyn Error>> {
        Ok(self.postgres.stop().await?)
    }
}

async fn ask(
    postgres: &PrivatePostgres,
    dir: &Path,
) -> Result<(PostgresSettings, i32, PathBuf), Box<dyn Error>> {
    let bin_dir = postgres.bin_dir();
    if !bin_dir.join("pgbench").is_file() {
        return Err(format!(
            "there is no pgbench in {}: it comes with PostgreSQL's server",
            bin_dir.display()
        )
        .into());
    }
    let mut database = BenchDatabase::connect(&postgres.connect_options()).await?;
    let durability = database.durability().await?;
    let missing = durability.missing();
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        return Err(format!("{missing} is off in the private PostgreSQL: nothing is measured there").into());
    }
    let pid = process::parent(database.backend().await?)?;
    let scripts = dir.join("pgbench");
    fs_err::create_dir(&scripts)?;
    for (name, text) in PGBENCH_SCRIPTS {
        fs_err::write(scripts.join(name), text)?;
    }
    Ok((durability, pid, scripts))
}

/// Whether what is written to `dir` is only kept in memory.
fn is_in_memory(dir: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::statfs::{TMPFS_MAGIC, statfs};
        // Where it cannot be told, whoever cannot use the directory says why.
        statfs(dir).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = dir;
        false
    }
}

/// Reads what pgbench prints (Source: PostgreSQL 15 manual, pgbench, "Notes").
fn parse(told: &str) -> Option<PgbenchResult> {
    let value = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(PgbenchResult { per_second: value("tps = ")?, latency_ms: value("latency average = ")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_prints_is_read() {
        let told = "transaction type: one-statement\nnumber of failed transactions: 0 (0.000%)\n\
                    latency average = 1.234 ms\ninitial connection time = 9.9 ms\n\
                    tps = 8103.727 (without initial connection time)\n";
        assert_eq!(parse(told), Some(PgbenchResult { per_second: 8103.727, latency_ms: 1.234 }));
        assert_eq!(parse("pgbench: error: connection failed"), None);
    }
}
