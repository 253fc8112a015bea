//! What a result of the committee scheme rests on: the holders' decision.

use std::collections::BTreeSet;

use super::decision::Decision;
use super::holders::Holders;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::difference::SentSums;
use crate::round::evidence::{Account, CheckedEvidence, Checker, signers};
use crate::round::message::{Keys, Signed};
use crate::round::refusal::{Kind, Refusal};

impl Account for Decision {
    fn nodes(&self, manifest: &Manifest) -> BTreeSet<NodeId> {
        signers(&self.contributions, manifest)
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
            ..
        } = *checker;
        if manifest.committee().is_none() {
            let what = Kind::Outcome;
            return Err(Refusal::Unexpected { what });
        }
        let holders = Holders::of_result(bundle, manifest, head, unix_s)?;
        let own = own.and_then(|(node, own)| Some((node, own.contribution()?)));
        let (nodes, tag) = self.verify(announced, &holders, own, manifest, unix_s)?;
        let ctx = holders.ctx();
        Ok(CheckedEvidence { ctx, nodes, tag })
    }

    /// It is the holders who answer for what they have voted for.
    fn check_sent(&self, _: Digest, _: &SentSums) -> Result<(), Refusal> {
        Ok(())
    }
}
