//! Who lies about a share is found out by everyone, and takes no part any more.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::{Entry, verify};
use crate::identity::NodeId;
use crate::manifest::ParticipationMode;
use crate::round::Refusal;
use crate::round::message::WHENEVER;
use crate::round::node::Action;
use crate::round::peer::message::{Accusation, Share};
use crate::round::peer::{Proof, SealedShare};
use crate::round::relay::{Event, Report};
use crate::sim::{Consortium, Network, OPEN_BOXES, Secrets as _};
use crate::wire::NodeFrame;

const HOUR: Duration = Duration::from_secs(3600);

/// Five nodes, all of which take part in every round.
fn all(rounds: u64, seed: u64) -> Network {
    let consortium = Consortium::with(5, |file| {
        file.participation = ParticipationMode::All;
        file.accepts_differences = false;
    });
    Network::of(consortium, rounds, seed)
}

fn set(federation: &Network, nodes: &[usize]) -> BTreeSet<NodeId> {
    nodes.iter().map(|k| federation.id(*k)).collect()
}

/// Runs until all rounds are done, and asserts that every round from now on is made of `nodes`, and
/// that all logs are sound.
fn complete_with(federation: &mut Network, nodes: &[usize]) {
    let before = federation.seen.participants.len();
    assert!(federation.run(HOUR, |f| f.seen.finished));
    let expected = set(federation, nodes);
    let later = federation.seen.participants[before..].iter();
    assert!(later.len() > 0);
    for participants in later {
        assert_eq!(
            participants.iter().copied().collect::<BTreeSet<_>>(),
            expected
        );
    }
    for name in ["relay", "0", "1", "2", "3", "4"] {
        let (manifest, log) = (&federation.consortium.manifest, federation.log(name));
        let verdict = verify(manifest, OPEN_BOXES, log).unwrap();
        assert!(verdict.flaw.is_none(), "{name}: {:?}", verdict.flaw);
    }
}

/// Who has been proven to have lied, as these nodes and the relay's operator see it.
fn assert_convicted(federation: &Network, by: &[usize], liar: usize) {
    let liar = federation.id(liar);
    let seen = federation.seen.convictions.iter();
    let (by_whom, of_whom): (BTreeSet<_>, BTreeSet<_>) = seen
        .map(|(node, conviction)| (*node, conviction.liar))
        .unzip();
    assert_eq!(of_whom, BTreeSet::from([liar]));
    assert!(by_whom.is_superset(&set(federation, by)));
    let told = |report: &&Report| matches!(report, Report::Convicted(c) if c.liar == liar);
    assert_eq!(federation.seen.reports.iter().filter(told).count(), 1);
    let turned_away = (liar, Refusal::Convicted(liar));
    assert!(federation.seen.turned_away.contains(&turned_away));
}

/// The share that some other participant has given node `k`, in the last attempt of the relay's
/// log.
fn given_to(federation: &Network, k: usize) -> (Share, SealedShare) {
    let manifest = &federation.consortium.manifest;
    let records = federation.relay.log.records().into_iter().rev();
    let lists = records.filter_map(|record| match record.entry {
        Entry::Shares(list) => Some(list),
        _ => None,
    });
    let mut shares = lists.flatten();
    let own = federation.id(k);
    let share = shares.find_map(|signed| {
        let share = signed.verify(manifest, WHENEVER).unwrap();
        (share.to == own).then_some(share)
    });
    let share = share.unwrap();
    let from = federation.consortium.index(share.from).unwrap();
    let ledger = &federation.members[from].host.ledger;
    let sealed = ledger.share(share.ctx, own).unwrap().clone();
    (share, sealed)
}

/// Runs until node `k` waits for its masked sum: it has the shares of all.
fn run_until_masking(federation: &mut Network, k: usize) {
    let sums = |f: &Network| {
        let records = f.log(&k.to_string());
        let log = verify(&f.consortium.manifest, OPEN_BOXES, records).unwrap();
        log.summary.records
    };
    let ctx = |f: &Network| {
        let records = f.relay.log.records();
        let shares = records
            .iter()
            .filter(|r| matches!(r.entry, Entry::Shares(_)));
        (shares.count() == 5).then(|| given_to(f, k).0.ctx)
    };
    let masks = |f: &Network| ctx(f).is_some_and(|ctx| f.members[k].host.node.is_masking(ctx));
    assert!(federation.run(HOUR, masks), "{}", sums(federation));
}

