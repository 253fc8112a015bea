//! One consortium, the same in every process, so that an input that fails does so again.

use std::collections::BTreeSet;

use std::sync::OnceLock;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::Identity;
use fl_protocol::manifest::{ManifestFile, epoch_key_check};
use fl_protocol::ring_bytes;
use fl_protocol::round::message::{Keys, Signed};
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::peer::{OpenedSum, Participants, TagShare};
use fl_protocol::round::training::{Averaged, average};
use fl_protocol::round::{Evidence, Head, Outcome};
use fl_protocol::sim::{self, Consortium};
use fl_shaders::{Counters, Ring};

pub(crate) use fl_protocol::sim::{EPOCH, PARAMETERS};

use crate::tags;

/// Nodes of the consortium.
pub(crate) const NODES: usize = 4;

/// The consortium.
pub(crate) fn consortium() -> &'static Consortium {
    static CONSORTIUM: OnceLock<Consortium> = OnceLock::new();
    CONSORTIUM.get_or_init(|| {
        let identities = identities(NODES);
        let file = manifest_file(&identities);
        Consortium::signed(identities, &file, authority())
    })
}

/// The identities of so many nodes.
pub(crate) fn identities(nodes: usize) -> Vec<Identity> {
    let names = (0..nodes).map(|node| format!("node {node}"));
    names.map(|name| identity(&name)).collect()
}

/// Who signs manifests.
pub(crate) fn authority() -> &'static Identity {
    static AUTHORITY: OnceLock<Identity> = OnceLock::new();
    AUTHORITY.get_or_init(|| identity("authority"))
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
    let mut file = sim::manifest_file(identities);
    file.name = "fuzz".to_owned();
    file.epoch_key = epoch_key_check(&tags::EPOCH_KEY).to_hex();
    file
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
    pub(crate) sums: Vec<OpenedSum>,
    pub(crate) result: Vec<u8>,
    pub(crate) averaged: Averaged,
}

impl Round {
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome {
            ctx: self.participants.ctx(),
            bundle: self.bundle.clone(),
            parts: Evidence::Sums(self.sums.clone()),
            root: ChunkHashes::of(&self.result).root(),
            model: self.averaged.head.model,
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
        } = consortium();
        let head = Head::start(manifest);
        let keys = (0..NODES).map(|node| {
            let round_key = Digest::sha256(&[&[7; 32]]);
            let keys = consortium().keys(node, &head, 1);
            consortium().sign(node, &Keys { round_key, ..keys })
        });
        let bundle: Vec<_> = keys.collect();
        let participants = Participants::verify(bundle, manifest, &head, EPOCH, &BTreeSet::new());
        let participants = participants.expect("a sound bundle");
        let ctx = participants.ctx();
        let counters = Counters {
            examples: 10,
            clipped: 0,
            tallies: vec![3, 1, 40, 0, 0, 0],
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
            let tag_share = TagShare::new(tags::tag(ctx, node, input), [3; 32]);
            let sum = Sum {
                ctx,
                node,
                root: ChunkHashes::of(body).root(),
                tag_commitment: tag_share.commitment(ctx, node),
            };
            let sum = Signed::new(&sum, identity).expect("a short message");
            OpenedSum { sum, tag_share }
        };
        let nodes = identities.iter().zip(&inputs);
        let sums = nodes.zip(&bodies).map(sum).collect();
        let mut result = vec![0; manifest.body_bytes()];
        for body in &bodies {
            ring_bytes::add(Ring::U32, &mut result, body);
        }
        let (base, plan) = ([0.0; PARAMETERS], manifest.fixed_point());
        let addends = manifest.addends(&participants.set());
        let averaged = average(&result, &base, plan, addends, head, ctx);
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
