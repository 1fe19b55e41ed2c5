//! PostgreSQL clusters for tests that crash, copy and promote them.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// A PostgreSQL cluster in its own directory; the directory's guardian stops it.
pub(super) struct TestCluster {
    bin: PathBuf,
    data: PathBuf,
    run: PathBuf,
    settings: String,
}

/// Runs a program as the user that PostgreSQL runs as, which is not root.
pub(super) fn as_postgres(program: &Path) -> Command {
    if !Uid::effective().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command.current_dir("/");
    command
}

/// Makes that user the owner of a new directory.
pub(super) fn own_dir(path: &Path) {
    fs_err::create_dir_all(path).unwrap();
    if Uid::effective().is_root() {
        let user = User::from_name("postgres").unwrap().unwrap();
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

/// Runs a command to its end.
pub(super) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The directory of PostgreSQL's programs.
pub(super) fn bin_dir() -> PathBuf {
    if let Some(given) = std::env::var_os("LIFEGUARD_PG_BIN") {
        return given.into();
    }
    let versions = fs_err::read_dir("/usr/lib/postgresql").unwrap();
    let bins = versions.map(|version| version.unwrap().path().join("bin"));
    bins.filter(|bin| bin.join("pg_basebackup").exists()).max().expect("PostgreSQL is installed")
}

impl TestCluster {
    /// Creates a cluster in `dir`, with settings such as `-c max_connections=20`, and starts it with an empty database.
    pub(super) async fn start(dir: &Path, settings: &str) -> Self {
        let cluster = Self::at_dir(dir, settings);
        let mut initdb = as_postgres(&cluster.bin.join("initdb"));
        run(initdb.arg("-D").arg(&cluster.data).args([
            "-U",
            "lifeguard",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]));
        cluster.launch();
        let pool = cluster.pool("postgres").await;
        sqlx::query("CREATE DATABASE lifeguard").execute(&pool).await.unwrap();
        cluster
    }

    /// Creates a standby of this cluster in `dir`, and starts it.
    pub(super) fn standby(&self, dir: &Path) -> Self {
        let standby = Self::at_dir(dir, &self.settings);
        let mut backup = as_postgres(&self.bin.join("pg_basebackup"));
        backup.arg("-h").arg(&self.run).args([
            "-U",
            "lifeguard",
            "-R",
            "-c",
            "fast",
            "--no-sync",
            "-X",
            "stream",
            "-D",
        ]);
        run(backup.arg(&standby.data));
        standby.launch();
        standby
    }

    fn at_dir(dir: &Path, settings: &str) -> Self {
        own_dir(dir);
        let (data, run) = (dir.join("postgres"), dir.join("sockets"));
        own_dir(&run);
        Self { bin: bin_dir(), data, run, settings: settings.to_owned() }
    }

    /// Starts the server.
    pub(super) fn launch(&self) {
        let settings = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off {}",
            self.run.display(),
            self.settings
        );
        let log = self.run.join("log");
        self.control(&["-w", "-l", log.to_str().unwrap(), "-o", &settings, "start"]);
    }

    /// Stops it like a crash: data that is not durable is lost.
    pub(super) fn crash(&self) {
        self.control(&["-w", "-m", "immediate", "stop"]);
    }

    /// Stops it in order.
    pub(super) fn stop(&self) {
        self.control(&["-w", "-m", "fast", "stop"]);
    }

    /// Promotes a standby.
    pub(super) fn promote(&self) {
        self.control(&["-w", "promote"]);
    }

    fn control(&self, arguments: &[&str]) {
        let mut control = as_postgres(&self.bin.join("pg_ctl"));
        // The server must not keep our pipe open.
        control.arg("-D").arg(&self.data).args(arguments).stdout(std::process::Stdio::null());
        let status = control.stderr(std::process::Stdio::null()).status().unwrap();
        let log = fs_err::read_to_string(self.run.join("log")).unwrap_or_default();
        assert!(status.success(), "{arguments:?}: {log}");
    }

    /// The directory of its socket.
    pub(super) fn run_dir(&self) -> &Path {
        &self.run
    }

    /// Its socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.run.join(".s.PGSQL.5432")
    }

    /// How to reach its database.
    pub(super) fn url(&self) -> String {
        format!("postgresql://lifeguard@localhost/lifeguard?host={}", self.run.display())
    }

    /// Connections to one of its databases.
    pub(super) async fn pool(&self, database: &str) -> PgPool {
        let options = PgConnectOptions::new_without_pgpass().socket(&self.run).username("lifeguard");
        PgPoolOptions::new().max_connections(50).connect_with(options.database(database)).await.unwrap()
    }
}
