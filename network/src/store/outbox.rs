//! A node's outbox: what it has announced, with what is needed to go on with it after a restart.

use std::path::Path;

use bytes::Bytes;
use fl_protocol::digest::ChunkHashes;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::node::{Pending, StoredPending};
use fl_protocol::round::{Head, Refusal};

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

/// Puts what is pending into the outbox at `path`, replacing what is there.
pub(super) fn write(path: &Path, pending: &Pending, body: &[u8]) -> Result<(), StoreError> {
    write_headed(path, &pending.stored(), body, Durability::Process)
}

/// Takes up what the outbox at `path` holds, if there is something that belongs to `head`.
pub(super) fn read(
    path: &Path,
    manifest: &Manifest,
    head: &Head,
) -> Result<Option<Outgoing>, StoreError> {
    let Some((header, body)) = read_headed::<StoredPending>(path, manifest)? else {
        return Ok(None);
    };
    let refuse = |reason: &str| damaged(path, reason.to_owned());
    let (pending, root) = match header.verify(manifest, head) {
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
