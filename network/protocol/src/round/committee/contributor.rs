//! The contributor's side of an attempt: train, mask, seal, upload. Then it may go.

use fl_shaders::Tag;

use super::envelope::Envelope;
use super::holders::Holders;
use super::message::Contribution;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::error::WireError;
use crate::round::message::{Keys, Signed};
use crate::round::node::{Action, Announcement, Node, Pending, Phase};
use crate::round::refusal::Refusal;

/// What a contributor waits for before it can mask its update.
#[derive(Debug)]
pub(in crate::round) struct Contributor {
    pub(in crate::round) round: u64,
    pub(in crate::round) attempt: u32,
    pub(in crate::round) stage: Stage,
}

#[derive(Debug)]
pub(in crate::round) enum Stage {
    /// For its own update; the holders may be known already.
    Training(Option<Holders>),
    /// For the holders.
    Trained,
    /// For the masked update.
    Masking(Holders),
}

/// A contribution that was made, and not yet accounted for by a result.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Whom its seeds are sealed to.
    pub holders: Holders,
    /// The signed root of the masked update.
    pub contribution: Signed<Contribution>,
    /// The seeds.
    pub envelope: Envelope,
}

impl Contributor {
    /// Asked to train.
    pub(in crate::round) fn new(round: u64, attempt: u32) -> Self {
        Self {
            round,
            attempt,
            stage: Stage::Training(None),
        }
    }

    /// Whether it waits for its masked update in this context.
    pub(in crate::round) fn is_masking(&self, ctx: Digest) -> bool {
        matches!(&self.stage, Stage::Masking(holders) if holders.ctx() == ctx)
    }

    /// Whether it waits for its own update.
    pub(in crate::round) fn is_training(&self) -> bool {
        matches!(self.stage, Stage::Training(_))
    }
}

impl Node {
    /// The update for `round` is ready. Returns nothing if it came too late.
    pub(in crate::round) fn ready(&mut self, round: u64) -> Vec<Action> {
        let Phase::Contributing(contributor) = &mut self.phase else {
            return Vec::new();
        };
        if contributor.round != round {
            return Vec::new();
        }
        match &mut contributor.stage {
            Stage::Training(None) => {
                contributor.stage = Stage::Trained;
                Vec::new()
            }
            Stage::Training(Some(holders)) => {
                let (holders, attempt) = (holders.clone(), contributor.attempt);
                contributor.stage = Stage::Masking(holders.clone());
                vec![self.log_opened(attempt), Action::Contribute(holders)]
            }
            Stage::Trained | Stage::Masking(_) => Vec::new(),
        }
    }

    /// The keys of the holders. A node may wait for them as a holder, as a contributor, or as both.
    pub(in crate::round) fn holder_keys(
        &mut self,
        bundle: Vec<Signed<Keys>>,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        let holders = Holders::verify(bundle, &self.manifest, &self.chain, unix_s)?;
        self.holder.fixed(&holders, self.identity.node_id())?;
        let mut actions = vec![Action::Log(Entry::Keys(holders.bundle().to_vec()))];
        let attempt = holders.attempt();
        match &mut self.phase {
            Phase::Contributing(contributor) if contributor.attempt == attempt => {
                match &mut contributor.stage {
                    Stage::Training(known) => drop(known.get_or_insert(holders)),
                    Stage::Trained => {
                        contributor.stage = Stage::Masking(holders.clone());
                        actions.extend([self.log_opened(attempt), Action::Contribute(holders)]);
                    }
                    Stage::Masking(_) => {}
                }
            }
            _ => {}
        }
        Ok(actions)
    }

    /// The update is masked and the seeds are sealed. `root` is the chunk root of the masked update, `tag` what is left
    /// of its tag. Returns nothing if the attempt is over.
    ///
    /// # Errors
    /// [`WireError`] if the message cannot be encoded.
    pub fn contributed(
        &mut self,
        ctx: Digest,
        root: Digest,
        tag: Tag,
        envelope: Envelope,
    ) -> Result<Option<Announcement>, WireError> {
        if !self.is_masking(ctx) {
            return Ok(None);
        }
        let Phase::Contributing(Contributor {
            stage: Stage::Masking(holders),
            attempt,
            ..
        }) = std::mem::replace(&mut self.phase, Phase::Idle)
        else {
            return Ok(None);
        };
        let contribution = Contribution {
            ctx,
            node: self.identity.node_id(),
            root,
            tag: tag.values(),
            envelope: envelope.digest(),
        };
        let contribution = Signed::new(&contribution, &self.identity)?;
        let entry = Entry::Contribution(contribution.clone());
        let prepared = Prepared {
            holders,
            contribution,
            envelope,
        };
        self.joined = attempt;
        Ok(Some(self.hold(entry, Pending::Contribution(prepared))))
    }
}
