//! Relay and nodes as in a deployment.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use fl_network::kit::Kit;
use fl_network::store::RelayStore;
use fl_protocol::round::relay::{Report, Settings};
use fl_sharing::Engine;
use fl_tests::federation::node_store;
use fl_trainer::LocalTrainer;
use fl_trainer::node::{NodeEvent, Participant};
use tokio::sync::Semaphore;

use crate::costs::NodeCosts;
use crate::party::{Told, listen, tell};

/// Serves rounds until the bench is over.
pub(crate) async fn relay(kit: Kit, state: &Path) -> anyhow::Result<()> {
    let server = listen(&kit)?;
    let store = RelayStore::open(state, &kit.manifest)?;
    let nodes = kit.manifest.roster().len();
    let settings = Settings::new(u64::MAX, 1.0, nodes, nodes..=nodes)?;
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
pub(crate) async fn node(
    kit: Kit,
    state: &Path,
    relay: &SocketAddr,
    engine: Arc<dyn Engine>,
    trainer: Box<dyn LocalTrainer>,
) -> anyhow::Result<()> {
    let store = node_store(state, &kit)?;
    let participant = Participant {
        kit,
        store,
        trainer,
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
    let ended = participant.run(observe, std::future::pending()).await?;
    ended.or_failure()?;
    Ok(())
}

/// Says something to the bench from where an error has nowhere to go.
fn say(told: &Told) {
    if let Err(error) = tell(told) {
        eprintln!("the bench is not reached: {error}");
    }
}
