//! The checks that a node makes before it believes a result: its signatures first, then its bytes
//! as they arrive.

use std::collections::BTreeSet;
use std::ops::Deref;

use fl_shaders::{Addends, FixedPoint, Ring, Tag};

#[cfg(doc)]
use super::committee::Holders;
use super::evidence::{CheckedEvidence, Checker};
use super::head::Head;
use super::node::pending::Pending;
use super::outcome::Outcome;
#[cfg(doc)]
use super::peer::Participants;
use super::refusal::Refusal;
use super::training::{Averaged, Averaging};
use crate::digest::{CHUNK_BYTES, Digest};
use crate::identity::NodeId;
use crate::manifest::Manifest;

/// Tells a sum that fits its tags from any other (the protocol, section 8). That takes a key that
/// only nodes have, which is none of this crate's business.
pub trait Verifier {
    /// The check of one sum.
    type Check: Check;

    /// Begins the check of a sum of `elements` elements of `ring`, header included, in the context
    /// `ctx`.
    fn begin(&self, ctx: Digest, ring: Ring, elements: usize) -> Self::Check;
}

/// A sum that is being checked while its chunks arrive.
pub trait Check {
    /// Takes the next chunk: little-endian ring words, each in the range of honest sums,
    /// [`CHUNK_BYTES`] of them unless it is the last one.
    fn add(&mut self, chunk: &[u8]);

    /// Returns whether what was taken is the sum of the inputs of `nodes`, whose tag shares add up
    /// to `tag`.
    fn holds(self, nodes: &BTreeSet<NodeId>, tag: Tag) -> bool;
}

/// The bytes of a result that are being checked and averaged while they arrive.
pub struct ResultCheck<'a, B, C> {
    outcome: &'a CheckedOutcome,
    averaging: Averaging<B>,
    check: C,
}

/// An outcome whose participants and signatures hold. Only its bytes remain to be checked.
#[derive(Clone, Debug)]
pub struct CheckedOutcome {
    evidence: CheckedEvidence,
    addends: Addends,
    head: Head,
    root: Digest,
    announced: Digest,
}

impl CheckedOutcome {
    /// Returns the context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.evidence.ctx
    }

    /// Returns those whose inputs are in the sum.
    pub fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.evidence.nodes
    }

    /// Returns the state after the round, if the sum and the model are those that were announced.
    pub(super) fn leads_to(&self) -> Head {
        self.head.next(self.ctx(), self.root, self.announced)
    }

    /// Checks the signatures of `outcome`.
    ///
    /// `own` is the checker, with the masked vector that it holds, if any. `convicted` are those
    /// that may be missing, since they are proven to have lied.
    ///
    /// # Errors
    ///
    /// In the peer scheme, what [`Participants::of_result`] refuses; an outcome without the sum of
    /// a participant, with a stranger's or a doubled one, with a sum of another context, or with
    /// another sum in the checker's name, or with a tag share that its sum does not commit to. In
    /// the committee scheme, what [`Holders::of_result`] and
    /// [`Decision::verify`](super::committee::Decision::verify) refuse. [`Refusal::Unexpected`] for
    /// an outcome of the other scheme.
    pub fn verify(
        outcome: Outcome,
        own: Option<(NodeId, &Pending)>,
        manifest: &Manifest,
        head: &Head,
        unix_s: u64,
        convicted: &BTreeSet<NodeId>,
    ) -> Result<Self, Refusal> {
        let checker = Checker {
            own,
            manifest,
            head,
            unix_s,
            convicted,
        };
        let Outcome {
            ctx,
            bundle,
            parts,
            root,
            model,
        } = outcome;
        let evidence = parts.account().check(bundle, ctx, &checker)?;
        Ok(Self {
            addends: manifest.addends(&evidence.nodes),
            evidence,
            head: *head,
            root,
            announced: model,
        })
    }

    /// Begins to check the bytes of X against the outcome and its tags, and to average them onto
    /// `base`, the model of the chain, in the place of `spare`.
    pub fn open<B, V>(
        &self,
        base: B,
        plan: &FixedPoint,
        verifier: &V,
        spare: Vec<f32>,
    ) -> ResultCheck<'_, B, V::Check>
    where
        B: Deref<Target: AsRef<[f32]>>,
        V: Verifier,
    {
        let elements = plan.header_words() + base.as_ref().len();
        ResultCheck {
            outcome: self,
            check: verifier.begin(self.ctx(), plan.ring(), elements),
            averaging: Averaging::new(plan, base, self.addends, spare),
        }
    }

    /// Does it with all of X at once.
    ///
    /// # Errors
    ///
    /// Those of [`ResultCheck::finish`].
    pub fn average<V: Verifier>(
        &self,
        body: &[u8],
        base: &[f32],
        plan: &FixedPoint,
        verifier: &V,
    ) -> Result<Averaged, Refusal> {
        let mut opening = self.open(base, plan, verifier, Vec::new());
        for chunk in body.chunks(CHUNK_BYTES) {
            opening.add(chunk);
        }
        opening.finish()
    }
}

impl<B, C> ResultCheck<'_, B, C>
where
    B: Deref<Target: AsRef<[f32]>>,
    C: Check,
{
    /// Takes the next chunk of X: [`CHUNK_BYTES`] of it, unless it is the last one.
    pub fn add(&mut self, chunk: &[u8]) {
        // Tags are of integers: they mean something only where every word is known to be in its
        // range.
        if self.averaging.add(chunk) {
            self.check.add(chunk);
        }
    }

    /// The average, if all holds.
    ///
    /// # Errors
    ///
    /// [`Refusal::ResultRoot`] for other bytes than announced, whatever [`Averaging::finish`]
    /// refuses, [`Refusal::Tag`] for a sum that does not fit the tags, and [`Refusal::Averaged`] if
    /// the relay announced another model than comes out.
    pub fn finish(self) -> Result<Averaged, Refusal> {
        let outcome = self.outcome;
        let found = self.averaging.root();
        if found != outcome.root {
            return Err(Refusal::ResultRoot {
                announced: outcome.root,
                found,
            });
        }
        let averaged = self.averaging.finish(outcome.head, outcome.ctx())?;
        if !self.check.holds(outcome.nodes(), outcome.evidence.tag) {
            return Err(Refusal::Tag);
        }
        let computed = averaged.head.model;
        if computed != outcome.announced {
            return Err(Refusal::Averaged {
                announced: outcome.announced,
                computed,
            });
        }
        Ok(averaged)
    }
}
