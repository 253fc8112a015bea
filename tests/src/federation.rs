//! Federations in one process, for tests that look inside.
//!
//! [`Federation`] runs the relay and the real node drivers over real QUIC, each node behind a
//! network of its own [`weather`](Weather). [`memory`] runs the state machines without any network
//! and keeps every byte that the relay saw.

mod engine;
pub mod memory;
pub mod sealing;
mod trainers;
mod weather;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use fl_network::kit::Kit;
use fl_network::quic::Server;
use fl_network::relay;
use fl_network::store::{NodeStore, RelayStore, SentRecord};
use fl_protocol::digest::Digest;
use fl_protocol::manifest::{LimitTable, TimeoutTable};
use fl_protocol::metrics::Metrics;
use fl_protocol::round::relay::{Report, Settings};
use fl_shaders::Ring;
use fl_sharing::{Engine, EpochKey};
use fl_trainer::node::{NodeOutcome, Participant, TagVerifier};
use fl_trainer::provision::{AgreedNode, Agreement, RoundParticipation};
use fl_trainer::simulation::SimulationEvent;
use fl_trainer::{Layout, LocalTrainer, Sharing};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

pub use engine::{Masking, RecordingEngine, Revealed, add_mask, masked};
pub use trainers::{
    Disturbed, Log, Recorded, Step, Synthetic, layout, learners, learners_on, plain_mean,
};
pub use weather::{Switch, Weather};

/// Opens a node's state in `state`, with a record of its own. Its data never changes.
///
/// # Errors
///
/// If they cannot be used.
pub fn node_store(state: &Path, kit: &Kit) -> Result<NodeStore> {
    let record = state.join("record");
    let data = Digest::sha256(&[]);
    let (record, _) = SentRecord::open(&record, &kit.manifest, kit.id(), data, false)?;
    Ok(NodeStore::open(state, &kit.manifest, record)?)
}

/// The kits of a consortium, made and written as for a deployment.
#[derive(Debug)]
pub struct Kits {
    /// The relay's.
    pub relay: Kit,
    /// The nodes', in the order of their names.
    pub nodes: Vec<Kit>,
    folder: TempDir,
}

impl Kits {
    /// What the nodes check sums with.
    ///
    /// # Errors
    ///
    /// If the epoch key is not in the kits.
    pub fn verifier(&self) -> Result<TagVerifier> {
        let key = EpochKey::from_bytes(*self.nodes[0].epoch_key()?);
        Ok(TagVerifier::new(Arc::new(key)))
    }

    /// Founds a consortium of `nodes` nodes, each an organisation of its own with at most
    /// `examples_max` examples, which is rounded up.
    ///
    /// # Errors
    ///
    /// If the numbers do not fit each other, or the disk is full.
    pub fn found(
        nodes: usize,
        ring: Ring,
        examples_max: u32,
        layout: Layout,
        initial: Vec<f32>,
    ) -> Result<Self> {
        let model = (layout, initial, Metrics::default());
        Self::sharing(Sharing::Peer, nodes, ring, examples_max, model)
    }

    /// Founds a consortium as [`Kits::found`] does, whose nodes share their updates in this way.
    ///
    /// # Errors
    ///
    /// As [`Kits::found`], or if the nodes cannot share so.
    pub fn sharing(
        sharing: Sharing,
        nodes: usize,
        ring: Ring,
        examples_max: u32,
        (layout, initial, metrics): (Layout, Vec<f32>, Metrics),
    ) -> Result<Self> {
        let names: Vec<_> = (0..nodes).map(|k| format!("node-{k}")).collect();
        let node = |name: &String| AgreedNode {
            name: name.clone(),
            organisation: format!("organisation of {name}"),
            examples_max,
        };
        let agreement = Agreement {
            name: "tests".to_owned(),
            relay: "localhost:0".to_owned(),
            nodes: names.iter().map(node).collect(),
            collusion: 1,
            min_nodes: 3,
            participation: RoundParticipation::Any,
            sharing,
            ring,
            layout,
            initial,
            metrics,
            task: toml::Table::new(),
            timeouts: TimeoutTable::default(),
            // What is trained here need not make sense.
            limits: LimitTable {
                update_norm: 1e30,
                loss_rise: 1e30,
            },
            valid_days: 2,
        };
        let folder = tempfile::tempdir()?;
        agreement.provision()?.write(folder.path())?;
        let kit = |name: &str| Kit::load(&folder.path().join(name));
        let nodes = names.iter().map(|name| kit(name));
        Ok(Self {
            relay: kit("relay")?,
            nodes: nodes.collect::<Result<_, _>>()?,
            folder,
        })
    }

    /// A consortium whose model is one tensor of zeros.
    ///
    /// # Errors
    ///
    /// As [`Kits::found`].
    pub fn of_zeros(nodes: usize, parameters: usize, examples_max: u32) -> Result<Self> {
        let (layout, initial) = (layout(parameters)?, vec![0.0; parameters]);
        Self::found(nodes, Ring::U32, examples_max, layout, initial)
    }

