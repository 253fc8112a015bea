//! Rounds in which nothing, or what may happen every day, goes wrong.

use std::time::Duration;

use proptest::prelude::*;

use super::consortium;
use crate::round::tests::chaos::survives;
use crate::sim::settings;
use crate::sim::{Moment, Network};

const HOUR: Duration = Duration::from_secs(3600);

fn federation(n: usize, k: usize, t: u32, rounds: u64, seed: u64) -> Network {
    Network::of(consortium(n, k, t), rounds, seed)
}

#[test]
fn committees_of_all_shapes_complete_their_rounds() {
    for (n, k, t) in [(3, 2, 1), (3, 3, 2), (6, 4, 1), (10, 5, 2), (9, 7, 4)] {
        let mut federation = federation(n, k, t, 3, n as u64);
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        assert_eq!(federation.seen.completed.len(), 3);
        for completed in &federation.seen.completed {
            assert_eq!((completed.nodes as usize, completed.attempts), (n, 1));
            assert_eq!(completed.totals.tally.examples(), 40 * n as u64);
        }
        let all = |member: &crate::sim::Member| member.received == 3;
        assert!(
            federation.members.iter().all(all),
            "each was told that it may go"
        );
    }
}

#[test]
fn contributors_that_vanish_after_their_upload_are_in_the_sum() {
    let mut federation = federation(20, 5, 2, 1, 1);
    for _ in 12..20 {
        let uploaded =
            |f: &Network| (12..20).find(|k| f.members[*k].received == 1 && f.members[*k].is_up);
        assert!(federation.run(HOUR, |f| uploaded(f).is_some()));
        let node = uploaded(&federation).unwrap();
        federation.crash(node, None);
    }
    federation.run_to_the_end();
    assert_eq!(
        (
            federation.seen.completed[0].nodes,
            federation.seen.completed[0].attempts
        ),
        (20, 1)
    );
}

#[test]
fn a_contributor_that_is_lost_before_its_upload_is_not_waited_for() {
    let mut federation = federation(8, 5, 2, 1, 2);
    federation.kill(7, Moment::MidBody, None);
    federation.run_to_the_end();
    assert_eq!(
        (
            federation.seen.completed[0].nodes,
            federation.seen.completed[0].attempts
        ),
        (7, 1)
    );
    assert!(federation.now < Duration::from_secs(120));
}

#[test]
fn a_contributor_that_comes_back_sends_the_very_same_bytes() {
    let mut federation = federation(8, 5, 2, 1, 3);
    federation.members[6].training = Duration::from_secs(60);
    federation.kill(7, Moment::MidBody, Some(Duration::from_secs(5)));
    federation.run_to_the_end();
    assert_eq!(
        (
            federation.seen.completed[0].nodes,
            federation.seen.completed[0].attempts
        ),
        (8, 1)
    );
}

#[test]
fn a_node_that_comes_while_others_train_still_contributes() {
    let mut federation = federation(8, 5, 2, 1, 4);
    federation.crash(7, Some(Duration::from_secs(30)));
    federation.members[6].training = Duration::from_secs(90);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(federation.seen.completed[0].nodes, 8);
}

#[test]
fn a_holder_whose_connection_breaks_goes_on_where_it_was() {
    for seed in 0..6 {
        let mut federation = federation(8, 5, 2, 1, seed);
        let begun = |f: &Network| !f.seen.participants.is_empty();
        assert!(federation.run(HOUR, begun));
        let pause = federation.random(Duration::from_secs(2));
        let until = federation.now + pause;
        federation.run(pause, |f| f.now >= until);
        (0..5).for_each(|holder| federation.cut(holder));
        federation.run_to_the_end();
        assert_eq!(
            (
                federation.seen.completed[0].nodes,
                federation.seen.completed[0].attempts
            ),
            (8, 1)
        );
    }
}

#[test]
fn a_restarted_holder_is_lost_for_the_attempt_and_a_node_like_any_other() {
    let mut federation = federation(8, 5, 2, 2, 5);
    federation.members[6].training = Duration::from_secs(30);
    federation.kill(2, Moment::AfterKeys, Some(Duration::from_secs(4)));
    federation.run_to_the_end();
    let both: Vec<_> = federation
        .seen
        .completed
        .iter()
        .map(|c| (c.nodes, c.attempts))
        .collect();
    assert_eq!(both, [(8, 1), (8, 1)]);
}

#[test]
fn a_relay_that_forgets_a_vote_does_not_split_the_holders() {
    for seed in 0..20 {
        let mut federation = federation(8, 5, 2, 1, seed);
        // Two have voted, and the relay is gone, and with it whom it had asked them for.
        assert!(federation.run(HOUR, |f| f.seen.votes == 2));
        let voted_for = federation.seen.participants[0].clone();
        federation.restart_relay(Duration::from_secs(2), true);
        // Another is missing for a while, so that others would be chosen.
        federation.crash(7, Some(Duration::from_secs(120)));
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        assert_eq!(*federation.seen.participants.last().unwrap(), voted_for);
    }
}

#[test]
fn a_single_vote_that_the_relay_forgets_binds_nobody_else() {
    for seed in 0..20 {
        let mut federation = federation(8, 5, 2, 1, seed);
        assert!(federation.run(HOUR, |f| f.seen.votes == 1));
        // Whoever else was asked has not heard of it.
        let voted = |f: &Network| {
            (0..5)
                .filter(|k| f.members[*k].host.disk.sent != crate::round::SentSums::default())
                .count()
        };
        if voted(&federation) > 1 {
            continue;
        }
        federation.restart_relay(Duration::from_secs(2), true);
        federation.crash(7, None);
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        assert_eq!(federation.seen.completed[0].nodes, 7);
    }
}

#[test]
fn a_sampled_round_leaves_the_others_alone() {
    let mut federation = federation(10, 5, 2, 3, 6);
    federation.relay.settings = settings(federation.relay.settings.rounds(), 0.4, 3);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert!(
        federation
            .seen
            .participants
            .iter()
            .all(|nodes| nodes.len() == 4)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_troubled_federation_ends_with_all_rounds_done(
        (k, t) in (2u32..=7).prop_flat_map(|k| (Just(k as usize), 1..k)),
        more in 0usize..4,
        troubles in 0usize..16,
        seed in any::<u64>(),
    ) {
        survives(federation((k + more).max(3), k, t, 2, seed), troubles, false, seed);
    }
}