fn accusation(federation: &Network, k: usize) -> Accusation {
    let (share, sealed) = given_to(federation, k);
    Accusation {
        ctx: share.ctx,
        accuser: federation.id(k),
        share: sealed.share,
        round_key: federation.members[k].host.secrets.publish_round_key(),
    }
}

fn accuse(federation: &mut Network, k: usize, accusation: &Accusation, sealed: Vec<u8>) {
    let records = federation.relay.log.records().into_iter().rev();
    let mut bundles = records.filter_map(|record| match record.entry {
        Entry::Keys(bundle) => Some(bundle),
        _ => None,
    });
    let proof = Proof {
        bundle: bundles.next().unwrap(),
        accusation: federation.consortium.sign(k, accusation),
        sealed,
    };
    federation.tell_relay(Event::Frame(federation.id(k), NodeFrame::Accusation(proof)));
}

#[test]
fn who_seals_a_share_that_does_not_open_is_found_out_and_the_others_go_on() {
    for (seed, liar) in [(300, 1), (301, 4)] {
        let mut federation = all(3, seed);
        federation.is_dishonest = true;
        federation.members[liar].host.secrets.wrong_boxes = 1;
        assert!(federation.run(HOUR, |f| !f.seen.convictions.is_empty()));
        assert_eq!(federation.relay.disk.head.round, 0);
        let others: Vec<_> = (0..5).filter(|k| *k != liar).collect();
        complete_with(&mut federation, &others);
        assert_convicted(&federation, &others, liar);
    }
}

#[test]
fn who_accuses_falsely_is_found_out_and_the_accused_stays() {
    for (seed, liar) in [(310, 2), (311, 0)] {
        let mut federation = all(2, seed);
        federation.is_dishonest = true;
        run_until_masking(&mut federation, liar);
        let false_accusation = accusation(&federation, liar);
        let sealed = given_to(&federation, liar).1.sealed;
        accuse(&mut federation, liar, &false_accusation, sealed);
        let others: Vec<_> = (0..5).filter(|k| *k != liar).collect();
        complete_with(&mut federation, &others);
        assert_convicted(&federation, &others, liar);
    }
}

#[test]
fn an_accusation_that_proves_nothing_convicts_nobody() {
    type Change = fn(&Network, &mut Accusation, &mut Vec<u8>);
    let changes: [Change; 5] = [
        |_, accusation, _| accusation.round_key = [7; 32],
        |_, accusation, _| accusation.ctx.0[0] ^= 1,
        // Another's share, with its box.
        |federation, accusation, sealed| {
            let (_, others) = given_to(federation, 3);
            (accusation.share, *sealed) = (others.share, others.sealed);
        },
        // Boxes that the accused has not signed. The second would open.
        |_, _, sealed| sealed.truncate(31),
        |federation, _, sealed| *sealed = given_to(federation, 3).1.sealed,
    ];
    for change in changes {
        let mut federation = all(2, 320);
        federation.is_dishonest = true;
        run_until_masking(&mut federation, 2);
        let mut nothing = accusation(&federation, 2);
        let mut sealed = given_to(&federation, 2).1.sealed;
        change(&federation, &mut nothing, &mut sealed);
        accuse(&mut federation, 2, &nothing, sealed);
        complete_with(&mut federation, &[0, 1, 2, 3, 4]);
        assert!(federation.seen.convictions.is_empty());
    }
}

