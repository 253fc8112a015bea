//! What a party remembers across restarts: where it stands and its model, and by its role what it
//! has on the way or what it has published.
//!
//! ```text
//! lock            held while the party runs
//! state.json      consortium id and head; names the model file, and is written after it
//! model-N.f32     the global model after round N
//! audit.log       the transcript, which only grows; see [`crate::audit`]
//! *.new           files on the way, and former ones that the next are written over
//!
//! lowest-loss     the lowest loss of a global model on the node's own held-back rows
//! outbox.bin      a node's masked sum or contribution, with what is needed to go on with it
//!
//! result.bin      the relay's last result, for nodes that did not get it
//! checkpoint.bin  acknowledgements of where the relay stands, for nodes that lost their state
//! spool/          what the relay has of the attempt under way, with a committee
//! rounds.jsonl    the rounds that the relay has completed, as its operator was told of them
//! ```
//!
//! A [`NodeStore`] and a [`RelayStore`] have the first part in common. What a node's organisation
//! remembers of the sums that it has given lies elsewhere, in its [`SentRecord`].
//!
//! Nothing here is secret: a masked sum is uniformly random to whoever lacks the seeds.

mod chain;
mod folder;
mod node;
mod outbox;
mod record;
mod relay;
mod rounds;

use std::path::PathBuf;

use fl_protocol::digest::Digest;
use fl_protocol::error::ManifestError;

use crate::files::FileError;
use crate::kit::KitError;

pub use node::NodeStore;
pub use outbox::Outgoing;
pub use record::{Difference, Reconciled, SentRecord};
pub use relay::RelayStore;
pub(crate) use rounds::ROUNDS_MAX;
pub use rounds::RoundHistory;

/// State that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process uses this folder or file.
    #[error("{0} is in use by another process; stop that one first")]
    Locked(PathBuf),
    /// The state was made under another manifest.
    #[error(
        "{path} holds the state of another manifest (consortium id {found}); choose another folder with --state"
    )]
    OtherManifest {
        /// Folder.
        path: PathBuf,
        /// Its consortium id.
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
    /// A file is of a former version of this program.
    #[error(
        "{0} is of a former version of this program, and nothing here reads it; go on with that version, or found a \
         new consortium with `fl-node provision --from` a node's model"
    )]
    Former(PathBuf),
    /// The node would give something away that it has not given away before.
    #[error(transparent)]
    Difference(#[from] Difference),
    /// The node is not in the manifest.
    #[error(transparent)]
    Stranger(#[from] ManifestError),
    /// The kit's initial model is unusable.
    #[error(transparent)]
    Kit(#[from] Box<KitError>),
    /// A value cannot be encoded.
    #[error("state cannot be encoded: {0}")]
    Encode(String),
}
