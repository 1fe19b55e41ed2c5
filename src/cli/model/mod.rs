//! `lifeguard model`: makes hosted models of scikit-learn's, and asks a server's.

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
    /// Make an ONNX file of a pickled scikit-learn model, and prove that both predict the same
    #[command(long_about = convert::about())]
    Convert(convert::ConvertOptions),
    /// List the models that a server hosts
    List(hosted::ModelListOptions),
    /// Show one of them, and what is wrong with it
    Show(hosted::ModelNameOptions),
    /// Read a model's config and file anew
    Load(hosted::ModelNameOptions),
    /// Ask a model which state each row of numbers stands for
    Predict(hosted::ModelPredictOptions),
}

/// Runs one of them.
///
/// # Errors
///
/// What kept it from being done, for people.
pub(super) async fn run(options: ModelCommandOptions) -> Result<(), Box<dyn Error>> {
    match options.command {
        ModelCommand::Convert(options) => convert::run(options).await,
        ModelCommand::List(options) => hosted::list(options).await,
        ModelCommand::Show(options) => hosted::show(options).await,
        ModelCommand::Load(options) => hosted::load(options).await,
        ModelCommand::Predict(options) => hosted::predict(options).await,
    }
}