    /// The folder that holds a subfolder for each party.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// One participant of a [`Federation`].
pub struct Member {
    /// Its data and model.
    pub trainer: Box<dyn LocalTrainer>,
    /// What masks its updates.
    pub engine: Arc<dyn Engine>,
    /// The network between it and the relay; none is a clear sky.
    pub weather: Option<Weather>,
}

/// A relay and its nodes over real QUIC on loopback.
pub struct Federation {
    /// The nodes, three or more.
    pub members: Vec<Member>,
    /// Ring of the shares.
    pub ring: Ring,
    /// The most training examples of each node, before it is rounded up.
    pub examples_max: u32,
    /// Rounds, sampling and the least number of participants.
    pub settings: Settings,
}

impl Federation {
    /// Runs all rounds. Returns how each node's part ended.
    ///
    /// # Errors
    ///
    /// Whatever stopped the relay or a node.
    pub async fn run(mut self, observe: impl FnMut(SimulationEvent)) -> Result<Vec<NodeOutcome>> {
        let first = self.members.first_mut().context("no members")?;
        let initial = first.trainer.initial()?;
        self.run_from(initial, observe).await
    }

    /// Runs all rounds, beginning with this model. Returns how each node's part ended.
    ///
    /// # Errors
    ///
    /// Whatever stopped the relay or a node.
    pub async fn run_from(
        self,
        initial: Vec<f32>,
        observe: impl FnMut(SimulationEvent),
    ) -> Result<Vec<NodeOutcome>> {
        let first = self.members.first().context("no members")?;
        let model = (
            first.trainer.layout().clone(),
            initial,
            first.trainer.metrics(),
        );
        let nodes = self.members.len();
        let kits = Kits::sharing(Sharing::Peer, nodes, self.ring, self.examples_max, model)?;
        self.run_with(&kits, |_| (), observe).await
    }

    /// Runs all rounds among the first nodes of a consortium that has more of them; `reached` is
    /// told the relay's address, so that something else can speak for the others.
    ///
    /// # Errors
    ///
    /// Whatever stopped the relay or a node.
    pub async fn run_with(
        self,
        kits: &Kits,
        reached: impl FnOnce(SocketAddr),
        mut observe: impl FnMut(SimulationEvent),
    ) -> Result<Vec<NodeOutcome>> {
        let nodes = self.members.len();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(
            loopback,
            kits.relay.server_tls()?,
            kits.relay.manifest.roster().len(),
        )?;
        let relay = server.local_address()?;
        reached(relay);
        let (events, mut seen) = mpsc::unbounded_channel();

        let (stopping, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let store = RelayStore::open(&kits.folder().join("relay/state"), &kits.relay.manifest)?;
        let (kit, settings, reports) = (kits.relay.clone(), self.settings, events.clone());
        let stop = raised(stopped.clone());
        tasks.spawn(async move {
            // Whoever observes may have seen enough.
            let report =
                |report: &Report| drop(reports.send(SimulationEvent::Relay(report.clone())));
            relay::serve(&kit, server, store, settings, report, stop).await?;
            anyhow::Ok(None)
        });
        let training = Arc::new(Semaphore::new(nodes));
        for (index, (member, kit)) in self.members.into_iter().zip(&kits.nodes).enumerate() {
            let state = kits.folder().join(format!("node-{index}/state"));
            let address = match member.weather {
                Some(weather) => weather.between(relay).await?,
                None => relay,
            };
            let participant = Participant {
                store: node_store(&state, kit)?,
                kit: kit.clone(),
                trainer: member.trainer,
                engine: member.engine,
                relay: Some(address.to_string()),
                training: training.clone(),
            };
            let (events, stop) = (events.clone(), raised(stopped.clone()));
            tasks.spawn(async move {
                let observe = |event| drop(events.send(SimulationEvent::Node(index, event)));
                let ended = participant.run(observe, stop).await;
                let ended = ended.and_then(NodeOutcome::or_failure);
                let ended = ended.with_context(|| format!("node {index}"))?;
                Ok(Some((index, ended)))
            });
        }
        drop(events);

        let mut ended = Vec::with_capacity(nodes);
        let mut failed = None;
        loop {
            let done = tokio::select! {
                // What was seen comes first, so that nothing is left unseen at the end.
                biased;
                Some(event) = seen.recv() => {
                    observe(event);
                    continue;
                }
                Some(done) = tasks.join_next() => done?,
                else => break,
            };
            // The others end before the folder goes in which they write.
            match done {
                Ok(done) => ended.extend(done),
                Err(error) => {
                    stopping.send_replace(true);
                    failed = failed.or(Some(error));
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        ended.sort_by_key(|(index, _)| *index);
        Ok(ended.into_iter().map(|(_, ended)| ended).collect())
    }
}

/// Completes when the flag is raised.
pub async fn raised(mut flag: watch::Receiver<bool>) {
    if flag.wait_for(|raised| *raised).await.is_err() {
        std::future::pending::<()>().await;
    }
}
