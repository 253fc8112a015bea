//! Where a party stands: the chain of results that it has itself checked.

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::digest::Digest;
use crate::manifest::Manifest;

/// The last result that a party has checked. The order is that of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// Rounds completed.
    pub round: u64,
    /// Hash of the last result; the consortium's id before the first.
    pub previous: Digest,
    /// Hash of the global model.
    pub model: Digest,
}

impl Head {
    /// The beginning: no round completed, the manifest's initial model.
    pub fn start(manifest: &Manifest) -> Self {
        Self {
            round: 0,
            previous: manifest.consortium_id(),
            model: manifest.initial_model(),
        }
    }

    /// Returns the round that comes next. (Saturating: a hostile message may claim any number of
    /// rounds.)
    pub fn next_round(&self) -> u64 {
        self.round.saturating_add(1)
    }

    /// Returns what follows when the sum over context `ctx`, with this `root`, has led to `model`.
    ///
    /// The result's hash is SHA-256 of `"smpcfl/2 result"`, ctx, root and model hash; ctx holds the
    /// previous result's hash, which makes the results a chain.
    #[must_use]
    pub fn next(&self, ctx: Digest, root: Digest, model: Digest) -> Self {
        let previous = Digest::sha256(&[
            b"smpcfl/2 result",
            ctx.as_bytes(),
            root.as_bytes(),
            model.as_bytes(),
        ]);
        Self {
            round: self.next_round(),
            previous,
            model,
        }
    }

    /// Checks that a round builds on this model and result.
    ///
    /// # Errors
    ///
    /// [`Refusal::Previous`] or [`Refusal::Model`].
    pub fn check_base(&self, round: u64, previous: Digest, model: Digest) -> Result<(), Refusal> {
        if previous != self.previous {
            return Err(Refusal::Previous {
                round,
                ours: self.previous,
                theirs: previous,
            });
        }
        if model != self.model {
            return Err(Refusal::Model {
                round,
                ours: self.model,
                theirs: model,
            });
        }
        Ok(())
    }
}
