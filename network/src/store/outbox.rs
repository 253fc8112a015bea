//! A node's outbox: what it has announced, with what is needed to go on with it after a restart.

use std::path::Path;

use bytes::Bytes;
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::manifest::Manifest;
use fl_protocol::round::committee::message::Contribution;
use fl_protocol::round::committee::{Envelope, Holders, Prepared};
use fl_protocol::round::message::{Keys, Signed, WHENEVER};
use fl_protocol::round::node::Pending;
use fl_protocol::round::peer::Participants;
use fl_protocol::round::peer::PendingSum;
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::{Chain, Refusal};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::folder::{damaged, read_headed, write_headed};
use crate::files::Durability;

/// A masked sum, or a contribution, in the outbox.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What was signed, and for whom.
    pub pending: Pending,
    /// The words.
    pub body: Bytes,
    /// The hashes behind the signed root.
    pub hashes: ChunkHashes,
}

/// What precedes the body in the file: [`Pending`] as it is before its bundle is verified.
#[derive(Serialize, Deserialize)]
enum OutboxHeader {
    Sum {
        bundle: Vec<Signed<Keys>>,
        sum: Signed<Sum>,
    },
    Contribution {
        bundle: Vec<Signed<Keys>>,
        contribution: Signed<Contribution>,
        envelope: Envelope,
    },
}

impl OutboxHeader {
    fn of(pending: &Pending) -> Self {
        match pending {
            Pending::Sum(PendingSum { participants, sum }) => Self::Sum {
                bundle: participants.bundle().to_vec(),
                sum: sum.clone(),
            },
            Pending::Contribution(prepared) => Self::Contribution {
                bundle: prepared.holders.bundle().to_vec(),
                contribution: prepared.contribution.clone(),
                envelope: prepared.envelope.clone(),
            },
        }
    }

    /// Returns what is pending, with the root that was signed.
    fn verify(self, manifest: &Manifest, chain: &Chain) -> Result<(Pending, Digest), Refusal> {
        match self {
            Self::Sum { bundle, sum } => {
                let participants = Participants::verify(bundle, manifest, chain, WHENEVER)?;
                let Sum {
                    ctx, node, root, ..
                } = sum.verify(manifest, WHENEVER)?;
                if ctx != participants.ctx() {
                    return Err(Refusal::MissingSum(node));
                }
                Ok((Pending::Sum(PendingSum { participants, sum }), root))
            }
            Self::Contribution {
                bundle,
                contribution,
                envelope,
            } => {
                let holders = Holders::verify(bundle, manifest, chain, WHENEVER)?;
                let signed = contribution.verify(manifest, WHENEVER)?;
                if envelope.check(&signed, &holders).is_err() {
                    return Err(Refusal::OwnContribution);
                }
                let prepared = Prepared {
                    holders,
                    contribution,
                    envelope,
                };
                Ok((Pending::Contribution(prepared), signed.root))
            }
        }
    }
}

/// Puts what is pending into the outbox at `path`, replacing what is there.
pub(super) fn write(path: &Path, pending: &Pending, body: &[u8]) -> Result<(), StoreError> {
    let header = OutboxHeader::of(pending);
    write_headed(path, &header, body, Durability::Process)
}

/// Takes up what the outbox at `path` holds, if there is something that belongs to `chain`.
pub(super) fn read(
    path: &Path,
    manifest: &Manifest,
    chain: &Chain,
) -> Result<Option<Outgoing>, StoreError> {
    let Some((header, body)) = read_headed::<OutboxHeader>(path, manifest)? else {
        return Ok(None);
    };
    let refuse = |reason: &str| damaged(path, reason.to_owned());
    let (pending, root) = match header.verify(manifest, chain) {
        Ok(verified) => verified,
        // The round went on without it.
        Err(Refusal::Stale { .. } | Refusal::Previous { .. } | Refusal::Model { .. }) => {
            return Ok(None);
        }
        Err(refusal) => return Err(refuse(&refusal.to_string())),
    };
    let hashes = ChunkHashes::of(&body);
    if body.len() != manifest.body_bytes() || hashes.root() != root {
        return Err(refuse("its body is not the one that was signed"));
    }
    Ok(Some(Outgoing {
        pending,
        body,
        hashes,
    }))
}
