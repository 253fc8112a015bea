//! Errors of identities, manifests and the wire. A round's refusals are in
//! [`crate::round::Refusal`].

use fl_shaders::PlanError;

use crate::digest::DigestError;
use crate::identity::{Label, NodeId};
use crate::round::committee::{MAX_CLASSES, MAX_HOLDERS};

/// A key, a signature or a digest that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not a usable Ed25519 public key.
    #[error("not a valid Ed25519 public key")]
    PublicKey,
    /// Not a PKCS#8 Ed25519 private key in PEM.
    #[error("not an Ed25519 private key (PKCS#8, PEM)")]
    PrivateKey,
    /// The signature does not verify.
    #[error("the {label} signature does not verify")]
    Signature {
        /// What was signed.
        label: Label,
    },
    /// A digest that is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A manifest that cannot be trusted or makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The authority did not sign these bytes.
    #[error("the manifest is not signed by this consortium's authority; get a fresh kit")]
    Signature(#[source] IdentityError),
    /// Larger than a manifest may be.
    #[error("the manifest has {bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not the TOML of a manifest.
    #[error("the manifest cannot be read: {0}")]
    Toml(#[source] Box<toml::de::Error>),
    /// The manifest cannot be written as TOML.
    #[error("the manifest cannot be written: {0}")]
    Write(#[source] Box<toml::ser::Error>),
    /// Another protocol or cipher suite.
    #[error(
        "the manifest is for protocol {protocol:?}, suite {suite}; this program speaks smpcfl/2, \
         suite 2, so the consortium has to be provisioned anew"
    )]
    Protocol {
        /// Protocol named in the manifest.
        protocol: String,
        /// Suite named in the manifest.
        suite: u16,
    },
    /// `collusion` and `min_nodes` do not fit.
    #[error(
        "min_nodes = {min_nodes} is too small: it must be at least {needed}, which is 3 or collusion + 2"
    )]
    MinNodes {
        /// Value in the manifest.
        min_nodes: u32,
        /// The larger of 3 and collusion + 2.
        needed: u32,
    },
    /// Too few or too many nodes.
    #[error(
        "{nodes} nodes are listed; between min_nodes = {min_nodes} and nodes_max = {nodes_max} are needed"
    )]
    Nodes {
        /// Nodes listed.
        nodes: usize,
        /// Least number that a round takes.
        min_nodes: u32,
        /// Greatest number that the fixed-point plan and the scheme allow.
        nodes_max: u32,
    },
    /// Too few organisations: those that collude could be all the others.
    #[error("the nodes belong to {found} organisations; at least {needed} are needed")]
    Organisations {
        /// Organisations listed.
        found: usize,
        /// The least number.
        needed: u32,
    },
    /// Who takes part does not fit the roster, or the fields do not fit each other.
    #[error("participation: {0}")]
    Participation(String),
    /// The same name or key twice, or an unusable name.
    #[error("node {name:?}: {reason}")]
    Node {
        /// Name as written.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The fixed-point plan could wrap around.
    #[error("the fixed-point plan does not hold: {0}")]
    Plan(#[from] PlanError),
    /// The layout has no parameters, or too many, or a name twice.
    #[error("the model layout is unusable: {0}")]
    Layout(String),
    /// The metrics are of numbers that cannot be.
    #[error("the metrics are unusable: {0}")]
    Metrics(String),
    /// A digest or key in it is malformed.
    #[error("{field} is malformed: {source}")]
    Field {
        /// Field name.
        field: &'static str,
        /// Why.
        source: IdentityError,
    },
    /// A timeout of zero.
    #[error("timeouts.{0} must be greater than 0")]
    Timeout(&'static str),
    /// A limit that limits nothing, or everything.
    #[error("limits.{name} is {value}; it must be a finite number greater than 0")]
    Limit {
        /// Which.
        name: &'static str,
        /// What it is.
        value: f64,
    },
    /// A committee without its scheme, or the scheme without a committee: the scheme, and how many
    /// tables it has.
    #[error("scheme = \"{0}\" goes with {1} [committee] table; change one of them")]
    CommitteeTable(&'static str, &'static str),
    /// A holder who is no node of the manifest, or is listed twice.
    #[error("committee.holders lists {0:?}, which is not the name of a node, or is there twice")]
    Holder(String),
    /// A committee that is too small, or too large.
    #[error(
        "a committee of {found} with threshold {threshold} cannot be: it takes 1 ≤ threshold < holders ≤ \
         {MAX_HOLDERS}, and at most {MAX_CLASSES} ways to choose threshold of them"
    )]
    Committee {
        /// Holders listed.
        found: usize,
        /// t.
        threshold: u32,
    },
    /// Those who collude could hold too much.
    #[error(
        "committee.threshold = {threshold} is too small: {collusion} colluding organisation(s) may run {holders} \
         holders; raise the threshold, or name holders of other organisations"
    )]
    Threshold {
        /// t.
        threshold: u32,
        /// The manifest's `collusion`.
        collusion: u32,
        /// The most holders that so many organisations run.
        holders: u32,
    },
    /// Someone who is not in the roster.
    #[error("{0} is not in the manifest's roster")]
    Stranger(NodeId),
}

/// Bytes from a peer that are not a message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not the encoding of the expected type.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// Bytes after the end of the message.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    /// The message cannot be encoded within the limit.
    #[error("message cannot be encoded: {0}")]
    Encode(String),
}
