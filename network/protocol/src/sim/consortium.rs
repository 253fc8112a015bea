//! Consortia for tests.

use std::collections::BTreeSet;
use std::sync::Arc;

use fl_shaders::{FixedPoint, Parameters, Ring};

use crate::digest::{Digest, model_hash};
use crate::identity::{Identity, NodeId};
use crate::manifest::{
    Manifest, ManifestFile, ModelTable, NodeTable, ParticipationMode, TensorLayout, epoch_key_check,
};
use crate::round::committee::Holders;
use crate::round::message::{Keys, Message, Signed};
use crate::round::peer::Participants;
use crate::round::relay::Settings;
use crate::round::{Head, KeyOffer};
use crate::wire::RelayFrame;

/// Unix time at which simulations begin.
pub const EPOCH: u64 = 1_800_000_000;
/// Number of parameters of the test model.
pub const PARAMETERS: usize = 6;
/// Words of the header of its vectors.
pub const HEADER_WORDS: usize = 8;

/// A consortium of nodes with a tiny model of zeros.
#[derive(Clone)]
pub struct Consortium {
    /// The nodes' identities, in the order of their names: `node-0`, `node-1`, …
    pub identities: Vec<Identity>,
    /// The manifest that their authority has signed.
    pub manifest: Arc<Manifest>,
}

impl Consortium {
    /// Returns a consortium of `n` nodes of different organisations, in the peer scheme.
    pub fn new(n: usize) -> Self {
        Self::with(n, |_| ())
    }

    /// Returns a consortium of `n` nodes whose manifest is changed before it is signed.
    pub fn with(n: usize, change: impl FnOnce(&mut ManifestFile)) -> Self {
        // The same in every run: much goes by the order of ids, and a seed that failed must fail
        // again.
        let identity = |k| Identity::of_test(&format!("{k} of {n}"));
        let identities: Vec<_> = (0..n).map(identity).collect();
        let mut file = manifest_file(&identities);
        change(&mut file);
        Self::signed(identities, &file, &Identity::of_test("authority"))
    }

    /// The consortium of these nodes, whose manifest this authority signs.
    pub fn signed(identities: Vec<Identity>, file: &ManifestFile, authority: &Identity) -> Self {
        Self {
            identities,
            manifest: Arc::new(Manifest::sign(file, authority).unwrap()),
        }
    }

    /// Id of node `k`.
    pub fn id(&self, k: usize) -> NodeId {
        self.identities[k].node_id()
    }

    /// Returns which node has this id, if one has.
    pub fn index(&self, id: NodeId) -> Option<usize> {
        let mut nodes = self.identities.iter();
        nodes.position(|identity| identity.node_id() == id)
    }

    /// Signs a message with the key of node `k`.
    pub fn sign<T: Message>(&self, k: usize, message: &T) -> Signed<T> {
        Signed::new(message, &self.identities[k]).unwrap()
    }

    /// The public round key of node `k`, if it is not drawn.
    pub fn round_key(&self, k: usize) -> Vec<u8> {
        vec![u8::try_from(k + 1).unwrap(); 32]
    }

    /// What node `k` offers with these keys, if they are for that round key.
    pub fn offer(&self, k: usize, keys: Signed<Keys>) -> KeyOffer {
        let round_key = self.round_key(k);
        KeyOffer { keys, round_key }
    }

    /// The frame with which a relay shows node `k` this bundle, whose round keys are not drawn. If
    /// nothing can be sealed to its nodes, it has no round keys.
    pub fn keys_frame(&self, k: usize, head: &Head, bundle: Vec<Signed<Keys>>) -> RelayFrame {
        let nodes = 0..self.identities.len();
        let round_keys = nodes.map(|k| (self.id(k), self.round_key(k))).collect();
        let (manifest, signed) = (&self.manifest, bundle.clone());
        let frame = match manifest.committee() {
            None => Participants::of_result(signed, manifest, head, EPOCH, &BTreeSet::new())
                .map(|participants| participants.frame_for(self.id(k), &round_keys)),
            Some(_) => Holders::of_result(signed, manifest, head, EPOCH)
                .map(|holders| holders.to_frame(&round_keys)),
        };
        frame.unwrap_or(RelayFrame::Keys {
            bundle,
            round_keys: Vec::new(),
        })
    }

    /// Keys of node `k`, as they should be, for an attempt of the round after `head`.
    pub fn keys(&self, k: usize, head: &Head, attempt: u32) -> Keys {
        Keys {
            consortium_id: self.manifest.consortium_id(),
            node: self.id(k),
            round: head.next_round(),
            attempt,
            previous: head.previous,
            model: head.model,
            round_key: Digest::sha256(&[&self.round_key(k)]),
            expires_unix_s: EPOCH + 1000,
        }
    }
}

/// Returns a manifest for these nodes, not yet signed: any of them may take part in a round.
pub fn manifest_file(identities: &[Identity]) -> ManifestFile {
    let plan = FixedPoint::new(Parameters {
        ring: Ring::U32,
        clip: 1.0,
        fraction_bits: 23,
        nodes_max: 128,
        examples_max: 1000,
        tallies: 0,
    });
    let nodes = identities
        .iter()
        .enumerate()
        .map(|(k, identity)| NodeTable {
            name: format!("node-{k}"),
            organisation: format!("organisation {k}"),
            key: hex::encode(identity.public_key().as_bytes()),
            examples_max: 1000,
            expires_unix_s: u64::MAX >> 1,
        });
    let layout = vec![
        TensorLayout {
            name: "weight".to_owned(),
            shape: vec![2, 2],
        },
        TensorLayout {
            name: "bias".to_owned(),
            shape: vec![2],
        },
    ];
    let model = ModelTable {
        initial: model_hash(&[0.0; PARAMETERS]).to_hex(),
        layout,
    };
    let mut file = ManifestFile::new(
        "test".to_owned(),
        "localhost:4433".to_owned(),
        epoch_key_check(&[0; 32]),
        &plan.unwrap(),
        Digest::sha256(&[]),
        model,
        nodes.collect(),
    );
    // The relay chooses, so that tests can lose any node.
    (file.participation, file.accepts_differences) = (ParticipationMode::Any, true);
    file
}

/// Returns a relay's settings, whatever a manifest would say of its `min_nodes`.
pub fn settings(rounds: u64, fraction_fit: f64, min_nodes: usize) -> Settings {
    Settings::new(rounds, fraction_fit, min_nodes, 0..=usize::MAX).unwrap()
}
