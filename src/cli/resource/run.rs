//! Running `lifeguard resource`.

use std::error::Error;

use reqwest::Method;
use serde_json::Value;

use super::options::{ResourceCommand, ResourceOptions};
use super::{file, text};
use crate::cli::api_client::ApiClient;
use crate::cli::output;

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
        ResourceCommand::List => print(&client.get(&["resources"], &[]).await?, text::resource_table),
        ResourceCommand::Show { name } => {
            print(&client.get(&["resources", &name], &[]).await?, text::describe_resource)
        }
        ResourceCommand::Queue => print(&client.get(&["queue"], &[]).await?, text::queue_table),
        ResourceCommand::Set { name, settings } => {
            let path = ["resources", &name];
            let answer = client.call(Method::PATCH, &path, &[], Some(&settings.into_patch())).await?;
            print(&answer, text::describe_resource)
        }
        ResourceCommand::Remove { names } => {
            for name in names {
                client.call(Method::DELETE, &["resources", &name], &[], None).await?;
                output::print(&format!("{name}: nothing is set any more"))?;
            }
            Ok(())
        }
        ResourceCommand::Export => {
            let yaml = client.get_text_with(&["resources"], &[("format", "yaml".to_owned())]).await?;
            Ok(output::print(yaml.trim_end())?)
        }
        ResourceCommand::Import { file, dry_run } => {
            let text = file::read(&file)?;
            let query: &[_] = if dry_run { &[("dry_run", "true".to_owned())] } else { &[] };
            let answer = client.send_text(Method::PUT, &["resources"], query, text).await?;
            print(&answer, text::describe_import)
        }
    }
}
