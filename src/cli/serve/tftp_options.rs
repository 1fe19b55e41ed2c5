//! The options of the TFTP server.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::parsers::{boolean, number_between, span};
use crate::tftp::{PortMode, TftpLimits};

/// The options of the TFTP server.
#[derive(Debug, Clone, Args)]
pub struct TftpArgs {
    /// Answer TFTP requests from the server's port, for boards behind NAT; only for trusted networks
    #[arg(long, env = "LIFEGUARD_TFTP_SINGLE_PORT", value_name = "true|false", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
    pub tftp_single_port: bool,

    /// The maximum number of concurrent TFTP transfers
    #[arg(long, env = "LIFEGUARD_TFTP_TRANSFERS", value_name = "NUMBER", default_value = "512", value_parser = number)]
    pub tftp_transfers: usize,

    /// The maximum number of concurrent TFTP transfers to one address
    #[arg(
        long,
        env = "LIFEGUARD_TFTP_PER_ADDRESS",
        value_name = "NUMBER",
        default_value = "128",
        value_parser = number
    )]
    pub tftp_per_address: usize,

    /// How long one TFTP transfer may take
    #[arg(long, env = "LIFEGUARD_TFTP_TRANSFER_TIME", value_name = "DURATION", default_value = "1h", value_parser = span)]
    pub tftp_transfer_time: Duration,
}

impl Default for TftpArgs {
    fn default() -> Self {
        let limits = TftpLimits::default();
        Self {
            tftp_single_port: false,
            tftp_transfers: limits.max_transfers,
            tftp_per_address: limits.max_transfers_per_client,
            tftp_transfer_time: limits.max_transfer_time,
        }
    }
}

impl TftpArgs {
    /// The limits of the server.
    pub(super) fn limits(&self) -> TftpLimits {
        TftpLimits {
            max_transfers: self.tftp_transfers,
            max_transfers_per_client: self.tftp_per_address,
            max_transfer_time: self.tftp_transfer_time,
            ..TftpLimits::default()
        }
    }

    /// The port that answers come from.
    pub(super) fn ports(&self) -> PortMode {
        if self.tftp_single_port { PortMode::Single } else { PortMode::OnePerTransfer }
    }
}

fn number(text: &str) -> Result<usize, String> {
    number_between(text, 1, 100_000)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestArgs {
        #[command(flatten)]
        tftp: TftpArgs,
    }

    #[test]
    fn defaults_are_the_limits_of_the_server() {
        let line = TestArgs::parse_from(["serve"]);
        assert_eq!(line.tftp.limits(), TftpLimits::default());
        assert_eq!(line.tftp.ports(), PortMode::OnePerTransfer);
        let line = TestArgs::parse_from(["serve", "--tftp-transfers", "3", "--tftp-transfer-time", "90s"]);
        assert_eq!(line.tftp.limits().max_transfers, 3);
        assert_eq!(line.tftp.limits().max_transfer_time, Duration::from_secs(90));
        for bad in [
            ["--tftp-transfers", "0"],
            ["--tftp-transfer-time", "0s"],
            ["--tftp-transfer-time", "5"],
            ["--tftp-transfer-time", "5M"],
        ] {
            assert!(TestArgs::try_parse_from(["serve"].iter().chain(&bad)).is_err(), "{bad:?}");
        }
    }
}
