//! Plain words: words that were replaced by the ordinary names of things do not return.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::docs::markdown;
use crate::layers::{files, root, sources};
use crate::names::{crate_sources, type_name};

/// Words that say nothing by themselves: no type is called by one of them alone.
const BARE_TYPE_WORDS: &[&str] = &[
    "Comes",
    "Course",
    "Dice",
    "Draft",
    "Given",
    "Habit",
    "Happening",
    "Heard",
    "Manner",
    "Marks",
    "Material",
    "Occasion",
    "Place",
    "Recent",
    "Remembered",
    "Room",
    "Seen",
    "Stay",
    "Tells",
    "Then",
    "Told",
    "Usual",
    "When",
    "Where",
    "Whose",
];

/// Words that no identifier contains, and what to use instead.
const IDENTIFIER_WORDS: &[(&str, &str)] = &[
    ("adopt", "activate"),
    ("adopted", "activated"),
    ("adopting", "activating"),
    ("adoption", "activation"),
    ("adopts", "activates"),
    ("buried", "reclaimed"),
    ("bury", "reclaim"),
    ("colleague", "peer"),
    ("colleagues", "peers"),
    ("comes", "arrives, or the noun"),
    ("dice", "random numbers"),
    ("draft", "pending update"),
    ("drafts", "pending updates"),
    ("habit", "behaviour"),
    ("habits", "behaviour, quirks"),
    ("happening", "cause, event"),
    ("heard", "received, reported"),
    ("manner", "kind, mode"),
    ("occasion", "cause, evaluation"),
    ("patience", "timeout"),
    ("place", "resource, position"),
    ("places", "resources, positions"),
    ("remark", "reason"),
    ("remarks", "reasons"),
    ("remembered", "cached"),
    ("tell", "describe, report"),
    ("tells", "reports"),
    ("tend", "reclaim"),
    ("told", "described, reported, recorded"),
    ("usual", "dwell statistics"),
    ("whose", "the noun"),
];

/// Identifiers that say nothing alone, and what to use instead.
const IDENTIFIERS: &[(&str, &str)] = &[
    ("LEAST", "MIN_ with the quantity"),
    ("MOST", "MAX_ with the quantity"),
    ("PATIENCE", "a timeout with what is awaited"),
    ("ROOM", "MAX_ with the quantity"),
    ("carried_out", "run"),
    ("carry_out", "run"),
    ("fetches", "boot log"),
    ("least", "min_ with the quantity"),
    ("material", "batch input"),
    ("most", "max_ with the quantity"),
    ("wind_up", "drain"),
];

/// Words and phrases that no text contains (comments, messages, help, pages, definitions), and what to use instead. A hyphen
/// counts as a space.
const PHRASES: &[(&str, &str)] = &[
    ("adopted", "activated"),
    ("adoption", "activation"),
    ("buried", "reclaimed"),
    ("bury", "reclaim"),
    ("carried out", "run"),
    ("carries out", "runs"),
    ("carry out", "run"),
    ("colleague", "peer"),
    ("colleagues", "peers"),
    ("comes into force", "is activated"),
    ("for ever", "endlessly, forever"),
    ("in force", "active"),
    ("patience", "timeout"),
    ("remark", "reason"),
    ("somebody", "a client, an operator"),
    ("whoever", "the client, the caller"),
];

/// Where one of the words is needed: the file or folder, the identifier, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("src/store", "adopted", "the stored name of the note in history about an activation"),
    (
        "src/store",
        "heard_until",
        "the column worker.heard_until; to be renamed when no server of this release runs",
    ),
    ("src/store", "least", "the function of SQL"),
    ("src/store", "place", "the column action.place, which stores the resource of an exclusive claim"),
    ("src/store", "places", "values of the column action.place"),
    ("crates/diagram", "place", "the verb: boxes and lines are placed in a drawing"),
    ("crates/diagram", "place_beside", "the verb, as above"),
    ("crates/diagram", "place_columns", "the verb, as above"),
    ("crates/diagram", "place_rows", "the verb, as above"),
    ("crates/diagram", "place_sides", "the verb, as above"),
];

/// Where one of the phrases is needed: the file or folder, the text around it, and why.
const ALLOWED_TEXTS: &[(&str, &str, &str)] = &[
    ("src/engine/replay.rs", "\"adopted\"", "the stored name of the note in history about an activation"),
    ("src/store/definitions.rs", "'adopted'", "the stored name, as above"),
    ("crates/machine/src/rule", "failed-for-ever", "the id of a rule, which users and their tools know"),
    ("src/cli/machine/rules", "failed-for-ever", "the id of the rule, as above"),
];

/// Fewer than these were not read at all: there are about twice as many.
const MIN_IDENTIFIERS: usize = 100_000;
const MIN_SQL_IDENTIFIERS: usize = 3_000;
const MIN_LINES: usize = 10_000;

