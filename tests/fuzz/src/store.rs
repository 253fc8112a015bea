//! What a party remembers across restarts.

use fl_protocol::sim::OPEN_BOXES;
use std::collections::BTreeSet;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fl_network::kit::Kit;
use fl_network::store::{NodeStore, RelayStore, SentRecord, StoreError};
use fl_protocol::digest::{ChunkHashes, Digest, model_hash};
use fl_protocol::round::message::{ResultAck, Signed};
use fl_protocol::round::node::{Node, Pending};
use fl_protocol::round::peer::PendingSum;
use fl_protocol::round::relay::{Event, LastResult, Relay};
use fl_protocol::round::training::{Averaged, average};
use fl_protocol::round::{Checkpoint, Head, SentSum, SentSums};
use fl_protocol::sim;
use tempfile::TempDir;

use crate::Seed;
use crate::fixture::{EPOCH, PARAMETERS, consortium, round};
use crate::folder::{folder, with_contents};
use crate::kit;
use fl_protocol::sim::Consortium;

/// Stands for the record of sent sums, which is named after its node and consortium.
const RECORD: &str = "record";

const FILES: [&str; 6] = [
    "state.json",
    "model-1.f32",
    RECORD,
    "outbox.bin",
    "result.bin",
    "checkpoint.bin",
];

/// A folder of state with one file replaced. The first byte says which.
pub(crate) fn store(data: &[u8]) {
    let Some((which, contents)) = data.split_first() else {
        return;
    };
    STATE.with(|(folder, kit)| {
        let path = path(folder.path(), FILES[usize::from(*which) % FILES.len()]);
        with_contents(&path, contents, || {
            // One after the other: a folder is one party's at a time.
            if let Ok(record) = record(folder.path()) {
                let store = NodeStore::open(folder.path(), &kit.manifest, record);
                let store = store.expect("a folder of our own");
                stands(&store, kit);
                sent(&store);
                outgoing(&store);
            }
            let store =
                RelayStore::open(folder.path(), &kit.manifest).expect("a folder of our own");
            result(&store, &folder.path().join("result.bin"));
            certified(&store);
        });
    });
}

/// Returns where a file lies.
fn path(folder: &Path, name: &str) -> PathBuf {
    let Consortium {
        identities,
        manifest,
    } = consortium();
    let (node, id) = (identities[0].node_id(), manifest.consortium_id());
    match name {
        RECORD => folder.join(format!("{}-{}.log", manifest.name_of(node), id.to_hex())),
        name => folder.join(name),
    }
}

/// Takes up the record of sent sums.
fn record(folder: &Path) -> Result<SentRecord, StoreError> {
    let Consortium {
        identities,
        manifest,
    } = consortium();
    let (node, data) = (identities[0].node_id(), Digest([8; 32]));
    SentRecord::open(folder, manifest, node, data, true).map(|(record, _)| record)
}

/// There is one model on the disk, and with it a party stands where it stood.
fn stands(store: &NodeStore, kit: &Kit) {
    let Ok((head, model)) = store.load(kit) else {
        return;
    };
    assert_eq!(head.round, 1);
    assert_eq!(head.model, model_hash(&model));
    assert_eq!(head.model, round().averaged.head.model);
    let Consortium {
        identities,
        manifest,
    } = consortium();
    let (sent, pending) = (SentSums::default(), None);
    let mut node = Node::new(
        manifest.clone(),
        identities[0].clone(),
        head,
        sent,
        pending,
        OPEN_BOXES,
    );
    assert!(node.connected(EPOCH).is_ok());
}

fn sent(store: &NodeStore) {
    let sums = || store.reconcile(&[]).expect("a folder of our own").0;
    let (sent, participants) = (sums(), round().participants.set());
    let _ = sent.check(
        consortium().manifest.initial_model(),
        &participants,
        &BTreeSet::new(),
    );
    let sum = SentSum::new(Digest([9; 32]), participants);
    store.record_sum(&sum).expect("a folder of our own");
    let mut more = sent;
    more.add(&sum);
    assert_eq!(sums(), more);
}

