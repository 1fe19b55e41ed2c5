//! Widths of texts without a font: those of the widest common font.

/// A text style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TextFont {
    /// The machine's name.
    Title,
    /// The name of a state.
    Name,
    /// Any other text.
    Line,
}

impl TextFont {
    /// Font size in pixels.
    pub(super) fn size(self) -> i32 {
        match self {
            Self::Title => 20,
            Self::Name => 13,
            Self::Line => 12,
        }
    }

    fn is_bold(self) -> bool {
        match self {
            Self::Title | Self::Name => true,
            Self::Line => false,
        }
    }
}

/// Maximum width of `text` in pixels.
pub(super) fn text_width(text: &str, font: TextFont) -> i32 {
    let hundredths: i32 = text.chars().map(hundredths_of_em).fold(0, i32::saturating_add);
    let hundredths = if font.is_bold() { hundredths.saturating_mul(112) / 100 } else { hundredths };
    hundredths.saturating_mul(font.size()) / 100 + 1
}

/// The width of a character in `DejaVu Sans`, rounded up. It is wider than the fonts of most systems; its bold letters are
/// at most 12 % wider.
///
/// Source: measured in a browser, at 1,000 pixels, 2026-11-25.
fn hundredths_of_em(character: char) -> i32 {
    match character {
        'i' | 'j' | 'l' | '\'' => 31,
        ' ' | 'I' | 'J' | '.' | ',' | ';' | ':' | '/' | '|' => 36,
        '-' => 38,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '!' => 45,
        '_' | '"' | '*' => 50,
        'c' | 's' | 'z' | '?' => 56,
        'k' | 'v' | 'x' | 'y' | 'L' | 'F' => 61,
        'a' | 'b' | 'd' | 'e' | 'g' | 'h' | 'n' | 'o' | 'p' | 'q' | 'u' | '0'..='9' | 'T' | 'E' => 64,
        'A' | 'B' | 'C' | 'K' | 'P' | 'R' | 'S' | 'V' | 'X' | 'Y' | 'Z' => 70,
        'D' | 'G' | 'H' | 'N' | 'O' | 'Q' | 'U' => 79,
        'w' | '+' | '=' | '<' | '>' | '×' | '→' => 84,
        _ => 100,
    }
}

/// Shortens a text to `max_chars` characters.
pub(super) fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Breaks `text` at spaces into lines of at most `max_width` pixels; a wider word has its own line.
pub(super) fn wrapped(text: &str, font: TextFont, max_width: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), font) <= max_width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
