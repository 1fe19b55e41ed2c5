//! Runs the fuzzer's corpus and some thousands of mutations through all targets, as a regression test.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use lifeguard::random::Random;

#[path = "../fuzz/targets.rs"]
mod targets;

/// Number of mutations per file.
const VARIATIONS: usize = 60;
/// Bytes with a meaning in one of the languages.
const MARKS: &[u8] = b" \"'[]{}:,-0e.\n&|!<>=";

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(target);
    let files = fs_err::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut corpus: Vec<_> =
        files.map(|file| (file.display().to_string(), fs_err::read(&file).unwrap())).collect();
    corpus.sort();
    assert!(!corpus.is_empty(), "{target} has a corpus");
    corpus
}

/// Returns the bytes with some changed, removed or repeated.
fn varied(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut varied = bytes.to_vec();
    for _ in 0..=random.next_below(4) {
        if varied.is_empty() {
            varied.push(0);
        }
        let at = random.next_below(varied.len());
        let to = (at + random.next_below(24)).min(varied.len());
        match random.next_below(4) {
            0 => varied[at] = random.next_u64().to_be_bytes()[0],
            1 => _ = varied.drain(at..to),
            2 => {
                let again = varied[at..to].to_vec();
                varied.splice(at..at, again);
            }
            _ => varied.insert(at, MARKS[random.next_below(MARKS.len())]),
        }
    }
    varied
}

#[test]
fn no_target_panics_on_its_corpus_or_mutations_of_it() {
    let mut random = Random::new(14);
    for (name, target) in targets::TARGETS {
        for (file, bytes) in corpus(name) {
            let run = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| target(bytes)));
            assert!(run(&bytes).is_ok(), "{file}");
            for variation in 0..VARIATIONS {
                let varied = varied(&bytes, &mut random);
                assert!(
                    run(&varied).is_ok(),
                    "{file}, variation {variation}: {:?}",
                    String::from_utf8_lossy(&varied)
                );
            }
        }
    }
}
