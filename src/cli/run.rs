//! Running a command, and its exit code.

use std::error::Error;
use std::process::ExitCode;

use super::command_line::{self, Cli, CliCommand};
use super::log::{DEMO_FILTER, ProcessLog, SERVER_FILTER};
use super::variables::list_unknown;
use super::{
    config, demo, device, image, incident, instance, machine, model, output, power, resource, serve,
};

/// Runs one command. Errors are printed on standard error.
pub async fn run(cli: Cli) -> ExitCode {
    let Cli { log, command, settings } = cli;
    let default_filter = match &command {
        // The demo prints its own progress.
        CliCommand::Demo(_) => DEMO_FILTER,
        // A model's faults are the command's output.
        CliCommand::Model(_) => "error",
        CliCommand::Serve(_)
        | CliCommand::Config(_)
        | CliCommand::Device(_)
        | CliCommand::Image(_)
        | CliCommand::Power(_)
        | CliCommand::Resource(_)
        | CliCommand::Incident(_)
        | CliCommand::Instance(_)
        | CliCommand::Machine(_) => SERVER_FILTER,
    };
    let log = match ProcessLog::start(&log, default_filter) {
        Ok(log) => log,
        Err(error) => return output::fail(&error.to_string()),
    };
    if matches!(command, CliCommand::Serve(_)) {
        for (variable, did_you_mean) in list_unknown(&command_line::command()) {
            tracing::warn!(variable, did_you_mean, "unknown variable ignored");
        }
        if let Some(file) = &settings.file {
            tracing::info!(file = %file.display(), "configuration file read");
        }
    }
    let result = match command {
        CliCommand::Serve(config::ServerConfigArgs { options, .. }) => {
            let options = serve::ServeOptions { power: settings.power(), ..options };
            done(serve::run(options).await)
        }
        CliCommand::Config(options) => config::run(&options, &settings, &command_line::command()).await,
        CliCommand::Demo(options) => done(demo::run(options).await),
        CliCommand::Device(options) => done(device::run(options).await),
        CliCommand::Image(options) => done(image::run(options).await),
        CliCommand::Power(options) => done(power::run(options).await),
        CliCommand::Resource(options) => done(resource::run(options).await),
        CliCommand::Incident(options) => done(incident::run(options).await),
        CliCommand::Instance(options) => done(instance::run(options).await),
        CliCommand::Machine(options) => machine::run(options).await,
        CliCommand::Model(options) => done(model::run(options).await),
    };
    // Log lines come before the final error.
    log.flush();
    ended(result)
}

/// Adds exit code 0 to the success of a command that has no other one.
fn done(result: Result<(), Box<dyn Error>>) -> Result<ExitCode, Box<dyn Error>> {
    result.map(|()| ExitCode::SUCCESS)
}

/// Prints an error, and gives the exit code.
fn ended(result: Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => output::fail(&output::with_causes(&*error)),
    }
}