#[test]
fn identifiers_are_plain_words() {
    let (mut count, mut sql_count, mut wrong, mut used) = (0, 0, Vec::new(), BTreeSet::new());
    for (below, text) in texts() {
        let mut add = |number: usize, identifier: &str, instead: &str| {
            let is_allowed = |(folder, allowed, _): &&(&str, &str, &str)| {
                Path::new(&below).starts_with(folder) && *allowed == identifier
            };
            match ALLOWED.iter().find(is_allowed) {
                Some(allowed) => _ = used.insert(*allowed),
                None => wrong.push(format!("{below}:{}: {identifier}: {instead}", number + 1)),
            }
        };
        let is_sql = has_ending(Path::new(&below), "sql");
        let code = if is_sql { String::new() } else { only(&text, SourcePart::Code) };
        for (number, line) in code.lines().enumerate() {
            if let Some(name) = type_name(line).filter(|name| BARE_TYPE_WORDS.contains(name)) {
                add(number, name, "a noun that says what it is");
            }
            for identifier in identifiers(line) {
                count += 1;
                if let Some((_, instead)) = replaced(identifier) {
                    add(number, identifier, instead);
                }
            }
        }
        // Statements are literals of the stores, or files of their own.
        let sql = if is_sql {
            text
        } else if below.contains("/store/") {
            only(&text, SourcePart::Literal)
        } else {
            String::new()
        };
        for (number, line) in sql.lines().enumerate() {
            for identifier in identifiers(line.split("--").next().unwrap()) {
                sql_count += 1;
                if let Some((_, instead)) = replaced(identifier) {
                    add(number, identifier, instead);
                }
            }
        }
    }
    assert!(count >= MIN_IDENTIFIERS, "only {count} identifiers were read");
    assert!(sql_count >= MIN_SQL_IDENTIFIERS, "only {sql_count} identifiers of SQL were read");
    assert!(wrong.is_empty(), "use other words for {} identifiers:\n{}", wrong.len(), wrong.join("\n"));
    let needless: Vec<_> = ALLOWED.iter().filter(|allowed| !used.contains(*allowed)).collect();
    assert!(needless.is_empty(), "these exceptions are not needed: {needless:?}");
}

#[test]
fn comments_messages_pages_and_definitions_are_plain_words() {
    let (mut count, mut wrong, mut used) = (0, Vec::new(), BTreeSet::new());
    for (below, text) in prose() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            count += 1;
            let mut line = line.to_owned();
            for allowed in ALLOWED_TEXTS.iter().filter(|(folder, ..)| Path::new(&below).starts_with(folder)) {
                if line.contains(allowed.1) {
                    line = line.replace(allowed.1, "");
                    used.insert(*allowed);
                }
            }
            for (phrase, instead) in PHRASES.iter().filter(|(phrase, _)| has_phrase(&line, phrase)) {
                wrong.push(format!("{below}:{}: {phrase}: {instead}", number + 1));
            }
        }
    }
    assert!(count >= MIN_LINES, "only {count} lines were read");
    assert!(wrong.is_empty(), "use other words in {} lines:\n{}", wrong.len(), wrong.join("\n"));
    let needless: Vec<_> = ALLOWED_TEXTS.iter().filter(|allowed| !used.contains(*allowed)).collect();
    assert!(needless.is_empty(), "these exceptions are not needed: {needless:?}");
}

#[test]
fn words_are_found_in_every_form_of_identifier_and_only_there() {
    let found = |code: &str| {
        let code = only(code, SourcePart::Code);
        identifiers(&code)
            .filter(|identifier| replaced(identifier).is_some())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found("let told_at = Told::new(is_told, TOLD, toldest);"),
        ["told_at", "Told", "is_told", "TOLD"]
    );
    assert_eq!(found("const MOST: usize = AT_MOST; fn wind_up() {}"), ["MOST", "wind_up"]);
    let none = "// told\nlet a = \"told {told} \\\" told\"; /* told */ let b = r#\"a \"told\" b\"#; let c = '\"'; fn f<'told>() {}";
    assert_eq!(found(none), Vec::<String>::new());
    let text = "let told = \"a\n b\"; // c\nlet d = 'e';";
    assert_eq!(only(text, SourcePart::Literal), "\"a\n b\"\n'e'");
    assert_eq!(only(text, SourcePart::Comment), "\n// c\n");
    assert!(has_phrase(" Runs for ever.", "for ever") && has_phrase("Whoever", "whoever"));
    assert!(has_phrase("failed-for-ever", "for ever") && has_phrase("`for ever`", "for ever"));
    assert_eq!(without_quotes("was `for ever`, is `forever`."), "was , is .");
    assert!(!has_phrase("for every state", "for ever") && !has_phrase("informing forces", "in force"));
}

/// The code and the SQL of the product with their comments, by file, without unit tests, and the tests of its crates.
fn texts() -> impl Iterator<Item = (String, String)> {
    let tests = ["crates/bench/tests", "crates/power/tests"].map(|folder| sources(&root().join(folder)));
    let sources =
        sources(&root().join("src")).into_iter().chain(crate_sources()).chain(tests.into_iter().flatten());
    let files = sources.chain(of_product(&["sql"]));
    files.map(|file| {
        let (below, text) = read(&file);
        (below, text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned())
    })
}

