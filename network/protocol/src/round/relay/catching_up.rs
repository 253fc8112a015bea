//! Where the nodes stand: who is behind is sent what it lacks, and who has it says so.

use super::Action;
use super::session::{LastResult, Peer, Session};
use super::untaken::Untaken;
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::chain::Chain;
use crate::round::message::{ResultAck, Signed};
use crate::round::minima::check_minima;
use crate::round::outcome::Checkpoint;
use crate::round::refusal::Refusal;
use crate::wire::RelayFrame;

impl Session {
    /// Takes up the last result again, if it is the one that led here. `taken` is whether a node has taken it.
    pub(super) fn resume(&mut self, last: LastResult, taken: bool) {
        let LastResult { base, outcome } = &last;
        if base.next(outcome.ctx, outcome.root, outcome.model) == self.chain {
            self.unserved = outcome.parts.nodes(&self.manifest);
            self.last = Some(last);
            self.untaken = (!taken).then(|| Untaken::resumed(self.unserved.clone()));
        }
    }

    /// Takes up acknowledgements again.
    pub(super) fn resume_certified(&mut self, checkpoint: &Checkpoint) {
        let acks = checkpoint.valid_acks(&self.manifest, self.unix_s());
        let base = self.last.as_ref().map(|last| last.base);
        if checkpoint.chain == self.chain && !acks.is_empty() {
            self.taken();
            self.unserved.retain(|node| !acks.contains_key(node));
            self.acks = acks;
        } else if let Some(untaken) = &mut self.untaken
            && Some(checkpoint.chain) == base
        {
            untaken.acks = acks;
        }
    }

    /// Sends a node that is behind what it lacks. As long as that is not at hand, for want of acknowledgements,
    /// the node waits. One that is not behind after the last round is told that it was the last.
    pub(super) fn catch_up(&mut self, node: NodeId) {
        let (finished, certified) = (self.finished(), self.is_certified());
        let Some(peer) = self.here.get_mut(&node) else {
            return;
        };
        if peer.stands == self.chain {
            if finished {
                let rounds = self.chain.round;
                self.send(node, RelayFrame::Finished { rounds });
            }
            return;
        }
        if peer.catching_up || peer.stands.round > self.chain.round {
            return;
        }
        if let Some(last) = self.last.as_ref().filter(|last| last.base == peer.stands) {
            peer.catching_up = true;
            if let Some(untaken) = &mut self.untaken {
                untaken.serve(node);
            }
            let outcome = last.outcome.clone();
            self.actions.push(Action::Deliver(node, outcome));
        } else if certified {
            peer.catching_up = true;
            let checkpoint = self.checkpoint();
            self.actions.push(Action::Restore(node, checkpoint));
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            chain: self.chain,
            acks: self.acks.values().cloned().collect(),
        }
    }

    /// Whether enough nodes have acknowledged the last result for a checkpoint.
    fn is_certified(&self) -> bool {
        check_minima(&self.manifest, self.acks.keys()).is_ok()
    }

    /// A node acknowledges a result.
    pub(super) fn acknowledged(
        &mut self,
        node: NodeId,
        signed: &Signed<ResultAck>,
    ) -> Result<(), Refusal> {
        let ack = signed.verify(&self.manifest, self.unix_s())?;
        if ack.node != node {
            return Err(Refusal::Stranger(ack.node));
        }
        if ack.sid != self.manifest.sid() {
            let (ours, theirs) = (self.manifest.sid(), ack.sid);
            return Err(Refusal::Manifest { ours, theirs });
        }
        let stands = Chain::from_ack(&ack);
        if stands.round > self.chain.round {
            return self.acknowledged_ahead(node, stands, signed);
        }
        let current = stands.round == self.chain.round;
        if current {
            let round = stands.round;
            self.chain
                .check_base(round, stands.previous, stands.model)?;
            self.log(Entry::Ack(signed.clone()));
            self.taken();
            let certified = self.is_certified();
            self.acks.insert(node, signed.clone());
            if !certified && self.is_certified() {
                self.actions.push(Action::Certify(self.checkpoint()));
            }
            self.unserved.remove(&node);
        }
        // A node that returns repeats its last acknowledgement, which says nothing new about it.
        let catching_up = false;
        if let Some(peer) = self.here.get_mut(&node)
            && peer.stands.round < stands.round
        {
            *peer = Peer {
                stands,
                catching_up,
            };
            // Of a model that is history to it.
            self.claims.remove(&node);
            self.catch_up(node);
        }
        // There may be enough of them now for a checkpoint.
        if current {
            let behind = |(_, peer): &(&NodeId, &Peer)| peer.stands != self.chain;
            let behind: Vec<_> = self.here.iter().filter(behind).map(|(id, _)| *id).collect();
            behind.into_iter().for_each(|node| self.catch_up(node));
        }
        Ok(())
    }

    /// Whether nodes still have to take the last result: those that are here, and after the last round every
    /// participant, since nobody will be there for it later.
    pub(super) fn awaits_acks(&self) -> bool {
        if self.finished() && !self.unserved.is_empty() {
            return true;
        }
        let Some(last) = &self.last else { return false };
        self.here.values().any(|peer| peer.stands == last.base)
    }

    /// The last result, which is none any more.
    pub(super) fn take_last(&mut self) -> Option<LastResult> {
        self.unserved.clear();
        self.last.take()
    }

    /// Those to whom a result was sent that is none any more stand with the relay again, and the others may be sent
    /// something else.
    pub(super) fn serve_anew(&mut self) {
        for peer in self.here.values_mut() {
            peer.catching_up &= peer.stands != self.chain;
        }
        for node in self.here() {
            self.catch_up(node);
        }
    }
}
