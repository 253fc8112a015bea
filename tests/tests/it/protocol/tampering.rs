//! Nobody takes what was not sent: every message of a round, altered, cut short, lengthened or made
//! up.
//!
//! A program that believes whatever its peers' bytes decode to does what any of them wants. Here
//! every message that was tampered with ends in a typed refusal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fl_network::client::{Link, LinkError};
use fl_network::quic::TransportError;
use fl_network::time::unix_s;
use fl_protocol::digest::{CHUNK_BYTES, ChunkHashes};
use fl_protocol::identity::NodeId;
use fl_protocol::round::Refusal;
use fl_protocol::round::node::Action as NodeAction;
use fl_protocol::round::relay::{Action as RelayAction, Event, Report};
use fl_protocol::sim::Work;
use fl_protocol::wire::{self, BodyId, NodeFrame, RelayFrame};
use fl_tests::federation::memory::{
    Contribution, NodeCall, Outgoing, Party, RelayCall, Round, counters, drawn,
};
use fl_tests::federation::{Kits, plain_mean};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;

use crate::support::federation::{PATIENCE, farthest, federation, member, steps_of, synthetic};

/// `bytes` with a bit of every byte flipped in turn, cut short anywhere, and with something behind.
fn mutations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flipped = (0..bytes.len()).map(|at| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at.wrapping_mul(5) % 8);
        flipped
    });
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let longer = [0, 1, 0xff].map(|byte| [bytes, &[byte]].concat());
    // Lengths and tags are where a decoder can be led astray.
    let large = (0..bytes.len().saturating_sub(8)).step_by(4).map(|at| {
        let mut large = bytes.to_vec();
        large[at..at + 8].fill(0xff);
        large
    });
    flipped.chain(cut).chain(longer).chain(large)
}

/// What became of mutated messages.
#[derive(Debug, Default)]
struct Fate {
    undecodable: usize,
    refused: usize,
    hints: usize,
}

#[test]
fn a_node_takes_no_frame_but_the_one_that_was_sent() -> Result<()> {
    let kits = Kits::of_zeros(3, 6, 1_000)?;
    let round = Round::run(&kits, drawn(&[10, 20, 30], 6))?;
    let party = &round.parties[0];
    let mut fate = Fate::default();
    let mut kinds = 0;
    for (position, call) in party.calls.iter().enumerate() {
        let NodeCall::Frame(bytes) = call else {
            continue;
        };
        kinds += 1;
        for mutated in mutations(bytes) {
            let Ok(frame) = wire::decode::<RelayFrame>(&mutated) else {
                fate.undecodable += 1;
                continue;
            };
            assert_ne!(frame, wire::decode(bytes)?, "two encodings of one frame");
            let mut node = round.node_after(&kits, 0, position)?;
            match node.handle(frame, round.unix_s()) {
                Err(refusal) => {
                    assert!(!refusal.to_string().is_empty());
                    fate.refused += 1;
                }
                Ok(actions) => {
                    for action in actions {
                        assert_harmless(&kits, &round, action)?;
                    }
                    fate.hints += 1;
                }
            }
            assert_eq!(node.head().round, u64::from(position > end_of(party)));
        }
        // The control: what was sent is taken.
        let mut node = round.node_after(&kits, 0, position)?;
        let taken = node.handle(wire::decode(bytes)?, round.unix_s());
        assert!(!taken?.is_empty());
    }
    assert_eq!(kinds, 6, "open, keys, shares, collect, outcome, finished");
    assert!(fate.undecodable > 1_000 && fate.refused > 1_000, "{fate:?}");
    Ok(())
}

/// Position of the call with which the round was complete.
fn end_of(party: &Party) -> usize {
    let averaged = |call: &NodeCall| matches!(call, NodeCall::Done(Work::Average(_)));
    party.calls.iter().position(averaged).unwrap_or_default()
}