/// What people read, by file: comments and literals of the code, SQL, help texts, templates, pages and definitions.
fn prose() -> impl Iterator<Item = (String, String)> {
    let code = texts().map(|(below, text)| {
        let is_sql = has_ending(Path::new(&below), "sql");
        (below, if is_sql { text } else { masked(&text, |part| part != SourcePart::Code) })
    });
    let definitions = files(&root().join("states")).into_iter().filter(|file| has_ending(file, "yaml"));
    let others = of_product(&["txt", "html"]).chain(definitions).chain(markdown());
    code.chain(others.map(|file| {
        let (below, text) = read(&file);
        // The changelog quotes earlier names.
        let text = if below == "CHANGELOG.md" { without_quotes(&text) } else { text };
        (below, text)
    }))
}

/// The files of the product whose names end so.
fn of_product(endings: &'static [&str]) -> impl Iterator<Item = PathBuf> {
    let all = ["src", "crates"].into_iter().flat_map(|folder| files(&root().join(folder)));
    all.filter(|file| endings.iter().any(|ending| has_ending(file, ending)))
}

fn has_ending(file: &Path, ending: &str) -> bool {
    file.extension().is_some_and(|found| found == ending)
}

fn read(file: &Path) -> (String, String) {
    (file.strip_prefix(root()).unwrap().display().to_string(), fs::read_to_string(file).unwrap())
}

/// A text without what stands in backquotes.
fn without_quotes(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

/// Whether a text contains a phrase as whole words.
fn has_phrase(text: &str, phrase: &str) -> bool {
    let text = text.to_lowercase().replace('-', " ");
    let is_bound = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    text.match_indices(phrase).any(|(at, _)| {
        is_bound(text[..at].chars().next_back()) && is_bound(text[at + phrase.len()..].chars().next())
    })
}

/// What an identifier should be instead, if it has one of the words.
fn replaced(identifier: &str) -> Option<&'static (&'static str, &'static str)> {
    let identifier_alone = IDENTIFIERS.iter().find(|(word, _)| *word == identifier);
    identifier_alone.or_else(|| {
        let words = words(identifier);
        IDENTIFIER_WORDS.iter().find(|(word, _)| words.iter().any(|found| found == word))
    })
}

/// The words of an identifier in lower case: `read_at`, `ReadAt` and `READ_AT` have two.
fn words(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in identifier.chars() {
        if c == '_' || (was_lower && c.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    words
}

fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    let parts = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    parts.filter(|part| part.starts_with(|first: char| first.is_alphabetic() || first == '_'))
}

/// A part of a source text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SourcePart {
    Code,
    Comment,
    /// A literal, or a lifetime.
    Literal,
}

/// The parts of one kind; lines stay lines.
fn only(text: &str, wanted: SourcePart) -> String {
    masked(text, |part| part == wanted)
}

/// The parts of a source text that are wanted; lines stay lines.
fn masked(text: &str, is_wanted: impl Fn(SourcePart) -> bool) -> String {
    let mut masked = String::with_capacity(text.len());
    let (mut rest, mut is_word) = (text, false);
    while let Some(first) = rest.chars().next() {
        let (part, length) = match first {
            '/' if rest.starts_with("//") => (SourcePart::Comment, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => {
                (SourcePart::Comment, rest.find("*/").map_or(rest.len(), |end| end + 2))
            }
            'r' if !is_word => (SourcePart::Literal, raw_string(rest).unwrap_or(0)),
            '"' => (SourcePart::Literal, literal(rest, '"').unwrap_or(rest.len())),
            '\'' => (SourcePart::Literal, character(rest)),
            _ => (SourcePart::Code, 0),
        };
        let (part, length) = if length == 0 { (SourcePart::Code, first.len_utf8()) } else { (part, length) };
        let (found, after) = rest.split_at(length);
        if is_wanted(part) {
            masked.push_str(found);
        } else {
            masked.extend(found.chars().filter(|c| *c == '\n'));
        }
        is_word = part == SourcePart::Code && (first.is_alphanumeric() || first == '_');
        rest = after;
    }
    masked
}

/// The length of the raw string that `text` begins with.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    body.find(&end).map(|at| 2 + hashes + at + end.len())
}

/// The length of the literal between two `quote`s that `text` begins with.
fn literal(text: &str, quote: char) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => _ = characters.next(),
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of the character or the lifetime that `text` begins with.
fn character(text: &str) -> usize {
    let mut characters = text.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) | (_, Some('\'')) => literal(text, '\'').unwrap_or(1),
        _ => {
            let name = text[1..].find(|c: char| !c.is_alphanumeric() && c != '_');
            name.map_or(text.len(), |end| end + 1)
        }
    }
}
