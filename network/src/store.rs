//! What a party remembers across restarts: where it stands, its model, the sums it has sent, its outbox.
//!
//! ```text
//! lock            held while the party runs
//! state.json      sid and chain; names the model file, and is written after it
//! model-N.f32     the global model after round N
//! sent.json       sums that were sent, for the difference rule (nodes)
//! outbox.bin      a masked sum or a contribution, with what is needed to go on with it (nodes)
//! result.bin      the last result, for nodes that did not get it (relay)
//! checkpoint.bin  acknowledgements of where it stands, for nodes that lost their state (relay)
//! audit.log       the transcript, which only grows; see [`crate::audit`]
//! spool/          what has arrived of the attempt under way (relay of a committee)
//! *.new           files on the way, and former ones that the next are written over
//! ```
//!
//! Nothing here is secret: a masked sum is uniformly random to whoever lacks the seeds.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fl_protocol::digest::{ChunkHashes, Digest, model_hash};
use fl_protocol::manifest::Manifest;
use fl_protocol::round::committee::message::Contribution;
use fl_protocol::round::committee::{Envelope, Holders, Prepared};
use fl_protocol::round::message::{Keys, Signed, WHENEVER};
use fl_protocol::round::node::Pending;
use fl_protocol::round::peer::Participants;
use fl_protocol::round::peer::PendingSum;
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::relay::LastResult;
use fl_protocol::round::{Chain, Checkpoint, Refusal, SentSums};
use fl_protocol::wire;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::files::{
    self, Durability, FileError, read_limited, read_parameters, write_parameters, write_parts,
    write_private,
};
use crate::kit::{Kit, KitError};

const MAX_STATE_BYTES: usize = 4 << 10;
const MAX_SENT_BYTES: usize = 256 << 20;

/// State that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process uses this folder.
    #[error("{0} is in use by another process; stop it, or choose another folder with --state")]
    Locked(PathBuf),
    /// The state was made under another manifest.
    #[error(
        "{path} holds the state of another manifest (sid {found}); choose another folder with --state"
    )]
    OtherManifest {
        /// Folder.
        path: PathBuf,
        /// Its sid.
        found: Digest,
    },
    /// A file does not hold what it should.
    #[error(
        "{path} is damaged: {reason}; there is no safe way on but a new consortium, founded with \
         `fl-node provision --from` a node's model"
    )]
    Damaged {
        /// File.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The kit's initial model is unusable.
    #[error(transparent)]
    Kit(#[from] Box<KitError>),
    /// A value cannot be encoded.
    #[error("state cannot be encoded: {0}")]
    Encode(String),
}

/// A folder that one party has for itself.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    sid: Digest,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    sid: String,
    round: u64,
    previous: String,
    model: String,
}

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

/// What precedes the body in `outbox.bin`.
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

    /// What is pending, with the root that was signed.
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

