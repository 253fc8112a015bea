//! `fl-node`: trains on its own data, shares its update in secret, and takes over the average.

mod args;
mod console;
mod data;
mod devices;
mod evaluate;
mod inspect;
mod output;
mod predict;
mod provision;
mod simulate;
mod task;
mod train;
mod verify_log;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    fl_network::program::logging::init();
    fl_network::program::conceal();
    let done = match args.command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Simulate(args) => simulate::run(args),
        Command::Provision(args) => provision::run(args),
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Devices => devices::run(),
        Command::VerifyLog(args) => return verify_log::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "error: {}",
                fl_network::program::logging::explain(error.as_ref())
            );
            ExitCode::FAILURE
        }
    }
}
