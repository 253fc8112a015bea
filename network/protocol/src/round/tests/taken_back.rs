//! A result that all nodes refuse, since one of them signed a wrong tag, and how the rounds go on.

use std::time::Duration;

use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::Refusal;
use crate::round::message::{ResultAck, Signed};
use crate::round::relay::PAUSE;
use crate::round::relay::{Event, Report};
use crate::sim::Consortium;
use crate::sim::Network;
use crate::sim::settings;
use crate::wire::NodeFrame;

const HOUR: Duration = Duration::from_secs(3600);

/// The rounds whose results were taken back, and how many refused each.
fn taken_back(federation: &Network) -> Vec<(u64, usize)> {
    let reports = federation.seen.reports.iter();
    let taken_back = reports.filter_map(|report| match report {
        Report::RolledBack { round, nodes } => Some((*round, nodes.len())),
        _ => None,
    });
    taken_back.collect()
}

fn completed(federation: &Network) -> Vec<(u64, u32)> {
    let completed = federation.seen.completed.iter();
    completed.map(|done| (done.round, done.attempts)).collect()
}

fn assert_only_wrong_tags_were_refused(federation: &Network) {
    assert!(
        federation.seen.turned_away.is_empty(),
        "{:?}",
        federation.seen.turned_away
    );
    let refusals = federation.seen.refusals.iter();
    let mut others = refusals.filter(|(_, refusal)| !matches!(refusal, Refusal::Tag));
    assert_eq!(others.next(), None);
}

#[test]
fn a_result_that_all_refuse_is_taken_back_and_the_same_participants_begin_the_round_again() {
    for (faults, seed) in [(0, 70), (1, 70), (1, 71), (3, 72)] {
        let mut federation = Network::new(4, 3, seed);
        federation.relay.settings = settings(federation.relay.settings.rounds(), 0.75, 3);
        assert!(federation.run(HOUR, |f| f.relay.disk.head.round == 1));
        (0..4).for_each(|node| federation.members[node].host.secrets.wrong_tags = 0);
        // Whoever takes part next is the one at fault.
        let rounds = federation.seen.participants.len();
        assert!(federation.run(HOUR, |f| f.seen.participants.len() > rounds));
        let participants = federation.seen.participants[rounds].clone();
        let faulty = (0..4).find(|node| participants.contains(&federation.id(*node)));
        federation.members[faulty.unwrap()].host.secrets.wrong_tags = faults;
        federation.run_to_the_end();

        assert_only_wrong_tags_were_refused(&federation);
        // Those who were left out refuse it as well.
        assert_eq!(taken_back(&federation), vec![(2, 4); faults], "{seed}");
        assert_eq!(federation.seen.refusals.len(), 4 * faults);
        let attempts = 1..=u32::try_from(faults).unwrap() + 1;
        let of_round_2 = attempts.map(|attempt| (2, attempt));
        let expected: Vec<_> = [(1, 1)]
            .into_iter()
            .chain(of_round_2)
            .chain([(3, 1)])
            .collect();
        assert_eq!(completed(&federation), expected);
        for again in &federation.seen.participants[rounds..=rounds + faults] {
            assert_eq!(*again, participants);
        }
    }
}

#[test]
fn a_relay_that_restarts_before_its_result_is_refused_takes_it_back_all_the_same() {
    for seed in 80..84 {
        let mut federation = Network::new(3, 2, seed);
        federation.members[1].host.secrets.wrong_tags = 1;
        assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
        federation.restart_relay(Duration::from_secs(5), true);
        federation.run_to_the_end();
        assert_only_wrong_tags_were_refused(&federation);
        assert_eq!(taken_back(&federation), [(1, 3)]);
        assert_eq!(completed(&federation).len(), 3);
    }
}

#[test]
fn a_result_that_the_disk_does_not_forget_is_taken_back_later() {
    let refused_and_taken_back = |failures| {
        let mut federation = Network::new(3, 2, 95);
        federation.members[1].host.secrets.wrong_tags = 1;
        federation.relay.take_backs_to_fail = failures;
        assert!(federation.run(HOUR, |f| f.seen.refusals.len() == 3));
        let refused = federation.now;
        assert!(federation.run(HOUR, |f| !taken_back(f).is_empty()));
        let waited = federation.now - refused;
        federation.run_to_the_end();
        assert_only_wrong_tags_were_refused(&federation);
        assert_eq!(taken_back(&federation), [(1, 3)]);
        waited
    };
    let at_once = refused_and_taken_back(0);
    let later = refused_and_taken_back(3);
    assert!(at_once < PAUSE, "{at_once:?}");
    assert!((3 * PAUSE..4 * PAUSE).contains(&later), "{later:?}");
}

