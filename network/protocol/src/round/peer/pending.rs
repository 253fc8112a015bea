//! What a participant holds until a result accounts for it.

use super::message::Sum;
use super::participants::Participants;
use crate::round::message::Signed;

/// A masked sum that was computed and not yet accounted for by a result.
#[derive(Clone, Debug)]
pub struct PendingSum {
    /// Who takes part.
    pub participants: Participants,
    /// The signed root of the sum.
    pub sum: Signed<Sum>,
}
