//! What a result is the sum of. Only here the schemes' kinds of evidence are told apart.

use std::collections::BTreeSet;

use fl_shaders::Tag;
use serde::{Deserialize, Serialize};

use super::committee::Decision;
use super::difference::SentSums;
use super::head::Head;
use super::message::{Keys, Message, Signed, WHENEVER};
use super::node::pending::Pending;
use super::peer::OpenedSum;
use super::refusal::Refusal;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;

/// What a result is the sum of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Evidence {
    /// In the peer scheme, the signed sums of all participants, with the tag shares that these
    /// commit to.
    Sums(Vec<OpenedSum>),
    /// In the committee scheme, contributions and reveals.
    Decision(Decision),
}

/// What the evidence of each scheme can do.
pub(super) trait Account {
    /// Returns those whose inputs are in the sum, as far as signatures hold.
    fn nodes(&self, manifest: &Manifest) -> BTreeSet<NodeId>;

    /// Checks the evidence of an outcome with these keys that was announced under the context
    /// `announced`.
    ///
    /// # Errors
    ///
    /// What the scheme demands; [`Refusal::Unexpected`] if the manifest has another one.
    fn check(
        &self,
        bundle: Vec<Signed<Keys>>,
        announced: Digest,
        checker: &Checker<'_>,
    ) -> Result<CheckedEvidence, Refusal>;

    /// Checks that what a node has sent in the attempt `ctx` rests on the same.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherSums`].
    fn check_sent(&self, ctx: Digest, sent: &SentSums) -> Result<(), Refusal>;
}

/// Who checks an outcome, and what the checker knows.
pub(super) struct Checker<'a> {
    /// The checker, with the masked vector that it holds.
    pub(super) own: Option<(NodeId, &'a Pending)>,
    pub(super) manifest: &'a Manifest,
    /// Where it stands.
    pub(super) head: &'a Head,
    pub(super) unix_s: u64,
    /// Those that may be missing, since they are proven to have lied.
    pub(super) convicted: &'a BTreeSet<NodeId>,
}

/// Evidence whose signatures hold.
#[derive(Clone, Debug)]
pub(super) struct CheckedEvidence {
    /// Context of the attempt.
    pub(super) ctx: Digest,
    /// Those whose inputs are in the sum.
    pub(super) nodes: BTreeSet<NodeId>,
    /// Sum of the tag shares.
    pub(super) tag: Tag,
}

impl Evidence {
    /// Returns those whose inputs are in it, as far as signatures hold.
    pub fn nodes(&self, manifest: &Manifest) -> BTreeSet<NodeId> {
        self.account().nodes(manifest)
    }

    /// Returns what the scheme makes of it.
    pub(super) fn account(&self) -> &dyn Account {
        match self {
            Self::Sums(sums) => sums,
            Self::Decision(decision) => decision,
        }
    }
}

/// Returns who has signed these messages, as far as signatures hold.
pub(super) fn signers<'a, T: Message + 'a>(
    signed: impl IntoIterator<Item = &'a Signed<T>>,
    manifest: &Manifest,
) -> BTreeSet<NodeId> {
    let messages = signed
        .into_iter()
        .filter_map(|signed| signed.verify(manifest, WHENEVER).ok());
    messages.map(|message| message.signer()).collect()
}