#[test]
fn too_few_that_refuse_do_not_have_a_result_taken_back() {
    let mut federation = Network::new(4, 2, 90);
    federation.timing.notice = Duration::ZERO;
    federation.members[3].host.secrets.wrong_tags = 1;
    let collected = |f: &Network| {
        let mut reports = f.seen.reports.iter();
        reports.any(|report| matches!(report, Report::Collected { .. }))
    };
    assert!(federation.run(HOUR, collected));
    (0..2).for_each(|node| federation.crash(node, None));
    assert!(!federation.run(HOUR, |f| !taken_back(f).is_empty()));
    assert_eq!(federation.seen.completed.len(), 1);
    assert_eq!(federation.seen.refusals.len(), 2);
    (0..2).for_each(|node| federation.bring_back(node));
    federation.run_to_the_end();
    assert_only_wrong_tags_were_refused(&federation);
    assert_eq!(taken_back(&federation).len(), 1);
}

#[test]
fn a_result_that_somebody_says_to_have_taken_is_not_taken_back() {
    let mut federation = Network::new(4, 2, 91);
    federation.members[3].host.secrets.wrong_tags = 1;
    assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
    let head = federation.relay.machine().unwrap().head();
    let ack = ResultAck {
        consortium_id: federation.consortium.manifest.consortium_id(),
        node: federation.id(3),
        head,
    };
    let ack = Signed::new(&ack, &federation.consortium.identities[3]).unwrap();
    let liar = federation.id(3);
    federation.tell_relay(Event::Frame(liar, NodeFrame::Ack(ack)));
    let went_on = federation.run(HOUR, |f| !taken_back(f).is_empty() || f.seen.finished);
    assert!(
        !went_on,
        "{:?} {:?}",
        federation.seen.reports, federation.seen.turned_away
    );
    let refused: Vec<NodeId> = federation
        .seen
        .refusals
        .iter()
        .map(|(node, _)| *node)
        .collect();
    assert_eq!(refused.len(), 4, "{refused:?}");
}

#[test]
fn what_is_taken_back_at_the_last_moment_is_not_made_durable_as_well() {
    let mut federation = Network::new(3, 1, 92);
    federation.members[1].host.secrets.wrong_tags = 1;
    assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
    for node in 0..3 {
        if node == 2 {
            // Nobody would be waited for any longer.
            federation.now += HOUR;
        }
        let refused = NodeFrame::Refused {
            round: 1,
            attempt: 1,
            refusal: Refusal::Tag,
        };
        federation.tell_relay(Event::Frame(federation.id(node), refused));
    }
    assert_eq!(taken_back(&federation), [(1, 3)]);
    assert!(!federation.seen.finished);
    assert_eq!(federation.relay.disk.head.round, 0);
}

#[test]
fn only_a_result_whose_tags_do_not_fit_is_taken_back() {
    for (refusal, round, expected) in [
        (Refusal::Tag, 1, 1),
        (Refusal::Tag, 2, 0),
        (Refusal::OwnKeys, 1, 0),
    ] {
        let mut federation = Network::new(3, 2, 93);
        assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
        for node in 0..3 {
            let (attempt, refusal) = (1, refusal.clone());
            let refused = NodeFrame::Refused {
                round,
                attempt,
                refusal,
            };
            federation.tell_relay(Event::Frame(federation.id(node), refused));
        }
        assert_eq!(
            taken_back(&federation).len(),
            expected,
            "{refusal}, {round}"
        );
    }
}

#[test]
fn the_relays_log_knows_after_a_restart_whether_its_result_is_taken() {
    let mut federation = Network::new(3, 2, 94);
    let ended_unacknowledged = |f: &Network| {
        let records = f.relay.log.records();
        let entries = records.iter().rev().map(|record| &record.entry);
        let decided = entries
            .into_iter()
            .find_map(Entry::is_unacknowledged_result);
        decided == Some(true)
    };
    federation.run(Duration::from_secs(1), |_| false);
    assert!(!ended_unacknowledged(&federation));
    federation.members[1].host.secrets.wrong_tags = 1;
    assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
    assert!(ended_unacknowledged(&federation));
    assert!(federation.run(HOUR, |f| !taken_back(f).is_empty()));
    assert!(!ended_unacknowledged(&federation));
    assert!(federation.run(HOUR, |f| f.seen.completed.len() == 2));
    assert!(ended_unacknowledged(&federation));
    assert!(federation.run(HOUR, |f| f.relay.disk.head.round == 1));
    assert!(
        !ended_unacknowledged(&federation),
        "one has acknowledged it"
    );
}

#[test]
fn rounds_end_whatever_tags_are_wrong_and_whoever_is_lost_meanwhile() {
    for seed in 100..160 {
        let mut federation = Network::of(Consortium::new(4), 3, seed);
        federation.relay.settings = settings(federation.relay.settings.rounds(), 0.75, 3);
        for step in 0..6 {
            let node = (usize::try_from(seed).unwrap() + step) % 4;
            federation.members[node].host.secrets.wrong_tags += step % 2;
            let pause = federation.random(Duration::from_secs(20));
            let until = federation.now + pause;
            federation.run(Duration::from_secs(30), |f| f.now >= until);
            match step % 3 {
                0 => federation.cut(node),
                1 => federation.crash(node, Some(Duration::from_secs(3))),
                _ => federation.restart_relay(Duration::from_secs(2), true),
            }
        }
        federation.run_to_the_end();
    }
}
