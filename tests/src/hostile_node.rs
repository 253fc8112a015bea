//! A participant that cheats, for a real relay and real nodes to meet.
//!
//! It is the real machine with real keys and real sealing, over the real connection, but for its
//! lies.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fl_network::client::{Link, LinkError};
use fl_network::kit::Kit;
use fl_network::time::unix_s;
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::round::Outcome;
use fl_protocol::round::message::{Keys, ResultAck, Signed};
use fl_protocol::round::peer::message::Accusation;
use fl_protocol::round::peer::{Proof, SealedShare};
use fl_protocol::sim::{Effect, NodeHost, Work};
use fl_protocol::wire::{BodyId, NodeFrame, RelayFrame};
use fl_shaders::Counters;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::deployed::Consortium;
use crate::federation::sealing::Sealing;
use crate::plain_sum::PlainSum;
use crate::traps::Traps;

/// How long it waits before it comes back.
const PAUSE: Duration = Duration::from_millis(200);

/// What a participant does that an honest one would not.
#[derive(Clone, Copy)]
pub enum Misdeed {
    /// It spoils so many results with a wrong share of the tags, and acknowledges all results
    /// without a look at them.
    Spoil(usize),
    /// It says of the first share that it is given that it does not open.
    Accuse,
    /// It moves every parameter by 1, as if it had the most examples.
    Steer,
    /// It sets [`Traps`] whose weights have this norm, as if it had the most examples.
    Trap(f64),
    /// It claims the most examples, so that its zeros hold the model where it is. Once it has a
    /// sum, it says of each share of this node that it does not open.
    Hold {
        /// Who is accused, if anybody is.
        accused: Option<NodeId>,
    },
}

/// A sum, and what it is added to.
#[derive(Clone)]
pub struct ReceivedSum {
    /// The model with which the round began.
    pub model: Vec<f32>,
    /// The sum of the round.
    pub sum: PlainSum,
}

/// What a participant that cheats has learned.
struct Learned {
    sums: Vec<ReceivedSum>,
    traps: Option<Traps>,
    /// How many rounds have begun.
    begun: usize,
}

impl Learned {
    /// Returns what it contributes to a round that begins with this model, if that is another thing
    /// than before.
    fn update(&mut self, model: &[f32]) -> Option<Vec<f32>> {
        let traps = self.traps.as_mut()?;
        // An attempt that begins again is no new round.
        if self.begun > self.sums.len() {
            return None;
        }
        self.begun += 1;
        Some(traps.steer(model, self.sums.last()))
    }
}

/// A participant that cheats. It goes on until it is dropped.
pub struct HostileNode {
    learned: Arc<Mutex<Learned>>,
    running: JoinHandle<()>,
    _runtime: Runtime,
}

impl HostileNode {
    /// Starts the node of this name, which contributes zeros, unless it steers.
    ///
    /// # Panics
    ///
    /// If its kit is unusable.
    pub fn start(consortium: &Consortium, name: &str, relay: SocketAddr, misdeed: Misdeed) -> Self {
        let kit = Kit::load(&consortium.kit(name)).unwrap();
        let manifest = kit.manifest.clone();
        let most = manifest.member(kit.id()).unwrap().examples_max;
        let (examples, moved) = match misdeed {
            Misdeed::Steer => (most, 1.0),
            Misdeed::Hold { .. } | Misdeed::Trap(_) => (most, 0.0),
            Misdeed::Spoil(_) | Misdeed::Accuse => (1, 0.0),
        };
        let counters = Counters {
            examples: examples.into(),
            clipped: 0,
            tallies: vec![0; manifest.fixed_point().tallies()],
        };
        let update = vec![moved; manifest.parameters()];
        let mut secrets = Sealing::new(&kit, (update, counters)).unwrap();
        if let Misdeed::Spoil(results) = misdeed {
            secrets.wrong_tags = results;
        }
        let identity = kit.node_identity().unwrap().clone();
        let mut host = NodeHost::new(manifest, identity, secrets, unix_s());
        host.disk.model = kit.initial().unwrap();
        let runtime = Runtime::new().unwrap();
        let traps = match misdeed {
            Misdeed::Trap(size) => Some(Traps::new(&kit, examples, size)),
            _ => None,
        };
        let learned = Arc::new(Mutex::new(Learned {
            sums: Vec::new(),
            traps,
            begun: 0,
        }));
        let learning = learned.clone();
        let running = runtime.spawn(async move {
            loop {
                // Whatever ends the connection, it comes back.
                let _ = serve(&kit, relay, &mut host, misdeed, &learning).await;
                host.disconnected();
                sleep(PAUSE).await;
            }
        });
        Self {
            learned,
            running,
            _runtime: runtime,
        }
    }

    /// Returns the sums that it was sent so far, each checked as an honest node does.
    ///
    /// # Panics
    ///
    /// If it has panicked.
    pub fn sums(&self) -> Vec<ReceivedSum> {
        self.learned.lock().unwrap().sums.clone()
    }

