//! `lifeguard machine import`: translates a StateService file into a machine definition.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{faces, output};
use super::file;
use crate::clock::local_to_utc;
use crate::import::{self, ImportedDefinition};
use crate::machine::MachineName;

/// Options of `lifeguard machine import`.
#[derive(Debug, Args)]
pub(super) struct ImportOptions {
    /// The StateService file; `-` is standard input. Times without an offset are in the time zone of this machine
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The name of the machine [default: the name of the file without its extension]
    #[arg(long, value_name = "NAME", value_parser = MachineName::new)]
    name: Option<MachineName>,
}

/// Prints the translation.
pub(super) fn run(options: &ImportOptions) -> Result<(), Box<dyn Error>> {
    let name = options.name.clone().map_or_else(|| machine_name(&options.file), Ok)?;
    let text = file::read(&options.file)?;
    let imported = translate(&file::name(&options.file), &text, &name)?;
    output::print(imported.source.trim_end())?;
    Ok(())
}

/// Translates the text of `file`, and prints warnings about it.
pub(in crate::cli) fn translate(
    file: &str,
    text: &str,
    machine: &MachineName,
) -> Result<ImportedDefinition, Box<dyn Error>> {
    let imported = import::import(text, machine, &local_to_utc, faces::vocabulary());
    let imported = imported.map_err(|faults| faults.display(file).to_string())?;
    for note in &imported.notes {
        output::complain(&note.display(file));
    }
    Ok(imported)
}

/// The machine's name from the file's: characters that a name cannot contain become `-`.
pub(in crate::cli) fn machine_name(path: &Path) -> Result<MachineName, Box<dyn Error>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem = if path.as_os_str() == "-" { "states".into() } else { stem };
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let name = if plain.starts_with(|first: char| first.is_ascii_alphabetic()) {
        plain
    } else {
        format!("m{plain}")
    };
    MachineName::new(&name).map_err(|error| {
        format!("{}: the name of the file is not a name of a machine: {error}", path.display()).into()
    })
}
