//! What a contributor holds until a result accounts for it.

use super::envelope::Envelope;
use super::holders::Holders;
use super::message::Contribution;
use crate::round::message::Signed;

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
