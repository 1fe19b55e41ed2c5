//! The boards that a request is for.

use clap::Args;

use super::fields::{FieldFilters, filter_names};
use super::list::list_all;
use crate::cli::api_client::{ApiClient, ApiClientError};
use crate::cli::output::text;

/// The boards of a request: by name, or all that `lifeguard device list` would list with the same options.
#[derive(Debug, Args)]
pub(super) struct BoardSelection {
    /// The boards; without names, those that the options select
    #[arg(required_unless_present_any = common_properties(), conflicts_with_all = common_properties())]
    names: Vec<String>,
    /// Only boards in these states, separated by commas; `Failed*` matches all that begin with Failed
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    fields: FieldFilters,
    /// All boards of the server
    #[arg(long, conflicts_with_all = filter_names().chain(["state"]))]
    all: bool,
}

/// The options that select boards by what they have in common.
fn common_properties() -> impl Iterator<Item = &'static str> {
    filter_names().chain(["state", "all"])
}

impl BoardSelection {
    /// Whether the boards are selected, and not named.
    pub(super) fn is_selection(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the names of the boards.
    ///
    /// # Errors
    ///
    /// When the boards cannot be listed.
    pub(super) async fn names(self, client: &ApiClient) -> Result<Vec<String>, ApiClientError> {
        let Self { names, state, fields, all: _ } = self;
        if !names.is_empty() {
            return Ok(names);
        }
        let query = state.into_iter().map(|state| ("state", state)).chain(fields.0).collect();
        let listed = list_all(client, query).await?;
        let listed = listed["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(listed.iter().map(|device| text(device, "name")).collect())
    }
}
