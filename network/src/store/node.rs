//! What a node remembers.

use std::path::{Path, PathBuf};

use fl_protocol::manifest::Manifest;
use fl_protocol::round::node::Pending;
use fl_protocol::round::{Head, SentSums};

use super::StoreError;
use super::folder::{Folder, damaged, read_json};
use super::outbox::{self, Outgoing};
use crate::files;
use crate::kit::Kit;

const SENT: &str = "sent.json";
const MAX_SENT_BYTES: usize = 256 << 20;

/// The state folder of a node.
#[derive(Debug)]
pub struct NodeStore(Folder);

impl NodeStore {
    /// Opens `folder`, which is made if need be, for this process alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`], [`StoreError::File`].
    pub fn open(folder: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        Ok(Self(Folder::open(folder, manifest)?))
    }

    /// Returns where the node stands and its model: in a fresh folder the manifest's beginning,
    /// with the kit's initial model.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherManifest`], [`StoreError::Damaged`], [`StoreError::File`],
    /// [`StoreError::Kit`].
    pub fn load(&self, kit: &Kit) -> Result<(Head, Vec<f32>), StoreError> {
        self.0.load(kit)
    }

    /// Makes a new state durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`]; the former state is then untouched.
    pub fn commit(&self, head: &Head, model: &[f32]) -> Result<(), StoreError> {
        self.0.commit(head, model)
    }

    /// Returns the path of the log.
    pub fn log_path(&self) -> PathBuf {
        self.0.log_path()
    }

    /// Returns the sums that this node has sent. The record is there from the beginning, so that
    /// its loss is noticed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub fn sent(&self) -> Result<SentSums, StoreError> {
        let path = self.0.path(SENT);
        match read_json(&path, MAX_SENT_BYTES)? {
            Some(sent) => Ok(sent),
            None if self.0.has_state() => Err(damaged(&path, "it is gone".to_owned())),
            None => {
                let sent = SentSums::default();
                self.record(&sent)?;
                Ok(sent)
            }
        }
    }

    /// Makes the record of sent sums durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`].
    pub fn record(&self, sent: &SentSums) -> Result<(), StoreError> {
        self.0.write_json(SENT, sent)
    }

    /// Puts a masked sum, or a contribution, into the outbox, replacing a former one.
    ///
    /// It survives the process, not necessarily a loss of power: the round key is lost then as
    /// well, so no second sum for the same context can come about.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`], on a full disk for instance.
    pub fn keep(&self, pending: &Pending, body: &[u8]) -> Result<(), StoreError> {
        outbox::write(&self.outbox(), pending, body)
    }

    /// Takes up the masked sum in the outbox, if there is one that belongs to `head`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub fn outgoing(
        &self,
        manifest: &Manifest,
        head: &Head,
    ) -> Result<Option<Outgoing>, StoreError> {
        outbox::read(&self.outbox(), manifest, head)
    }

    /// Empties the outbox.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`].
    pub fn forget(&self) -> Result<(), StoreError> {
        let path = self.outbox();
        Ok(files::retire(&path, &path)?)
    }

    fn outbox(&self) -> PathBuf {
        self.0.path("outbox.bin")
    }
}
