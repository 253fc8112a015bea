//! A relay, and a participant in league with it, that want to know the honest nodes' sum before
//! the participant has committed itself to its own part.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fl_shaders::cpu::mask;
use fl_shaders::{Ring, Tag};

use super::node_fixture::{NodeFixture, TAG_SHARE, collect};
use crate::audit::{Entry, Party, Record, Unsound};
use crate::digest::{ChunkHashes, Digest};
use crate::identity::NodeId;
use crate::ring_bytes;
use crate::round::message::{Keys, Signed, WHENEVER};
use crate::round::node::{Action, Node};
use crate::round::peer::message::{Share, Sum};
use crate::round::peer::{OpenedSum, Participants, PendingSum, SealedShare, TagShare};
use crate::round::{Evidence, Head, Kind, Opening, Outcome, Refusal, SentSum, SentSums};
use crate::sim::{
    Consortium, EPOCH, Effect, HEADER_WORDS, NodeHost, OPEN_BOXES, OpenSecrets, OpenTags,
    PARAMETERS, Secrets as _, Tagging as _,
};
use crate::wire::{self, NodeFrame, RelayFrame};

/// Whether anything of a masked sum leaves the node.
fn opens(actions: &[Action]) -> bool {
    let is_open = |action: &Action| {
        let share = matches!(action, Action::Send(NodeFrame::TagShare { .. }));
        share || matches!(action, Action::Upload { .. })
    };
    actions.iter().any(is_open)
}

/// `signed` under another signature, which does not hold.
fn forged(signed: &Signed<Sum>) -> Signed<Sum> {
    let mut bytes = wire::encode(signed).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    wire::decode(&bytes).unwrap()
}

#[test]
fn no_sum_leaves_before_all_participants_have_signed_theirs() {
    type Change = fn(&NodeFixture, Digest, &mut Vec<Signed<Sum>>);
    // The sums of nodes 1, 2 and 3, and then the node's own.
    type Met = fn(&NodeFixture) -> Refusal;
    let changes: [(&str, Change, Met); 9] = [
        (
            "none",
            |_, _, sums| sums.clear(),
            |target| {
                let first = (0..4).map(|k| target.id(k)).min();
                Refusal::MissingSum(first.unwrap())
            },
        ),
        (
            "without one",
            |_, _, sums| drop(sums.remove(1)),
            |target| Refusal::MissingSum(target.id(2)),
        ),
        (
            "without its own",
            |_, _, sums| drop(sums.pop()),
            |target| Refusal::MissingSum(target.id(0)),
        ),
        (
            "one of another context",
            |target, _, sums| sums[1] = target.sum(2, Digest([9; 32])),
            |target| Refusal::Stale {
                what: Kind::Sum,
                signer: target.id(2),
            },
        ),
        (
            "one twice",
            |_, _, sums| sums[1] = sums[0].clone(),
            |target| Refusal::Duplicate {
                what: Kind::Sum,
                signer: target.id(1),
            },
        ),
        (
            "two of one node",
            |target, ctx, sums| sums.push(target.sum_of(1, ctx, Digest([9; 32]))),
            |target| Refusal::Duplicate {
                what: Kind::Sum,
                signer: target.id(1),
            },
        ),
        (
            "one of a node that takes no part",
            |target, ctx, sums| sums.push(target.sum(4, ctx)),
            |target| Refusal::Stranger(target.id(4)),
        ),
        (
            "one that its node has not signed",
            |_, _, sums| sums[1] = forged(&sums[1]),
            |target| Refusal::Invalid {
                what: Kind::Sum,
                signer: target.id(2),
            },
        ),
        (
            "another in its own name",
            |target, ctx, sums| sums[3] = target.sum_of(0, ctx, Digest([9; 32])),
            |_| Refusal::OwnSum,
        ),
    ];
    for (case, change, expected) in changes {
        let mut target = NodeFixture::idle(6);
        let (held, own) = target.holds(1..4, 1, b"body");
        let ctx = held.ctx();
        let all = target.sums(&own, 1..4, ctx);
        let mut sums = all.clone();
        change(&target, ctx, &mut sums);
        let refusal = target.send(collect(ctx, sums)).unwrap_err();
        assert_eq!(refusal, expected(&target), "{case}");
        let said = target.node.abandon(refusal);
        assert!(!opens(&said), "{case}: {said:?}");
        // The control: the very same node sends it when all are there, in any order.
        let turned = all.into_iter().rev().collect();
        let actions = target.send(collect(ctx, turned)).unwrap();
        assert!(opens(&actions), "{case}: {actions:?}");
    }
}

