//! Plain words: words that were replaced by the ordinary names of things do not return.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;

use crate::layers::{root, sources};
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

/// Words and phrases that comments do not contain, and what to use instead.
const COMMENT_PHRASES: &[(&str, &str)] = &[
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
    ("src/store", "place", "the column action.place, which stores the resource of an exclusive claim"),
    ("src/store", "places", "values of the column action.place"),
    ("crates/diagram", "place", "the verb: boxes and lines are placed in a drawing"),
    ("crates/diagram", "place_beside", "the verb, as above"),
    ("crates/diagram", "place_columns", "the verb, as above"),
    ("crates/diagram", "place_rows", "the verb, as above"),
    ("crates/diagram", "place_sides", "the verb, as above"),
];

/// Fewer identifiers than these were not read at all: there are about twice as many.
const MIN_IDENTIFIERS: usize = 100_000;
const MIN_COMMENTS: usize = 5_000;

#[test]
fn identifiers_are_plain_words() {
    let (mut count, mut wrong, mut used) = (0, Vec::new(), BTreeSet::new());
    for (below, text) in texts() {
        for (number, line) in plain_code(&text).lines().enumerate() {
            let mut add = |identifier: &str, instead: &str| {
                let is_allowed = |(folder, allowed, _): &&(&str, &str, &str)| {
                    Path::new(&below).starts_with(folder) && *allowed == identifier
                };
                match ALLOWED.iter().find(is_allowed) {
                    Some(allowed) => _ = used.insert(*allowed),
                    None => wrong.push(format!("{below}:{}: {identifier}: {instead}", number + 1)),
                }
            };
            if let Some(name) = type_name(line).filter(|name| BARE_TYPE_WORDS.contains(name)) {
                add(name, "a noun that says what it is");
            }
            for identifier in identifiers(line) {
                count += 1;
                if let Some((_, instead)) = replaced(identifier) {
                    add(identifier, instead);
                }
            }
        }
    }
    assert!(count >= MIN_IDENTIFIERS, "only {count} identifiers were read");
    assert!(wrong.is_empty(), "use other words for {} identifiers:\n{}", wrong.len(), wrong.join("\n"));
    let needless: Vec<_> = ALLOWED.iter().filter(|allowed| !used.contains(*allowed)).collect();
    assert!(needless.is_empty(), "these exceptions are not needed: {needless:?}");
}

#[test]
fn comments_are_plain_words() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (below, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            count += 1;
            for (phrase, instead) in COMMENT_PHRASES.iter().filter(|(phrase, _)| has_phrase(comment, phrase))
            {
                wrong.push(format!("{below}:{}: {phrase}: {instead}", number + 1));
            }
        }
    }
    assert!(count >= MIN_COMMENTS, "only {count} lines of comments were read");
    assert!(wrong.is_empty(), "use other words in {} comments:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn words_are_found_in_every_form_of_identifier_and_only_there() {
    let found = |code: &str| {
        let code = plain_code(code);
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
    assert!(has_phrase(" Runs for ever.", "for ever") && has_phrase("Whoever", "whoever"));
    assert!(!has_phrase("for every state", "for ever") && !has_phrase("informing forces", "in force"));
}

/// The code of the product with its comments, by file, without tests.
fn texts() -> impl Iterator<Item = (String, String)> {
    let files = sources(&root().join("src")).into_iter().chain(crate_sources());
    files.map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        (file.strip_prefix(root()).unwrap().display().to_string(), text)
    })
}

/// Whether a comment contains a phrase as whole words.
fn has_phrase(comment: &str, phrase: &str) -> bool {
    let comment = comment.to_lowercase();
    let is_bound = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    comment.match_indices(phrase).any(|(at, _)| {
        is_bound(comment[..at].chars().next_back()) && is_bound(comment[at + phrase.len()..].chars().next())
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

/// The code without its comments, lifetimes and the contents of its literals; lines stay lines.
fn plain_code(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = plain.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if !is_word => raw_string(rest).unwrap_or(0),
            '"' => literal(rest, '"').unwrap_or(rest.len()),
            '\'' => character(rest),
            _ => 0,
        };
        let (kept, skipped) = if skipped == 0 { (first.len_utf8(), 0) } else { (0, skipped) };
        plain.push_str(&rest[..kept]);
        plain.extend(rest[kept..kept + skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[kept + skipped..];
    }
    plain
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
