//! The attempts of one scheme that a log has told of.

use std::collections::BTreeMap;

use crate::digest::Digest;

/// Attempts by their contexts: those of the round under way, and those of the one before, behind
/// whose result a party may have to go back.
pub(super) struct Attempts<A> {
    current: BTreeMap<Digest, A>,
    former: BTreeMap<Digest, A>,
}

impl<A> Attempts<A> {
    pub(super) fn none() -> Self {
        Self {
            current: BTreeMap::new(),
            former: BTreeMap::new(),
        }
    }

    /// Adds an attempt of the round under way, unless it is there.
    pub(super) fn add(&mut self, ctx: Digest, attempt: A) {
        self.current.entry(ctx).or_insert(attempt);
    }

    /// Returns an attempt of the round under way.
    pub(super) fn current(&self, ctx: Digest) -> Option<&A> {
        self.current.get(&ctx)
    }

    /// Returns an attempt of the round under way.
    pub(super) fn current_mut(&mut self, ctx: Digest) -> Option<&mut A> {
        self.current.get_mut(&ctx)
    }

    /// Returns an attempt of either round.
    pub(super) fn any_mut(&mut self, ctx: Digest) -> Option<&mut A> {
        match self.current.get_mut(&ctx) {
            None => self.former.get_mut(&ctx),
            attempt => attempt,
        }
    }

    /// The round under way is complete.
    pub(super) fn advance(&mut self) {
        self.former = std::mem::take(&mut self.current);
    }

    /// The party goes back behind the last result.
    pub(super) fn go_back(&mut self) {
        self.current = std::mem::take(&mut self.former);
    }
}
