//! `fl-node bench-round`: what a round costs beside training, and what it would cost without the secrecy.
//!
//! Three federations of the same nodes and parameters stand side by side, every party a process of its own, one of each
//! [`Mode`]. Each round waits until all of its nodes have their update, and the three take turns, so that whatever else
//! the machine does slows all alike. A round lasts from the moment when the nodes are let go until all of them are ready
//! for the next; with data to train on that includes the training. In a federation that would be training meanwhile, the
//! new state then goes to the disk; here it is waited for before the turn passes.

mod bare;
mod costs;
mod mode;
mod party;
mod plain;
mod protocol;
mod training;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fl_datasets::Source;
use fl_network::kit::Kit;
use fl_network::program::logging::say;
use fl_trainer::provision::Agreement;

use super::args::{BenchParty, BenchRound};
use costs::{Costs, Rounds, Summary};
pub(crate) use mode::Mode;
use party::{Party, Told};
use training::Learned;

/// A round that is not counted: connections find their pace, and memory is touched for the first time.
const WARM_UP: usize = 1;
/// How long a round may take with all that it leaves on disk.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn run(args: &BenchRound) -> anyhow::Result<()> {
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

/// One party of a bench, in a process that [`run`] has started.
pub(crate) fn party(args: &BenchParty) -> anyhow::Result<()> {
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

/// Founds a consortium of the nodes in `folder`. Gives their names and the number of parameters.
fn found(args: &BenchRound, folder: &Path) -> anyhow::Result<(Vec<String>, usize)> {
    let learned = match &args.data {
        None => Learned::nothing(args.params)?,
        Some(data) => Learned::from(data)?,
    };
    let model = (learned.layout, learned.initial);
    let agreement = Agreement {
        task: learned.task,
        ..Agreement::on_one_machine(args.nodes, args.scheme, learned.examples_max, model)
    };
    agreement.found()?.write(folder)?;
    let parameters = agreement.layout.len();
    let names = agreement.nodes.into_iter().map(|node| node.name);
    Ok((names.collect(), parameters))
}

/// The round that a party has on disk.
fn round_of(state: &Path) -> Option<u64> {
    let state: serde_json::Value = serde_json::from_slice(&fs::read(state).ok()?).ok()?;
    state["round"].as_u64()
}

/// A relay and its nodes.
struct Federation {
    relay: Party,
    nodes: Vec<Party>,
    /// By number of the party, with the time at which it was said.
    told: mpsc::Receiver<(usize, Instant, Told)>,
    rounds: Rounds,
    /// Where the parties say which round they have on disk, if they keep anything.
    states: Vec<PathBuf>,
}

impl Federation {
    /// Starts a process for each party, and waits until all nodes are ready.
    fn start(
        folder: &Path,
        names: &[String],
        mode: Mode,
        data: Option<&Source>,
    ) -> anyhow::Result<Self> {
        let (tell, told) = mpsc::channel();
        let relay = Party::start(
            names.len(),
            &folder.join("relay"),
            None,
            (mode, None),
            &tell,
        )?;
        let (_, _, Told::Listening(address)) = told.recv()? else {
            bail!("the relay did not start");
        };
        let idle = relay.peak_memory();
        let start = |(number, name): (usize, &String)| {
            Party::start(
                number,
                &folder.join(name),
                Some(address),
                (mode, data),
                &tell,
            )
        };
        let nodes: anyhow::Result<Vec<_>> = names.iter().enumerate().map(start).collect();
        let parties = names.iter().map(String::as_str).chain(["relay"]);
        let mut federation = Self {
            relay,
            nodes: nodes?,
            told,
            rounds: Rounds {
                relay_memory_idle: idle,
                ..Rounds::default()
            },
            states: match mode.engine() {
                Some(_) => parties
                    .map(|party| folder.join(party).join(mode.state()).join("state.json"))
                    .collect(),
                None => Vec::new(),
            },
        };
        federation.wait(Instant::now())?;
        Ok(federation)
    }

    /// Lets the nodes go, and waits until all are ready again.
    fn round(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.rounds.rounds.push(Costs::default());
        for node in &mut self.nodes {
            node.release()?;
        }
        self.wait(begun)?;
        let completed = self.rounds.rounds.len() as u64;
        for state in &self.states {
            while round_of(state) < Some(completed) {
                ensure!(
                    begun.elapsed() < PATIENCE,
                    "{} is not kept",
                    state.display()
                );
                sleep(Duration::from_millis(1));
            }
        }
        if let Some(round) = self.rounds.rounds.last_mut() {
            round.on_disk = match self.states[..] {
                [] => round.seconds,
                _ => begun.elapsed().as_secs_f64(),
            };
        }
        Ok(())
    }

    /// Waits until all nodes are ready. What they report may be of the round before.
    fn wait(&mut self, begun: Instant) -> anyhow::Result<()> {
        let mut waiting = self.nodes.len();
        while waiting > 0 {
            let (number, at, told) = self.told.recv()?;
            let since = at.saturating_duration_since(begun);
            match told {
                Told::Ready => {
                    waiting -= 1;
                    if let Some(round) = self.rounds.rounds.last_mut() {
                        round.seconds = round.seconds.max(since.as_secs_f64());
                    }
                }
                Told::Round(node) => self.rounds.add(number, node),
                Told::Collected => {
                    if let Some(round) = self.rounds.rounds.last_mut() {
                        round.collected = since.as_secs_f64();
                    }
                }
                Told::Listening(_) => {}
                Told::Gone => bail!("party {number} has ended; it says why above"),
            }
        }
        Ok(())
    }

    /// Counts processor time from here on.
    fn begin(&mut self) {
        let (relay, node) = self.processor_s();
        (self.rounds.relay_cpu_s, self.rounds.node_cpu_s) = (-relay, -node);
    }

    /// Counts processor time up to here, and memory. Ends all parties.
    fn end(mut self) -> Rounds {
        let (relay, node) = self.processor_s();
        self.rounds.relay_cpu_s += relay;
        self.rounds.node_cpu_s += node;
        self.rounds.relay_memory = self.relay.peak_memory();
        self.rounds.node_memory = self.nodes.iter().map(Party::peak_memory).max().unwrap_or(0);
        self.rounds.rounds.drain(..WARM_UP);
        self.rounds
    }

    /// Of the relay, and of a node in the mean.
    fn processor_s(&self) -> (f64, f64) {
        let nodes: f64 = self.nodes.iter().map(Party::processor_s).sum();
        (self.relay.processor_s(), nodes / self.nodes.len() as f64)
    }
}
