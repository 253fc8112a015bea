//! What a node signs and sends, and that it signs and sends nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use super::node::NodeHost;
use super::secrets::Secrets;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::ring_bytes;
use crate::round::committee::message::{Contribution, ContributionId};
use crate::round::committee::{CheckedSeeds, ClassSet, Contributors, RevealOrder};
use crate::round::message::{Message, Signed};
use crate::round::peer::message::Sum;
use crate::round::peer::{PendingSum, SealedShare};
use crate::round::{Evidence, Head, Kind, Outcome};
use crate::wire::{self, NodeFrame, RelayFrame};

/// Everything that a node has committed itself to since it had an empty disk.
///
/// It panics as soon as the node contradicts itself: two different sums, shares for one receiver,
/// contributions or votes in one context, help to open the sums of two sets of nodes on one model,
/// or any of these before what must precede it. It also panics if a masked sum, or the tag share
/// that its signed root commits to, leaves before all participants have signed theirs, or if the
/// node takes a result that rests on other signed sums than it has sent its own on.
#[derive(Default)]
pub struct Ledger {
    sums: BTreeMap<Digest, Sum>,
    /// By context and addressee.
    shares: BTreeMap<(Digest, NodeId), SealedShare>,
    contributions: BTreeMap<Digest, Contribution>,
    votes: BTreeMap<Digest, Digest>,
    /// As a holder: whose box it has opened, and what it has found right.
    opened: BTreeMap<(Digest, NodeId), Digest>,
    accepted: BTreeSet<(Digest, ContributionId)>,
    /// The list that it was last asked to vote for.
    ballot: Option<Contributors>,
    /// The signed sums that it was shown last, with the context they were shown for.
    shown: Option<(Digest, Vec<Signed<Sum>>)>,
    /// On which signed sums it has sent its own, by context.
    sent_on: BTreeMap<Digest, BTreeSet<Vec<u8>>>,
    /// Those that the last outcome lists.
    listed: BTreeSet<Vec<u8>>,
    /// Whose sum it helps to open, by the model that this is added to.
    sets: BTreeMap<Digest, BTreeSet<NodeId>>,
    /// Whether the record of sent sums is durable since the machine was last called.
    recorded: bool,
    /// Where it has stood, and whether it took others' word for that.
    pub commits: Vec<(Head, bool)>,
    /// What it has taken for sums, until [`assert_taken`] looks at them.
    pub(super) taken: Vec<Taken>,
}

/// What a node has taken for the sum of a round.
pub(super) struct Taken {
    pub(super) ctx: Digest,
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) sum: Vec<u8>,
}

impl Ledger {
    /// The machine is about to be called.
    pub(super) fn begin(&mut self) {
        self.recorded = false;
    }

    pub(super) fn record(&mut self) {
        self.recorded = true;
    }

    pub(super) fn hear(&mut self, frame: &RelayFrame) {
        match frame {
            RelayFrame::Ballot { ctx, entries } => {
                self.ballot = Contributors::new(*ctx, entries.clone(), Kind::Ballot).ok();
            }
            RelayFrame::Collect { ctx, sums, .. } => self.shown = Some((*ctx, sums.clone())),
            _ => {}
        }
    }

    /// Returns the share that it has given node `to`, if it has.
    pub fn share(&self, ctx: Digest, to: NodeId) -> Option<&SealedShare> {
        self.shares.get(&(ctx, to))
    }

    /// The node finds the signatures of this outcome right.
    pub(super) fn check(&mut self, outcome: &Outcome) {
        self.listed = match &outcome.parts {
            Evidence::Sums(opened) => opened.iter().map(|o| o.sum.bytes().to_vec()).collect(),
            Evidence::Decision(_) => BTreeSet::new(),
        };
    }

    /// The node takes this for the sum of a round.
    pub(super) fn take(&mut self, taken: Taken) {
        if let Some(sums) = self.sent_on.get(&taken.ctx) {
            assert!(*sums == self.listed, "a result on other signed sums");
        }
        self.taken.push(taken);
    }

