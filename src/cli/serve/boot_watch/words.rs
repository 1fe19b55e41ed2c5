//! How fetches ended, in words for the boot log.

use crate::boards::NO_FILE;
use crate::tftp::packet::ErrorCode;
use crate::tftp::{Abort, End};

/// How much of a client's own message is kept, in characters.
const MAX_MESSAGE: usize = 200;

/// Says how a fetch ended; the client's own code and words are kept.
pub(super) fn words(end: &End) -> String {
    match end {
        End::Sent { bytes, .. } => format!("fetched, {bytes} bytes"),
        End::NotFound => NO_FILE.to_owned(),
        End::Refused(why) => format!("refused: {why}"),
        End::Silent { is_all_sent: true, .. } => "all of it sent, the last block not acknowledged".to_owned(),
        End::Silent { bytes_acked, is_all_sent: false } => {
            format!("the board fell silent after {bytes_acked} bytes")
        }
        // Boot loaders begin a transfer to learn a size, and end it there.
        End::Aborted { bytes_acked: 0, by: Abort::Error { code: code @ ErrorCode::OPTIONS, message } } => {
            format!("asked only for its size ({})", error(*code, message))
        }
        End::Aborted { bytes_acked, by: Abort::Error { code, message } } => {
            format!("the board ended it after {bytes_acked} bytes: {}", error(*code, message))
        }
        End::Aborted { bytes_acked, by: Abort::AskedAnew } => {
            format!("the board asked anew after {bytes_acked} bytes")
        }
        End::Aborted { bytes_acked, by: Abort::PortClosed } => {
            format!("the board closed its port after {bytes_acked} bytes")
        }
        End::Dropped { bytes_acked, why } => format!("given up after {bytes_acked} bytes: {why}"),
        End::Broken { .. } => "not answered: the server could not read it".to_owned(),
    }
}

fn error(code: ErrorCode, message: &str) -> String {
    let message: String = message.chars().take(MAX_MESSAGE).collect();
    format!("error {} \"{}\"", code.0, message.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_code_and_words_are_kept_and_bounded() {
        let by = |code, message: &str| Abort::Error { code: ErrorCode(code), message: message.to_owned() };
        let end = |bytes_acked, by| words(&End::Aborted { bytes_acked, by });
        assert_eq!(
            end(0, by(0, "Early terminate")),
            "the board ended it after 0 bytes: error 0 \"Early terminate\""
        );
        assert_eq!(end(0, by(8, "User aborted")), "asked only for its size (error 8 \"User aborted\")");
        assert_eq!(end(512, by(8, "a\nb")), "the board ended it after 512 bytes: error 8 \"a\\nb\"");
        assert_eq!(end(1, by(3, &"#".repeat(5000))).matches('#').count(), 200);
    }
}
