//! `lifeguard machine diagram`: draws a definition.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::output;
use super::file;
use crate::diagram::{InstanceOverlay, dot, mermaid, svg};

/// Options of `lifeguard machine diagram`.
#[derive(Debug, Args)]
pub(super) struct DiagramOptions {
    /// The definition; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The format: an image, or the source of a diagram for Mermaid or Graphviz
    #[arg(long, value_enum, default_value_t = DiagramFormat::Svg)]
    format: DiagramFormat,

    /// The file to write, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The format of a diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiagramFormat {
    Mermaid,
    Dot,
    Svg,
}

/// Draws the definition.
///
/// # Errors
///
/// The faults of the definition, or why a file cannot be read or written.
pub(super) fn run(options: &DiagramOptions) -> Result<(), Box<dyn Error>> {
    let text = file::read(&options.file)?;
    let definition = file::check(&file::name(&options.file), &text)?;
    let drawing = match options.format {
        DiagramFormat::Mermaid => mermaid(&definition),
        DiagramFormat::Dot => dot(&definition),
        DiagramFormat::Svg => svg(&definition, &InstanceOverlay::default()),
    };
    match &options.output {
        Some(path) => fs_err::write(path, drawing)?,
        None => output::print(drawing.trim_end())?,
    }
    Ok(())
}