/// A node that has sent its sum over four, with the signed sums on which it did, the last of which
/// is its own, and its record.
fn sent() -> (NodeFixture, Participants, Vec<Signed<Sum>>, SentSums) {
    let mut target = NodeFixture::idle(5);
    let (held, own) = target.holds(1..4, 1, b"masked");
    let sums = target.sums(&own, 1..4, held.ctx());
    let actions = target.send(collect(held.ctx(), sums.clone())).unwrap();
    assert!(opens(&actions));
    let mut record = SentSums::default();
    for action in actions {
        if let Action::Record(sum) = action {
            record.add(&sum);
        }
    }
    (target, held, sums, record)
}

#[test]
fn a_node_holds_to_the_signed_sums_on_which_it_has_sent_its_own() {
    let (mut target, held, sums, record) = sent();
    let ctx = held.ctx();
    let mut others = sums.clone();
    others[2] = target.sum_of(3, ctx, Digest([9; 32]));

    let refusal = target.send(collect(ctx, others.clone())).unwrap_err();
    assert_eq!(refusal, Refusal::OtherSums);
    let body = target.result(4);
    let outcome = target.outcome(&held, others.clone(), &body);
    let refusal = target.send(RelayFrame::Outcome(outcome)).unwrap_err();
    assert_eq!(refusal, Refusal::OtherSums);

    // So does its next process, which has the record and the outbox only.
    let pending = PendingSum {
        participants: held.clone(),
        sum: sums[3].clone(),
        tag_share: TAG_SHARE,
    };
    let consortium = &target.consortium;
    let (manifest, identity) = (
        consortium.manifest.clone(),
        consortium.identities[0].clone(),
    );
    let head = Head::start(&manifest);
    let mut node = Node::new(
        manifest,
        identity,
        head,
        record,
        Some(pending.into()),
        OPEN_BOXES,
    );
    let refusal = node.handle(collect(ctx, others), EPOCH).unwrap_err();
    assert_eq!(refusal, Refusal::OtherSums);
    let actions = node.handle(collect(ctx, sums.clone()), EPOCH).unwrap();
    assert!(opens(&actions), "the control");

    let outcome = target.outcome(&held, sums, &body);
    let actions = target.send(RelayFrame::Outcome(outcome)).unwrap();
    assert!(matches!(actions[..], [Action::Average(_)]), "the control");
}

#[test]
fn an_outbox_that_is_older_than_another_sum_on_its_model_stays_unsent() {
    let mut target = NodeFixture::idle(5);
    let (held, own) = target.holds(1..4, 1, b"masked");
    let sums = target.sums(&own, 1..4, held.ctx());
    let consortium = &target.consortium;
    let head = Head::start(&consortium.manifest);
    // A node that restarts with its outbox and this record.
    let collected = |record: SentSums| {
        let pending = PendingSum {
            participants: held.clone(),
            sum: sums[3].clone(),
            tag_share: TAG_SHARE,
        };
        let (manifest, identity) = (
            consortium.manifest.clone(),
            consortium.identities[0].clone(),
        );
        let pending = Some(pending.into());
        let mut node = Node::new(manifest, identity, head, record, pending, OPEN_BOXES);
        node.handle(collect(held.ctx(), sums.clone()), EPOCH)
    };
    let others: BTreeSet<_> = [0, 1, 4].map(|k| consortium.id(k)).into();
    let mut record = SentSums::default();
    record.add(&SentSum::new(head.model, others.clone()));
    let sent_with = others.into_iter().collect();
    let refusal = collected(record).unwrap_err();
    assert_eq!(refusal, Refusal::Difference { sent_with });
    let actions = collected(SentSums::default()).unwrap();
    assert!(opens(&actions), "the control");
}

