//! Collecting sealed shares. They are handed out only when all are in, so that nobody can be summing while somebody
//! has not shared yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Phase;
use super::session::Session;
use super::sums::Sums;
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::message::{Share, Signed};
use crate::round::participants::Participants;
use crate::round::refusal::{Kind, Refusal};
use crate::wire::RelayFrame;

pub(in crate::round) struct Shares {
    pub(super) participants: Participants,
    /// By addressee.
    boxes: BTreeMap<NodeId, Vec<Signed<Share>>>,
    shared: BTreeSet<NodeId>,
    deadline: Duration,
}

impl Shares {
    pub(super) fn new(participants: Participants, deadline: Duration) -> Self {
        Self {
            participants,
            boxes: BTreeMap::new(),
            shared: BTreeSet::new(),
            deadline,
        }
    }

    pub(super) fn shared(
        &mut self,
        session: &mut Session,
        node: NodeId,
        list: Vec<Signed<Share>>,
    ) -> Result<(), Refusal> {
        if !self.participants.contains(node) {
            session.late(node, Kind::Share);
            return Ok(());
        }
        let addressed = self.check(session, node, &list)?;
        session.log(Entry::Shares(list));
        for (to, share) in addressed {
            self.boxes.entry(to).or_default().push(share);
        }
        self.shared.insert(node);
        Ok(())
    }

    /// One share for everyone to whom `node` gives one, each signed by it.
    fn check(
        &self,
        session: &Session,
        node: NodeId,
        list: &[Signed<Share>],
    ) -> Result<BTreeMap<NodeId, Signed<Share>>, Refusal> {
        if self.shared.contains(&node) {
            return Err(Refusal::Duplicate {
                what: Kind::Share,
                signer: node,
            });
        }
        let mut addressed = BTreeMap::new();
        for signed in list {
            let share = Share::verify(signed, &session.manifest, session.unix_s())?;
            if share.ctx != self.participants.ctx() {
                return Err(Refusal::Stale {
                    what: Kind::Share,
                    signer: share.from,
                });
            }
            if share.from != node || !self.participants.contains(share.to) {
                return Err(Refusal::Stranger(share.to));
            }
            if !self.participants.gives(node, share.to) {
                return Err(Refusal::Invalid {
                    what: Kind::Share,
                    signer: node,
                });
            }
            if addressed.insert(share.to, signed.clone()).is_some() {
                return Err(Refusal::Duplicate {
                    what: Kind::Share,
                    signer: node,
                });
            }
        }
        if addressed.len() != self.participants.receivers_from(node).len() {
            return Err(Refusal::Invalid {
                what: Kind::Share,
                signer: node,
            });
        }
        Ok(addressed)
    }

    pub(super) fn advance(self, session: &mut Session) -> Phase {
        let missing: Vec<_> = self
            .participants
            .ids()
            .filter(|id| !self.shared.contains(id))
            .collect();
        if missing.is_empty() {
            for (node, shares) in self.boxes {
                session.send(node, RelayFrame::Shares(shares));
            }
            let wait = session.manifest.transfer_timeout();
            return Phase::Sums(Sums::new(self.participants, session.after(wait)));
        }
        if session.now >= self.deadline {
            missing.iter().for_each(|node| session.exclude(*node));
            return session.abandon(&missing);
        }
        Phase::Shares(self)
    }
}
