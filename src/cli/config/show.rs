//! `lifeguard config show`: every option of a server, its value, and where it came from; and the credentials,
//! without passwords, and the power commands, without arguments.

use std::error::Error;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::super::output::{self, row};
use super::credentials::CredentialEntry;
use super::options::ServerConfigArgs;
use super::power_commands::PowerCommandEntry;
use super::settings::{ServerSettings, Setting};

/// Options of `lifeguard config show`: those of `serve` are taken into account as `serve` would.
#[derive(Debug, Args)]
pub(super) struct ShowOptions {
    // First: what follows the options of `serve` would be under the last of their headings.
    /// Print the options as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerConfigArgs,
}

/// Prints the settings.
pub(super) fn run(options: &ShowOptions, settings: &ServerSettings) -> Result<ExitCode, Box<dyn Error>> {
    let text = if options.json {
        let all: Value = settings.settings.iter().map(Setting::to_json).collect();
        let file = settings.file.as_ref().map(|file| file.display().to_string());
        let credentials: Value = settings.credentials.iter().map(CredentialEntry::to_json).collect();
        let commands: Value = settings.power_commands.iter().map(PowerCommandEntry::to_json).collect();
        let json =
            json!({ "file": file, "options": all, "credentials": credentials, "power_commands": commands });
        serde_json::to_string_pretty(&json)?
    } else {
        let heading = row(["OPTION", "VALUE", "FROM"].map(str::to_owned));
        let rows = settings
            .settings
            .iter()
            .map(|setting| row([setting.option.clone(), setting.value_text(), setting.source_text()]));
        let path = settings.file.iter().map(|path| path.display().to_string()).collect::<String>();
        let credentials = settings.credentials.iter().map(|credential| {
            let source = format!("file {path}:{}", credential.line);
            row([format!("credentials.{}", credential.name), credential.value_text(), source])
        });
        let commands = settings.power_commands.iter().map(|commands| {
            let source = format!("file {path}:{}", commands.line);
            row([format!("power-commands.{}", commands.name), commands.value_text(), source])
        });
        let rows = std::iter::once(heading).chain(rows).chain(credentials).chain(commands);
        output::table(&rows.collect::<Vec<_>>())
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