#[test]
fn a_later_attempt_does_not_free_a_node_from_the_signed_sums_of_a_former_one() {
    let (mut target, former, sums, _) = sent();
    let (held, own) = target.holds(1..4, 2, b"other masks");
    let again = target.sums(&own, 1..4, held.ctx());
    let actions = target.send(collect(held.ctx(), again)).unwrap();
    assert!(opens(&actions));
    let body = target.result(4);
    let mut others = sums.clone();
    others[2] = target.sum_of(3, former.ctx(), Digest([9; 32]));
    let outcome = target.outcome(&former, others, &body);
    let refusal = target.send(RelayFrame::Outcome(outcome)).unwrap_err();
    assert_eq!(refusal, Refusal::OtherSums);
    // The control.
    let outcome = target.outcome(&former, sums, &body);
    let actions = target.send(RelayFrame::Outcome(outcome)).unwrap();
    assert!(matches!(actions[..], [Action::Average(_)]), "{actions:?}");
}

#[test]
fn a_body_before_the_sums_of_all_is_found_in_a_nodes_log() {
    let (target, held, sums, _) = sent();
    let (manifest, own) = (&target.consortium.manifest, target.id(0));
    let (ctx, others) = (held.ctx(), 1..4);
    let share = |from: NodeId, to: NodeId| {
        let by = target.consortium.index(from).unwrap();
        let sealed = Digest([1; 32]);
        let share = Share {
            ctx,
            from,
            to,
            sealed,
        };
        target.sign(by, &share)
    };
    let shares = others.map(|k| match held.gives(own, target.id(k)) {
        true => share(own, target.id(k)),
        false => share(target.id(k), own),
    });
    let sound = [
        Entry::Started {
            consortium_id: manifest.consortium_id(),
            party: Party::Node(own),
            head: Head::start(manifest),
            dropped: 0,
        },
        Entry::Keys(held.bundle().to_vec()),
        Entry::Shares(shares.collect()),
        Entry::Sum(sums[3].clone()),
        Entry::Sums(sums.clone()),
        Entry::Body { ctx, node: own },
    ];
    let found = |entries: Vec<Entry>| {
        let records = entries.into_iter().map(|entry| Record {
            unix_s: EPOCH,
            entry,
        });
        super::audit::forged(manifest, &records.collect::<Vec<_>>())
    };
    assert!(found(sound.to_vec()).is_none(), "the control");

    let mut entries = sound.to_vec();
    entries.remove(4);
    let (record, what) = found(entries).unwrap();
    assert!(
        record == 5 && matches!(what, Unsound::Unsigned { .. }),
        "{what}"
    );
    let with = |sums: Vec<Signed<Sum>>| {
        let mut entries = sound.to_vec();
        entries[4] = Entry::Sums(sums);
        let (record, what) = found(entries).unwrap();
        assert_eq!(record, 5, "{what}");
        what
    };
    let what = with(sums[1..].to_vec());
    assert!(
        matches!(what, Unsound::Refused(Refusal::MissingSum(_))),
        "{what}"
    );
    let what = with(Vec::new());
    assert!(matches!(what, Unsound::NoAttempt(Kind::Sum)), "{what}");
    // Others than before, and a result that rests on others.
    let mut others = sums.clone();
    others[0] = target.sum_of(1, ctx, Digest([9; 32]));
    let mut entries = sound.to_vec();
    entries.insert(5, Entry::Sums(others.clone()));
    let (record, what) = found(entries).unwrap();
    assert!(
        record == 6 && matches!(what, Unsound::OtherSum(_)),
        "{what}"
    );
    let outcome = |sums| {
        let mut entries = sound.to_vec();
        let body = target.result(4);
        entries.push(Entry::Outcome(target.outcome(&held, sums, &body)));
        found(entries)
    };
    assert!(outcome(sums.clone()).is_none(), "the control");
    let (record, what) = outcome(others).unwrap();
    assert!(
        record == 7 && matches!(what, Unsound::OtherSum(_)),
        "{what}"
    );
}

/// The participant in league with the relay, which knows all that it knows.
const MOLE: usize = 3;

/// The seed that it gives to whom it gives one.
const SEED: [u8; 32] = [0x5e; 32];

