//! What a contributor holds until a result accounts for it.

use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::holders::Holders;
use super::message::Contribution;
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::round::head::Head;
use crate::round::message::{Keys, Signed, WHENEVER};
use crate::round::refusal::Refusal;
use crate::wire::NodeFrame;

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

/// A [`Prepared`] contribution as it is kept on disk.
#[derive(Serialize, Deserialize)]
pub struct StoredPrepared {
    /// The keys of the holders.
    pub bundle: Vec<Signed<Keys>>,
    /// The signed root.
    pub contribution: Signed<Contribution>,
    /// The seeds.
    pub envelope: Envelope,
}

impl Prepared {
    /// Returns what announces it to the relay.
    pub(in crate::round) fn frame(&self) -> NodeFrame {
        NodeFrame::Contribution(self.contribution.clone(), self.envelope.clone())
    }

    /// Returns it as it is kept on disk.
    pub(in crate::round) fn stored(&self) -> StoredPrepared {
        StoredPrepared {
            bundle: self.holders.bundle().to_vec(),
            contribution: self.contribution.clone(),
            envelope: self.envelope.clone(),
        }
    }
}

impl StoredPrepared {
    /// Verifies it as a contributor does that stands at `head`. Returns it with the root of its
    /// body.
    ///
    /// # Errors
    ///
    /// What the keys and signatures meet; [`Refusal::OwnContribution`] if its parts do not belong
    /// together.
    pub fn verify(self, manifest: &Manifest, head: &Head) -> Result<(Prepared, Digest), Refusal> {
        let Self {
            bundle,
            contribution,
            envelope,
        } = self;
        let holders = Holders::verify(bundle, manifest, head, WHENEVER)?;
        let message = contribution.verify(manifest, WHENEVER)?;
        if envelope.check(&message, &holders).is_err() {
            return Err(Refusal::OwnContribution);
        }
        let prepared = Prepared {
            holders,
            contribution,
            envelope,
        };
        Ok((prepared, message.root))
    }
}
