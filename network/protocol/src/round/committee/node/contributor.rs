//! The contributor's side of an attempt: train, mask, seal, upload. Then it may go.

use fl_shaders::Tag;

use crate::audit::Entry;
use crate::digest::Digest;
use crate::error::WireError;
use crate::round::committee::envelope::Envelope;
use crate::round::committee::holders::Holders;
use crate::round::committee::message::Contribution;
use crate::round::committee::prepared::Prepared;
use crate::round::committee::recipients::Recipients;
use crate::round::message::Signed;
use crate::round::node::action::Action;
use crate::round::node::core::Core;

/// What a contributor waits for.
pub(in crate::round) enum Contributor {
    /// Its update; the holders may be known already.
    Training {
        attempt: u32,
        recipients: Option<Recipients>,
    },
    /// The holders.
    Trained { attempt: u32 },
    /// Its masked update.
    Masking(Holders),
}

impl Contributor {
    /// Begins an attempt that the relay has opened.
    pub(in crate::round) fn open(attempt: u32) -> Self {
        Self::Training {
            attempt,
            recipients: None,
        }
    }

    /// Returns the attempt.
    pub(in crate::round) fn attempt(&self) -> u32 {
        match self {
            Self::Training { attempt, .. } | Self::Trained { attempt } => *attempt,
            Self::Masking(holders) => holders.attempt(),
        }
    }

    /// Returns whether it waits for its update.
    pub(in crate::round) fn is_training(&self) -> bool {
        matches!(self, Self::Training { .. })
    }

    /// Returns whether it waits for its masked update in this context.
    pub(in crate::round) fn is_masking(&self, ctx: Digest) -> bool {
        matches!(self, Self::Masking(holders) if holders.ctx() == ctx)
    }

    /// The update is ready.
    pub(in crate::round) fn trained(self, core: &Core) -> (Self, Vec<Action>) {
        match self {
            Self::Training {
                attempt,
                recipients: None,
            } => (Self::Trained { attempt }, Vec::new()),
            Self::Training {
                recipients: Some(recipients),
                ..
            } => Self::mask(core, recipients),
            other => (other, Vec::new()),
        }
    }

    /// The holders of an attempt are fixed.
    pub(in crate::round) fn fixed(
        self,
        core: &Core,
        recipients: Recipients,
    ) -> (Self, Vec<Action>) {
        if self.attempt() != recipients.attempt() {
            return (self, Vec::new());
        }
        match self {
            Self::Training {
                attempt,
                recipients: None,
            } => {
                let recipients = Some(recipients);
                let training = Self::Training {
                    attempt,
                    recipients,
                };
                (training, Vec::new())
            }
            Self::Trained { .. } => Self::mask(core, recipients),
            other => (other, Vec::new()),
        }
    }

    fn mask(core: &Core, recipients: Recipients) -> (Self, Vec<Action>) {
        let opened = core.log_opened(recipients.attempt());
        let masking = Self::Masking(recipients.clone().into_holders());
        (masking, vec![opened, Action::Contribute(recipients)])
    }

    /// The update is masked and the seeds are sealed. Returns what is held from now on and how it
    /// is logged, or the contributor, if it does not wait for that.
    pub(in crate::round) fn contributed(
        self,
        core: &mut Core,
        ctx: Digest,
        root: Digest,
        tag: Tag,
        envelope: Envelope,
    ) -> Result<Result<(Entry, Prepared), Self>, WireError> {
        let holders = match self {
            Self::Masking(holders) if holders.ctx() == ctx => holders,
            other => return Ok(Err(other)),
        };
        let contribution = Contribution {
            ctx,
            node: core.id(),
            root,
            tag: tag.values(),
            envelope: envelope.digest(),
        };
        let contribution = Signed::new(&contribution, &core.identity)?;
        core.joined = holders.attempt();
        let entry = Entry::Contribution(contribution.clone());
        let prepared = Prepared {
            holders,
            contribution,
            envelope,
        };
        Ok(Ok((entry, prepared)))
    }
}
