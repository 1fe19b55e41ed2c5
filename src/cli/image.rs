//! `lifeguard image`: images, and the boot config that boots each of them on a type of hardware.

use std::collections::BTreeMap;
use std::error::Error;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::api_client::{ApiClient, ServerOptions};
use super::output;

/// The command's options.
#[derive(Debug, Args)]
pub(super) struct ImageOptions {
    #[command(flatten)]
    server: ServerOptions,
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Register an image, or change it
    Set {
        /// Its name
        name: String,
        /// A description of one line
        #[arg(long, default_value = "", hide_default_value = true)]
        about: String,
        /// The file in the boot tree's `configs` folder that boots the image on a type of hardware; may be given several times
        #[arg(
            long = "boot-config",
            value_name = "HARDWARE=FILE",
            value_parser = parse_boot_config,
            required = true
        )]
        boot_configs: Vec<(String, String)>,
    },
    /// List the images
    List,
    /// Remove an image; boards that run it keep running
    Remove {
        /// Its name
        name: String,
    },
}

fn parse_boot_config(text: &str) -> Result<(String, String), String> {
    let (hardware, file) =
        text.split_once('=').ok_or("HARDWARE=FILE is needed, such as panda=panda-base.cfg")?;
    Ok((hardware.to_owned(), file.to_owned()))
}

pub(super) async fn run(options: ImageOptions) -> Result<(), Box<dyn Error>> {
    let client = ApiClient::new(&options.server)?;
    let (answer, text) = match options.command {
        ImageCommand::Set { name, about, boot_configs } => {
            let boot_configs: BTreeMap<_, _> = boot_configs.into_iter().collect();
            let body = json!({ "about": about, "boot_configs": boot_configs });
            let answer = client.call(Method::PUT, &["images", &name], &[], Some(&body)).await?;
            let text = format!("{name} is registered: {}", boot_configs_of(&answer));
            (answer, text)
        }
        ImageCommand::List => {
            let answer = client.get(&["images"], &[]).await?;
            let text = table(&answer);
            (answer, text)
        }
        ImageCommand::Remove { name } => {
            client.call(Method::DELETE, &["images", &name], &[], None).await?;
            (json!({ "name": name, "outcome": "removed" }), format!("{name}: removed"))
        }
    };
    output::warn_of(&answer);
    let printed = if options.server.json { serde_json::to_string_pretty(&answer)? } else { text };
    Ok(output::print(&printed)?)
}

/// The boot configs of an image: `HARDWARE=FILE HARDWARE=FILE`.
fn boot_configs_of(image: &Value) -> String {
    let configs = image["boot_configs"].as_object().into_iter().flatten();
    let configs = configs.map(|(hardware, file)| format!("{hardware}={}", file.as_str().unwrap_or_default()));
    configs.collect::<Vec<_>>().join(" ")
}

fn table(answer: &Value) -> String {
    let mut rows = vec![vec!["IMAGE".to_owned(), "BOOT CONFIGS".to_owned(), "ABOUT".to_owned()]];
    for image in answer["images"].as_array().into_iter().flatten() {
        let text = |key: &str| image[key].as_str().unwrap_or_default().to_owned();
        rows.push(vec![text("name"), boot_configs_of(image), output::clipped(&text("about"))]);
    }
    output::table(&rows)
}
