//! `lifeguard demo`.
use super::serve::ServeOptions;
use std::error::Error;
/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct DemoOptions {
    #[command(flatten)]
    serve: ServeOptions,
}
pub(super) async fn run(_options: DemoOptions) -> Result<(), Box<dyn Error>> {
    Ok(())
}
