//! What the relay remembers.

use std::path::{Path, PathBuf};
use std::{fs, io};

use bytes::Bytes;
use fl_protocol::digest::ChunkHashes;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::relay::LastResult;
use fl_protocol::round::{Checkpoint, Head};
use fl_protocol::wire;

use super::StoreError;
use super::folder::{Folder, damaged, read_existing, read_headed, write_headed};
use crate::files::{self, Durability, FileError, write_private};
use crate::kit::Kit;

const RESULT: &str = "result.bin";
const CHECKPOINT: &str = "checkpoint.bin";
const ROUNDS: &str = "rounds.jsonl";

/// The state folder of a relay.
#[derive(Debug)]
pub struct RelayStore(Folder);

impl RelayStore {
    /// Opens `folder`, which is made if need be, for this process alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`], [`StoreError::File`].
    pub fn open(folder: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        Ok(Self(Folder::open(folder, manifest)?))
    }

    /// Returns where the relay stands and its model: in a fresh folder the manifest's beginning,
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

    /// Returns the path of the history of rounds.
    pub(super) fn rounds_path(&self) -> PathBuf {
        self.0.path(ROUNDS)
    }

    /// Makes an empty folder for what arrives of an attempt, in place of the former one.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`].
    pub fn spool(&self) -> Result<PathBuf, StoreError> {
        let folder = self.0.path("spool");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::write(&folder, error).into());
            }
            _ => {}
        }
        fs::create_dir_all(&folder).map_err(|source| FileError::write(&folder, source))?;
        Ok(folder)
    }

    /// Makes a result and its bytes durable, replacing the former one.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`], on a full disk for instance.
    pub fn keep_result(&self, last: &LastResult, body: &[u8]) -> Result<(), StoreError> {
        let path = self.0.path(RESULT);
        // Nobody comes for the former one any more.
        files::retire(&path, &path)?;
        write_headed(&path, last, body, Durability::Disk)
    }

    /// Forgets the last result for good.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`]; whether it is there after a loss of power is then open.
    pub fn forget_result(&self) -> Result<(), StoreError> {
        let path = self.0.path(RESULT);
        files::retire(&path, &path)?;
        Ok(files::sync_folder(&path)?)
    }

    /// Returns the last result and its bytes, if they were kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub fn result(&self, manifest: &Manifest) -> Result<Option<(LastResult, Bytes)>, StoreError> {
        let path = self.0.path(RESULT);
        let kept = read_headed::<LastResult>(&path, manifest)?;
        match &kept {
            Some((last, body)) if ChunkHashes::of(body).root() != last.outcome.root => {
                let reason = "its body is not the result's".to_owned();
                Err(damaged(&path, reason))
            }
            _ => Ok(kept),
        }
    }

    /// Keeps a certified state, replacing the former one.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`].
    pub fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let bytes = wire::encode(checkpoint);
        let bytes = bytes.map_err(|error| StoreError::Encode(error.to_string()))?;
        Ok(write_private(&self.0.path(CHECKPOINT), &bytes)?)
    }

    /// Returns the last certified state, if one was kept. Its signatures are not checked here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let path = self.0.path(CHECKPOINT);
        let Some(bytes) = read_existing(&path, wire::MAX_MESSAGE_BYTES)? else {
            return Ok(None);
        };
        let checkpoint = wire::decode(&bytes);
        Ok(Some(
            checkpoint.map_err(|error| damaged(&path, error.to_string()))?,
        ))
    }
}
