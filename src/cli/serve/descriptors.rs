//! The budget of file descriptors: actions and the database get theirs before clients.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thiserror::Error;

use crate::api::HttpLimits;
use crate::formatting::with_causes;

/// For the log, the runtime, listeners, signals, boot files that are checked, and connections that are being refused.
const RESERVED_FOR_PROCESS: usize = 128;
/// For relay boards and polls, so that actions never wait for HTTP or TFTP clients.
const RESERVED_FOR_ACTIONS: usize = 256;
/// For connections to the database that are being replaced, beyond the maximum number.
const RESERVED_FOR_RECONNECTS: usize = 11;
/// The descriptors of a TFTP transfer: a socket and a file.
const DESCRIPTORS_PER_TRANSFER: usize = 2;
/// The minimum number of HTTP connections and of TFTP transfers.
const MIN_CLIENTS: usize = 64;

/// The process may open too few files.
#[derive(Debug, Error)]
pub(super) enum DescriptorError {
    #[error(
        "the process may open {limit} files and needs at least {needed}: raise the limit (`ulimit -n`, or `LimitNOFILE=` of \
         its service)"
    )]
    TooFew { limit: usize, needed: usize },
    #[error(
        "--http-connections {wanted} needs {needed} open files, and the process may open {limit}: raise the limit \
         (`ulimit -n`, or `LimitNOFILE=` of its service), or allow fewer connections"
    )]
    TooMany { wanted: usize, needed: usize, limit: usize },
    #[error("cannot read the limit of open files")]
    Limit(#[source] Errno),
}

/// The limit of descriptors, and the share of each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DescriptorBudget {
    pub(super) limit: usize,
    pub(super) reserved: usize,
    pub(super) http_connections: usize,
    pub(super) tftp_transfers: usize,
}

impl DescriptorBudget {
    /// Raises the soft limit to the hard limit, and divides it.
    pub(super) fn new(
        http_connections: Option<usize>,
        tftp_transfers: usize,
        database_connections: u32,
    ) -> Result<Self, DescriptorError> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(DescriptorError::Limit)?;
        let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(error) => {
                tracing::warn!(
                    error = %with_causes(&error),
                    soft,
                    hard,
                    "cannot raise the limit of open files"
                );
                soft
            }
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self::of(limit, http_connections, tftp_transfers, database_connections as usize)
    }

    /// Divides `limit`: TFTP gets a third of what is not reserved, HTTP the rest, and neither more than it can use.
    fn of(
        limit: usize,
        wanted: Option<usize>,
        transfers: usize,
        database: usize,
    ) -> Result<Self, DescriptorError> {
        let reserved = RESERVED_FOR_PROCESS + RESERVED_FOR_ACTIONS + database + RESERVED_FOR_RECONNECTS;
        let needed = reserved + MIN_CLIENTS + MIN_CLIENTS * DESCRIPTORS_PER_TRANSFER;
        if limit < needed {
            return Err(DescriptorError::TooFew { limit, needed });
        }
        let free = limit - reserved;
        let tftp_transfers = (free / 3 / DESCRIPTORS_PER_TRANSFER).max(MIN_CLIENTS).min(transfers);
        let left = free - tftp_transfers * DESCRIPTORS_PER_TRANSFER;
        let http_connections = wanted.unwrap_or(HttpLimits::DEFAULT_MAX_CONNECTIONS.min(left));
        if http_connections > left {
            let needed = limit - left + http_connections;
            return Err(DescriptorError::TooMany { wanted: http_connections, needed, limit });
        }
        Ok(Self { limit, reserved, http_connections, tftp_transfers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_never_exceed_the_limit() {
        for limit in [612, 700, 1024, 4096, 65_536, 1_048_576] {
            let budget = DescriptorBudget::of(limit, None, 512, 25).unwrap();
            let DescriptorBudget { reserved, http_connections, tftp_transfers, .. } = budget;
            assert!(
                reserved + http_connections + tftp_transfers * DESCRIPTORS_PER_TRANSFER <= limit,
                "{budget:?}"
            );
            assert!(http_connections >= MIN_CLIENTS && tftp_transfers >= MIN_CLIENTS, "{budget:?}");
        }
        let plenty = DescriptorBudget::of(1_048_576, None, 512, 25).unwrap();
        assert_eq!((plenty.http_connections, plenty.tftp_transfers), (4096, 512));
        assert_eq!(DescriptorBudget::of(1_048_576, Some(20_000), 512, 25).unwrap().http_connections, 20_000);
    }

    #[test]
    fn a_limit_that_is_too_low_is_refused_with_the_number_needed() {
        let error = DescriptorBudget::of(256, None, 512, 25).unwrap_err().to_string();
        assert!(error.contains("may open 256 files and needs at least 612"), "{error}");
        let error = DescriptorBudget::of(1024, Some(4096), 512, 25).unwrap_err().to_string();
        assert!(error.contains("--http-connections 4096 needs "), "{error}");
    }
}