/// What a relay may say without proof, because nothing depends on it. All else must have been
/// refused.
fn assert_harmless(kits: &Kits, round: &Round, action: NodeAction) -> Result<()> {
    match action {
        // When to train, and where to go on with an upload of bytes that are signed.
        NodeAction::Train { round: 1, .. } => {}
        NodeAction::Upload { body, .. } => assert_eq!(Some(body), round.ctx.map(BodyId::sum)),
        NodeAction::Send(NodeFrame::TagShare { ctx, .. }) => assert_eq!(Some(ctx), round.ctx),
        NodeAction::Log(_) | NodeAction::Record(_) => {}
        NodeAction::Waiting { .. } | NodeAction::TurnedAway(_) | NodeAction::Finish { .. } => {}
        // The announced root or hash was changed: the bytes show it.
        NodeAction::Average(outcome) => {
            let (base, plan) = (vec![0.0; 6], kits.relay.manifest.fixed_point());
            let refusal = outcome.average(&round.result, &base, plan, &kits.verifier()?);
            assert!(
                matches!(
                    refusal,
                    Err(Refusal::ResultRoot { .. } | Refusal::Averaged { .. })
                ),
                "{refusal:?}"
            );
        }
        other => panic!("a mutated frame led to {other:?}"),
    }
    Ok(())
}

#[test]
fn the_relay_takes_no_frame_but_the_one_that_was_sent() -> Result<()> {
    let kits = Kits::of_zeros(3, 6, 1_000)?;
    let round = Round::run(&kits, drawn(&[10, 20, 30], 6))?;
    let mut fate = Fate::default();
    let mut seen = 0;
    for (position, call) in round.calls.iter().enumerate() {
        let RelayCall::Frame(node, bytes) = call else {
            continue;
        };
        // One node stands for all.
        if *node != round.parties[1].id {
            continue;
        }
        seen += 1;
        let hello = matches!(wire::decode(bytes)?, NodeFrame::Hello(_));
        for mutated in mutations(bytes) {
            let Ok(frame) = wire::decode::<NodeFrame>(&mutated) else {
                fate.undecodable += 1;
                continue;
            };
            assert_ne!(frame, wire::decode(bytes)?, "two encodings of one frame");
            let mut relay = round.relay_after(&kits, position)?;
            let before = relay.head();
            let now = Duration::from_secs(1);
            let actions = relay.handle(now, Event::Frame(*node, frame));
            assert_eq!(relay.head(), before);
            if refuses(&actions, *node) {
                fate.refused += 1;
            } else {
                // Where a node says it stands is checked against what it signs later.
                assert!(hello, "{mutated:?} led to {actions:?}");
                fate.hints += 1;
            }
        }
        let mut relay = round.relay_after(&kits, position)?;
        let now = Duration::from_secs(1);
        let actions = relay.handle(now, Event::Frame(*node, wire::decode(bytes)?));
        assert!(!refuses(&actions, *node), "the control");
    }
    assert_eq!(seen, 6, "hello, keys, shares, sum, tag share, ack");
    assert!(fate.undecodable > 1_000 && fate.refused > 500, "{fate:?}");
    Ok(())
}

fn refuses(actions: &[RelayAction], node: NodeId) -> bool {
    actions.iter().any(|action| match action {
        RelayAction::TurnAway(who, _)
        | RelayAction::Report(Report::Refused(who, _) | Report::Late(who, _)) => *who == node,
        _ => false,
    })
}

#[test]
fn random_bytes_are_neither_frames_nor_a_reason_to_stop() -> Result<()> {
    let mut random = StdRng::seed_from_u64(3);
    let kits = Kits::of_zeros(3, 6, 1_000)?;
    let round = Round::run(&kits, drawn(&[10, 20, 30], 6))?;
    let mut decoded = 0;
    for _ in 0..20_000 {
        let length = random.random_range(0..200);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
        // Half of them at least begin like a frame.
        if random.random_bool(0.5) && length >= 4 {
            bytes[..4].copy_from_slice(&random.random_range(0..10_u32).to_le_bytes());
        }
        if let Ok(frame) = wire::decode::<RelayFrame>(&bytes) {
            decoded += 1;
            let mut node = round.node_after(&kits, 0, 1)?;
            if let Ok(actions) = node.handle(frame, round.unix_s()) {
                for action in actions {
                    assert_harmless(&kits, &round, action)?;
                }
            }
        }
        if let Ok(frame) = wire::decode::<NodeFrame>(&bytes) {
            decoded += 1;
            let mut relay = round.relay_after(&kits, 1)?;
            let stranger = round.parties[2].id;
            relay.handle(Duration::from_secs(1), Event::Frame(stranger, frame));
            assert_eq!(relay.head().round, 0);
        }
    }
    assert!(decoded > 0, "some look like frames, and were tried");
    Ok(())
}

