//! How a lie is met: which refusal it is, and about which message.

use fl_protocol::round::{Kind, Refusal};

/// The message is of another context.
pub fn stale(refusal: &Refusal, kind: Kind) -> bool {
    matches!(refusal, Refusal::Stale { what, .. } if *what == kind)
}

/// Its signer is there twice, or not in its place.
pub fn doubled(refusal: &Refusal, kind: Kind) -> bool {
    matches!(refusal, Refusal::Duplicate { what, .. } if *what == kind)
}

/// It is not what was signed.
pub fn invalid(refusal: &Refusal, kind: Kind) -> bool {
    matches!(refusal, Refusal::Invalid { what, .. } if *what == kind)
}

/// It is about other contributors.
pub fn of_others(refusal: &Refusal, kind: Kind) -> bool {
    matches!(refusal, Refusal::OtherContributors { what, .. } if *what == kind)
}