/// The outbox holds the sum that was signed, or none.
fn outgoing(store: &NodeStore) {
    let manifest = &consortium().manifest;
    let outgoing = || store.outgoing(manifest, &Head::start(manifest));
    let Ok(Some(found)) = outgoing() else { return };
    let Pending::Sum(pending) = &found.pending else {
        panic!("a contribution without a committee");
    };
    assert_eq!(pending.participants.ctx(), round().participants.ctx());
    let sum = pending.sum.verify(manifest, EPOCH);
    let sum = sum.expect("a signature that was checked");
    let of = consortium()
        .index(sum.node)
        .expect("a node of the consortium");
    assert_eq!(found.body, round().bodies[of]);
    assert_eq!(found.hashes.root(), sum.root);
    store
        .keep(&found.pending, &found.body)
        .expect("a folder of our own");
    assert!(outgoing().is_ok_and(|again| again.is_some()));
}

/// A result is written as it was read, and whatever it says, a relay starts with it.
fn result(store: &RelayStore, path: &Path) {
    let manifest = &consortium().manifest;
    let Ok(Some((last, body))) = store.result(manifest) else {
        return;
    };
    assert_eq!(ChunkHashes::of(&body).root(), last.outcome.root);
    let found = fs::read(path).expect("a file of our own");
    store
        .keep_result(&last, &body)
        .expect("a folder of our own");
    assert_eq!(fs::read(path).expect("a file of our own"), found);

    let LastResult { base, outcome } = &last;
    let plan = manifest.fixed_point();
    let addends = manifest.addends(&outcome.parts.nodes(manifest));
    let model = [0.0; PARAMETERS];
    let _ = average(&body, &model, plan, addends, *base, outcome.ctx);
    let mut relay = relay(base.next(outcome.ctx, outcome.root, outcome.model));
    relay.resume(last, false);
    relay.handle(Duration::from_secs(100), Event::Tick);
}

/// Whatever stands there, a relay takes it up, and keeps it as it was read.
fn certified(store: &RelayStore) {
    let Ok(Some(checkpoint)) = store.checkpoint() else {
        return;
    };
    store
        .keep_checkpoint(&checkpoint)
        .expect("a folder of our own");
    let again = store.checkpoint();
    assert_eq!(
        again.expect("what was just written"),
        Some(checkpoint.clone())
    );
    relay(round().averaged.head).resume_certified(&checkpoint);
}

/// Where all nodes have acknowledged that they stand.
fn checkpoint(head: Head) -> Checkpoint {
    let identities = consortium().identities.iter();
    let acks = identities.map(|identity| {
        let ack = ResultAck {
            consortium_id: consortium().manifest.consortium_id(),
            node: identity.node_id(),
            head,
        };
        Signed::new(&ack, identity).expect("a short message")
    });
    let acks = acks.collect();
    Checkpoint { head, acks }
}

fn relay(head: Head) -> Relay {
    let settings = sim::settings(2, 1.0, 3);
    Relay::new(
        consortium().manifest.clone(),
        settings,
        head,
        EPOCH,
        [0; 32],
        OPEN_BOXES,
    )
}

thread_local! {
    static STATE: (TempDir, Kit) = {
        let kit = folder(kit::write);
        (folder(write), Kit::load(kit.path()).expect("a sound kit"))
    };
}

/// Writes the state after the round: of a node that still has its outbox, and of the relay.
fn write(folder: &Path) {
    let round = round();
    let manifest = &consortium().manifest;
    let sent = SentSum::new(manifest.initial_model(), round.participants.set());
    let pending = Pending::Sum(PendingSum {
        participants: round.participants.clone(),
        sum: round.sums[0].sum.clone(),
        tag_share: round.sums[0].tag_share,
    });
    let last = LastResult {
        base: Head::start(manifest),
        outcome: round.outcome(),
    };
    let Averaged { head, model, .. } = &round.averaged;
    let record = record(folder).expect("a folder of our own");
    let store = NodeStore::open(folder, manifest, record).expect("a folder of our own");
    store
        .record_sum(&sent)
        .and_then(|()| store.commit(head, model))
        .and_then(|()| store.keep(&pending, &round.bodies[0]))
        .expect("a folder of our own");
    drop(store);
    let store = RelayStore::open(folder, manifest).expect("a folder of our own");
    store
        .keep_result(&last, &round.result)
        .and_then(|()| store.keep_checkpoint(&checkpoint(*head)))
        .expect("a folder of our own");
}

pub(crate) fn stores() -> Vec<Seed> {
    STATE.with(|(folder, _)| {
        let seed = |(which, name): (u8, &&str)| {
            let contents = fs::read(path(folder.path(), name)).expect("a file of our own");
            ((*name).to_owned(), [&[which], &contents[..]].concat())
        };
        (0..).zip(&FILES).map(seed).collect()
    })
}
