//! Tests of the private PostgreSQL: start, crash, refusal. They use real servers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use lifeguard::store::private::{
    CommitDurability, PrivatePostgres, PrivatePostgresError, PrivatePostgresOptions,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use sqlx::{Connection, PgConnection};

use crate::guarded_dir::GuardedDir;
use crate::server_process::ServerProcess;

/// Set for the process that `the_left_over_server_of_a_killed_process_is_replaced_without_loss` kills.
const OWNER: &str = "LIFEGUARD_TEST_OWNER";

/// Options for a server without durability.
fn fast(data_dir: &Path) -> PrivatePostgresOptions {
    PrivatePostgresOptions { durability: CommitDurability::Fast, ..PrivatePostgresOptions::new(data_dir) }
}

/// The process ID in `postmaster.pid`.
fn postmaster(data_dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

/// Whether the process runs, zombies excluded.
fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits for `condition` for at most a minute: on a busy disk, a recovery that syncs every file has taken 11 s.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let asked_at = Instant::now();
    while !condition().await {
        assert!(asked_at.elapsed() < Duration::from_mins(1), "not so after a minute: {what}");
        #[expect(clippy::disallowed_methods, reason = "Postgres runs on the machine's time")]
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn connect(postgres: &PrivatePostgres) -> PgConnection {
    PgConnection::connect_with(&postgres.connect_options()).await.unwrap()
}

async fn count(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(connection).await.unwrap()
}

async fn fails(options: PrivatePostgresOptions) -> PrivatePostgresError {
    match PrivatePostgres::start(options).await {
        Ok(_) => panic!("Postgres started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn it_starts_from_an_empty_directory_and_keeps_its_data_over_a_stop() {
    let dir = GuardedDir::new();
    fs::create_dir_all(dir.path().join("postgres.new.1/base")).unwrap();
    fs::create_dir_all(dir.path().join("postgres.new-17/base")).unwrap();

    let postgres = PrivatePostgres::start(PrivatePostgresOptions::new(dir.path())).await.unwrap();
    assert!(!dir.path().join("postgres.new.1").exists(), "what a killed initdb left is removed");
    assert!(dir.path().join("postgres.new-17/base").exists(), "what an operator put there stays");
    let mut connection = connect(&postgres).await;
    sqlx::raw_sql("CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 100)")
        .execute(&mut connection)
        .await
        .unwrap();
    let pid = postmaster(dir.path()).unwrap();
    postgres.stop().await.unwrap();
    assert!(!lives(pid) && postmaster(dir.path()).is_none());

    let postgres = PrivatePostgres::start(PrivatePostgresOptions::new(dir.path())).await.unwrap();
    assert_eq!(count(&mut connect(&postgres).await).await, 100);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn it_runs_with_full_durability_and_a_private_socket() {
    let dir = GuardedDir::new();
    let postgres = PrivatePostgres::start(PrivatePostgresOptions::new(dir.path())).await.unwrap();
    let mut connection = connect(&postgres).await;

    let expected = [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0700"),
        ("server_encoding", "UTF8"),
        ("jit", "off"),
        ("checkpoint_timeout", "15min"),
    ];
    for (name, value) in expected {
        let shown = sqlx::query_scalar::<_, String>("SELECT current_setting($1)").bind(name);
        assert_eq!(shown.fetch_one(&mut connection).await.unwrap(), value, "{name}");
    }
    // The best method of this server.
    let best = sqlx::query_scalar::<_, bool>(
        "SELECT setting = CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE 'pglz' END
           FROM pg_settings WHERE name = 'wal_compression' AND vartype = 'enum'",
    );
    assert_ne!(best.fetch_optional(&mut connection).await.unwrap(), Some(false));
    let options = postgres.connect_options();
    let socket_dir = options.get_socket().unwrap();
    assert_eq!(*socket_dir, dir.path().join("run"));
    assert_eq!(fs::metadata(socket_dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(options.get_database(), Some("lifeguard"));
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_restarted() {
    let dir = GuardedDir::new();
    let postgres = PrivatePostgres::start(PrivatePostgresOptions::new(dir.path())).await.unwrap();
    let mut connection = connect(&postgres).await;
    sqlx::raw_sql("CREATE TABLE kept (n int)").execute(&mut connection).await.unwrap();
    for round in 1..=2 {
        sqlx::raw_sql("INSERT INTO kept VALUES (1)").execute(&mut connection).await.unwrap();
        let killed = postmaster(dir.path()).unwrap();
        kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();

        until("a new connection to a new server", async || {
            match PgConnection::connect_with(&postgres.connect_options()).await {
                Ok(fresh) if postmaster(dir.path()).is_some_and(|pid| pid != killed) => {
                    connection = fresh;
                    true
                }
                Ok(_) | Err(_) => false,
            }
        })
        .await;
        assert_eq!(count(&mut connection).await, round);
    }
    postgres.stop().await.unwrap();
    assert_eq!(postmaster(dir.path()), None);
}

#[tokio::test]
async fn dropping_it_without_a_stop_ends_the_server() {
    let dir = GuardedDir::new();
    let postgres = PrivatePostgres::start(fast(dir.path())).await.unwrap();
    let pid = postmaster(dir.path()).unwrap();

    drop(postgres);

    until("the server has ended", async || !lives(pid)).await;
}

/// Not a test by itself: the process that the next test starts and kills. It prints each acknowledged row.
#[tokio::test]
#[ignore = "run by the_left_over_server_of_a_killed_process_is_replaced_without_loss"]
async fn owner() {
    if std::env::var_os(OWNER).is_none() {
        return;
    }
    // Relative to the working directory: if the test was killed and its directory removed, it must not be created
    // again.
    let postgres = PrivatePostgres::start(PrivatePostgresOptions::new(".")).await.unwrap();
    let mut connection = connect(&postgres).await;
    sqlx::raw_sql("CREATE TABLE kept (n int)").execute(&mut connection).await.unwrap();
    for row in 1.. {
        sqlx::query("INSERT INTO kept VALUES ($1)").bind(row).execute(&mut connection).await.unwrap();
        writeln!(std::io::stdout(), "\nkept {row}").unwrap();
    }
}

#[tokio::test]
async fn the_left_over_server_of_a_killed_process_is_replaced_without_loss() {
    let dir = GuardedDir::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["private_postgres::owner", "--exact", "--ignored", "--nocapture"]);
    command.env(OWNER, "1").current_dir(dir.path()).stdout(Stdio::piped());
    let mut owner = command.spawn().unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut kept =
        lines.by_ref().filter_map(|line| line.strip_prefix("kept ").and_then(|n| n.parse::<i64>().ok()));
    let before = kept.by_ref().nth(199).expect("the owner writes 200 rows");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let acknowledged = kept.last().unwrap_or(before);
    let orphan = postmaster(dir.path()).unwrap();
    assert!(lives(orphan), "it was not told to stop");

    let postgres = PrivatePostgres::start(PrivatePostgresOptions::new(dir.path())).await.unwrap();

    until("the orphan has ended", async || !lives(orphan)).await;
    assert_ne!(postmaster(dir.path()), Some(orphan));
    // The row in progress may be stored or not.
    let found = count(&mut connect(&postgres).await).await;
    assert!((acknowledged..=acknowledged + 1).contains(&found), "{found} of {acknowledged}");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn an_unrelated_process_in_a_stale_pid_file_is_not_harmed() {
    let dir = GuardedDir::new();
    PrivatePostgres::start(fast(dir.path())).await.unwrap().stop().await.unwrap();
    // Of the same user: PostgreSQL ignores processes of others.
    let user = fs::metadata(dir.path().join("postgres")).unwrap().uid();
    let mut command = Command::new("cat");
    // It exits with its input, and so with this process.
    command.uid(user).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut stranger = command.spawn().unwrap();
    fs::write(dir.path().join("postgres/postmaster.pid"), format!("{}\n/elsewhere\n", stranger.id()))
        .unwrap();

    let postgres = PrivatePostgres::start(fast(dir.path())).await.unwrap();

    let is_unharmed = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(is_unharmed);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_process_is_refused_and_the_first_keeps_running() {
    let dir = GuardedDir::new();
    let postgres = PrivatePostgres::start(fast(dir.path())).await.unwrap();

    let text = fails(fast(dir.path())).await.to_string();

    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains("--database-url"), "{text}");
    connect(&postgres).await.ping().await.unwrap();
    postgres.stop().await.unwrap();
    PrivatePostgres::start(fast(dir.path())).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn missing_programs_are_reported_with_the_install_command() {
    let dir = GuardedDir::new();
    let error = fails(PrivatePostgresOptions {
        bin_dir: Some(dir.path().to_owned()),
        ..fast(&dir.path().join("data"))
    })
    .await;

    assert!(matches!(error, PrivatePostgresError::NotInstalled { .. }), "{error:?}");
    let text = error.to_string();
    let named = ["initdb", "postgres", "install", "--database-url", dir.path().to_str().unwrap()];
    assert!(named.iter().all(|name| text.contains(name)), "{text}");
}

#[tokio::test]
async fn data_of_another_version_is_refused_and_not_changed() {
    let dir = GuardedDir::new();
    fs::create_dir(dir.path().join("postgres")).unwrap();
    fs::write(dir.path().join("postgres/PG_VERSION"), "99\n").unwrap();

    let error = fails(fast(dir.path())).await;

    assert!(matches!(error, PrivatePostgresError::WrongVersion { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("PostgreSQL 99") && text.contains("pg_upgrade"), "{text}");
    assert_eq!(fs::read_dir(dir.path().join("postgres")).unwrap().count(), 1);
}

#[tokio::test]
async fn an_inaccessible_parent_directory_is_named_for_root() {
    if !Uid::effective().is_root() {
        return;
    }
    let dir = GuardedDir::new();
    let closed = dir.path().join("closed");
    std::fs::DirBuilder::new().mode(0o700).create(&closed).unwrap();

    let error = fails(fast(&closed.join("below/data"))).await;

    assert!(matches!(error, PrivatePostgresError::DataDirInaccessible { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("cannot enter {},", closed.display())), "{text}");
}

#[tokio::test]
async fn a_data_directory_too_long_for_a_socket_gets_a_short_one_elsewhere() {
    let dir = GuardedDir::new();
    let data_dir = dir.path().join("d".repeat(120));
    let postgres = PrivatePostgres::start(fast(&data_dir)).await.unwrap();
    let options = postgres.connect_options();
    let socket_dir = options.get_socket().unwrap().clone();

    assert!(!socket_dir.starts_with(dir.path()) && socket_dir.as_os_str().len() < 60, "{socket_dir:?}");
    assert_eq!(fs::metadata(&socket_dir).unwrap().permissions().mode() & 0o777, 0o700);
    connect(&postgres).await.ping().await.unwrap();
    postgres.stop().await.unwrap();
    assert!(!socket_dir.exists());

    // Another user's directory is neither used nor taken over.
    if Uid::effective().is_root() {
        fs::create_dir(&socket_dir).unwrap();
        std::os::unix::fs::chown(&socket_dir, Some(12345), None).unwrap();
        let error = fails(fast(&data_dir)).await;
        fs::remove_dir(&socket_dir).unwrap();
        assert!(matches!(error, PrivatePostgresError::SocketDirectory { .. }), "{error:?}");
    }
}

/// A command that runs a server on `data` under `umask`.
fn serving_under(umask: &str, data: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "umask $0; exec \"$@\"",
        umask,
        env!("CARGO_BIN_EXE_lifeguard"),
        "serve",
        "--data-dir",
    ]);
    command.arg(data);
    command
}

#[tokio::test]
async fn file_modes_are_independent_of_the_umask() {
    for umask in ["077", "000", "0777"] {
        let dir = GuardedDir::new();
        let data = dir.path().join("data");
        let mut server =
            ServerProcess::run(serving_under(umask, &data)).unwrap_or_else(|log| panic!("{umask}: {log}"));
        let mode = |name: &str| fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
        let of_data = if Uid::effective().is_root() { 0o711 } else { 0o700 };
        let expected = [
            ("", of_data),
            ("lock", 0o600),
            ("postgres", 0o700),
            ("postgres.log", 0o600),
            ("run", 0o700),
            ("boot", 0o755),
            ("boot/configs", 0o755),
            ("boot/pxelinux.cfg", 0o755),
        ];
        for (name, right) in expected {
            assert_eq!(mode(name), right, "umask {umask}: {name}: {:o}", mode(name));
        }
        server.terminate();
    }
}

#[tokio::test]
async fn a_readable_lock_file_is_made_private() {
    let dir = GuardedDir::new();
    let lock = dir.path().join("lock");
    fs::write(&lock, "4711\n").unwrap();
    fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o644)).unwrap();
    let postgres = PrivatePostgres::start(fast(dir.path())).await.unwrap();
    assert_eq!(fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0o600);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_that_was_killed_during_initdb_is_followed_by_one_that_works() {
    let dir = GuardedDir::new();
    for (number, file) in ["PG_VERSION", "base/1", "global/pg_control"].into_iter().enumerate() {
        let data = dir.path().join(format!("data{number}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
        let mut killed = command.stderr(Stdio::null()).spawn().unwrap();
        let unfinished = data.join(format!("postgres.new.{}", killed.id()));
        until("initdb is at work", async || unfinished.join(file).exists()).await;
        killed.kill().unwrap();
        killed.wait().unwrap();

        let postgres =
            PrivatePostgres::start(fast(&data)).await.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(!unfinished.exists(), "{file}");
        connect(&postgres).await.ping().await.unwrap();
        postgres.stop().await.unwrap();
    }
}

#[tokio::test]
async fn left_over_processes_are_killed_before_their_unfinished_cluster_is_removed() {
    let dir = GuardedDir::new();
    let unfinished = dir.path().join("postgres.new.7");
    fs::create_dir(&unfinished).unwrap();
    // It exits with its input, and so with this process.
    let mut orphan = Command::new("cat").current_dir(&unfinished).stdin(Stdio::piped()).spawn().unwrap();
    let postgres = PrivatePostgres::start(fast(dir.path())).await.unwrap();
    let ended = orphan.try_wait().unwrap();
    assert!(ended.is_some_and(|status| status.code().is_none()), "killed by a signal: {ended:?}");
    assert!(!unfinished.exists());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_removed_socket_directory_is_created_again() {
    let dir = GuardedDir::new();
    let long = dir.path().join("d".repeat(120));
    for data in [dir.path().join("data"), long] {
        let postgres = PrivatePostgres::start(fast(&data)).await.unwrap();
        let mut connection = connect(&postgres).await;
        sqlx::raw_sql("CREATE TABLE kept (n int)").execute(&mut connection).await.unwrap();
        fs::remove_dir_all(postgres.connect_options().get_socket().unwrap()).unwrap();
        until("new connections", async || {
            PgConnection::connect_with(&postgres.connect_options()).await.is_ok()
        })
        .await;
        assert_eq!(count(&mut connect(&postgres).await).await, 0);
        postgres.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_long_log_is_rotated() {
    let dir = GuardedDir::new();
    let postgres = PrivatePostgres::start(fast(dir.path())).await.unwrap();
    let (log, before) = (dir.path().join("postgres.log"), dir.path().join("postgres.log.1"));
    let length = |file: &Path| fs::metadata(file).map_or(0, |file| file.len());
    let long = 10 * 1024 * 1024 + 1;
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(long).unwrap();
    until("it is short", async || length(&log) < long && length(&before) >= long).await;
    assert_eq!(fs::metadata(&before).unwrap().permissions().mode() & 0o777, 0o600);
    // PostgreSQL continues at its new end.
    let mut connection = connect(&postgres).await;
    sqlx::raw_sql("an error").execute(&mut connection).await.unwrap_err();
    until("it is written to", async || fs::read_to_string(&log).unwrap().contains("an error")).await;
    assert!(length(&log) < 10_000);
    postgres.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unique_violations_are_not_logged_as_errors_by_the_database() {
    let dir = GuardedDir::new();
    let server = ServerProcess::start(&["--data-dir".to_owned(), dir.path().to_str().unwrap().to_owned()]);
    let url = format!("http://{}/api/v1/devices", server.http());
    let register = async |name: &str, mac: &str| {
        let board = serde_json::json!({ "name": name, "mac": mac, "hardware": "panda" });
        reqwest::Client::new().post(&url).json(&board).send().await.unwrap().status().as_u16()
    };
    assert_eq!(register("b1", "02:00:00:00:00:01").await, 201);
    assert_eq!(register("b1", "02:00:00:00:00:02").await, 409);
    assert_eq!(register("b2", "02:00:00:00:00:01").await, 409);
    let log = fs::read_to_string(dir.path().join("postgres.log")).unwrap();
    assert!(!log.contains("ERROR"), "{log}");
}
