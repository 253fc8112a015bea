//! `bench-round`: what a round costs beside training, and what it would cost without the secrecy.
//!
//! Three federations of the same nodes and parameters stand side by side, every party a process of
//! its own, one of each [`Mode`]. Each round waits until all of its nodes have their update, and
//! the three take turns, so that whatever else the machine does slows all alike. A round lasts from
//! the moment when the nodes are let go until all of them are ready for the next; with data to
//! train on that includes the training. In a federation that would be training meanwhile, the new
//! state then goes to the disk; here it is waited for before the turn passes.
//!
//! Two of the three federations do not mask what their nodes send, which is why none of this is
//! part of `fl-node`.

mod args;
mod bare;
mod costs;
mod federation;
mod mode;
mod party;
mod plain;
mod protocol;
mod training;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use fl_network::kit::Kit;
use fl_network::program::logging::{self, explain, say};
use fl_trainer::provision::Agreement;

use args::{Args, BenchParty, BenchRound, Command};
use costs::Summary;
use federation::Federation;
use mode::Mode;
use training::Learned;

/// A round that is not counted: connections find their pace, and memory is touched for the first
/// time.
const WARM_UP: usize = 1;

fn main() -> ExitCode {
    let args = Args::parse();
    logging::init();
    let done = match &args.command {
        None => bench(&args.bench),
        Some(Command::Party(args)) => party(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &BenchRound) -> anyhow::Result<()> {
    ensure!(args.nodes >= 3, "--nodes must be at least 3");
    ensure!(args.params > 0, "--params must be at least 1");
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let folder = tempfile::tempdir()?;
    let (names, parameters) = found(args, folder.path())?;
    let start = |mode| Federation::start(folder.path(), &names, mode, args.data.as_ref());
    let [secure, plain, bare] = Mode::ALL.map(start);
    let mut federations = [secure?, plain?, bare?];
    for _ in 0..WARM_UP {
        for federation in &mut federations {
            federation.round()?;
        }
    }
    for federation in &mut federations {
        federation.begin();
    }
    for _ in 0..args.rounds {
        for federation in &mut federations {
            federation.round()?;
        }
    }
    let summary = Summary::new(args, parameters, &federations.map(Federation::end));
    match args.json {
        true => say(serde_json::to_string(&summary)?),
        false => say(summary.to_string().trim_end()),
    }
    Ok(())
}

/// Runs one party of a bench, in a process that [`bench()`] has started.
fn party(args: &BenchParty) -> anyhow::Result<()> {
    party::leave_with_bench();
    let kit = Kit::load(&args.kit)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (state, data) = (args.kit.join(args.mode.state()), args.data.as_ref());
    let ended = match (&args.relay, args.mode.engine()) {
        (None, Some(_)) => runtime.block_on(protocol::relay(kit, &state)),
        (Some(relay), Some(engine)) => {
            let trainer = training::trainer(&kit, data)?;
            runtime.block_on(protocol::node(kit, &state, relay, engine, trainer))
        }
        (None, None) => runtime.block_on(bare::relay(kit)),
        (Some(relay), None) => runtime.block_on(bare::node(kit, *relay, data)),
    };
    ended.with_context(|| args.kit.display().to_string())
}

/// Founds a consortium of the nodes in `folder`. Returns their names and the number of parameters.
fn found(args: &BenchRound, folder: &Path) -> anyhow::Result<(Vec<String>, usize)> {
    let Learned {
        layout,
        initial,
        metrics,
        examples_max,
    } = match &args.data {
        None => Learned::nothing(args.params)?,
        Some(data) => Learned::from(data, args.nodes)?,
    };
    let parameters = layout.len();
    let model = (layout, initial);
    let examples_max = vec![examples_max; args.nodes];
    let agreement = Agreement {
        metrics,
        ..Agreement::on_one_machine(&examples_max, args.scheme, model)
    };
    agreement.provision()?.write(folder)?;
    let names = agreement.nodes.into_iter().map(|node| node.name);
    Ok((names.collect(), parameters))
}
