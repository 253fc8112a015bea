//! What a log has said about the round under way.

use std::collections::BTreeSet;

use super::record::Entry;
use crate::digest::Digest;
use crate::error::WireError;
use crate::round::message::{Message, Signed};
use crate::round::peer::sums_digest;
use crate::wire;

/// Refusals of one round that are logged: a hostile peer can cause any number of them.
pub const MAX_REFUSALS: usize = 256;

/// What a log has said since the last result. It keeps the log from saying anything twice, and
/// short.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    said: BTreeSet<Digest>,
    refusals: usize,
}

/// An entry that a log still lacks.
#[derive(Debug)]
pub struct Statement {
    digest: Digest,
    kind: StatementKind,
}

#[derive(Debug)]
enum StatementKind {
    /// The round is complete.
    Result,
    Refusal,
    Other,
}

impl Transcript {
    /// Returns what `entry` says, unless the log has said it already, or has enough refusals.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the entry cannot be encoded.
    pub fn lacks(&self, entry: &Entry) -> Result<Option<Statement>, WireError> {
        let (digest, kind) = (said(entry)?, StatementKind::of(entry));
        let refused = matches!(kind, StatementKind::Refusal) && self.refusals >= MAX_REFUSALS;
        let new = !refused && !self.said.contains(&digest);
        Ok(new.then_some(Statement { digest, kind }))
    }

    /// Notes that the log has it.
    pub fn add(&mut self, statement: Statement) {
        match statement.kind {
            StatementKind::Result => *self = Self::default(),
            StatementKind::Refusal => self.refusals += 1,
            StatementKind::Other => {}
        }
        self.said.insert(statement.digest);
    }
}

impl StatementKind {
    fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Outcome(_) | Entry::Adopted(_) => Self::Result,
            Entry::Refused { .. } => Self::Refusal,
            _ => Self::Other,
        }
    }
}

/// Returns what an entry says. A signature does not count: a dishonest signer can make any number
/// of them for one message.
fn said(entry: &Entry) -> Result<Digest, WireError> {
    fn message<T: Message>(signed: &Signed<T>) -> Digest {
        Digest::sha256(&[T::LABEL.as_str().as_bytes(), signed.bytes()])
    }
    Ok(match entry {
        Entry::Sum(signed) => message(signed),
        Entry::Sums(signed) => sums_digest(signed),
        Entry::Ack(signed) => message(signed),
        Entry::Contribution(signed) => message(signed),
        Entry::Receipt(signed) => message(signed),
        Entry::Vote(signed) => message(signed),
        Entry::Reveal(signed) => message(signed),
        entry => Digest::sha256(&[&wire::encode(entry)?]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Record;
    use crate::round::message::ResultAck;
    use crate::round::{Checkpoint, Head};
    use crate::sim::Consortium;
    use crate::wire::RelayFrame;

    fn ack(consortium: &Consortium, round: u64) -> Signed<ResultAck> {
        let (manifest, identity) = (&consortium.manifest, &consortium.identities[0]);
        let ack = ResultAck {
            consortium_id: manifest.consortium_id(),
            node: identity.node_id(),
            head: Head {
                round,
                ..Head::start(manifest)
            },
        };
        Signed::new(&ack, identity).unwrap()
    }

    #[test]
    fn a_message_counts_once_whatever_its_signatures() {
        let consortium = Consortium::new(3);
        let first = ack(&consortium, 1);
        let mut bytes = wire::encode(&first).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let other: Signed<ResultAck> = wire::decode(&bytes).unwrap();
        assert_ne!(wire::encode(&first).unwrap(), wire::encode(&other).unwrap());
        let mut transcript = Transcript::default();
        let first = transcript.lacks(&Entry::Ack(first)).unwrap().unwrap();
        transcript.add(first);
        assert!(transcript.lacks(&Entry::Ack(other)).unwrap().is_none());
        let next = Entry::Ack(ack(&consortium, 2));
        assert!(transcript.lacks(&next).unwrap().is_some());
    }

    #[test]
    fn what_fits_into_a_frame_fits_into_the_log() {
        let consortium = Consortium::new(3);
        let head = Head::start(&consortium.manifest);
        let checkpoint = |acks: usize| {
            let acks = vec![ack(&consortium, 1); acks];
            Checkpoint { head, acks }
        };
        let bytes = |acks| {
            let frame = RelayFrame::Checkpoint(checkpoint(acks));
            wire::encode(&frame).map(|bytes| bytes.len())
        };
        let record = |acks| {
            let entry = Entry::Adopted(checkpoint(acks));
            wire::encode(&Record { unix_s: 9, entry })
        };
        let ack_bytes = bytes(1).unwrap() - bytes(0).unwrap();
        let most = (wire::MAX_FRAME_BYTES - bytes(0).unwrap()) / ack_bytes;
        assert!(record(most).is_ok());
        // Negative control: a message that is no frame any more.
        let more = most + (1 << 10) / ack_bytes + 2;
        assert!(record(more).is_err());
    }
}
