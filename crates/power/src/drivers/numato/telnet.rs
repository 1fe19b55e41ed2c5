//! Telnet options in a stream of text: stripped, and refused.
//!
//! Source: RFC 854, RFC 855.

/// Begins a command.
const IAC: u8 = 255;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;

/// Received bytes without telnet commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TelnetText {
    pub(super) text: String,
    /// Answers to the offers and demands of options: all are refused.
    pub(super) refusals: Vec<u8>,
}

/// Parses received bytes; `None` if they end within a command.
pub(super) fn parse(bytes: &[u8]) -> Option<TelnetText> {
    let (mut text, mut refusals, mut rest) = (Vec::new(), Vec::new(), bytes);
    loop {
        rest = match *rest {
            [] => break,
            [IAC, command @ (WILL | WONT | DO | DONT), option, ref rest @ ..] => {
                match command {
                    WILL => refusals.extend([IAC, DONT, option]),
                    DO => refusals.extend([IAC, WONT, option]),
                    _ => {}
                }
                rest
            }
            [IAC, WILL | WONT | DO | DONT] | [IAC] => return None,
            // A literal 255 does not occur in the text of a module; other commands have no argument.
            [IAC, _, ref rest @ ..] => rest,
            [byte, ref rest @ ..] => {
                text.push(byte);
                rest
            }
        };
    }
    Some(TelnetText { text: String::from_utf8_lossy(&text).into_owned(), refusals })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_stripped_from_the_text_and_refused() {
        let bytes =
            [b"Pass", &[IAC, WILL, 1][..], b"word", &[IAC, DO, 3, IAC, WONT, 5, IAC, 241], b": "].concat();
        let TelnetText { text, refusals } = parse(&bytes).unwrap();
        assert_eq!((text.as_str(), refusals), ("Password: ", vec![IAC, DONT, 1, IAC, WONT, 3]));
        for unfinished in [&[b'a', IAC][..], &[IAC, WILL]] {
            assert_eq!(parse(unfinished), None);
        }
    }
}
