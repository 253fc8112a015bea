//! A result that all nodes refuse, since one of them signed a wrong tag, and how the rounds go on.

use std::time::Duration;

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
        Report::RolledBack { round, nodes, .. } => Some((*round, nodes.len())),
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

/// Lets these nodes say that they have taken the result that the relay has published.
fn acknowledge(federation: &mut Network, nodes: &[usize]) {
    let head = federation.relay.machine().unwrap().head();
    for k in nodes {
        let (consortium, node) = (&federation.consortium, federation.id(*k));
        let consortium_id = consortium.manifest.consortium_id();
        let ack = ResultAck {
            consortium_id,
            node,
            head,
        };
        let ack = Signed::new(&ack, &consortium.identities[*k]).unwrap();
        federation.tell_relay(Event::Frame(node, NodeFrame::Ack(ack)));
    }
}

#[test]
fn an_acknowledgement_of_what_the_others_refuse_decides_nothing() {
    // With three nodes, two are no cohort. But they are all that are left to be heard.
    for (nodes, seed) in [(4, 91), (3, 96), (5, 97)] {
        let mut federation = Network::new(nodes, 2, seed);
        let liar = nodes - 1;
        federation.members[liar].host.secrets.wrong_tags = 1;
        assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
        acknowledge(&mut federation, &[liar]);
        federation.run_to_the_end();
        assert_eq!(taken_back(&federation), [(1, nodes - 1)]);
        let liar = federation.id(liar);
        let named = |report: &Report| matches!(report, Report::RolledBack { acknowledged, .. } if *acknowledged == [liar]);
        assert!(federation.seen.reports.iter().any(named));
    }
}

#[test]
fn an_acknowledgement_does_not_wait_for_those_who_never_answer() {
    let mut federation = Network::new(5, 2, 98);
    federation.timing.notice = Duration::ZERO;
    federation.members[4].host.secrets.wrong_tags = 1;
    let collected = |f: &Network| {
        let mut reports = f.seen.reports.iter();
        reports.any(|report| matches!(report, Report::Collected { .. }))
    };
    assert!(federation.run(HOUR, collected));
    federation.crash(0, None);
    assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
    acknowledge(&mut federation, &[4]);
    assert!(federation.run(HOUR, |f| !taken_back(f).is_empty()));
    assert_eq!(taken_back(&federation), [(1, 3)]);
    federation.bring_back(0);
    federation.run_to_the_end();
}

#[test]
fn a_result_that_enough_say_to_have_taken_is_not_taken_back() {
    let mut federation = Network::new(4, 2, 91);
    federation.members[3].host.secrets.wrong_tags = 1;
    assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
    acknowledge(&mut federation, &[1, 2, 3]);
    let went_on = federation.run(HOUR, |f| !taken_back(f).is_empty() || f.seen.finished);
    assert!(
        !went_on,
        "{:?} {:?}",
        federation.seen.reports, federation.seen.turned_away
    );
}

#[test]
fn a_node_alone_does_not_have_a_result_taken_back() {
    // Two of three have taken it; the third may lie.
    let mut federation = Network::new(3, 2, 99);
    assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
    let refused = NodeFrame::Refused {
        round: 1,
        attempt: 1,
        refusal: Refusal::Tag,
    };
    federation.tell_relay(Event::Frame(federation.id(2), refused));
    federation.run_to_the_end();
    assert_eq!(taken_back(&federation), []);
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
