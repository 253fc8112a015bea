//! A whole federation in one process: a relay and its nodes, over real QUIC on loopback.
//!
//! Nothing is cut short: keys and kits are made and written as for a deployment, every node has its
//! own folder, connection and secrets, and the relay sees what it would see anywhere. Only the
//! network is local.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use fl_network::kit::{Kit, KitError};
use fl_network::quic::{Server, TransportError};
use fl_network::relay::{self, RelayError};
use fl_network::store::{NodeStore, RelayStore, SentRecord, StoreError};
use fl_network::tls::TlsError;
use fl_protocol::digest::Digest;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::relay::{Report, Settings};
use fl_sharing::Engine;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::node::{NodeError, NodeEvent, NodeOutcome, Participant};
use crate::provision::{Agreement, ProvisionError, RoundParticipation, Sharing};
use crate::{LocalTrainer, TrainError};

/// Why a simulation ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// Too few nodes.
    #[error("a federation needs at least 3 nodes, not {0}")]
    Nodes(usize),
    /// The consortium cannot be founded.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// A kit does not hold.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// A folder is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The loopback endpoint cannot be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The relay failed.
    #[error("the relay: {0}")]
    Relay(#[from] RelayError),
    /// A node failed.
    #[error("{name}: {source}")]
    Node {
        /// Which.
        name: String,
        /// Why.
        source: NodeError,
    },
    /// A model cannot be initialised.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// No temporary folder.
    #[error("no temporary folder: {0}")]
    Folder(#[from] std::io::Error),
    /// A task died. This is a bug.
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<TrainError> for SimulationError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}

/// A federation to be run in this process.
pub struct Simulation {
    /// One trainer a node, all of one model; at least three.
    pub trainers: Vec<Box<dyn LocalTrainer>>,
    /// What masks the updates.
    pub engine: Arc<dyn Engine>,
    /// Rounds, sampling and the least number of participants.
    pub settings: Settings,
    /// How updates are shared.
    pub sharing: Sharing,
    /// How many nodes train at the same time.
    pub training_at_once: usize,
}

/// What happens in a simulation.
#[derive(Debug)]
pub enum SimulationEvent {
    /// The relay reports.
    Relay(Report),
    /// A node reports; nodes count from 0.
    Node(usize, NodeEvent),
}

impl Simulation {
    /// Runs all rounds, or until `stop` completes. Returns how the first node's part ended.
    /// `observe` is given the manifest as well, which has the names of the nodes that events are
    /// about.
    ///
    /// # Errors
    ///
    /// A [`SimulationError`] naming the party that failed.
    pub async fn run(
        mut self,
        mut observe: impl FnMut(&Arc<Manifest>, SimulationEvent),
        stop: impl Future<Output = ()>,
    ) -> Result<NodeOutcome, SimulationError> {
        if self.trainers.len() < 3 {
            return Err(SimulationError::Nodes(self.trainers.len()));
        }
        let folder = tempfile::tempdir()?;
        let names = self.provision(folder.path())?;
        let relay_kit = Kit::load(&folder.path().join("relay"))?;
        let manifest = relay_kit.manifest.clone();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(loopback, relay_kit.server_tls()?, names.len())?;
        let address = server.local_address()?.to_string();

        let (events, mut observed) = mpsc::unbounded_channel();
        let (stopping, stopped) = watch::channel(false);
        let mut relay = tokio::spawn(run_relay(
            relay_kit,
            server,
            folder.path().join("relay/state"),
            self.settings.clone(),
            events.clone(),
            raised(stopped.clone()),
        ));
        let mut nodes = JoinSet::new();
        let training = Arc::new(Semaphore::new(self.training_at_once.max(1)));
        for (index, (trainer, name)) in self.trainers.drain(..).zip(&names).enumerate() {
            let kit = Kit::load(&folder.path().join(name))?;
            // What a node trains on does not change while the simulation runs.
            let data = Digest::sha256(&[]);
            let record = folder.path().join("record");
            let (record, _) = SentRecord::open(&record, &kit.manifest, kit.id(), data, false)?;
            let state = folder.path().join(name).join("state");
            let store = NodeStore::open(&state, &kit.manifest, record)?;
            let participant = Participant {
                kit,
                store,
                trainer,
                engine: self.engine.clone(),
                relay: Some(address.clone()),
                training: training.clone(),
            };
            let (events, stopped, name) = (events.clone(), stopped.clone(), name.clone());
            nodes.spawn(async move {
                let observe = |event| {
                    // Nobody listens any more only when the simulation is over.
                    let _ = events.send(SimulationEvent::Node(index, event));
                };
                let ended = participant.run(observe, raised(stopped)).await;
                let ended = ended.and_then(NodeOutcome::or_failure);
                let ended = ended.map_err(|source| SimulationError::Node { name, source });
                ended.map(|ended| (index, ended))
            });
        }
        drop(events);

        tokio::pin!(stop);
        let mut first = None;
        let mut failed = None;
        let mut relay_done = false;
        // Whatever happens, all of them end before the folder goes, and what they have to say is
        // heard.
        while !(nodes.is_empty() && relay_done) {
            let ended = tokio::select! {
                biased;
                Some(event) = observed.recv() => {
                    observe(&manifest, event);
                    continue;
                }
                () = &mut stop, if !*stopping.borrow() => {
                    stopping.send_replace(true);
                    continue;
                }
                Some(ended) = nodes.join_next(), if !nodes.is_empty() => match flat(ended) {
                    Ok((index, ended)) => {
                        first = first.or((index == 0).then_some(ended));
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                ended = &mut relay, if !relay_done => {
                    relay_done = true;
                    flat(ended)
                }
            };
            if let Err(error) = ended {
                stopping.send_replace(true);
                failed = failed.or(Some(error));
            }
        }
        while let Ok(event) = observed.try_recv() {
            observe(&manifest, event);
        }
        match failed {
            Some(error) => Err(error),
            None => first.ok_or(SimulationError::Nodes(0)),
        }
    }

    /// Founds a consortium for these trainers in `folder`. Returns the nodes' names.
    fn provision(&mut self, folder: &Path) -> Result<Vec<String>, SimulationError> {
        let examples = self.trainers.iter().map(|trainer| trainer.examples());
        // Too many are refused with all other numbers.
        let examples_max = examples.map(|examples| u32::try_from(examples).unwrap_or(u32::MAX));
        let examples_max: Vec<_> = examples_max.collect();
        let Some(first) = self.trainers.first_mut() else {
            return Err(SimulationError::Nodes(0));
        };
        let model = (first.layout().clone(), first.initial()?);
        let metrics = first.metrics();
        let mut agreement = Agreement::on_one_machine(&examples_max, self.sharing, model);
        agreement.metrics = metrics;
        if self.settings.fraction_fit() < 1.0 {
            // Nobody else is here who could take differences of the sums.
            agreement.participation = RoundParticipation::Any;
        }
        agreement.provision()?.write(folder)?;
        Ok(agreement.nodes.into_iter().map(|node| node.name).collect())
    }
}

async fn run_relay(
    kit: Kit,
    server: Server,
    state: std::path::PathBuf,
    settings: Settings,
    events: mpsc::UnboundedSender<SimulationEvent>,
    stop: impl Future<Output = ()>,
) -> Result<(), SimulationError> {
    let store = RelayStore::open(&state, &kit.manifest)?;
    let report = |report: &Report| {
        let _ = events.send(SimulationEvent::Relay(report.clone()));
    };
    relay::serve(&kit, server, store, settings, report, stop).await?;
    Ok(())
}

/// Returns what a task came to.
fn flat<T>(
    ended: Result<Result<T, SimulationError>, tokio::task::JoinError>,
) -> Result<T, SimulationError> {
    ended.map_err(SimulationError::from).flatten()
}

/// Completes when the flag is raised.
async fn raised(mut flag: watch::Receiver<bool>) {
    if flag.wait_for(|raised| *raised).await.is_err() {
        std::future::pending::<()>().await;
    }
}