#[test]
fn a_result_with_any_other_bytes_is_refused() -> Result<()> {
    let kits = Kits::of_zeros(3, 600, 1_000)?;
    let round = Round::run(&kits, drawn(&[10, 20, 30], 600))?;
    let outcome = round.outcome(&kits)?;
    let plan = kits.relay.manifest.fixed_point();
    let base = vec![0.0; 600];
    let verifier = kits.verifier()?;
    outcome.average(&round.result, &base, plan, &verifier)?;
    for mutated in mutations(&round.result) {
        let refusal = outcome.average(&mutated, &base, plan, &verifier);
        assert!(
            matches!(refusal, Err(Refusal::ResultRoot { .. })),
            "{refusal:?}"
        );
    }
    for body in round.bodies.values() {
        let refusal = outcome.average(body, &base, plan, &verifier);
        assert!(matches!(refusal, Err(Refusal::ResultRoot { .. })));
    }
    // Nor does it fit another model than the one that it was made for.
    let other = vec![1.0; 600];
    let refusal = outcome.average(&round.result, &other, plan, &verifier);
    assert!(matches!(refusal, Err(Refusal::Averaged { .. })));
    Ok(())
}

/// A node that uploads other bytes than it signed, over and over, until it is honest.
struct Rogue {
    kits: Arc<Kits>,
    party: Party,
    relay: SocketAddr,
}

impl Rogue {
    const INDEX: usize = 2;

    fn new(kits: Arc<Kits>, contribution: Contribution, relay: SocketAddr) -> Result<Self> {
        let party = Party::new(&kits, Self::INDEX, contribution)?;
        Ok(Self { kits, party, relay })
    }

    /// Connects and follows the protocol until the masked sum is asked for.
    async fn asked_for_body(&mut self) -> Result<(Link, BodyId, u32)> {
        let kit = &self.kits.nodes[Self::INDEX];
        let mut link = Link::connect(kit, Some(&self.relay.to_string())).await?;
        let mut call = NodeCall::Connected;
        loop {
            for outgoing in self.party.tell(call, &[], unix_s())? {
                match outgoing {
                    Outgoing::Frame(frame) => link.send(&frame).await?,
                    Outgoing::Body(body, first_chunk) => return Ok((link, body, first_chunk)),
                }
            }
            call = NodeCall::Frame(wire::encode(&link.recv().await?)?);
        }
    }

