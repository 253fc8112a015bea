//! Federated averaging in the open, as fast as the same transport allows: what all of the protocol
//! is measured against.
//!
//! Connections, tuning, mutual TLS and bulk streams are those of the protocol. A node uploads its
//! update as it is, the relay adds chunks as they arrive and sends the mean to all, and a node adds
//! that to its model as it arrives. There are no keys, seeds, masks, signatures, hashes, tags,
//! acknowledgements or files. It is a bench and no way to run a federation: the relay sees every
//! update.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use fl_datasets::Source;
use fl_network::client::host_of;
use fl_network::kit::Kit;
use fl_network::quic::{BulkReceiver, Client, Connection, ConnectionBytes, send_bulk};
use fl_protocol::digest::CHUNK_BYTES;
use fl_protocol::manifest::Pace;
use fl_protocol::parameters::to_le_bytes;
use fl_trainer::node::Step;
use fl_trainer::{LocalTrainer, OrderSeed, Training};
use tokio::task::{JoinSet, spawn_blocking};

use crate::costs::{NodeCosts, Traffic};
use crate::party::{Told, listen, ready, tell};
use crate::training::{trainer, update};

const CHUNK_WORDS: usize = CHUNK_BYTES / 4;
/// There is one kind of body, and it has nothing to say of itself.
const HEADER: &[u8] = &[];
/// Bytes of a stream before its body.
const PREFIX: u64 = 4;

fn pace() -> Pace {
    Pace {
        grace: Duration::from_secs(60),
        bytes_per_second: NonZeroU64::MIN.saturating_add((1 << 20) - 1),
    }
}

/// The sum so far, a lock a chunk, so that uploads do not wait for each other.
type Sum = Vec<Mutex<Chunk>>;

struct Chunk {
    values: Vec<f32>,
    /// Updates that are in it.
    added: usize,
    /// Their mean, as it is sent, once all are.
    mean: Bytes,
}

/// Averages rounds until the bench is over.
pub(crate) async fn relay(kit: Kit) -> anyhow::Result<()> {
    let server = listen(&kit)?;
    let nodes = kit.manifest.roster().len();
    let mut connections = Vec::new();
    while connections.len() < nodes {
        let incoming = server.accept().await.context("no more connections")?;
        connections.push(incoming.handshake().await?);
    }
    let words = kit.manifest.parameters();
    let starts = (0..words).step_by(CHUNK_WORDS);
    let chunk = |start| {
        Mutex::new(Chunk {
            values: vec![0.0; CHUNK_WORDS.min(words - start)],
            added: 0,
            mean: Bytes::new(),
        })
    };
    let sum: Arc<Sum> = Arc::new(starts.map(chunk).collect());
    loop {
        let mut uploads = JoinSet::new();
        for connection in &connections {
            uploads.spawn(add(connection.clone(), sum.clone(), nodes));
        }
        while let Some(added) = uploads.join_next().await {
            added??;
        }
        tell(&Told::Collected)?;
        let mean = |chunk: &Mutex<Chunk>| std::mem::take(&mut lock(chunk).mean);
        let mean: Vec<_> = sum.iter().map(mean).collect();
        let mut downloads = JoinSet::new();
        for connection in &connections {
            let (connection, mean) = (connection.clone(), mean.clone());
            downloads.spawn(async move { send_bulk(&connection, HEADER, mean).await });
        }
        while let Some(sent) = downloads.join_next().await {
            sent??;
        }
    }
}

/// Adds a node's update, chunk by chunk, and takes the mean of a chunk that is complete.
async fn add(connection: Connection, sum: Arc<Sum>, nodes: usize) -> anyhow::Result<()> {
    let receiver = BulkReceiver::accept(&connection, pace()).await?;
    let (_, mut body) = receiver.header(HEADER.len()).await?;
    let mut buffer = vec![0; CHUNK_BYTES];
    for chunk in &*sum {
        let length = 4 * lock(chunk).values.len();
        let piece = &mut buffer[..length];
        body.next_piece(piece).await?;
        let mut chunk = lock(chunk);
        accumulate(&mut chunk.values, piece);
        chunk.added += 1;
        if chunk.added == nodes {
            let share = 1.0 / nodes as f32;
            chunk.values.iter_mut().for_each(|value| *value *= share);
            chunk.mean = to_le_bytes(&chunk.values).into();
            chunk.values.fill(0.0);
            chunk.added = 0;
        }
    }
    Ok(body.end().await?)
}

fn lock(chunk: &Mutex<Chunk>) -> MutexGuard<'_, Chunk> {
    chunk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accumulate(values: &mut [f32], bytes: &[u8]) {
    let (words, _) = bytes.as_chunks();
    for (value, word) in values.iter_mut().zip(words) {
        *value += f32::from_le_bytes(*word);
    }
}

/// Where a node's updates come from.
enum Updates {
    /// The bytes of one that is there at once.
    Instant(Bytes),
    Trained(Box<dyn LocalTrainer>),
}

impl Updates {
    fn new(kit: &Kit, data: Option<&Source>) -> anyhow::Result<Self> {
        Ok(match data {
            None => Self::Instant(to_le_bytes(&update(kit)).into()),
            Some(_) => Self::Trained(trainer(kit, data)?),
        })
    }

    /// Waits for the bench. Returns the bytes of the update from `model` on.
    fn next(&mut self, model: &[f32], round: u64) -> anyhow::Result<Bytes> {
        match self {
            Self::Instant(update) => {
                ready();
                Ok(update.clone())
            }
            Self::Trained(trainer) => {
                // As a participant of the protocol does before it trains.
                trainer.evaluate(model)?;
                let order = OrderSeed::of_numbers(Training::default().seed, round);
                let keep_on = &mut |_| ControlFlow::Continue(());
                let trained = trainer.train(model, round, &order, keep_on)?;
                Ok(to_le_bytes(&trained.update.to_vec()?).into())
            }
        }
    }
}

/// Takes part in rounds until the bench is over.
pub(crate) async fn node(kit: Kit, relay: SocketAddr, data: Option<&Source>) -> anyhow::Result<()> {
    let client = Client::bind(relay, kit.client_tls()?)?;
    let connection = client
        .connect(host_of(kit.manifest.relay_address())?)
        .await?;
    let mut updates = Updates::new(&kit, data)?;
    let mut model = kit.initial()?;
    let payload = PREFIX + 4 * model.len() as u64;
    let mut buffer = vec![0; CHUNK_BYTES];
    for round in 1.. {
        let next = move || (updates.next(&model, round), updates, model);
        let update;
        (update, updates, model) = spawn_blocking(next).await?;
        let (begun, before) = (Instant::now(), ConnectionBytes::of(&connection));
        send_bulk(&connection, HEADER, [update?]).await?;
        let receiver = BulkReceiver::accept(&connection, pace()).await?;
        let (_, mut body) = receiver.header(HEADER.len()).await?;
        let announced = begun.elapsed();
        for values in model.chunks_mut(CHUNK_WORDS) {
            let piece = &mut buffer[..4 * values.len()];
            body.next_piece(piece).await?;
            accumulate(values, piece);
        }
        body.end().await?;
        let averaged = begun.elapsed();
        let after = ConnectionBytes::of(&connection);
        tell(&Told::Round(NodeCosts {
            round,
            steps: vec![
                (Step::Announced, announced.as_secs_f64()),
                (Step::Averaged, averaged.as_secs_f64()),
            ],
            traffic: Traffic {
                sent: payload,
                received: payload,
                udp_sent: after.sent - before.sent,
                udp_received: after.received - before.received,
            },
        }))?;
    }
    Ok(())
}
