//! What both roles share: the folder and its lock, the state, and how files are read and written.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fl_protocol::digest::{Digest, model_hash};
use fl_protocol::manifest::Manifest;
use fl_protocol::round::Head;
use fl_protocol::wire;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::files::{
    self, Durability, FileError, read_limited, read_parameters, write_parameters, write_parts,
    write_private,
};
use crate::kit::Kit;

const STATE: &str = "state.json";
const MAX_STATE_BYTES: usize = 4 << 10;

/// A folder that one party has for itself.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    consortium_id: Digest,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    #[serde(rename = "sid")]
    consortium_id: String,
    round: u64,
    previous: String,
    model: String,
}

impl Folder {
    /// Opens `folder`, which is made if need be, for this process alone.
    pub(super) fn open(folder: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|source| FileError::write(folder, source))?;
        let path = folder.join("lock");
        let lock = files::open_private(&path)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Locked(folder.to_owned()),
            TryLockError::Error(source) => FileError::write(&path, source).into(),
        })?;
        Ok(Self {
            path: folder.to_owned(),
            consortium_id: manifest.consortium_id(),
            _lock: lock,
        })
    }

    /// Returns where the party stands and its model: in a fresh folder the manifest's beginning,
    /// with the kit's initial model.
    pub(super) fn load(&self, kit: &Kit) -> Result<(Head, Vec<f32>), StoreError> {
        let path = self.path(STATE);
        let Some(state) = read_json::<StateFile>(&path, MAX_STATE_BYTES)? else {
            return Ok((Head::start(&kit.manifest), kit.initial().map_err(Box::new)?));
        };
        let digest = |text: &str| {
            text.parse::<Digest>()
                .map_err(|error| damaged(&path, error.to_string()))
        };
        let consortium_id = digest(&state.consortium_id)?;
        if consortium_id != self.consortium_id {
            return Err(StoreError::OtherManifest {
                path: self.path.clone(),
                found: consortium_id,
            });
        }
        let head = Head {
            round: state.round,
            previous: digest(&state.previous)?,
            model: digest(&state.model)?,
        };
        let path = self.model_path(head.round);
        let model = read_parameters(&path, kit.manifest.parameters())?;
        if model_hash(&model) != head.model {
            return Err(damaged(
                &path,
                "it is not the model that state.json names".to_owned(),
            ));
        }
        Ok((head, model))
    }

    /// Makes a new state durable. The model comes first, so that a state never names one that is
    /// not there.
    pub(super) fn commit(&self, head: &Head, model: &[f32]) -> Result<(), StoreError> {
        write_parameters(&self.model_path(head.round), model)?;
        let state = StateFile {
            consortium_id: self.consortium_id.to_hex(),
            round: head.round,
            previous: head.previous.to_hex(),
            model: head.model.to_hex(),
        };
        self.write_json(STATE, &state)?;
        self.forget_models_but(head.round)
    }

    /// The former model gives its place to the next one.
    fn forget_models_but(&self, round: u64) -> Result<(), StoreError> {
        let current = self.model_path(round);
        let failed = |source| FileError::read(&self.path, source);
        let entries = fs::read_dir(&self.path).map_err(failed)?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let paths = paths.collect::<io::Result<Vec<_>>>().map_err(failed)?;
        let mut next = Some(self.model_path(round.wrapping_add(1)));
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let whole = name.ends_with(".f32");
            let ours = name.starts_with("model-") && (whole || name.ends_with(".f32.new"));
            if !ours || path == current {
                continue;
            }
            match next.take_if(|_| whole) {
                Some(next) => files::retire(&path, &next)?,
                None => files::remove(&path)?,
            }
        }
        Ok(())
    }

    /// Path of the log.
    pub(super) fn log_path(&self) -> PathBuf {
        self.path("audit.log")
    }

    /// Path of the file or folder `name`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn model_path(&self, round: u64) -> PathBuf {
        self.path(&format!("model-{round}.f32"))
    }

    /// Replaces the file `name` by `value`.
    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| StoreError::Encode(error.to_string()))?;
        Ok(write_private(&self.path(name), &bytes)?)
    }
}

/// Reads what [`Folder::write_json`] wrote, if it was ever written.
fn read_json<T: DeserializeOwned>(path: &Path, limit: usize) -> Result<Option<T>, StoreError> {
    let Some(bytes) = read_existing(path, limit)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| damaged(path, error.to_string()))
}

/// Writes the length of the header (LE64), the header and the body.
pub(super) fn write_headed<T: Serialize>(
    path: &Path,
    header: &T,
    body: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    let header = wire::encode(header).map_err(|error| StoreError::Encode(error.to_string()))?;
    let length = (header.len() as u64).to_le_bytes();
    Ok(write_parts(path, &[&length, &header, body], durability)?)
}

/// Reads what [`write_headed`] wrote, with a body of at most an input vector's length.
pub(super) fn read_headed<T: DeserializeOwned>(
    path: &Path,
    manifest: &Manifest,
) -> Result<Option<(T, Bytes)>, StoreError> {
    let limit = 8 + wire::MAX_MESSAGE_BYTES + manifest.body_bytes();
    let Some(bytes) = read_existing(path, limit)?.map(Bytes::from) else {
        return Ok(None);
    };
    let refuse = |reason: &str| damaged(path, reason.to_owned());
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| refuse("it is too short"))?;
    let length = usize::try_from(u64::from_le_bytes(*length))
        .ok()
        .filter(|length| *length <= rest.len())
        .ok_or_else(|| refuse("its header is cut off"))?;
    let header = wire::decode(&rest[..length]).map_err(|error| damaged(path, error.to_string()))?;
    Ok(Some((header, bytes.slice(8 + length..))))
}

/// Reads a file that may never have been written. One that is there and cannot be read is an
/// error.
pub(super) fn read_existing(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
    match read_limited(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error of a file that does not hold what it should.
pub(super) fn damaged(path: &Path, reason: String) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        reason,
    }
}
