//! Relay and nodes as in a deployment, but for the training: a node has its update at once, and the clock runs only
//! from when all have.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use fl_network::kit::Kit;
use fl_network::quic::Server;
use fl_network::round::relay::{Report, Settings};
use fl_network::store::Store;
use fl_sharing::Engine;
use fl_trainer::node::{NodeEvent, Participant};
use fl_trainer::{
    Evaluation, Layout, LocalTrainer, LocalUpdate, Progress, TensorLayout, TrainError, Update,
};
use tokio::sync::Semaphore;

use super::costs::NodeCosts;
use super::party::{Told, leave_with_bench, ready, tell};

/// Training examples of each node.
pub(super) const EXAMPLES: u32 = 1000;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Serves rounds until the bench is over.
pub(super) async fn relay(kit: Kit, state: &Path) -> anyhow::Result<()> {
    leave_with_bench();
    let server = Server::bind(LOOPBACK, kit.server_tls()?)?;
    tell(&Told::Listening(server.local_address()?))?;
    let store = Store::open(state, &kit.manifest)?;
    let settings = Settings {
        rounds: u64::MAX,
        fraction_fit: 1.0,
        min_nodes: kit.manifest.roster().len(),
    };
    let report = |report: &Report| {
        if let Report::Collected { .. } = report {
            say(&Told::Collected);
        }
    };
    fl_network::relay::serve(
        &kit,
        server,
        store,
        settings,
        report,
        std::future::pending(),
    )
    .await?;
    Ok(())
}

/// Takes part in rounds until the bench is over.
pub(super) async fn node(
    kit: Kit,
    state: &Path,
    relay: &SocketAddr,
    engine: Arc<dyn Engine>,
) -> anyhow::Result<()> {
    let store = Store::open(state, &kit.manifest)?;
    let trainer = Instantly::new(&kit)?;
    let participant = Participant {
        kit,
        store,
        trainer: Box::new(trainer),
        engine,
        relay: Some(relay.to_string()),
        training: Arc::new(Semaphore::new(1)),
    };
    let observe = |event| match event {
        NodeEvent::Round(report) => say(&Told::Round(NodeCosts::from(report))),
        NodeEvent::Refused(refusal) => eprintln!("refused: {refusal}"),
        NodeEvent::Disconnected { reason, .. } | NodeEvent::Failed { reason } => {
            eprintln!("{reason}");
        }
        _ => {}
    };
    participant.run(observe, std::future::pending()).await?;
    Ok(())
}

/// Says something to the bench from where an error has nowhere to go.
fn say(told: &Told) {
    if let Err(error) = tell(told) {
        eprintln!("the bench is not reached: {error}");
    }
}

/// A node's update: small, and another for each node.
pub(super) fn update(kit: &Kit) -> Vec<f32> {
    let own = f32::from(kit.id().as_bytes()[0]);
    let parameters = 0..kit.manifest.parameters();
    parameters
        .map(|k| 0.01 * (k as f32 * 31.0 + own).sin())
        .collect()
}

/// A node that has its update at once, and waits for the bench.
struct Instantly {
    layout: Layout,
    update: Update,
}

impl Instantly {
    fn new(kit: &Kit) -> anyhow::Result<Self> {
        let tensors = kit.manifest.layout().iter().map(|tensor| TensorLayout {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
        });
        Ok(Self {
            layout: Layout::try_from(tensors.collect::<Vec<_>>())?,
            update: update(kit).into(),
        })
    }
}

impl LocalTrainer for Instantly {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        Ok(vec![0.0; self.layout.len()])
    }

    fn train(
        &mut self,
        _global: &[f32],
        _round: u64,
        _progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        ready();
        Ok(LocalUpdate {
            update: self.update.clone(),
            examples: EXAMPLES,
        })
    }

    fn evaluate(&mut self, _parameters: &[f32]) -> Result<Evaluation, TrainError> {
        Ok(Evaluation::default())
    }
}
