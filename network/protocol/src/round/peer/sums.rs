//! What a result of the peer scheme rests on.

use std::collections::BTreeMap;

use fl_shaders::Tag;

use super::message::Sum;
use super::participants::Participants;
use super::pending::PendingSum;
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};

/// Checks that there is one sum of each participant, and of nobody else, and returns the sum of
/// their tag shares. `own` is what the checker holds.
///
/// # Errors
///
/// An outcome without the sum of a participant, with a stranger's or a doubled one, with a sum of
/// another context than the participants' and the one that was `announced`, or with another sum in
/// the checker's name.
pub(in crate::round) fn check_sums(
    signed: &[Signed<Sum>],
    announced: Digest,
    participants: &Participants,
    own: Option<&PendingSum>,
    manifest: &Manifest,
    unix_s: u64,
) -> Result<Tag, Refusal> {
    let mut sums = BTreeMap::new();
    let mut tag = Tag::default();
    for signed in signed {
        let (sum, share) = signed.verify_tagged(manifest, unix_s)?;
        let signer = sum.node;
        if sum.ctx != participants.ctx() || sum.ctx != announced {
            return Err(Refusal::Stale {
                what: Kind::Sum,
                signer,
            });
        }
        if !participants.contains(signer) {
            return Err(Refusal::Stranger(signer));
        }
        if sums.insert(signer, signed).is_some() {
            return Err(Refusal::Duplicate {
                what: Kind::Sum,
                signer,
            });
        }
        tag += share;
    }
    if let Some(missing) = participants.ids().find(|id| !sums.contains_key(id)) {
        return Err(Refusal::MissingSum(missing));
    }
    let own = own.filter(|own| own.participants.ctx() == participants.ctx());
    match own.is_some_and(|own| !signed.contains(&own.sum)) {
        true => Err(Refusal::OwnSum),
        false => Ok(tag),
    }
}
