//! `lifeguard config check`: what is wrong with a configuration file, and where.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;

use super::super::output::{self, complain_in_lines};
use super::file::{self, ConfigFileError};

/// Checks a file: exit code 0 where nothing is wrong, 1 where something is, 2 where it cannot be read.
pub(super) fn run(path: &Path, root: &Command) -> Result<ExitCode, Box<dyn Error>> {
    match file::read(path, root) {
        Ok(file) => {
            let options = match file.entries.len() {
                1 => "1 option".to_owned(),
                count => format!("{count} options"),
            };
            output::print(&format!("{}: {options}, no errors", path.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            complain_in_lines(&error.to_string());
            Ok(match error {
                ConfigFileError::Faults { .. } => ExitCode::FAILURE,
                ConfigFileError::Read(_) => ExitCode::from(2),
            })
        }
    }
}
