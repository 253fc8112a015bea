//! What a node remembers.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fl_protocol::manifest::Manifest;
use fl_protocol::round::node::Pending;
use fl_protocol::round::{Head, SentSum, SentSums};

use super::StoreError;
use super::folder::{Folder, damaged};
use super::outbox::{self, Outgoing};
use super::sent::SentLog;
use crate::files;
use crate::kit::Kit;

const SENT: &str = "sent.log";
/// What former versions of this program kept in its place.
const FORMER_SENT: &str = "sent.json";

/// The state folder of a node.
#[derive(Debug)]
pub struct NodeStore {
    folder: Folder,
    /// Once it was needed.
    sent: Mutex<Option<SentLog>>,
}

impl NodeStore {
    /// Opens `folder`, which is made if need be, for this process alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`], [`StoreError::File`].
    pub fn open(folder: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        Ok(Self {
            folder: Folder::open(folder, manifest)?,
            sent: Mutex::default(),
        })
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

    /// Returns the sums that this node has sent. The record is there from the beginning, so that
    /// its loss is noticed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::Former`], [`StoreError::File`].
    pub fn sent(&self) -> Result<SentSums, StoreError> {
        self.with_sent(|log| Ok(log.sums().clone()))
    }

    /// Makes an entry of the record of sent sums durable.
    ///
    /// # Errors
    ///
    /// Those of [`NodeStore::sent`].
    pub fn record(&self, sum: &SentSum) -> Result<(), StoreError> {
        self.with_sent(|log| log.append(sum))
    }

    fn with_sent<T>(
        &self,
        work: impl FnOnce(&mut SentLog) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let log = match sent.take() {
            Some(log) => log,
            None => self.open_sent()?,
        };
        work(sent.insert(log))
    }

    fn open_sent(&self) -> Result<SentLog, StoreError> {
        let former = self.folder.path(FORMER_SENT);
        if former.exists() {
            return Err(StoreError::Former(former));
        }
        let path = self.folder.path(SENT);
        if !path.exists() {
            if self.folder.has_state() {
                return Err(damaged(&path, "it is gone".to_owned()));
            }
            SentLog::create(&path, self.folder.consortium_id())?;
        }
        SentLog::open(&path, self.folder.consortium_id())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use fl_protocol::sim::Consortium;

    use super::*;

    #[test]
    fn a_record_that_is_gone_or_of_a_former_version_is_noticed() {
        let manifest = Consortium::new(3).manifest;
        let folder = tempfile::tempdir().unwrap();
        let store = || NodeStore::open(folder.path(), &manifest).unwrap();
        let participants = manifest.roster().keys().copied().collect();
        let sum = SentSum::new(manifest.initial_model(), participants);
        store().record(&sum).unwrap();
        let sent = store().sent().unwrap();
        assert!(sent.has_last(&sum));

        let former = folder.path().join(FORMER_SENT);
        fs::write(&former, "{}").unwrap();
        let found = store().sent();
        assert!(matches!(found, Err(StoreError::Former(path)) if path == former));
        fs::remove_file(&former).unwrap();
        assert_eq!(store().sent().unwrap(), sent, "the control");

        store().commit(&Head::start(&manifest), &[]).unwrap();
        fs::remove_file(folder.path().join(SENT)).unwrap();
        let found = store().sent();
        assert!(matches!(found, Err(StoreError::Damaged { reason, .. }) if reason == "it is gone"));
    }
}
