//! Tests of secrets: a database password is read from a safe source and shown nowhere.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;

const PASSWORD: &str = "s3cret-Correct-horse";

/// A server, killed on drop.
struct ChildServer(Child);

impl Drop for ChildServer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A private file with a secret.
fn secret_file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn serve() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIFEGUARD_") || name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.args(["serve", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
    command
}

/// Reads a message of PostgreSQL's protocol after its first `head` bytes: its length and content.
fn message(client: &mut TcpStream, head: usize) -> Vec<u8> {
    let mut bytes = vec![0; head + 4];
    client.read_exact(&mut bytes).unwrap();
    let length = u32::from_be_bytes(bytes[head..].try_into().unwrap());
    let mut rest = vec![0; usize::try_from(length).unwrap() - 4];
    client.read_exact(&mut rest).unwrap();
    rest
}

/// The password that a server sends to a database that requires one.
fn password_sent(database: &TcpListener) -> String {
    let (mut client, _) = database.accept().unwrap();
    message(&mut client, 0);
    // Source: PostgreSQL 15 manual, 55.7: AuthenticationCleartextPassword.
    client.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).unwrap();
    let answer = message(&mut client, 1);
    String::from_utf8(answer).unwrap().trim_end_matches('\0').to_owned()
}

#[test]
fn a_password_is_read_from_a_file_and_not_visible_in_the_process_list() {
    let folder = tempfile::tempdir().unwrap();
    let database = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = database.local_addr().unwrap().port();
    let url = |user: &str| format!("postgres://{user}@127.0.0.1:{port}/lg?sslmode=disable");

    let mut with_url_file = serve();
    let text = format!("{}\n", url(&format!("ann:{PASSWORD}")));
    with_url_file.arg("--database-url-file").arg(secret_file(folder.path(), "url", &text));
    let mut with_pgpass = serve();
    let text = format!("127.0.0.1:{port}:lg:ann:{PASSWORD}\n");
    with_pgpass.args(["--database-url", &url("ann")]);
    with_pgpass.env("PGPASSFILE", secret_file(folder.path(), "pgpass", &text));
    let mut with_home = serve();
    with_home.args(["--database-url", &url("ann")]).env("HOME", folder.path());
    secret_file(folder.path(), ".pgpass", &text);

    for mut command in [with_url_file, with_pgpass, with_home] {
        let server = ChildServer(command.stderr(Stdio::null()).spawn().unwrap());
        assert_eq!(password_sent(&database), PASSWORD);
        let line = fs::read(format!("/proc/{}/cmdline", server.0.id())).unwrap();
        assert!(!String::from_utf8_lossy(&line).contains(PASSWORD));
    }
}

#[test]
fn a_password_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let malformed = [
        format!("postgres://ann:{PASSWORD}@db.lab:port/lg"),
        format!("postgres://ann:{PASSWORD}@db.lab/lg?sslmode=perhaps"),
        format!("ann:{PASSWORD}@db.lab"),
    ];
    for url in &malformed {
        let mut by_argument = serve();
        by_argument.args(["--database-url", url]);
        let mut by_variable = serve();
        by_variable.env("LIFEGUARD_DATABASE_URL", url);
        let mut by_file = serve();
        by_file.arg("--database-url-file").arg(secret_file(folder.path(), "url", url));
        let mut help = serve();
        help.arg("--help").env("LIFEGUARD_DATABASE_URL", url);
        for mut command in [by_argument, by_variable, by_file, help] {
            let ended = command.args(["--log", "trace"]).output().unwrap();
            let shown = [ended.stdout, ended.stderr].concat();
            let shown = String::from_utf8_lossy(&shown);
            assert!(!shown.is_empty() && !shown.contains(PASSWORD), "{url}: {shown}");
        }
    }
    // In a URL, where it should not be.
    let url = format!("postgres://ann:{PASSWORD}@db.lab/lg");
    let mut as_file = serve();
    as_file.args(["--database-url-file", &url]);
    let mut as_word = serve();
    as_word.arg(&url);
    let mut as_option = serve();
    as_option.args(["--tftp-listen", &url]);
    for mut command in [as_file, as_word, as_option] {
        let ended = command.output().unwrap();
        let shown = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && shown.contains("ann:…@db.lab/lg"), "{shown}");
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
    // A valid URL of a missing database: a password in an argument causes a warning.
    let mut command = serve();
    command.args(["--log", "trace", "--database-url"]);
    command.arg(format!("postgres://ann:{PASSWORD}@{closed}/lg")).stderr(Stdio::piped());
    let mut server = ChildServer(command.spawn().unwrap());
    let mut shown = Vec::new();
    let mut log = server.0.stderr.take().unwrap();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&shown).contains("--database-url-file") {
        let length = log.read(&mut piece).unwrap();
        assert!(length > 0, "no warning: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&piece[..length]);
    }
    assert!(!String::from_utf8_lossy(&shown).contains(PASSWORD));
}
