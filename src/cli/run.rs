//! Running a command, and its exit code.

use std::error::Error;
use std::process::ExitCode;

use super::command_line::{Cli, Command};
use super::log::Log;
use super::{demo, device, image, instance, machine, model, output, resource, serve};

/// Runs one command; what went wrong is on standard error.
pub async fn run(cli: Cli) -> ExitCode {
    let Cli { log, command } = cli;
    let usual = match &command {
        // The demo tells its own story; its faults are meant to be. What is wrong with a model is the command's answer.
        Command::Demo(_) | Command::Model(_) => "error",
        Command::Serve(_)
        | Command::Device(_)
        | Command::Image(_)
        | Command::Resource(_)
        | Command::Instance(_)
        | Command::Machine(_) => "info,sqlx=error",
    };
    let log = match Log::start(&log, usual) {
        Ok(log) => log,
        Err(error) => return output::fail(&error.to_string()),
    };
    let result = match command {
        Command::Serve(options) => done(serve::run(options).await),
        Command::Demo(options) => done(demo::run(options).await),
        Command::Device(options) => done(device::run(options).await),
        Command::Image(options) => done(image::run(options).await),
        Command::Resource(options) => done(resource::run(options).await),
        Command::Instance(options) => done(instance::run(options).await),
        Command::Machine(options) => machine::run(options).await,
        Command::Model(options) => done(model::run(options).await),
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
