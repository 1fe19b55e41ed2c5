//! Running a command, and its exit code.

use std::error::Error;
use std::process::ExitCode;

use super::command_line::{Cli, CliCommand};
use super::log::ProcessLog;
use super::{demo, device, image, instance, machine, model, output, resource, serve};

/// Runs one command; what went wrong is on standard error.
pub async fn run(cli: Cli) -> ExitCode {
    let Cli { log, command } = cli;
    let usual = match &command {
        // The demo tells its own story; its faults are meant to be. What is wrong with a model is the command's answer.
        CliCommand::Demo(_) | CliCommand::Model(_) => "error",
        CliCommand::Serve(_)
        | CliCommand::Device(_)
        | CliCommand::Image(_)
        | CliCommand::Resource(_)
        | CliCommand::Instance(_)
        | CliCommand::Machine(_) => "info,sqlx=error",
    };
    let log = match ProcessLog::start(&log, usual) {
        Ok(log) => log,
        Err(error) => return output::fail(&error.to_string()),
    };
    let result = match command {
        CliCommand::Serve(options) => done(serve::run(options).await),
        CliCommand::Demo(options) => done(demo::run(options).await),
        CliCommand::Device(options) => done(device::run(options).await),
        CliCommand::Image(options) => done(image::run(options).await),
        CliCommand::Resource(options) => done(resource::run(options).await),
        CliCommand::Instance(options) => done(instance::run(options).await),
        CliCommand::Machine(options) => machine::run(options).await,
        CliCommand::Model(options) => done(model::run(options).await),
    };
    // What is said last comes last.
    log.flush();
    ended(result)
}

/// The exit code of a command that has no other than success.
fn done(result: Result<(), Box<dyn Error>>) -> Result<ExitCode, Box<dyn Error>> {
    result.map(|()| ExitCode::SUCCESS)
}

/// The exit code; what went wrong is said.
fn ended(result: Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => output::fail(&output::with_causes(&*error)),
    }
}
