//! What a result of the peer scheme rests on: the sums of all participants.

use std::collections::BTreeSet;

use super::participants::Participants;
use super::sums::{SumsCheck, sums_digest};
use super::tag_share::OpenedSum;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::difference::SentSums;
use crate::round::evidence::{Account, CheckedEvidence, Checker, signers};
use crate::round::message::{Keys, Signed};
use crate::round::refusal::{Kind, Refusal};

impl Account for Vec<OpenedSum> {
    fn nodes(&self, manifest: &Manifest) -> BTreeSet<NodeId> {
        signers(self.iter().map(|opened| &opened.sum), manifest)
    }

    fn check(
        &self,
        bundle: Vec<Signed<Keys>>,
        announced: Digest,
        checker: &Checker<'_>,
    ) -> Result<CheckedEvidence, Refusal> {
        let Checker {
            own,
            manifest,
            head,
            unix_s,
            convicted,
        } = *checker;
        if manifest.committee().is_some() {
            let what = Kind::Outcome;
            return Err(Refusal::Unexpected { what });
        }
        let participants = Participants::of_result(bundle, manifest, head, unix_s, convicted)?;
        let own = own.and_then(|(_, own)| own.sum());
        let own = own.filter(|own| own.participants.ctx() == participants.ctx());
        let check = SumsCheck {
            announced,
            participants: &participants,
            own: own.map(|own| &own.sum),
            manifest,
            unix_s,
        };
        let tag = check.opened(self)?;
        Ok(CheckedEvidence {
            ctx: participants.ctx(),
            nodes: participants.set(),
            tag,
        })
    }

    fn check_sent(&self, ctx: Digest, sent: &SentSums) -> Result<(), Refusal> {
        let sums = self.iter().map(|opened| &opened.sum);
        sent.check_sums(ctx, sums_digest(sums))
    }
}
