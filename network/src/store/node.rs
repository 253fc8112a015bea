//! What a node remembers.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fl_protocol::manifest::Manifest;
use fl_protocol::round::node::Pending;
use fl_protocol::round::{Head, SentSum, SentSums};

use super::StoreError;
use super::folder::Folder;
use super::outbox::{self, Outgoing};
use super::record::{Reconciled, SentRecord};
use crate::files;
use crate::kit::Kit;

/// Where former versions of this program kept the record of sent sums.
const FORMER: [&str; 2] = ["sent.json", "sent.log"];

/// The state folder of a node, and its record of sent sums.
#[derive(Debug)]
pub struct NodeStore {
    folder: Folder,
    record: Mutex<SentRecord>,
}

impl NodeStore {
    /// Opens `folder`, which is made if need be, for this process alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`], [`StoreError::Former`], [`StoreError::File`].
    pub fn open(
        folder: &Path,
        manifest: &Manifest,
        record: SentRecord,
    ) -> Result<Self, StoreError> {
        let folder = Folder::open(folder, manifest)?;
        let former = FORMER.iter().map(|name| folder.path(name));
        if let Some(path) = former.into_iter().find(|path| path.exists()) {
            return Err(StoreError::Former(path));
        }
        let record = Mutex::new(record);
        Ok(Self { folder, record })
    }

    /// Returns where the node stands and its model: in a fresh folder the manifest's beginning,
    /// with the kit's initial model.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherManifest`], [`StoreError::Damaged`], [`StoreError::File`],
    /// [`StoreError::Kit`].
    pub fn load(&self, kit: &Kit) -> Result<(Head, Vec<f32>), StoreError> {
        self.folder.load(kit)
    }

    /// Makes a new state durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`]; the former state is then untouched.
    pub fn commit(&self, head: &Head, model: &[f32]) -> Result<(), StoreError> {
        self.folder.commit(head, model)
    }

    /// Returns the path of the log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.log_path()
    }

    /// Compares the record of sent sums with those that the node's log tells of, and takes up what
    /// the record lacks. Returns the sums as well.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`].
    pub fn reconcile(&self, logged: &[SentSum]) -> Result<(SentSums, Reconciled), StoreError> {
        let mut record = self.record();
        let reconciled = record.reconcile(logged)?;
        Ok((record.sums().clone(), reconciled))
    }

    /// Makes an entry of the record of sent sums durable.
    ///
    /// # Errors
    ///
    /// Those of [`SentRecord::append`].
    pub fn record_sum(&self, sum: &SentSum) -> Result<(), StoreError> {
        self.record().append(sum)
    }

    fn record(&self) -> MutexGuard<'_, SentRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.folder.path("outbox.bin")
    }
}
