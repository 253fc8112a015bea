//! Nodes and relay that fail at every point, and what the rest does about it.

use std::time::Duration;

use crate::digest::model_hash;
use crate::round::refusal::Refusal;
use crate::round::relay::Report;
use crate::sim::Consortium;
use crate::sim::settings;
use crate::sim::{Moment, Network};

const HOUR: Duration = Duration::from_secs(3600);

fn waits_for(federation: &Network, node: usize, same: bool) -> bool {
    let id = federation.id(node);
    federation.seen.reports.iter().any(|report| {
        matches!(report, Report::Waiting { missing, same_participants, .. }
            if *missing == [id] && *same_participants == same)
    })
}

#[test]
fn a_node_lost_before_its_sum_is_collected_costs_an_attempt_and_the_rest_goes_on() {
    let moments = [
        (Moment::BeforeKeys, 1),
        (Moment::AfterKeys, 2),
        (Moment::AfterShares, 2),
        (Moment::AfterSum, 2),
    ];
    for (moment, attempts) in moments {
        // Some seeds have the relay collect before the node is lost, in an order that hangs on the
        // ids of the nodes.
        let mut killed = 0;
        for seed in 20..100 {
            let mut federation = Network::new(4, 1, seed);
            federation.timing.notice = Duration::ZERO;
            federation.kill(0, moment, None);
            federation.run_to_the_end();
            federation.seen.assert_peaceful();
            if federation.seen.killed == 1 {
                killed += 1;
                assert_eq!(federation.seen.completed[0].nodes, 3, "{moment:?}");
                assert!(
                    federation.seen.completed[0].attempts <= attempts,
                    "{moment:?}"
                );
            }
            if killed == 4 {
                break;
            }
        }
        assert_eq!(killed, 4, "{moment:?}");
    }
}

#[test]
fn a_node_lost_after_collect_is_waited_for_and_returns_with_the_identical_sum() {
    for moment in [
        Moment::MidBody,
        Moment::AfterBody,
        Moment::BeforeCommit,
        Moment::BeforeAck,
    ] {
        let mut federation = Network::new(4, 2, 21);
        federation.kill(1, moment, Some(Duration::from_secs(120)));
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        assert_eq!(federation.seen.completed[0].nodes, 4, "{moment:?}");
        assert_eq!(federation.seen.completed[0].attempts, 1, "{moment:?}");
        if moment == Moment::MidBody {
            assert!(waits_for(&federation, 1, true));
        }
    }
}

#[test]
fn a_body_of_many_chunks_goes_on_where_it_was_cut_off() {
    let parameters = 5_000;
    let consortium = Consortium::with(3, |file| {
        file.model.layout[0].shape = vec![parameters];
        file.model.initial = model_hash(&vec![0.0; parameters + 2]).to_hex();
    });
    let mut federation = Network::of(consortium, 1, 22);
    federation.kill(2, Moment::MidBody, Some(Duration::from_secs(5)));
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(federation.seen.completed[0].attempts, 1);
}

#[test]
fn when_an_outbox_is_lost_after_collect_the_same_participants_begin_again() {
    let mut federation = Network::new(5, 2, 23);
    federation.relay.settings = settings(federation.relay.settings.rounds(), 0.6, 3);
    // Whoever takes part first is killed in the middle of its upload.
    assert!(federation.run(HOUR, |f| !f.seen.participants.is_empty()));
    let node = (0..5)
        .find(|k| federation.seen.participants[0].contains(&federation.id(*k)))
        .unwrap();
    federation.kill(node, Moment::MidBody, None);
    assert!(federation.run(HOUR, |f| f.seen.killed == 1));
    federation.members[node].host.disk.outbox = None;
    federation.run(Duration::from_secs(60), |_| false);
    assert!(
        federation.seen.completed.is_empty(),
        "nobody else can take its place"
    );
    federation.bring_back(node);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(federation.seen.completed[0].attempts, 2);
    assert_eq!(
        federation.seen.participants[0],
        federation.seen.participants[1]
    );
}

#[test]
fn one_of_three_lost_is_named_to_all_and_the_round_goes_on_when_it_returns() {
    let mut federation = Network::new(3, 2, 24);
    federation.kill(2, Moment::AfterShares, None);
    let lost = federation.id(2);
    assert!(federation.run(HOUR, |f| {
        f.members[..2]
            .iter()
            .all(|m| m.waiting_for.as_deref() == Some(&[lost][..]))
    }));
    assert!(waits_for(&federation, 2, false));
    federation.bring_back(2);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
}

