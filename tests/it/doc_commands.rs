//! Every command block of the README, CONTRIBUTING.md and `docs` is run: in order, in an empty directory of its page.
//!
//! The words after the three backticks are explained in CONTRIBUTING.md, "Pages whose commands are run".

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use clap::error::ErrorKind;
use fs_err as fs;
use lifeguard::cli::{self, Cli, without_empty_variables};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::docs::markdown;
use crate::guarded_dir::GuardedDir;
use crate::layers::root;

/// Why a block is not run; each word is explained in CONTRIBUTING.md.
const REASONS: &[&str] = &["source", "root", "firmware", "network", "long"];
/// The languages of blocks that hold no commands.
const OTHER_LANGUAGES: &[&str] = &["text", "yaml", "json", "rust", "toml", "python", "ruby", "html", "sql"];
/// How long one block may take.
const BLOCK_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a server may take to become ready.
const START_TIMEOUT: Duration = Duration::from_mins(3);
/// The largest number of pages tested concurrently.
const THREADS: usize = 3;
/// The smallest plausible number of blocks.
const MIN_RUN: usize = 20;
const MIN_SERVERS: usize = 6;
const MIN_OUTPUTS: usize = 4;

#[test]
fn the_commands_of_every_page_can_be_typed_in_an_empty_directory() {
    let pages: Vec<Page> = markdown().iter().map(|path| Page::read(path)).collect();
    let blocks = || pages.iter().flat_map(|page| &page.blocks);
    let count = |is: fn(&BlockKind) -> bool| blocks().filter(|block| is(&block.kind)).count();
    let run = count(|kind| matches!(kind, BlockKind::Run));
    let servers = count(|kind| matches!(kind, BlockKind::Server));
    let outputs = count(|kind| matches!(kind, BlockKind::Output));
    let parsed = count(|kind| matches!(kind, BlockKind::ParseOnly));
    // Counted independently of the parser, so that no block of commands is left out.
    let texts = pages.iter().map(|page| format!("\n{}", page.text));
    let all: usize = texts.map(|text| text.matches("\n```sh").count()).sum();
    assert_eq!(run + servers + parsed, all, "{run} are run, {servers} are servers, {parsed} are only parsed");
    assert!(
        run >= MIN_RUN && servers >= MIN_SERVERS && outputs >= MIN_OUTPUTS,
        "{run}, {servers}, {outputs}"
    );

    let (next, faults) = (Mutex::new(pages.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(page) = { next.lock().unwrap().next() } {
                    if let Err(fault) = page.run() {
                        faults.lock().unwrap().push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn kinds_of_blocks_are_distinguished_and_unknown_ones_refused() {
    fn kinds(text: &str) -> Result<Vec<BlockKind>, String> {
        let page = Page::parse("p.md", text)?;
        Ok(page.blocks.into_iter().map(|block| block.kind).collect())
    }
    let read = "Run it:\n```sh\nlifeguard serve\n```\n```sh\nls\n```\n```text output\na\n```\n```sh root\nls\n```\nIn `a.yaml`:\n\n\
                ```yaml file=a.yaml\na: 1\n```\n";
    let expected = vec![
        BlockKind::Server,
        BlockKind::Run,
        BlockKind::Output,
        BlockKind::ParseOnly,
        BlockKind::File("a.yaml".to_owned()),
    ];
    assert_eq!(kinds(read), Ok(expected));
    for wrong in [
        "```\nls\n```",
        "```bash\nls\n```",
        "```sh someday\nls\n```",
        "```sh\n# nothing\n```",
        "Text:\n\n    lifeguard serve\n",
        "```text output\na\n```",
        "Elsewhere:\n```yaml file=a.yaml\na: 1\n```",
        "```sh\nls\n",
    ] {
        assert!(kinds(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn outputs_are_compared_line_by_line_with_gaps() {
    let is_like = |expected: &str, actual: &str| compare(expected, actual).is_ok();
    assert!(is_like("a\n…\nd", "a\nb\nc\nd\n") && is_like("a … c", "a b c\n") && is_like("a", "a  \n"));
    assert!(
        !is_like("a\nd", "a\nb\nd")
            && !is_like("a … d", "a b c")
            && !is_like("a", "a\nb")
            && !is_like("a\nb", "a")
    );
}

#[test]
fn commands_that_are_only_parsed_are_parsed() {
    let parse = |text: &str| check_syntax(text);
    assert_eq!(parse("sudo lifeguard serve --tftp-listen 0.0.0.0:69 # boards\njust test"), Ok(()));
    assert!(parse("lifeguard serve --tftp-listn 0.0.0.0:69").is_err());
    assert!(parse("just no-such-recipe").is_err());
    assert!(parse("ls 'a").is_err());
    assert_eq!(check_name("lifeguard machine load"), Ok(()));
    assert!(check_name("lifeguard machine lod").is_err() && check_name("lifeguard serve --no").is_err());
}

#[test]
fn commands_that_a_sentence_names_exist() {
    let mut named = 0;
    // The changelog also names commands that are gone.
    for path in markdown().iter().filter(|path| !path.ends_with("CHANGELOG.md")) {
        let text = fs::read_to_string(path).unwrap();
        let prose = text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2));
        for command in
            prose.filter(|code| ["lifeguard ", "just "].iter().any(|program| code.starts_with(program)))
        {
            named += 1;
            assert_eq!(check_name(command), Ok(()), "{}", path.display());
        }
    }
    assert!(named > 25, "only {named} were found");
}

/// Checks a command that may lack arguments: its name and its options.
fn check_name(command: &str) -> Result<(), String> {
    if command.starts_with("just ") {
        return check_syntax(command);
    }
    let words = words(command);
    let program = without_empty_variables(Cli::command());
    match program.try_get_matches_from(words).map_err(|error| error.kind()) {
        Ok(_)
        | Err(
            ErrorKind::DisplayHelp
            | ErrorKind::MissingRequiredArgument
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ) => Ok(()),
        Err(kind) => Err(format!("{command}: {kind:?}")),
    }
}

/// A page with its blocks.
struct Page {
    name: String,
    text: String,
    blocks: Vec<Block>,
}

struct Block {
    line: usize,
    kind: BlockKind,
    text: String,
}

#[derive(Debug, PartialEq, Eq)]
enum BlockKind {
    /// Commands, run one after the other until one fails.
    Run,
    /// One command, which runs until the page ends or the next server starts.
    Server,
    /// Commands that cannot be run in a test.
    ParseOnly,
    /// The expected output of the previous block.
    Output,
    /// A file to be written.
    File(String),
    /// Anything else.
    Other,
}

impl Page {
    fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(path).unwrap();
        Self::parse(&name, &text).unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut last_text, mut is_after_blank) = (String::new(), true);
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let at = |fault: &str| format!("{name}:{}: {fault}", index + 1);
            if is_after_blank && line.starts_with("    ") {
                return Err(at("an indented block: put it between ``` and ```"));
            }
            let Some(info) = line.strip_prefix("```") else {
                is_after_blank = line.is_empty();
                if !line.is_empty() {
                    line.clone_into(&mut last_text);
                }
                continue;
            };
            let mut inner = String::new();
            loop {
                let (_, line) = lines.next().ok_or_else(|| at("the block does not end"))?;
                if line == "```" {
                    break;
                }
                writeln!(inner, "{line}").unwrap();
            }
            let kind = kind_of(info, &inner).map_err(|fault| at(&fault))?;
            let follows_commands =
                matches!(blocks.last(), Some(Block { kind: BlockKind::Run, .. })) && last_text.is_empty();
            if matches!(kind, BlockKind::Output) && !follows_commands {
                return Err(at("an output without commands before it"));
            }
            if let BlockKind::File(file) = &kind
                && !last_text.contains(file.as_str())
            {
                return Err(at(&format!("say before the block that it is the file `{file}`")));
            }
            last_text.clear();
            is_after_blank = true;
            blocks.push(Block { line: index + 1, kind, text: inner });
        }
        Ok(Self { name: name.to_owned(), text: text.to_owned(), blocks })
    }

    /// Runs the blocks in order.
    fn run(&self) -> Result<(), String> {
        let is_run = |block: &Block| !matches!(block.kind, BlockKind::Other | BlockKind::ParseOnly);
        let mut place = self.blocks.iter().any(is_run).then(PageDirectory::new);
        let mut printed = String::new();
        for block in &self.blocks {
            let done = match (&block.kind, &mut place) {
                (BlockKind::Other, _) => Ok(()),
                (BlockKind::ParseOnly, _) => check_syntax(&block.text),
                (BlockKind::Output, _) => compare(&block.text, &printed),
                (BlockKind::File(file), Some(place)) => place.write(file, &block.text),
                (BlockKind::Run, Some(place)) => place.run(&block.text).map(|output| printed = output),
                (BlockKind::Server, Some(place)) => place.start(&block.text),
                (_, None) => Err("there is no directory to run it in".to_owned()),
            };
            done.map_err(|fault| format!("{}:{}: {fault}\nin:\n{}", self.name, block.line, block.text))?;
        }
        Ok(())
    }
}

/// Returns the kind of a block from the words after its three backticks.
fn kind_of(info: &str, text: &str) -> Result<BlockKind, String> {
    let words: Vec<&str> = info.split(' ').collect();
    match words.as_slice() {
        ["sh", reasons @ ..] => {
            let commands = commands(text);
            let first = commands.first().ok_or("a block of commands without a command")?;
            let is_server =
                ["lifeguard serve", "lifeguard demo"].iter().any(|server| first.starts_with(server));
            match reasons {
                [] if is_server && commands.len() == 1 => Ok(BlockKind::Server),
                [] if is_server => Err("a server has a block of its own".to_owned()),
                [] => Ok(BlockKind::Run),
                [reason] if REASONS.contains(reason) => Ok(BlockKind::ParseOnly),
                _ => Err(format!("`{info}`: after `sh` write nothing or one of {REASONS:?}")),
            }
        }
        ["text", "output"] => Ok(BlockKind::Output),
        [language] if OTHER_LANGUAGES.contains(language) => Ok(BlockKind::Other),
        [language, file] if OTHER_LANGUAGES.contains(language) => {
            let file =
                file.strip_prefix("file=").ok_or_else(|| format!("`{info}`: `file=NAME` was expected"))?;
            Ok(BlockKind::File(file.to_owned()))
        }
        _ => Err(format!("`{info}` is no block that is known: see CONTRIBUTING.md")),
    }
}

/// The commands of a block, each on one line, without comments.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Checks commands without running them: those of this program by its own parser, the rest by the shell's.
fn check_syntax(text: &str) -> Result<(), String> {
    let shell = Command::new("sh").args(["-n", "-c", text]).output().unwrap();
    if !shell.status.success() {
        return Err(String::from_utf8_lossy(&shell.stderr).into_owned());
    }
    let justfile = fs::read_to_string(root().join("justfile")).unwrap();
    for line in commands(text) {
        let words = words(&line);
        let is_prefix = |word: &&String| *word == "sudo" || (word.contains('=') && !word.starts_with('-'));
        let mut words = words.into_iter().skip_while(|word| is_prefix(&word));
        match words.next().as_deref() {
            Some("lifeguard") => {
                let words: Vec<String> = words.collect();
                cli::parse_from(words.iter().map(Into::into))
                    .map_err(|_| format!("cannot be parsed: {line}"))?;
            }
            Some("just") => {
                let recipe = words.next().unwrap_or_default();
                let is_recipe = |line: &str| line.split([' ', ':']).next() == Some(recipe.as_str());
                if !recipe.is_empty() && !justfile.lines().any(is_recipe) {
                    return Err(format!("there is no recipe `{recipe}` in the justfile"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The words of a command line, as a shell takes them, up to a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    let comment = words.iter().position(|word| word.starts_with('#')).unwrap_or(words.len());
    words.truncate(comment);
    words
}

/// Compares the output with the page; `…` stands for anything, within a line or for whole lines.
fn compare(expected: &str, actual: &str) -> Result<(), String> {
    let expected: Vec<&str> = expected.trim_end().lines().map(str::trim_end).collect();
    let lines: Vec<&str> = actual.trim_end().lines().map(str::trim_end).collect();
    if matches_lines(&expected, &lines) { Ok(()) } else { Err(format!("it prints:\n{actual}")) }
}

fn matches_lines(expected: &[&str], lines: &[&str]) -> bool {
    match (expected, lines) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=lines.len()).any(|gap| matches_lines(rest, &lines[gap..])),
        ([first, rest @ ..], [line, others @ ..]) => matches_text(first, line) && matches_lines(rest, others),
        _ => false,
    }
}

fn matches_text(expected: &str, text: &str) -> bool {
    match expected.split_once('…') {
        None => expected == text,
        Some((begin, rest)) => text.strip_prefix(begin).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| matches_text(rest, &text[at..]))
        }),
    }
}

/// The directory in which a page's commands run.
struct PageDirectory {
    server: Option<RunningServer>,
    dir: GuardedDir,
}

/// A server or demo that a page started.
struct RunningServer {
    child: Child,
    /// The port in the page.
    port: String,
    address: String,
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // It stops its PostgreSQL; one that has exited needs no signal.
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGINT);
        let _ = self.child.wait();
    }
}

impl PageDirectory {
    fn new() -> Self {
        let place = Self { server: None, dir: GuardedDir::new() };
        place.write_program("http://127.0.0.1:9");
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn bin(&self) -> PathBuf {
        self.path().join(".bin")
    }

    /// Writes a `lifeguard` to the path that uses the page's server.
    fn write_program(&self, server: &str) {
        fs::create_dir_all(self.bin()).unwrap();
        let script =
            format!("#!/bin/sh\nLIFEGUARD_SERVER={server} exec {} \"$@\"\n", env!("CARGO_BIN_EXE_lifeguard"));
        let file = self.bin().join("lifeguard");
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.path().join(file);
        let folder = path.parent().ok_or("a file without a folder")?;
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        fs::write(path, text).map_err(|error| error.to_string())
    }

    /// A shell in the directory, without our own settings.
    fn shell(&self) -> Command {
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LIFEGUARD_") {
                command.env_remove(name);
            }
        }
        let mut path = self.bin().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        command.env("PATH", path).env("TZ", "UTC").env("COLUMNS", "100").env("HOME", self.path());
        command.env("XDG_STATE_HOME", self.path()).env("TMPDIR", self.path());
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs the commands; returns their standard output.
    fn run(&self, text: &str) -> Result<String, String> {
        let script = match &self.server {
            Some(RunningServer { port, address, .. }) => ["SERVER", "127.0.0.1", "localhost"]
                .iter()
                .fold(text.to_owned(), |text, host| text.replace(&format!("{host}:{port}"), address)),
            None => text.to_owned(),
        };
        let mut shell = self.shell();
        shell.args(["-ec", &script]).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = shell.spawn().unwrap();
        let pid = child.id();
        let waiting = std::thread::spawn(move || child.wait_with_output());
        let deadline = Instant::now() + BLOCK_TIMEOUT;
        while !waiting.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let is_late = !waiting.is_finished();
        if is_late {
            // It may exit at that moment.
            let _ = killpg(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL);
        }
        let output = waiting.join().unwrap().unwrap();
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if is_late {
            Err(format!("it did not end within {BLOCK_TIMEOUT:?}:\n{out}{err}"))
        } else if output.status.success() {
            Ok(out)
        } else {
            Err(format!("it ends with {}:\n{out}{err}", output.status))
        }
    }

    /// Starts a server at a free port, replacing the previous one, and waits until it is ready.
    fn start(&mut self, text: &str) -> Result<(), String> {
        self.server = None;
        let command = commands(text).concat();
        let is_demo = command.starts_with("lifeguard demo");
        let mut words: Vec<&str> = command.split(' ').collect();
        let mut port = "8080";
        if let Some(at) = words.iter().position(|word| *word == "--listen") {
            port = words[at + 1].rsplit(':').next().unwrap();
            words.drain(at..at + 2);
        }
        if let Some(at) = words.iter().position(|word| *word == "--tftp-listen") {
            words[at + 1] = "127.0.0.1:0";
        }
        let [log, out] = [".log", ".out"].map(|file| self.path().join(file));
        let mut shell = self.shell();
        shell.arg("-c").arg(format!("exec {} --listen 127.0.0.1:0 --log-format json", words.join(" ")));
        shell.stdout(fs::File::create(&out).unwrap().into_parts().0);
        shell.stderr(fs::File::create(&log).unwrap().into_parts().0).process_group(0);
        let child = shell.spawn().unwrap();
        let mut server = RunningServer { child, port: port.to_owned(), address: String::new() };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let [output, logged] = [&out, &log].map(|file| fs::read_to_string(file).unwrap_or_default());
            let is_ready = !is_demo || output.contains("boards registered");
            if let Some(address) = served_address(&output, &logged).filter(|_| is_ready) {
                server.address = address;
                break;
            }
            let has_ended = server.child.try_wait().unwrap().is_some();
            if has_ended || Instant::now() > deadline {
                return Err(format!("it does not serve:\n{output}{logged}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.write_program(&format!("http://{}", server.address));
        self.server = Some(server);
        Ok(())
    }
}

/// The address printed by a server in its log, or by a demo on standard output.
fn served_address(output: &str, logged: &str) -> Option<String> {
    let output = output.split_once("http://").and_then(|(_, rest)| rest.split('/').next());
    let serving = logged.lines().find(|line| line.contains(r#""message":"serving""#));
    let logged =
        serving.and_then(|line| line.split_once(r#""http":""#)).and_then(|(_, rest)| rest.split('"').next());
    output.or(logged).map(str::to_owned)
}
