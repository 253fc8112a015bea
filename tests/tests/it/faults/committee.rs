//! A committee of five among twenty nodes, of which eight leave as soon as their upload is in, and
//! one holder is killed when the others are to vote.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fl_network::quic::Server;
use fl_network::relay;
use fl_network::store::RelayStore;
use fl_protocol::metrics::Metrics;
use fl_protocol::round::relay::Report;
use fl_shaders::Ring;
use fl_sharing::CpuEngine;
use fl_tests::federation::{Kits, layout, node_store, plain_mean, raised};
use fl_trainer::Sharing;
use fl_trainer::node::{NodeEvent, NodeOutcome, Participant};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::federation::{EXAMPLES_MAX, PATIENCE, farthest, settings, steps_of, synthetic};

const NODES: usize = 20;
const PARAMETERS: usize = 200_000;
/// Who leaves early.
const VANISHING: std::ops::Range<usize> = 12..20;
/// The holder that is killed.
const KILLED: usize = 2;

/// What the test waits for.
#[derive(Debug)]
enum Seen {
    Relay(Report),
    Left(usize, Result<NodeOutcome, String>),
}

/// Runs node `index` until it has vanished, was killed, or all rounds are done.
async fn run_node(
    index: usize,
    participant: Participant,
    killed: watch::Receiver<bool>,
) -> Result<NodeOutcome, String> {
    let (leave, left) = watch::channel(false);
    let observe = move |event| {
        if VANISHING.contains(&index) && matches!(event, NodeEvent::Received { .. }) {
            leave.send_replace(true);
        }
    };
    let stop = async {
        tokio::select! {
            () = raised(left) => {}
            () = raised(killed), if index == KILLED => {}
        }
    };
    let ended = participant.run(observe, stop).await;
    let ended = ended.and_then(NodeOutcome::or_failure);
    ended.map_err(|error| format!("node {index}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_completes_though_eight_leave_after_their_upload_and_a_holder_is_killed()
-> Result<()> {
    let sharing = Sharing::Committee {
        holders: 5,
        threshold: 2,
    };
    let model = (layout(PARAMETERS)?, vec![0.0; PARAMETERS], Metrics::Answers);
    let kits = Kits::sharing(sharing, NODES, Ring::U32, EXAMPLES_MAX, model)?;
    let server = Server::bind(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        kits.relay.server_tls()?,
        NODES,
    )?;
    let address = server.local_address()?.to_string();
    let (events, mut seen) = mpsc::unbounded_channel();
    let (finish, finished) = watch::channel(false);
    let (kill, killed) = watch::channel(false);

    let mut tasks = JoinSet::new();
    let store = RelayStore::open(&kits.folder().join("relay/state"), &kits.relay.manifest)?;
    let (kit, reports) = (kits.relay.clone(), events.clone());
    tasks.spawn(async move {
        let report = |report: &Report| {
            // The contributors are chosen: the holders are about to be asked for their votes.
            if let Report::Participants { .. } = report {
                kill.send_replace(true);
            }
            drop(reports.send(Seen::Relay(report.clone())));
        };
        let served = relay::serve(&kit, server, store, settings(1), report, raised(finished)).await;
        served.expect("the relay serves");
    });
    let training = Arc::new(Semaphore::new(NODES));
    let mut logs = Vec::new();
    for (index, kit) in kits.nodes.iter().enumerate() {
        let examples = 100 + u32::try_from(index)?;
        let (trainer, log) = synthetic(PARAMETERS, examples, index as u64)?;
        logs.push(log);
        let state = kits.folder().join(format!("node-{index}/state"));
        let participant = Participant {
            store: node_store(&state, kit)?,
            kit: kit.clone(),
            trainer: Box::new(trainer),
            engine: Arc::new(CpuEngine),
            relay: Some(address.clone()),
            training: training.clone(),
        };
        let (events, killed) = (events.clone(), killed.clone());
        tasks.spawn(async move {
            let left = run_node(index, participant, killed).await;
            drop(events.send(Seen::Left(index, left)));
        });
    }
    drop(events);

    let (mut ended, mut completed) = (Vec::new(), None);
    while ended.len() < NODES {
        let seen = timeout(PATIENCE, seen.recv()).await.context("too slow")?;
        match seen.context("all have left")? {
            Seen::Relay(Report::Completed(round)) => completed = Some(round),
            Seen::Relay(_) => {}
            Seen::Left(index, left) => ended.push((index, left.map_err(anyhow::Error::msg)?)),
        }
    }
    finish.send_replace(true);
    while let Some(task) = tasks.join_next().await {
        task?;
    }

    let completed = completed.context("the round is complete")?;
    assert_eq!((completed.nodes as usize, completed.attempts), (NODES, 1));
    let steps = steps_of(&logs, 1);
    ensure!(steps.len() == NODES);
    let mean = plain_mean(&steps);
    let stayed = |index: &usize| !VANISHING.contains(index) && *index != KILLED;
    let mut models = 0;
    for (index, ended) in &ended {
        assert_eq!(
            (ended.is_finished(), ended.round),
            (stayed(index), u64::from(stayed(index)))
        );
        if !stayed(index) {
            continue;
        }
        models += 1;
        let farthest = farthest(&ended.model, &mean);
        assert!(
            farthest < 1e-6,
            "node {index} is {farthest} away from the plain average"
        );
    }
    assert_eq!(models, NODES - VANISHING.len() - 1);
    Ok(())
}
