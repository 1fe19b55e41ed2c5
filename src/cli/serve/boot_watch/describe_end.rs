//! The end of a TFTP transfer as text for the boot log.

use crate::boards::NO_SUCH_FILE;
use crate::tftp::packet::TftpErrorCode;
use crate::tftp::{ClientAbort, TransferEnd};

/// The maximum length of a client's own message, in characters.
const MAX_MESSAGE_CHARS: usize = 200;

/// Describes the end of a transfer, with the client's own error code and message.
pub(super) fn describe_end(end: &TransferEnd) -> String {
    match end {
        TransferEnd::Sent { bytes, .. } => format!("fetched, {bytes} bytes"),
        TransferEnd::NotFound => NO_SUCH_FILE.to_owned(),
        TransferEnd::Refused(why) => format!("refused: {why}"),
        TransferEnd::Silent { is_all_sent: true, .. } => {
            "all of it sent, the last block not acknowledged".to_owned()
        }
        TransferEnd::Silent { bytes_acked, is_all_sent: false } => {
            format!("timed out after {bytes_acked} bytes")
        }
        // Boot loaders start a transfer to learn the size, and abort it.
        TransferEnd::Aborted {
            bytes_acked: 0,
            by: ClientAbort::Error { code: code @ TftpErrorCode::OPTIONS, message },
        } => {
            format!("asked only for its size ({})", error_text(*code, message))
        }
        TransferEnd::Aborted { bytes_acked, by: ClientAbort::Error { code, message } } => {
            format!("the board ended it after {bytes_acked} bytes: {}", error_text(*code, message))
        }
        TransferEnd::Aborted { bytes_acked, by: ClientAbort::NewRequest } => {
            format!("restarted by the board after {bytes_acked} bytes")
        }
        TransferEnd::Aborted { bytes_acked, by: ClientAbort::PortClosed } => {
            format!("the board closed its port after {bytes_acked} bytes")
        }
        TransferEnd::Dropped { bytes_acked, why } => format!("given up after {bytes_acked} bytes: {why}"),
        TransferEnd::ServerError { .. } => "not answered: the server could not read it".to_owned(),
    }
}

fn error_text(code: TftpErrorCode, message: &str) -> String {
    let message: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    format!("error {} \"{}\"", code.0, message.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_code_and_message_are_kept_and_bounded() {
        let by = |code, message: &str| ClientAbort::Error {
            code: TftpErrorCode(code),
            message: message.to_owned(),
        };
        let end = |bytes_acked, by| describe_end(&TransferEnd::Aborted { bytes_acked, by });
        assert_eq!(
            end(0, by(0, "Early terminate")),
            "the board ended it after 0 bytes: error 0 \"Early terminate\""
        );
        assert_eq!(end(0, by(8, "User aborted")), "asked only for its size (error 8 \"User aborted\")");
        assert_eq!(end(512, by(8, "a\nb")), "the board ended it after 512 bytes: error 8 \"a\\nb\"");
        assert_eq!(end(1, by(3, &"#".repeat(5000))).matches('#').count(), 200);
    }
}
