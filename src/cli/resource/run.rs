//! Running `lifeguard resource`.

use std::error::Error;

use reqwest::Method;
use serde_json::{Value, json};

use super::options::{ResourceCommand, ResourceOptions};
use super::{file, views};
use crate::cli::api_client::ApiClient;
use crate::cli::output::{self, text};

/// Runs the command.
///
/// # Errors
///
/// Why the command failed, for people.
pub(in crate::cli) async fn run(options: ResourceOptions) -> Result<(), Box<dyn Error>> {
    let ResourceOptions { server, command } = options;
    let client = ApiClient::new(&server)?;
    let print = |answer: &Value, text: fn(&Value) -> String| -> Result<(), Box<dyn Error>> {
        output::warn_of(answer);
        let text = if server.json { serde_json::to_string_pretty(answer)? } else { text(answer) };
        Ok(output::print(&text)?)
    };
    match command {
        ResourceCommand::List => print(&client.get(&["resources"], &[]).await?, views::resource_table),
        ResourceCommand::Show { name } => {
            print(&client.get(&["resources", &name], &[]).await?, views::describe_resource)
        }
        ResourceCommand::Queue => print(&client.get(&["queue"], &[]).await?, views::queue_table),
        ResourceCommand::Set { name, settings } => {
            let path = ["resources", &name];
            let answer = client.call(Method::PATCH, &path, &[], Some(&settings.into_patch())).await?;
            print(&answer, views::describe_resource)
        }
        ResourceCommand::Remove { names } => {
            for name in names {
                client.call(Method::DELETE, &["resources", &name], &[], None).await?;
                let removed = json!({ "name": name, "outcome": "removed" });
                print(&removed, |removed| format!("{}: nothing is set any more", text(removed, "name")))?;
            }
            Ok(())
        }
        ResourceCommand::Export if server.json => {
            Err("`resource export` prints YAML: leave out --json".into())
        }
        ResourceCommand::Export => {
            let yaml = client.get_text_with(&["resources"], &[("format", "yaml".to_owned())]).await?;
            Ok(output::print(yaml.trim_end())?)
        }
        ResourceCommand::Import { file, dry_run } => {
            let text = file::read(&file)?;
            let query: &[_] = if dry_run { &[("dry_run", "true".to_owned())] } else { &[] };
            let answer = client.send_text(Method::PUT, &["resources"], query, text).await?;
            print(&answer, views::describe_import)
        }
    }
}
