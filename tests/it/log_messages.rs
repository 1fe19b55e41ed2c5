//! `docs/log-messages.md` lists every warning and error that the product logs, and no others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The crates that are no part of what users install.
const OTHER_CRATES: [&str; 2] = ["bench", "farm"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lists the Rust files in `folder`, without tests.
fn source_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "benches", "target"].contains(&name.as_str()) {
                source_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// Splits the arguments of a macro call whose opening parenthesis has been read.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut argument, mut depth) = (Vec::new(), String::new(), 1);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                argument.push(char);
                while let Some(char) = chars.next() {
                    argument.push(char);
                    match char {
                        '\\' => argument.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => {
                arguments.push(std::mem::take(&mut argument));
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        argument.push(char);
    }
    arguments.push(argument);
    arguments.into_iter().map(|argument| argument.trim().to_owned()).collect()
}

/// Reads a string literal; a line that ends with `\` goes on with the next one.
fn literal(argument: &str) -> Option<String> {
    let text = argument.strip_prefix('"')?.strip_suffix('"')?;
    let lines: Vec<&str> = text.split("\\\n").collect();
    let (first, rest) = lines.split_first()?;
    Some(std::iter::once(*first).chain(rest.iter().map(|line| line.trim_start())).collect())
}

/// Finds the arguments of each call in `source` that logs at `level`.
fn calls(source: &str, level: &str) -> Vec<Vec<String>> {
    let call = format!("{level}!(");
    let is_name = |char: char| char.is_alphanumeric() || char == '_';
    let calls = source.match_indices(&call).filter(|(at, _)| !source[..*at].ends_with(is_name));
    calls.map(|(at, _)| arguments(&source[at + call.len()..])).collect()
}

/// Finds the messages that `source` logs at `level`; for a call without a message, its arguments.
fn messages(source: &str, level: &str) -> Vec<String> {
    let message = |arguments: Vec<String>| {
        arguments.iter().find_map(|argument| literal(argument)).unwrap_or_else(|| arguments.join(", "))
    };
    calls(source, level).into_iter().map(message).collect()
}

/// The sources of the product without comments, by file.
fn product_sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    source_files(&root().join("src"), &mut files);
    for entry in fs_err::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        if !OTHER_CRATES.iter().any(|name| path.ends_with(name)) {
            source_files(&path.join("src"), &mut files);
        }
    }
    let read = |file: PathBuf| {
        let source = fs_err::read_to_string(&file).unwrap();
        // Lines of comments can name the macros.
        let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        (file.strip_prefix(root()).unwrap().display().to_string(), lines.collect::<Vec<_>>().join("\n"))
    };
    files.into_iter().map(read).collect()
}

/// The messages in the sources, each with its level and a file that logs it.
fn logged() -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for (file, source) in product_sources() {
        for level in ["warn", "error"] {
            for message in messages(&source, level) {
                found.insert((message, level.to_owned()), file.clone());
            }
        }
    }
    found
}

/// The rows of the document: message, level, meaning, what to do.
fn documented() -> Vec<[String; 4]> {
    let text = fs_err::read_to_string(root().join("docs/log-messages.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ").collect();
        let [message, level, meaning, action] = cells.as_slice() else { panic!("not four cells: {line}") };
        Some([message.trim_end_matches('`'), level, meaning, action].map(str::to_owned))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_warning_and_error_is_documented_and_no_other_message_is() {
    let (logged, documented) = (logged(), documented());
    let listed =
        |message: &str, level: &str| documented.iter().any(|row| row[0] == message && row[1] == level);
    let missing: Vec<String> = logged
        .iter()
        .filter(|((message, level), _)| !listed(message, level))
        .map(|((message, level), file)| format!("{file}: {level}: {message}"))
        .collect();
    let outdated: Vec<&str> = documented
        .iter()
        .filter(|row| !logged.contains_key(&(row[0].clone(), row[1].clone())))
        .map(|row| row[0].as_str())
        .collect();
    assert!(missing.is_empty(), "not in docs/log-messages.md:\n{}", missing.join("\n"));
    assert!(outdated.is_empty(), "in docs/log-messages.md, but not logged:\n{}", outdated.join("\n"));
    assert!(logged.len() > 40, "only {} messages were found", logged.len());
}

#[test]
fn fields_with_names_are_written_alike_everywhere() {
    const NAMES: [&str; 4] = ["action", "event", "instance", "machine"];
    let mut wrong = Vec::new();
    let mut count = 0;
    for (file, source) in product_sources() {
        for argument in ["trace", "debug", "info", "warn", "error"]
            .iter()
            .flat_map(|level| calls(&source, level))
            .flatten()
        {
            let (field, value) = argument.split_once('=').unwrap_or((argument.as_str(), argument.as_str()));
            if NAMES.contains(&field.trim().trim_start_matches('%')) {
                count += 1;
                if !value.trim_start().starts_with('%') {
                    wrong.push(format!("{file}: {argument}"));
                }
            }
        }
    }
    assert!(count > 10, "only {count} fields were found");
    assert!(wrong.is_empty(), "a name is logged with quotes, as elsewhere without:\n{}", wrong.join("\n"));
}

#[test]
fn documented_messages_are_in_alphabetical_order_and_complete() {
    let documented = documented();
    let words = |row: &[String; 4]| row[0].to_lowercase();
    for pair in documented.windows(2) {
        assert!(words(&pair[0]) < words(&pair[1]), "{:?} is listed before {:?}", pair[0][0], pair[1][0]);
    }
    for [message, level, meaning, action] in &documented {
        assert!(!meaning.trim().is_empty() && !action.trim().is_empty(), "{message} is not explained");
        assert!(["warn", "error"].contains(&level.as_str()), "{message}: {level}");
    }
}

#[test]
fn messages_are_found_behind_their_fields() {
    let source = "tracing::warn!(a = \"x\", %b, c(\"y\", 1), \"first, {b} \\\n    second\", b = 1);\nerror!(\"third\");";
    assert_eq!(messages(source, "warn"), ["first, {b} second"]);
    assert_eq!(messages(source, "error"), ["third"]);
    assert_eq!(messages("my_error!(\"other\")", "error"), [""; 0]);
}
