//! What the opening of an attempt says, from the relay to a node and in every log.

use serde::{Deserialize, Serialize};

use super::head::Head;
use super::refusal::Refusal;
use crate::digest::Digest;

/// An attempt of a round, and the state that it builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Round, from 1.
    pub round: u64,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Hash of the result that it builds on.
    pub previous: Digest,
    /// Hash of the model that it builds on.
    pub model: Digest,
}

impl Opening {
    /// Returns the opening of an attempt of the round after `head`.
    pub fn after(head: &Head, attempt: u32) -> Self {
        Self {
            round: head.next_round(),
            attempt,
            previous: head.previous,
            model: head.model,
        }
    }

    /// Checks that the relay may open this attempt, after `joined`, the last one of the round that
    /// this node has answered.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotNext`], or what [`Head::check_base`] refuses.
    pub(super) fn check(&self, head: &Head, joined: u32) -> Result<(), Refusal> {
        let Self {
            round,
            attempt,
            previous,
            model,
        } = *self;
        if round != head.next_round() || attempt <= joined {
            let done = head.round;
            return Err(Refusal::NotNext {
                round,
                attempt,
                done,
                joined,
            });
        }
        head.check_base(round, previous, model)
    }
}