    /// Uploads `body` behind `hashes`, from the chunk that was asked for. Returns that chunk, and
    /// why the relay hung up.
    async fn upload(&mut self, hashes: &ChunkHashes, body: &[u8]) -> Result<(u32, String)> {
        let (mut link, asked, first_chunk) = self.asked_for_body().await?;
        let (bodies, hashes, body) = (link.bodies(), hashes.clone(), body.to_vec());
        // The relay may hang up before it is complete.
        tokio::spawn(async move {
            bodies
                .upload(asked, first_chunk, &hashes, body.into())
                .await
        });
        loop {
            match link.recv().await {
                Ok(_) => {}
                Err(LinkError::Transport(error)) => {
                    self.party.host.disconnected();
                    let reason = match error {
                        TransportError::ClosedByPeer { reason, .. } => reason.to_string(),
                        other => other.to_string(),
                    };
                    return Ok((first_chunk, reason));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn misbehave(mut self) -> Result<Vec<(u32, String)>> {
        // What is to be uploaded is known once it was asked for.
        drop(self.asked_for_body().await?);
        self.party.host.disconnected();
        let body = self.party.masked.clone();
        let hashes = ChunkHashes::of(&body);
        let mut fates = Vec::new();
        for at in [0, CHUNK_BYTES - 1, CHUNK_BYTES, body.len() - 1] {
            let mut altered = body.clone();
            altered[at] ^= 1;
            // With the hashes that were signed, then with such as fit.
            fates.push(self.upload(&hashes, &altered).await?);
            let fitting = ChunkHashes::of(&altered);
            fates.push(self.upload(&fitting, &altered).await?);
        }
        let longer = [&body[..], &[0; 4]].concat();
        fates.push(self.upload(&hashes, &body[..body.len() - 4]).await?);
        fates.push(self.upload(&hashes, &longer).await?);

        let (mut link, asked, first_chunk) = self.asked_for_body().await?;
        let bodies = link.bodies();
        bodies
            .upload(asked, first_chunk, &hashes, body.into())
            .await?;
        let outcome = NodeCall::Frame(wire::encode(&link.recv().await?)?);
        let mut download = link
            .bodies()
            .download(BodyId::result(asked.subject))
            .await?;
        let mut result = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            result.extend_from_slice(chunk);
        }
        for outgoing in self.party.tell(outcome, &result, unix_s())? {
            if let Outgoing::Frame(frame) = outgoing {
                link.send(&frame).await?;
            }
        }
        let last = link.recv().await?;
        anyhow::ensure!(
            matches!(last, RelayFrame::Finished { rounds: 1 }),
            "{last:?}"
        );
        link.close("enough").await;
        Ok(fates)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_masked_sum_with_other_bytes_than_signed_is_never_added() -> Result<()> {
    // Three chunks, the last one short.
    const PARAMETERS: usize = 140_000;
    let kits = Arc::new(Kits::of_zeros(3, PARAMETERS, 1_000)?);
    let rogue = (vec![0.25; PARAMETERS], counters(400));
    let (mut members, mut logs) = (Vec::new(), Vec::new());
    for (examples, seed) in [(300, 1), (900, 2)] {
        let (trainer, log) = synthetic(PARAMETERS, examples, seed)?;
        members.push(member(Box::new(trainer)));
        logs.push(log);
    }
    let federation = federation(members, 1);
    let (reached, address) = oneshot::channel();
    let misbehaving = tokio::spawn({
        let (kits, rogue) = (kits.clone(), rogue.clone());
        async move { Rogue::new(kits, rogue, address.await?)?.misbehave().await }
    });
    let run = federation.run_with(&kits, |relay| reached.send(relay).unwrap(), |_| ());
    let both = async { tokio::try_join!(run, async { misbehaving.await? }) };
    let (ended, fates) = tokio::time::timeout(PATIENCE, both).await??;

    let reasons: Vec<_> = fates.iter().map(|(_, reason)| reason).collect();
    let chunk = |index| format!("chunk {index} differs from its hash");
    let root = "the chunk hashes do not lead to the signed root".to_owned();
    // A node that goes on sending may learn only that the connection is no more.
    let gone = TransportError::PeerRestarted.to_string();
    let expected = [0, 0, 1, 2].map(|index| [chunk(index), root.clone()]);
    for (reason, expected) in reasons.iter().zip(expected.iter().flatten()) {
        assert!(reason.contains(expected) || **reason == gone, "{reasons:?}");
    }
    assert_eq!(fates.len(), 10);
    assert!(!reasons[8].is_empty() && !reasons[9].is_empty());
    // What was right stays: the upload goes on where it was wrong.
    let asked: Vec<_> = fates.iter().map(|(first, _)| *first).collect();
    assert_eq!(asked, [0, 0, 0, 0, 0, 1, 1, 2, 2, 2], "{reasons:?}");

    let mut steps = steps_of(&logs, 1);
    let mut own = steps[0].clone();
    (own.update, own.examples) = (rogue.0, 400);
    steps.push(own);
    for ended in &ended {
        assert!(farthest(&ended.model, &plain_mean(&steps)) < 1e-6);
    }
    assert_eq!(ended.len(), 2);
    Ok(())
}