/// Honest nodes, and what the relay and its participant hear from them.
struct Collusion {
    consortium: Consortium,
    hosts: Vec<NodeHost<OpenSecrets>>,
    keys: Vec<Signed<Keys>>,
    round_keys: BTreeMap<NodeId, Vec<u8>>,
    shares: Vec<Share>,
    boxes: Vec<SealedShare>,
    sums: Vec<Signed<Sum>>,
    bodies: BTreeMap<usize, Vec<u8>>,
    tag_shares: BTreeMap<usize, TagShare>,
    refusals: Vec<Refusal>,
}

impl Collusion {
    /// All honest nodes hold their masked sums, over themselves and the mole, and have signed their
    /// roots. The mole has signed nothing but its keys and its shares.
    fn masked() -> (Self, Participants) {
        let consortium = Consortium::new(MOLE + 1);
        let hosts = consortium.identities[..MOLE].iter().map(|identity| {
            let (manifest, id) = (consortium.manifest.clone(), identity.node_id());
            let secrets = OpenSecrets::new(manifest.clone(), id, OpenTags);
            NodeHost::new(manifest, identity.clone(), secrets, EPOCH)
        });
        let mut collusion = Self {
            hosts: hosts.collect(),
            consortium,
            keys: Vec::new(),
            round_keys: BTreeMap::new(),
            shares: Vec::new(),
            boxes: Vec::new(),
            sums: Vec::new(),
            bodies: BTreeMap::new(),
            tag_shares: BTreeMap::new(),
            refusals: Vec::new(),
        };
        let head = Head::start(&collusion.consortium.manifest);
        let open = RelayFrame::Open {
            opening: Opening::after(&head, 1),
            deadline_ms: 1000,
        };
        collusion.tell_all(&open);
        let own = collusion.consortium.keys(MOLE, &head, 1);
        collusion.keys.push(collusion.consortium.sign(MOLE, &own));
        let bundle = collusion.keys.clone();
        let moles = collusion.consortium.round_key(MOLE);
        let mole = collusion.consortium.id(MOLE);
        collusion.round_keys.insert(mole, moles);
        let manifest = collusion.consortium.manifest.clone();
        let participants =
            Participants::verify(bundle.clone(), &manifest, &head, EPOCH, &BTreeSet::new())
                .unwrap();
        for node in 0..MOLE {
            let id = collusion.consortium.id(node);
            let frame = participants.frame_for(id, &collusion.round_keys);
            collusion.tell(node, frame);
        }
        for node in 0..MOLE {
            let shares = collusion.boxes_for(node, &participants);
            collusion.tell(node, RelayFrame::Shares(shares));
        }
        assert_eq!(collusion.sums.len(), MOLE);
        (collusion, participants)
    }

    fn boxes_for(&self, node: usize, participants: &Participants) -> Vec<SealedShare> {
        let (ctx, to, mole) = (
            participants.ctx(),
            self.consortium.id(node),
            self.consortium.id(MOLE),
        );
        let both = self.boxes.iter().zip(&self.shares);
        let honest = both.filter(|(_, share)| share.to == to);
        let mut shares: Vec<_> = honest.map(|(sealed, _)| sealed.clone()).collect();
        if participants.gives(mole, to) {
            let identity = &self.consortium.identities[MOLE];
            let share = SealedShare::new(ctx, (mole, to), SEED.to_vec(), identity);
            shares.push(share.unwrap());
        }
        shares
    }

    fn tell_all(&mut self, frame: &RelayFrame) {
        (0..MOLE).for_each(|node| self.tell(node, frame.clone()));
    }

