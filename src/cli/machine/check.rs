//! `lifeguard machine check`: says what is wrong with definitions, and where.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::output;
use super::file;

/// Options of `lifeguard machine check`.
#[derive(Debug, Args)]
pub(super) struct CheckOptions {
    /// The definitions
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Checks the files: exit code 0 where nothing is wrong, 1 where something is, 2 where one cannot be read.
pub(super) fn run(options: &CheckOptions) -> Result<ExitCode, Box<dyn Error>> {
    let mut worst = 0;
    for path in &options.files {
        let name = path.display().to_string();
        match file::read(path) {
            Err(error) => {
                output::complain(&error.to_string());
                worst = 2;
            }
            Ok(text) => match file::check(&name, &text) {
                Ok(_) => output::print(&format!("{name}: nothing is wrong"))?,
                Err(faults) => {
                    output::print(&faults.to_string())?;
                    worst = worst.max(1);
                }
            },
        }
    }
    Ok(ExitCode::from(worst))
}
