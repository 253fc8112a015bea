//! One consortium, the same in every process, so that an input that fails does so again.

use std::sync::{Arc, OnceLock};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use fl_protocol::digest::{ChunkHashes, Digest, model_hash};
use fl_protocol::identity::{Identity, NodeId};
use fl_protocol::manifest::{
    Manifest, ManifestFile, ModelTable, NodeTable, TensorLayout, epoch_key_check,
};
use fl_protocol::ring_bytes;
use fl_protocol::round::message::{Keys, Signed};
use fl_protocol::round::peer::Participants;
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::training::{Averaged, average};
use fl_protocol::round::{Chain, Outcome, Parts};
use fl_shaders::{Counters, FixedPoint, Parameters, Ring};

use crate::tags;

/// Nodes of the consortium.
pub(crate) const NODES: usize = 4;
/// Parameters of its model.
pub(crate) const PARAMETERS: usize = 6;
/// Unix time at which targets begin.
pub(crate) const EPOCH: u64 = 1_800_000_000;

/// A consortium with a tiny model of zeros.
pub(crate) struct Consortium {
    pub(crate) authority: Identity,
    pub(crate) identities: Vec<Identity>,
    pub(crate) manifest: Arc<Manifest>,
}

impl Consortium {
    pub(crate) fn id(&self, node: usize) -> NodeId {
        self.identities[node].node_id()
    }

    pub(crate) fn index(&self, id: NodeId) -> Option<usize> {
        let mut nodes = self.identities.iter();
        nodes.position(|identity| identity.node_id() == id)
    }
}

/// The consortium.
pub(crate) fn consortium() -> &'static Consortium {
    static CONSORTIUM: OnceLock<Consortium> = OnceLock::new();
    CONSORTIUM.get_or_init(|| {
        let identities: Vec<_> = (0..NODES)
            .map(|node| identity(&format!("node {node}")))
            .collect();
        let authority = identity("authority");
        let manifest = Manifest::sign(&manifest_file(&identities), &authority);
        let manifest = Arc::new(manifest.expect("a sound manifest"));
        Consortium {
            authority,
            identities,
            manifest,
        }
    })
}

/// The private key that belongs to `name`, in PEM. No secret: anyone can compute it.
pub(crate) fn key_pem(name: &str) -> String {
    let key = SigningKey::from_bytes(&Digest::sha256(&[b"fuzz", name.as_bytes()]).0);
    let pem = key.to_pkcs8_pem(LineEnding::LF).expect("it encodes");
    pem.to_string()
}

/// The identity that belongs to `name`.
pub(crate) fn identity(name: &str) -> Identity {
    Identity::from_pem(&key_pem(name)).expect("a key that was just encoded")
}

/// The consortium's manifest, before it is signed.
pub(crate) fn manifest_file(identities: &[Identity]) -> ManifestFile {
    let plan = FixedPoint::new(Parameters {
        ring: Ring::U32,
        clip: 1.0,
        fraction_bits: 23,
        nodes_max: 128,
        examples_max: 1000,
        loss_fraction_bits: 8,
    });
    let nodes = identities
        .iter()
        .enumerate()
        .map(|(k, identity)| NodeTable {
            name: format!("node-{k}"),
            organisation: format!("organisation {k}"),
            key: hex::encode(identity.public_key().as_bytes()),
            expires_unix_s: u64::MAX >> 1,
        });
    let tensor = |name: &str, shape: &[usize]| TensorLayout {
        name: name.to_owned(),
        shape: shape.to_vec(),
    };
    let model = ModelTable {
        initial: model_hash(&[0.0; PARAMETERS]).to_hex(),
        layout: vec![tensor("weight", &[2, 2]), tensor("bias", &[2])],
    };
    ManifestFile::new(
        "fuzz".to_owned(),
        "localhost:4433".to_owned(),
        epoch_key_check(&tags::EPOCH_KEY),
        &plan.expect("a sound plan"),
        toml::Table::new(),
        model,
        nodes.collect(),
    )
}

/// Words as they travel.
pub(crate) fn to_le_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().copied().flat_map(u32::to_le_bytes).collect()
}

/// A completed round of all nodes, with sums that nobody masked.
pub(crate) struct Round {
    pub(crate) bundle: Vec<Signed<Keys>>,
    pub(crate) participants: Participants,
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) sums: Vec<Signed<Sum>>,
    pub(crate) result: Vec<u8>,
    pub(crate) averaged: Averaged,
}

impl Round {
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome {
            ctx: self.participants.ctx(),
            bundle: self.bundle.clone(),
            parts: Parts::Sums(self.sums.clone()),
            root: ChunkHashes::of(&self.result).root(),
            model: self.averaged.chain.model,
        }
    }
}

/// The round.
pub(crate) fn round() -> &'static Round {
    static ROUND: OnceLock<Round> = OnceLock::new();
    ROUND.get_or_init(|| {
        let Consortium {
            identities,
            manifest,
            ..
        } = consortium();
        let chain = Chain::start(manifest);
        let keys = |identity: &Identity| {
            let keys = Keys {
                sid: manifest.sid(),
                node: identity.node_id(),
                round: chain.next_round(),
                attempt: 1,
                previous: chain.previous,
                model: chain.model,
                round_key: [7; 32],
                expires_unix_s: EPOCH + 1000,
            };
            Signed::new(&keys, identity).expect("a short message")
        };
        let bundle: Vec<_> = identities.iter().map(keys).collect();
        let participants = Participants::verify(bundle, manifest, &chain, EPOCH);
        let participants = participants.expect("a sound bundle");
        let ctx = participants.ctx();
        let counters = Counters {
            examples: 10,
            test_examples: 4,
            correct: 3,
            loss: 2.5,
            clipped: 0,
        };
        let input = |node: u32| {
            let coordinates = (0..PARAMETERS as u32).map(|e| 1000 * node + e);
            let header = counters.to_header::<u32>(manifest.fixed_point());
            header.into_iter().chain(coordinates).collect::<Vec<u32>>()
        };
        let inputs: Vec<_> = (0..NODES as u32).map(input).collect();
        let bodies: Vec<_> = inputs.iter().map(|input| to_le_bytes(input)).collect();
        let sum = |((identity, input), body): ((&Identity, &Vec<u32>), &Vec<u8>)| {
            let node = identity.node_id();
            let sum = Sum {
                ctx,
                node,
                root: ChunkHashes::of(body).root(),
                tag: tags::share(ctx, node, input, &[], &[]).values(),
            };
            Signed::new(&sum, identity).expect("a short message")
        };
        let nodes = identities.iter().zip(&inputs);
        let sums = nodes.zip(&bodies).map(sum).collect();
        let mut result = vec![0; manifest.body_bytes()];
        for body in &bodies {
            ring_bytes::add(Ring::U32, &mut result, body);
        }
        let (base, plan) = ([0.0; PARAMETERS], manifest.fixed_point());
        let averaged = average(&result, &base, plan, NODES, chain, ctx);
        Round {
            bundle: participants.bundle().to_vec(),
            participants,
            bodies,
            sums,
            result,
            averaged: averaged.expect("a sound sum"),
        }
    })
}
