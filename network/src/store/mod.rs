//! What a party remembers across restarts: where it stands and its model, and by its role what it
//! has sent or what it has published.
//!
//! ```text
//! lock            held while the party runs
//! state.json      consortium id and head; names the model file, and is written after it
//! model-N.f32     the global model after round N
//! audit.log       the transcript, which only grows; see [`crate::audit`]
//! *.new           files on the way, and former ones that the next are written over
//!
//! sent.log        sums that a node has sent, for the difference rule; it only grows
//! outbox.bin      a node's masked sum or contribution, with what is needed to go on with it
//!
//! result.bin      the relay's last result, for nodes that did not get it
//! checkpoint.bin  acknowledgements of where the relay stands, for nodes that lost their state
//! spool/          what the relay has of the attempt under way, with a committee
//! ```
//!
//! A [`NodeStore`] and a [`RelayStore`] have the first part in common.
//!
//! Nothing here is secret: a masked sum is uniformly random to whoever lacks the seeds.

mod folder;
mod node;
mod outbox;
mod relay;
mod sent;

use std::path::PathBuf;

use fl_protocol::digest::Digest;

use crate::files::FileError;
use crate::kit::KitError;

pub use node::NodeStore;
pub use outbox::Outgoing;
pub use relay::RelayStore;

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
    /// The kit's initial model is unusable.
    #[error(transparent)]
    Kit(#[from] Box<KitError>),
    /// A value cannot be encoded.
    #[error("state cannot be encoded: {0}")]
    Encode(String),
}