    /// Tells a node something, lets it work, and notes what leaves it.
    fn tell(&mut self, node: usize, frame: RelayFrame) {
        let mut effects = VecDeque::from(self.hosts[node].frame(frame, EPOCH));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Work(work) => effects.extend(self.hosts[node].done(work, EPOCH)),
                Effect::Send(NodeFrame::Keys(offer)) => {
                    let id = self.consortium.id(node);
                    self.round_keys.insert(id, offer.round_key);
                    self.keys.push(offer.keys);
                }
                Effect::Send(NodeFrame::Shares(shares)) => {
                    for sealed in shares {
                        let share = sealed.share.verify(&self.consortium.manifest, WHENEVER);
                        self.shares.push(share.unwrap());
                        self.boxes.push(sealed);
                    }
                }
                Effect::Send(NodeFrame::Sum(sum)) => self.sums.push(sum),
                Effect::Send(NodeFrame::TagShare { share, .. }) => {
                    self.tag_shares.insert(node, share);
                }
                Effect::Upload { bytes, .. } => {
                    self.bodies.insert(node, bytes);
                }
                Effect::Refused(refusal) => self.refusals.push(refusal),
                _ => {}
            }
        }
    }

    /// What masks the mole's part: the seeds that it has given, and those that it was given.
    fn seeds_of_the_mole(&self, participants: &Participants) -> [Vec<[u8; 32]>; 2] {
        let mole = self.consortium.id(MOLE);
        let given = participants.receivers_from(mole).map(|_| SEED).collect();
        let both = self.boxes.iter().zip(&self.shares);
        let received = both.filter(|(_, share)| share.to == mole);
        let received = received.map(|(sealed, _)| sealed.sealed[..].try_into().unwrap());
        [given, received.collect()]
    }

    /// What the mole sends: this input, masked, and the share of its tag.
    fn part_of_the_mole(&self, participants: &Participants, input: &[u32]) -> (Vec<u8>, TagShare) {
        let [given, received] = self.seeds_of_the_mole(participants);
        let (ctx, mole) = (participants.ctx(), self.consortium.id(MOLE));
        let masks =
            |seeds: &[[u8; 32]]| -> Tag { seeds.iter().map(|seed| OpenTags.mask(ctx, seed)).sum() };
        let tag = OpenTags.tag(ctx, mole, input) - masks(&given) + masks(&received);
        let mut vector = input.to_vec();
        mask(&mut vector, 0, &given, &received);
        (to_le_bytes(&vector), TagShare::new(tag, [6; 32]))
    }

    /// What the relay and the mole make of the honest nodes' masked sums: their sum, less what
    /// masks the mole's part.
    fn honest_sum<'a>(
        &self,
        participants: &Participants,
        bodies: impl Iterator<Item = &'a Vec<u8>>,
    ) -> Vec<u8> {
        let (mut sum, _) = self.part_of_the_mole(participants, &[0; HEADER_WORDS + PARAMETERS]);
        bodies.for_each(|body| ring_bytes::add(Ring::U32, &mut sum, body));
        sum
    }

    /// The sum of the honest nodes' inputs.
    fn inputs(&self, ctx: Digest) -> Vec<u8> {
        let mut sum = vec![0; self.consortium.manifest.body_bytes()];
        for host in &self.hosts {
            ring_bytes::add(Ring::U32, &mut sum, host.secrets.input(ctx).unwrap());
        }
        sum
    }

    fn sum_of_the_mole(&self, ctx: Digest, body: &[u8], share: &TagShare) -> Signed<Sum> {
        let node = self.consortium.id(MOLE);
        let sum = Sum {
            ctx,
            node,
            root: ChunkHashes::of(body).root(),
            tag_commitment: share.commitment(ctx, node),
        };
        self.consortium.sign(MOLE, &sum)
    }
}