    /// Returns what its traps have caught: what may be rows, in the units of the data.
    ///
    /// # Panics
    ///
    /// If it has panicked, or sets none.
    pub fn rows(&self) -> Vec<Vec<f64>> {
        let learned = self.learned.lock().unwrap();
        learned.traps.as_ref().expect("traps").rows()
    }
}

impl Drop for HostileNode {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Serves one connection until it is lost.
async fn serve(
    kit: &Kit,
    relay: SocketAddr,
    host: &mut NodeHost<Sealing>,
    misdeed: Misdeed,
    learned: &Mutex<Learned>,
) -> Result<(), LinkError> {
    let mut link = Link::connect(kit, Some(&relay.to_string())).await?;
    let mut effects = VecDeque::from(host.connected(unix_s()));
    let mut bundle = Vec::new();
    loop {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(frame) => link.send(&frame).await?,
                Effect::Work(work) => effects.extend(host.done(work, unix_s())),
                Effect::Upload {
                    body,
                    first_chunk,
                    bytes,
                } => {
                    let (bodies, hashes) = (link.bodies(), ChunkHashes::of(&bytes));
                    let bytes = Bytes::from(bytes);
                    bodies.upload(body, first_chunk, &hashes, bytes).await?;
                }
                _ => {}
            }
        }
        let frame = link.recv().await?;
        match (misdeed, frame) {
            (Misdeed::Spoil(_), RelayFrame::Outcome(outcome)) => {
                let ack = acknowledgement(kit, host, &outcome);
                link.send(&NodeFrame::Ack(ack)).await?;
            }
            (_, RelayFrame::Shares(shares)) => {
                let has_sums = !learned.lock().unwrap().sums.is_empty();
                match bad_share(kit, misdeed, has_sums, &shares) {
                    Some(share) => {
                        let proof = accusation(kit, host, bundle.clone(), share.clone());
                        link.send(&NodeFrame::Accusation(proof)).await?;
                    }
                    None => effects.extend(host.frame(RelayFrame::Shares(shares), unix_s())),
                }
            }
            (_, RelayFrame::Outcome(outcome)) => {
                let ctx = outcome.ctx;
                let addends = kit.manifest.addends(&outcome.parts.nodes(&kit.manifest));
                effects.extend(host.frame(RelayFrame::Outcome(outcome), unix_s()));
                let sum = download(&link, ctx).await?;
                let checked = host.body(&sum);
                if let [Effect::Work(Work::Average(_))] = &checked[..] {
                    let sum = PlainSum::read(&kit.manifest, addends, &sum);
                    let model = host.disk.model.clone();
                    learned
                        .lock()
                        .unwrap()
                        .sums
                        .push(ReceivedSum { model, sum });
                }
                effects.extend(checked);
            }
            (_, frame) => {
                if let RelayFrame::Keys { bundle: keys, .. } = &frame {
                    bundle.clone_from(keys);
                    if let Some(update) = learned.lock().unwrap().update(&host.disk.model) {
                        host.secrets.update = update;
                    }
                }
                effects.extend(host.frame(frame, unix_s()));
            }
        }
    }
}

/// Returns the share among these of which it says that it does not open, if any.
fn bad_share<'a>(
    kit: &Kit,
    misdeed: Misdeed,
    has_sums: bool,
    shares: &'a [SealedShare],
) -> Option<&'a SealedShare> {
    match misdeed {
        Misdeed::Accuse => shares.first(),
        Misdeed::Hold { accused } if has_sums => shares.iter().find(|sealed| {
            let from = sealed.share.verify(&kit.manifest, unix_s()).unwrap().from;
            Some(from) == accused
        }),
        Misdeed::Hold { .. } | Misdeed::Spoil(_) | Misdeed::Steer | Misdeed::Trap(_) => None,
    }
}

/// Returns its word that this share does not open.
fn accusation(
    kit: &Kit,
    host: &NodeHost<Sealing>,
    bundle: Vec<Signed<Keys>>,
    SealedShare { share, sealed }: SealedShare,
) -> Proof {
    let accusation = Accusation {
        ctx: share.verify(&kit.manifest, unix_s()).unwrap().ctx,
        accuser: kit.id(),
        share,
        round_key: host.secrets.round_key.publish(),
    };
    Proof {
        bundle,
        accusation: Signed::new(&accusation, kit.node_identity().unwrap()).unwrap(),
        sealed,
    }
}

/// Returns the sum of this context.
async fn download(link: &Link, ctx: Digest) -> Result<Vec<u8>, LinkError> {
    let mut download = link.bodies().download(BodyId::result(ctx)).await?;
    let mut sum = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        sum.extend_from_slice(chunk);
    }
    Ok(sum)
}

/// Returns its word that it stands where the result leads.
fn acknowledgement(kit: &Kit, host: &NodeHost<Sealing>, outcome: &Outcome) -> Signed<ResultAck> {
    let head = host.node.head();
    let ack = ResultAck {
        consortium_id: kit.manifest.consortium_id(),
        node: kit.id(),
        head: head.next(outcome.ctx, outcome.root, outcome.model),
    };
    Signed::new(&ack, kit.node_identity().unwrap()).unwrap()
}