impl Store {
    /// Opens `folder`, which is made if need be, for this process alone.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::File`].
    pub fn open(folder: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|source| FileError::write(folder, source))?;
        let path = folder.join("lock");
        let lock = files::open_private(&path)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Locked(folder.to_owned()),
            TryLockError::Error(source) => FileError::write(&path, source).into(),
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            sid: manifest.sid(),
            _lock: lock,
        })
    }

    /// Where the party stands and its model: the manifest's beginning, with the kit's initial model, in a fresh folder.
    ///
    /// # Errors
    /// [`StoreError::OtherManifest`], [`StoreError::Damaged`], [`StoreError::File`], [`StoreError::Kit`].
    pub fn load(&self, kit: &Kit) -> Result<(Chain, Vec<f32>), StoreError> {
        let path = self.folder.join("state.json");
        let Some(state) = self.read_json::<State>(&path, MAX_STATE_BYTES)? else {
            return Ok((
                Chain::start(&kit.manifest),
                kit.initial().map_err(Box::new)?,
            ));
        };
        let digest = |text: &str| {
            text.parse::<Digest>()
                .map_err(|error| damaged(&path, error.to_string()))
        };
        let sid = digest(&state.sid)?;
        if sid != self.sid {
            return Err(StoreError::OtherManifest {
                path: self.folder.clone(),
                found: sid,
            });
        }
        let chain = Chain {
            round: state.round,
            previous: digest(&state.previous)?,
            model: digest(&state.model)?,
        };
        let path = self.model_path(chain.round);
        let model = read_parameters(&path, kit.manifest.parameters())?;
        if model_hash(&model) != chain.model {
            return Err(damaged(
                &path,
                "it is not the model that state.json names".to_owned(),
            ));
        }
        Ok((chain, model))
    }

    /// Makes a new state durable.
    ///
    /// # Errors
    /// [`StoreError::File`]; the former state is then untouched.
    pub fn commit(&self, chain: &Chain, model: &[f32]) -> Result<(), StoreError> {
        write_parameters(&self.model_path(chain.round), model)?;
        let state = State {
            sid: self.sid.to_hex(),
            round: chain.round,
            previous: chain.previous.to_hex(),
            model: chain.model.to_hex(),
        };
        self.write_json("state.json", &state)?;
        self.forget_models_but(chain.round)
    }

    /// The former model gives its place to the next one.
    fn forget_models_but(&self, round: u64) -> Result<(), StoreError> {
        let current = self.model_path(round);
        let failed = |source| FileError::read(&self.folder, source);
        let entries = fs::read_dir(&self.folder).map_err(failed)?;
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

    /// The sums that this node has sent. The record is there from the beginning, so that it is noticed when it is lost.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub fn sent(&self) -> Result<SentSums, StoreError> {
        let path = self.folder.join("sent.json");
        match self.read_json(&path, MAX_SENT_BYTES)? {
            Some(sent) => Ok(sent),
            None if self.folder.join("state.json").exists() => {
                Err(damaged(&path, "it is gone".to_owned()))
            }
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
    /// [`StoreError::File`].
    pub fn record(&self, sent: &SentSums) -> Result<(), StoreError> {
        self.write_json("sent.json", sent)
    }

    /// Puts a masked sum, or a contribution, into the outbox, replacing a former one.
    ///
    /// It survives the process, not necessarily a loss of power: the round key is lost then as well, so no second
    /// sum for the same context can come about.
    ///
    /// # Errors
    /// [`StoreError::File`], on a full disk for instance.
    pub fn keep(&self, pending: &Pending, body: &[u8]) -> Result<(), StoreError> {
        let header = OutboxHeader::of(pending);
        write_headed(&self.outbox_path(), &header, body, Durability::Process)
    }

    /// Takes up the masked sum in the outbox, if there is one that belongs to `chain`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub fn outgoing(
        &self,
        manifest: &Manifest,
        chain: &Chain,
    ) -> Result<Option<Outgoing>, StoreError> {
        let path = self.outbox_path();
        let Some((header, body)) = read_headed::<OutboxHeader>(&path, manifest)? else {
            return Ok(None);
        };
        let refuse = |reason: &str| damaged(&path, reason.to_owned());
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

    /// An empty folder for what arrives of an attempt, in place of the former one.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn spool(&self) -> Result<PathBuf, StoreError> {
        let folder = self.folder.join("spool");
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
    /// [`StoreError::File`], on a full disk for instance.
    pub fn keep_result(&self, last: &LastResult, body: &[u8]) -> Result<(), StoreError> {
        let path = self.result_path();
        // Nobody comes for the former one any more.
        files::retire(&path, &path)?;
        write_headed(&path, last, body, Durability::Disk)
    }

    /// Forgets the last result for good.
    ///
    /// # Errors
    /// [`StoreError::File`]; whether it is there after a loss of power is then open.
    pub fn forget_result(&self) -> Result<(), StoreError> {
        let path = self.result_path();
        files::retire(&path, &path)?;
        Ok(files::sync_folder(&path)?)
    }

    /// The last result and its bytes, if they were kept.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub fn result(&self, manifest: &Manifest) -> Result<Option<(LastResult, Bytes)>, StoreError> {
        let path = self.result_path();
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
    /// [`StoreError::File`].
    pub fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let bytes = wire::encode(checkpoint);
        let bytes = bytes.map_err(|error| StoreError::Encode(error.to_string()))?;
        Ok(write_private(&self.checkpoint_path(), &bytes)?)
    }

    /// The last certified state, if one was kept. Its signatures are not checked here.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let path = self.checkpoint_path();
        let Some(bytes) = read_existing(&path, wire::MAX_MESSAGE_BYTES)? else {
            return Ok(None);
        };
        let checkpoint = wire::decode(&bytes);
        Ok(Some(
            checkpoint.map_err(|error| damaged(&path, error.to_string()))?,
        ))
    }

    /// Empties the outbox.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn forget(&self) -> Result<(), StoreError> {
        let path = self.outbox_path();
        Ok(files::retire(&path, &path)?)
    }

    /// Where the log is.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    fn model_path(&self, round: u64) -> PathBuf {
        self.folder.join(format!("model-{round}.f32"))
    }

    fn outbox_path(&self) -> PathBuf {
        self.folder.join("outbox.bin")
    }

    fn checkpoint_path(&self) -> PathBuf {
        self.folder.join("checkpoint.bin")
    }

    fn result_path(&self) -> PathBuf {
        self.folder.join("result.bin")
    }

    fn read_json<T: DeserializeOwned>(
        &self,
        path: &Path,
        limit: usize,
    ) -> Result<Option<T>, StoreError> {
        let Some(bytes) = read_existing(path, limit)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| damaged(path, error.to_string()))
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| StoreError::Encode(error.to_string()))?;
        Ok(write_private(&self.folder.join(name), &bytes)?)
    }
}

/// Writes the length of the header (LE64), the header and the body.
fn write_headed<T: Serialize>(
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
fn read_headed<T: DeserializeOwned>(
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

/// Reads a file that may never have been written. One that is there and cannot be read is an error.
fn read_existing(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
    match read_limited(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn damaged(path: &Path, reason: String) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        reason,
    }
}
