//! A federation of the bench, and how its rounds are timed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use fl_datasets::Source;

use crate::WARM_UP;
use crate::costs::{Costs, Rounds};
use crate::mode::Mode;
use crate::party::{Party, Told};

/// How long a round may take with all that it leaves on disk.
const PATIENCE: Duration = Duration::from_secs(600);

/// The round that a party has on disk.
fn round_of(state: &Path) -> Option<u64> {
    let state: serde_json::Value = serde_json::from_slice(&fs::read(state).ok()?).ok()?;
    state["round"].as_u64()
}

/// A relay and its nodes.
pub(crate) struct Federation {
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
    pub(crate) fn start(
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
    pub(crate) fn round(&mut self) -> anyhow::Result<()> {
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
    pub(crate) fn begin(&mut self) {
        let (relay, node) = self.processor_s();
        (self.rounds.relay_cpu_s, self.rounds.node_cpu_s) = (-relay, -node);
    }

    /// Counts processor time up to here, and memory. Ends all parties.
    pub(crate) fn end(mut self) -> Rounds {
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
