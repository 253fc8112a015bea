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
use crate::files::{self, Durability};
use crate::kit::Kit;

const LOWEST_LOSS: &str = "lowest-loss";
/// The longest `f64` in decimals, and more.
const LOSS_BYTES: usize = 512;

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
    /// [`StoreError::Difference`] if it would give away what was not given away before, since other
    /// sums were given meanwhile; [`StoreError::File`].
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

    /// Returns the lowest mean loss of a global model on this node's held-back rows, in nats, if
    /// one was kept and can be read.
    pub fn lowest_loss(&self) -> Option<f64> {
        let bytes = files::read_limited(&self.folder.path(LOWEST_LOSS), LOSS_BYTES).ok()?;
        let loss = std::str::from_utf8(&bytes).ok()?.trim().parse::<f64>();
        loss.ok().filter(|loss| loss.is_finite())
    }

    /// Keeps this lowest loss. It survives the process, not necessarily a loss of power.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`].
    pub fn keep_lowest_loss(&self, loss: f64) -> Result<(), StoreError> {
        let path = self.folder.path(LOWEST_LOSS);
        let text = loss.to_string();
        Ok(files::write_parts(
            &path,
            &[text.as_bytes()],
            Durability::Process,
        )?)
    }

    fn outbox(&self) -> PathBuf {
        self.folder.path("outbox.bin")
    }
}

#[cfg(test)]
mod tests {
    use fl_protocol::digest::Digest;
    use fl_protocol::sim::Consortium;

    use super::*;

    #[test]
    fn the_lowest_loss_is_read_as_it_was_kept_and_what_is_none_is_not() {
        let consortium = Consortium::new(3);
        let (manifest, node) = (&consortium.manifest, consortium.id(0));
        let folder = tempfile::tempdir().unwrap();
        let (record, data) = (folder.path().join("record"), Digest([7; 32]));
        let (record, _) = SentRecord::open(&record, manifest, node, data, false).unwrap();
        let store = NodeStore::open(folder.path(), manifest, record).unwrap();
        assert_eq!(store.lowest_loss(), None);
        for loss in [0.25, 1e-300, 0.1 + 0.2] {
            store.keep_lowest_loss(loss).unwrap();
            assert_eq!(store.lowest_loss(), Some(loss));
        }
        for text in ["", "NaN", "inf", "low", &"1".repeat(LOSS_BYTES + 1)] {
            std::fs::write(folder.path().join(LOWEST_LOSS), text).unwrap();
            assert_eq!(store.lowest_loss(), None, "{text}");
        }
    }
}
