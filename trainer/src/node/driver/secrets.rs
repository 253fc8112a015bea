//! The secrets of the attempt under way.

use fl_sharing::{RandomnessError, RoundKey};

use crate::node::holding::Holding;
use crate::node::masking::OwnSeeds;

/// What a node must tell nobody about an attempt. In memory only, and erased on drop.
#[derive(Default)]
pub(super) enum Secrets {
    /// Nothing: no round key was drawn, or it has served its purpose.
    #[default]
    None,
    /// A participant's in the peer scheme. They are worth nothing without the connection on which
    /// the key was offered.
    Participant {
        round_key: RoundKey,
        /// Those that it drew for others, once it has the others' keys.
        seeds: Option<OwnSeeds>,
    },
    /// A holder's in the committee scheme. They outlive a connection, but not the attempt.
    Holder(Holding),
}

impl Secrets {
    /// Draws a participant's round key, in the place of all there was. Returns its public part.
    pub(super) fn draw_participant(&mut self) -> Result<Vec<u8>, RandomnessError> {
        let (round_key, seeds) = (RoundKey::generate()?, None);
        let public = round_key.public().to_vec();
        *self = Self::Participant { round_key, seeds };
        Ok(public)
    }

    /// Draws a holder's round key, in the place of all there was. Returns its public part.
    pub(super) fn draw_holder(&mut self) -> Result<Vec<u8>, RandomnessError> {
        let holding = Holding::generate()?;
        let public = holding.public().to_vec();
        *self = Self::Holder(holding);
        Ok(public)
    }

    /// Keeps the seeds that a participant drew for others.
    pub(super) fn add_seeds(&mut self, own: OwnSeeds) {
        if let Self::Participant { seeds, .. } = self {
            *seeds = Some(own);
        }
    }

    /// Erases a participant's secrets: it is out of the attempt.
    pub(super) fn step_back(&mut self) {
        if let Self::Participant { .. } = self {
            *self = Self::None;
        }
    }

    /// Takes out a participant's secrets, if it has all of them.
    pub(super) fn take_participant(&mut self) -> Option<(RoundKey, OwnSeeds)> {
        let Self::Participant { .. } = self else {
            return None;
        };
        match std::mem::take(self) {
            Self::Participant { round_key, seeds } => seeds.map(|seeds| (round_key, seeds)),
            _ => None,
        }
    }

    /// Returns what a holder has.
    pub(super) fn holding(&self) -> Option<&Holding> {
        match self {
            Self::Holder(holding) => Some(holding),
            _ => None,
        }
    }

    /// Returns what a holder has, to be added to.
    pub(super) fn holding_mut(&mut self) -> Option<&mut Holding> {
        match self {
            Self::Holder(holding) => Some(holding),
            _ => None,
        }
    }
}