#[test]
fn a_relay_that_restarts_at_any_time_goes_on() {
    for (keeps_result, seed) in [(true, 30), (true, 31), (true, 32), (false, 33)] {
        let mut federation = Network::new(4, 3, seed);
        for _ in 0..4 {
            let pause = federation.random(Duration::from_secs(25));
            let until = federation.now + pause;
            federation.run(Duration::from_secs(30), |f| f.now >= until);
            // Without its result a relay may only restart when enough nodes can certify the model.
            if keeps_result || federation.everyone_stands_with_the_relay() {
                federation.restart_relay(Duration::from_secs(5), keeps_result);
            }
        }
        federation.run_to_the_end();
        assert!(
            federation.seen.turned_away.is_empty(),
            "{:?}",
            federation.seen.turned_away
        );
        let legitimate = |refusal: &Refusal| matches!(refusal, Refusal::Difference { .. });
        assert!(
            federation
                .seen
                .refusals
                .iter()
                .all(|(_, refusal)| legitimate(refusal))
        );
    }
}

#[test]
fn a_relay_that_has_forgotten_who_sent_sums_learns_it_from_the_nodes() {
    let mut federation = Network::new(3, 1, 40);
    federation.kill(0, Moment::MidBody, None);
    assert!(federation.run(HOUR, |f| f.seen.killed == 1));
    federation.restart_relay(Duration::from_secs(1), true);
    federation.run(Duration::from_secs(120), |_| false);
    assert!(federation.seen.completed.is_empty());
    federation.bring_back(0);
    federation.run_to_the_end();

    // Five nodes, and all of them have sent sums with all the others.
    let mut federation = Network::new(5, 1, 41);
    federation.kill(0, Moment::MidBody, None);
    assert!(federation.run(HOUR, |f| f.seen.killed == 1));
    federation.run(Duration::from_secs(5), |_| false);
    federation.restart_relay(Duration::from_secs(1), true);
    federation.run(Duration::from_secs(300), |_| false);
    assert!(
        federation.seen.completed.is_empty(),
        "four do not go on without the fifth"
    );
    assert!(
        waits_for(&federation, 0, true),
        "{:?}",
        federation.seen.reports
    );
    assert!(matches!(
        federation.seen.refusals[0].1,
        Refusal::Difference { .. }
    ));
    federation.bring_back(0);
    federation.run_to_the_end();
    assert!(federation.seen.turned_away.is_empty());
    assert_eq!(federation.seen.completed[0].nodes, 5);
}

#[test]
fn after_collect_nobody_goes_on_without_any_participant_however_many_are_lost() {
    let mut federation = Network::new(6, 1, 50);
    assert!(federation.run(HOUR, |f| f.relay.bodies.is_some()));
    (0..3).for_each(|node| federation.crash(node, None));
    federation.run(HOUR, |_| false);
    assert!(federation.seen.completed.is_empty());
    (0..3).for_each(|node| federation.bring_back(node));
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(federation.seen.completed[0].nodes, 6);
}

#[test]
fn a_node_that_was_too_slow_for_its_shares_is_asked_again_when_nothing_goes_on_without_it() {
    let mut federation = Network::new(3, 1, 60);
    federation.timing.latency = Duration::from_millis(10);
    assert!(federation.run(HOUR, |f| !f.seen.participants.is_empty()));
    federation.stall(1, Duration::from_secs(40));
    federation.run_to_the_end();
    assert!(federation.seen.turned_away.is_empty());
    assert!(federation.seen.completed[0].attempts > 1);
}

#[test]
fn a_connection_that_comes_back_while_others_train_is_asked_again_for_this_attempt() {
    let mut federation = Network::new(4, 1, 61);
    let opened = |report: &Report| matches!(report, Report::Opened { .. });
    assert!(federation.run(HOUR, |f| f.seen.reports.iter().any(opened)));
    federation.run(Duration::from_secs(2), |_| false);
    assert!(federation.seen.participants.is_empty(), "they train");
    federation.cut(3);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(
        (
            federation.seen.completed[0].nodes,
            federation.seen.completed[0].attempts
        ),
        (4, 1)
    );
}

#[test]
fn a_participant_that_missed_the_last_result_of_all_can_still_come_for_it() {
    for restart in [false, true] {
        let mut federation = Network::new(3, 1, 62);
        let pause = Some(Duration::from_secs(20));
        federation.kill(1, Moment::BeforeCommit, pause);
        assert!(federation.run(HOUR, |f| f.seen.killed == 1 && !f.seen.completed.is_empty()));
        if restart {
            federation.restart_relay(Duration::from_secs(5), true);
        }
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        assert!(federation.everyone_stands_with_the_relay(), "{restart}");
        assert!(waits_for(&federation, 1, false), "{restart}");
    }
}

#[test]
fn a_relay_that_restarts_after_all_rounds_waits_for_nobody_who_has_the_last_result() {
    let mut federation = Network::new(3, 1, 63);
    federation.run_to_the_end();
    federation.seen.reports.clear();
    federation.restart_relay(Duration::from_secs(5), true);
    assert!(federation.run(Duration::from_secs(7), |f| f.seen.finished));
    assert!(!(0..3).any(|node| waits_for(&federation, node, false)));
}