#[test]
fn a_node_gives_its_round_key_away_only_for_a_share_that_does_not_open() {
    let mut federation = all(1, 330);
    run_until_masking(&mut federation, 2);
    let Accusation { ctx, round_key, .. } = accusation(&federation, 2);
    let (share, _) = given_to(&federation, 2);
    let host = &mut federation.members[2].host;
    let actions = host.node.accuse(ctx, share.from, round_key).unwrap();
    let says = |action: &Action| matches!(action, Action::Send(NodeFrame::Accusation(_)));
    assert!(!actions.iter().any(says), "{actions:?}");
    // It has left the attempt, so that no sum of its own goes with the key.
    assert!(!host.node.is_masking(ctx));
}

#[test]
fn a_node_does_not_accuse_once_it_has_signed_its_sum() {
    let mut federation = all(1, 331);
    run_until_masking(&mut federation, 2);
    let Accusation { ctx, round_key, .. } = accusation(&federation, 2);
    let (share, _) = given_to(&federation, 2);
    let masked = |f: &Network| !f.members[2].host.node.is_masking(ctx);
    assert!(federation.run(HOUR, masked));
    let node = &mut federation.members[2].host.node;
    let actions = node.accuse(ctx, share.from, round_key).unwrap();
    let says = |action: &Action| matches!(action, Action::Send(NodeFrame::Accusation(_)));
    assert!(!actions.iter().any(says), "{actions:?}");
}

#[test]
fn a_complaint_without_a_proof_costs_nobody_but_who_makes_it_a_round() {
    let mut federation = Network::new(5, 1, 340);
    federation.is_dishonest = true;
    run_until_masking(&mut federation, 2);
    let (accuser, accused) = (federation.id(2), given_to(&federation, 2).0.from);
    let (round, attempt) = (1, 1);
    let refusal = Refusal::Share { from: accused };
    let complaint = NodeFrame::Refused {
        round,
        attempt,
        refusal,
    };
    federation.tell_relay(Event::Frame(accuser, complaint));
    assert!(federation.run(HOUR, |f| f.seen.participants.len() == 2));
    let again = &federation.seen.participants[1];
    assert!(again.contains(&accused) && !again.contains(&accuser));
    assert!(federation.seen.convictions.is_empty());
}

#[test]
fn a_conviction_outlives_restarts_and_reaches_those_who_were_away() {
    let mut federation = all(3, 350);
    federation.is_dishonest = true;
    federation.members[1].host.secrets.wrong_boxes = 1;
    assert!(federation.run(HOUR, |f| !f.seen.convictions.is_empty()));
    // Before all others have heard of it.
    federation.crash(4, Some(Duration::from_secs(60)));
    federation.restart_relay(Duration::from_secs(20), true);
    federation.crash(0, Some(Duration::from_secs(40)));
    complete_with(&mut federation, &[0, 2, 3, 4]);
    assert_convicted(&federation, &[0, 2, 3, 4], 1);
}

#[test]
fn a_proof_that_was_tampered_with_convicts_nobody_in_a_log_either() {
    let mut federation = all(1, 360);
    federation.is_dishonest = true;
    federation.members[1].host.secrets.wrong_boxes = 1;
    assert!(federation.run(HOUR, |f| f.seen.finished));
    let records = federation.relay.log.records();
    let manifest = &federation.consortium.manifest;
    let found = |change: &dyn Fn(&mut Entry)| {
        let mut log =
            crate::sim::MemoryLog::new(manifest.consortium_id(), crate::audit::Party::Relay);
        for mut record in records.clone() {
            change(&mut record.entry);
            log.append_raw(&record);
        }
        verify(manifest, OPEN_BOXES, log.bytes()).unwrap().flaw
    };
    assert!(found(&|_| ()).is_none(), "the control");
    // Without the proof, the liar is missing.
    let without = found(&|entry| {
        if let Entry::Convicted(_) = entry {
            *entry = Entry::RolledBack;
        }
    });
    assert!(without.is_some());
    let other_bundle = found(&|entry| {
        if let Entry::Convicted(proof) = entry {
            proof.bundle.pop();
        }
    });
    assert!(other_bundle.is_some());
    let other_box = found(&|entry| {
        if let Entry::Convicted(proof) = entry {
            proof.sealed.push(0);
        }
    });
    assert!(other_box.is_some());
}
