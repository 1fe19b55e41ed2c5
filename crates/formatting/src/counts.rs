//! Counts with their nouns.

use std::fmt::Display;

/// Writes a count with its noun: `1 board`, `2 boards`, `0 classes`, `3 entries`.
#[must_use]
pub fn count<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    if count == N::from(1) { format!("{count} {noun}") } else { format!("{count} {}", plural(noun)) }
}

/// The plural of a regular noun.
fn plural(noun: &str) -> String {
    if let Some(stem) = noun.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
    {
        return format!("{stem}ies");
    }
    let is_hissing = ["s", "x", "z", "ch", "sh"].iter().any(|end| noun.ends_with(end));
    format!("{noun}{}", if is_hissing { "es" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let boards = [0_usize, 1, 2].map(|boards| count(boards, "board"));
        assert_eq!(boards, ["0 boards", "1 board", "2 boards"]);
        let others = ["class", "entry", "day", "try", "match"].map(|noun| count(2_u64, noun));
        assert_eq!(others, ["2 classes", "2 entries", "2 days", "2 tries", "2 matches"]);
    }
}