    pub(super) fn send(&mut self, manifest: &Manifest, model: Digest, frame: &NodeFrame) {
        match frame {
            NodeFrame::Sum(signed) => {
                let sum = opened(signed, manifest);
                let former = self.sums.entry(sum.ctx).or_insert(sum.clone());
                assert_eq!(*former, sum, "two sums in one context");
            }
            NodeFrame::Shares(shares) => {
                for sealed in shares {
                    let share = opened(&sealed.share, manifest);
                    assert_eq!(share.sealed, Digest::sha256(&[&sealed.sealed]));
                    let key = (share.ctx, share.to);
                    let former = self.shares.entry(key).or_insert(sealed.clone());
                    assert_eq!(former, sealed, "two shares for one node in one context");
                }
            }
            NodeFrame::Contribution(signed, _) => {
                let contribution = opened(signed, manifest);
                let former = self.contributions.entry(contribution.ctx);
                let former = former.or_insert(contribution.clone());
                assert_eq!(*former, contribution, "two contributions in one context");
            }
            NodeFrame::Vote(signed) => {
                assert!(self.recorded, "a vote before the record");
                let vote = opened(signed, manifest);
                let former = *self.votes.entry(vote.ctx).or_insert(vote.contributors);
                assert_eq!(former, vote.contributors, "two votes in one context");
                let list = self.ballot.clone().expect("a vote for no list");
                assert_eq!(list.digest(), vote.contributors, "a vote for another list");
                assert!(list.entries().len() >= 3, "too few to hide one");
                let mut entries = list.entries().iter();
                let seen = entries.all(|entry| self.accepted.contains(&(vote.ctx, *entry)));
                assert!(seen, "a vote for what it has not accepted");
                self.help_to_open(model, list.nodes());
            }
            NodeFrame::TagShare { ctx, share } => {
                assert!(self.recorded, "a tag share leaves before the record");
                let sums = self.shown(manifest, *ctx);
                let own = sums.iter().find(|sum| Some(*sum) == self.sums.get(ctx));
                let own = own.expect("a tag share without a signed sum");
                let commitment = share.commitment(*ctx, own.node);
                assert_eq!(commitment, own.tag_commitment, "another tag share");
            }
            _ => {}
        }
    }

    /// Returns the sums that the node was shown last, which must be in this context.
    fn shown(&self, manifest: &Manifest, ctx: Digest) -> Vec<Sum> {
        let (announced, sums) = self.shown.as_ref().expect("signed sums were shown");
        assert_eq!(*announced, ctx, "sums of another context were shown");
        sums.iter().map(|signed| opened(signed, manifest)).collect()
    }

    pub(super) fn upload(&mut self, manifest: &Manifest, model: Digest, own: &PendingSum) {
        assert!(self.recorded, "a sum leaves before it is recorded");
        let (ctx, participants) = (own.participants.ctx(), own.participants.set());
        let shown = self.shown(manifest, ctx);
        assert!(shown.iter().all(|sum| sum.ctx == ctx), "another context");
        let signers: BTreeSet<_> = shown.iter().map(|sum| sum.node).collect();
        let all = signers == participants && shown.len() == participants.len();
        assert!(all, "a sum leaves before all have signed theirs");
        let sums = shown.iter().map(|sum| wire::encode(sum).unwrap());
        let sums = sums.collect::<BTreeSet<_>>();
        let former = self.sent_on.entry(ctx).or_insert(sums.clone());
        assert!(*former == sums, "a sum on two sets of signed sums");
        self.help_to_open(model, participants);
    }

    pub(super) fn open(&mut self, seeds_for: &CheckedSeeds, is_right: bool) {
        let (ctx, entry) = (seeds_for.ctx(), seeds_for.entry());
        let former = *self
            .opened
            .entry((ctx, entry.node))
            .or_insert(entry.contribution);
        assert_eq!(former, entry.contribution, "two contributions of one node");
        if is_right {
            self.accepted.insert((ctx, entry));
        }
    }

    pub(super) fn reveal(&mut self, held: ClassSet, model: Digest, order: &RevealOrder) {
        assert!(self.recorded, "masks before the record");
        let is_held = order.classes().is_subset(held) && !order.classes().is_empty();
        assert!(is_held, "masks of classes that it does not hold");
        self.help_to_open(model, order.contributors().iter().copied().collect());
    }

    fn help_to_open(&mut self, model: Digest, nodes: BTreeSet<NodeId>) {
        let former = self.sets.entry(model).or_insert(nodes.clone());
        assert_eq!(*former, nodes, "two sets on one model");
    }
}

/// Returns what a node itself has signed.
fn opened<T: Message>(signed: &Signed<T>, manifest: &Manifest) -> T {
    let message = signed.verify(manifest, 0);
    message.expect("a node's own signature holds")
}

/// Asserts that what node `k` of `hosts` has taken for the sums of rounds are those of their
/// participants' inputs. Nodes that have no host put in zeros.
pub fn assert_taken<S: Secrets>(hosts: &mut [&mut NodeHost<S>], k: usize) {
    for Taken { ctx, nodes, sum } in std::mem::take(&mut hosts[k].ledger.taken) {
        let hosts = hosts.iter().map(|host| &**host);
        let plain = plain_sum(hosts, ctx, &nodes);
        assert!(sum == plain, "a sum that is not that of the inputs");
    }
}

/// Returns the sum of what the `nodes` among these hosts have put into the sum of this context.
pub(super) fn plain_sum<'a, S: Secrets + 'a>(
    hosts: impl Iterator<Item = &'a NodeHost<S>>,
    ctx: Digest,
    nodes: &BTreeSet<NodeId>,
) -> Vec<u8> {
    let mut sum = Vec::new();
    for host in hosts.filter(|host| nodes.contains(&host.id())) {
        let manifest = host.manifest();
        let input = host.secrets.input(ctx);
        let input = input.expect("a sum in which a node did not take part");
        sum.resize(manifest.body_bytes(), 0);
        ring_bytes::add(manifest.fixed_point().ring(), &mut sum, input);
    }
    sum
}