fn to_le_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn a_relay_and_a_participant_do_not_learn_the_others_sum_before_the_participant_commits() {
    let (mut collusion, participants) = Collusion::masked();
    let ctx = participants.ctx();
    let honest = collusion.sums.clone();
    let (body, share) = collusion.part_of_the_mole(&participants, &[0; HEADER_WORDS + PARAMETERS]);
    let committed = collusion.sum_of_the_mole(ctx, &body, &share);

    // All that they can show in place of the mole's sum.
    let mut instead = vec![
        honest.clone(),
        [&honest[..], &honest[..1]].concat(),
        [&honest[..], &[forged(&committed)]].concat(),
        [
            &honest[..],
            &[collusion.sum_of_the_mole(Digest([9; 32]), &body, &share)],
        ]
        .concat(),
        Vec::new(),
    ];
    let unsigned: Signed<Sum> = {
        let mut bytes = wire::encode(&committed).unwrap();
        let at = bytes.len() - 64;
        bytes[at..].fill(0);
        wire::decode(&bytes).unwrap()
    };
    instead.push([&honest[..], &[unsigned]].concat());
    for (tried, sums) in instead.into_iter().enumerate() {
        let before = collusion.refusals.len();
        collusion.tell_all(&collect(ctx, sums));
        assert_eq!(collusion.refusals.len(), before + MOLE, "{tried}");
        assert!(collusion.bodies.is_empty(), "{tried}: a body leaves");
        assert!(
            collusion.tag_shares.is_empty(),
            "{tried}: a tag share leaves"
        );
    }

    // The control: had they gone by the relay's word, their sum would have been known exactly.
    let outboxes = collusion.hosts.iter().map(|host| {
        let (_, body) = host.disk.outbox.as_ref().unwrap();
        body.clone()
    });
    let outboxes: Vec<_> = outboxes.collect();
    let known = collusion.honest_sum(&participants, outboxes.iter());
    assert_eq!(known, collusion.inputs(ctx));
    // And it takes all of them: without one there is nothing to be seen.
    let fewer = collusion.honest_sum(&participants, outboxes[1..].iter());
    assert_ne!(fewer, collusion.inputs(ctx));

    // Once the mole has committed itself, the others send theirs.
    let all = [&honest[..], &[committed]].concat();
    collusion.tell_all(&collect(ctx, all.clone()));
    assert_eq!(collusion.bodies.len(), MOLE);
    assert_eq!(collusion.tag_shares.len(), MOLE);
    let known = collusion.honest_sum(&participants, collusion.bodies.values());
    assert_eq!(known, collusion.inputs(ctx));

    // It would now like to have put in something else, and is held to what it has signed.
    let mut input = [0; HEADER_WORDS + PARAMETERS];
    input[HEADER_WORDS] = 1000;
    let (other, other_share) = collusion.part_of_the_mole(&participants, &input);
    let signed_later = collusion.sum_of_the_mole(ctx, &other, &other_share);
    let outcome = |sum: &Signed<Sum>, mole: TagShare, body: &[u8]| {
        let honest = collusion.tag_shares.values().copied();
        let sums = all[..MOLE].iter().chain([sum]).cloned();
        let opened = sums.zip(honest.chain([mole]));
        let opened = opened.map(|(sum, tag_share)| OpenedSum { sum, tag_share });
        let mut sum = collusion.honest_sum(&participants, collusion.bodies.values());
        ring_bytes::add(Ring::U32, &mut sum, body);
        let (manifest, head) = (&collusion.consortium.manifest, collusion.hosts[0].disk.head);
        let (plan, base) = (manifest.fixed_point(), [0.0; PARAMETERS]);
        let addends = manifest.addends(&participants.set());
        let averaged = crate::round::training::average(&sum, &base, plan, addends, head, ctx);
        let outcome = Outcome {
            ctx,
            bundle: participants.bundle().to_vec(),
            parts: Evidence::Sums(opened.collect()),
            root: ChunkHashes::of(&sum).root(),
            model: averaged.unwrap().head.model,
        };
        (RelayFrame::Outcome(outcome), sum)
    };
    let (zeros, lie) = ([0; 4 * (HEADER_WORDS + PARAMETERS)], to_le_bytes(&input));
    let (later, _) = outcome(&signed_later, other_share, &lie);
    let (exchanged, _) = outcome(&all[MOLE], other_share, &lie);
    let (shifted, shifted_sum) = outcome(&all[MOLE], share, &lie);
    let (right, right_sum) = outcome(&all[MOLE], share, &zeros);
    let (what, signer) = (Kind::TagShare, collusion.consortium.id(MOLE));
    let mut refused = |frame: RelayFrame| {
        collusion.tell(0, frame);
        collusion.refusals.pop().unwrap()
    };
    assert_eq!(refused(later), Refusal::OtherSums);
    assert_eq!(refused(exchanged), Refusal::Invalid { what, signer });
    collusion.tell(0, shifted);
    let effects = collusion.hosts[0].body(&shifted_sum);
    let by_its_tags = |effect: &Effect| matches!(effect, Effect::Refused(Refusal::Tag));
    assert!(effects.iter().any(by_its_tags), "{effects:?}");
    // The control: what they have committed themselves to is taken.
    collusion.tell(0, right);
    let effects = collusion.hosts[0].body(&right_sum);
    assert!(matches!(effects[..], [Effect::Work(_)]), "{effects:?}");
}
