//! How the boot tree is served by TFTP: options and limits.

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::parsers::span;
use crate::tftp::{PortMode, TftpLimits};

/// What `serve` can be told of TFTP.
#[derive(Debug, Clone, Args)]
pub struct TftpArgs {
    /// Answer TFTP requests from the port that they came to, for boards behind NAT; on networks that you trust
    #[arg(long, env = "LIFEGUARD_TFTP_SINGLE_PORT", value_parser = BoolishValueParser::new())]
    pub tftp_single_port: bool,

    /// How many files are sent by TFTP at the same time
    #[arg(long, env = "LIFEGUARD_TFTP_TRANSFERS", value_name = "NUMBER", default_value = "512", value_parser = number)]
    pub tftp_transfers: usize,

    /// How many of them to one address
    #[arg(
        long,
        env = "LIFEGUARD_TFTP_PER_ADDRESS",
        value_name = "NUMBER",
        default_value = "128",
        value_parser = number
    )]
    pub tftp_per_address: usize,

    /// How long sending one file may take
    #[arg(long, env = "LIFEGUARD_TFTP_TRANSFER_TIME", value_name = "TIME", default_value = "1h", value_parser = span)]
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
    /// The limits that they make.
    pub(super) fn limits(&self) -> TftpLimits {
        TftpLimits {
            max_transfers: self.tftp_transfers,
            max_transfers_per_client: self.tftp_per_address,
            max_transfer_time: self.tftp_transfer_time,
            ..TftpLimits::default()
        }
    }

    /// Where answers come from.
    pub(super) fn ports(&self) -> PortMode {
        if self.tftp_single_port { PortMode::Single } else { PortMode::OnePerTransfer }
    }
}

fn number(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number| (1..=100_000).contains(number));
    number.ok_or("a number from 1 to 100000 is needed")
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
    fn what_is_not_said_is_as_the_server_s_own_limits() {
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
