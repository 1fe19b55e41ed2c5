//! `lifeguard model`: converts scikit-learn models, and uses the models that a server hosts.

mod convert;
mod hosted;

use std::error::Error;

use clap::{Args, Subcommand};

/// Options of `lifeguard model`.
#[derive(Debug, Args)]
pub(super) struct ModelCommandOptions {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Convert a pickled scikit-learn model to an ONNX file, and check that both predict the same
    #[command(long_about = convert::about())]
    Convert(convert::ConvertOptions),
    /// List the models that a server hosts
    List(hosted::ModelListOptions),
    /// Show a model, with its fault if it has one
    Show(hosted::ModelNameOptions),
    /// Reload a model's config and file
    Load(hosted::ModelNameOptions),
    /// Predict the state of each row of numbers
    Predict(hosted::ModelPredictOptions),
}

/// Runs one of them.
///
/// # Errors
///
/// Why the command failed, for people.
pub(super) async fn run(options: ModelCommandOptions) -> Result<(), Box<dyn Error>> {
    match options.command {
        ModelCommand::Convert(options) => convert::run(options).await,
        ModelCommand::List(options) => hosted::list(options).await,
        ModelCommand::Show(options) => hosted::show(options).await,
        ModelCommand::Load(options) => hosted::load(options).await,
        ModelCommand::Predict(options) => hosted::predict(options).await,
    }
}
