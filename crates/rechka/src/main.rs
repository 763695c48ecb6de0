//! The command line of Rechka: arguments and wiring only.
mod bare_audio;
mod bundled;
mod captions;
mod cli;
mod commands;
mod demo;
mod location;
mod model;
mod models;
mod position;
mod progress;
mod queries;
mod rows;
mod runtime;
mod service;
mod status_table;

use clap::Parser;
use cli::{Cli, Command};
use tracing_subscriber::EnvFilter;

fn main() -> std::process::ExitCode {
    let filter = EnvFilter::try_from_env("RECHKA_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let result = match &Cli::parse().command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Transcribe(arguments) => commands::transcribe::run(arguments),
        Command::Serve(arguments) => commands::serve::run(arguments),
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Sql(arguments) => commands::sql::run(arguments),
        Command::Status(arguments) => commands::status::run(arguments),
        Command::Topics(arguments) => commands::topics::run(arguments),
        Command::Produce(arguments) => commands::produce::run(arguments),
        Command::Consume(arguments) => commands::consume::run(arguments),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        // Whoever read standard output has seen enough: `| head`.
        Err(error) if is_broken_pipe(&error) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rechka: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    error
        .chain()
        .any(|cause| io(cause) == Some(std::io::ErrorKind::BrokenPipe))
}
