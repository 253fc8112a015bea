//! How many holders may be lost, and what happens with one more: an end that says who is missing,
//! never a wrong sum. (That every sum is right, the federation itself asserts.)

use std::time::Duration;

use proptest::prelude::*;

use super::consortium;
use crate::round::relay::Report;
use crate::sim::Network;

const HOUR: Duration = Duration::from_secs(3600);

/// `k`, `t` and how many of the holders are lost before the vote, and after it.
fn runs(n: usize, k: usize, t: u32, before: usize, after: usize, seed: u64) {
    let mut federation = Network::of(consortium(n, k, t), 1, seed);
    let quorum = (k + t as usize) / 2 + 1;
    // Before the vote: at any time before the contributors are fixed.
    assert!(federation.run(HOUR, |f| {
        f.seen
            .reports
            .iter()
            .any(|r| matches!(r, Report::Holders { .. }))
    }));
    (0..before).for_each(|holder| federation.crash(holder, None));
    let tolerated = before <= k - quorum;
    let fixed = federation.run(HOUR, |f| !f.seen.participants.is_empty());
    assert_eq!(fixed, tolerated);
    if tolerated {
        // After it: when all have voted that are still there.
        let voted = federation.run(HOUR, |f| f.seen.votes == k - before || f.seen.finished);
        assert!(voted);
        (before..before + after).for_each(|holder| federation.crash(holder, None));
    }
    let ends = tolerated && before + after < k - t as usize;
    let ended = federation.run(HOUR, |f| f.relay.disk.head.round == 1);
    // Fewer can be lost after the vote than are there to lose; what was revealed before is not
    // lost.
    if ends {
        assert!(ended, "{k}, {t}: {before}, {after}");
        assert_eq!(federation.seen.completed[0].attempts, 1);
    }
    if !ended {
        let waits =
            |r: &Report| matches!(r, Report::Waiting { missing, .. } if !missing.is_empty());
        assert!(
            federation.seen.reports.iter().any(waits),
            "{:?}",
            federation.seen.reports
        );
        let bound = federation.seen.participants.last().cloned();
        (0..k).for_each(|holder| federation.bring_back(holder));
        federation.run_to_the_end();
        if let Some(bound) = bound.filter(|_| tolerated) {
            let last = federation.seen.participants.last().unwrap();
            assert_eq!(*last, bound, "the very same contributors");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_many_are_tolerated_as_the_protocol_says(
        (k, t) in (2u32..=7).prop_flat_map(|k| (Just(k as usize), 1..k)),
        before in 0usize..3,
        after in 0usize..4,
        more in 0usize..5,
        seed in any::<u64>(),
    ) {
        let before = before.min(k);
        let after = after.min(k - before);
        runs((k + more).max(3), k, t, before, after, seed);
    }
}

#[test]
fn the_table_of_the_protocol_holds_in_whole_rounds() {
    for (k, t, before, after) in [(3, 2, 0, 0), (4, 1, 1, 2), (5, 2, 1, 2), (7, 4, 1, 2)] {
        runs(9, k, t, before, 0, 1);
        runs(9, k, t, before + 1, 0, 2);
        runs(9, k, t, 0, after, 3);
        runs(9, k, t, 0, after + 1, 4);
    }
}

#[test]
fn a_result_with_a_contributors_or_a_holders_wrong_tag_is_taken_back_and_the_round_ends() {
    for (faulty, seed) in [(6, 7), (0, 8)] {
        let mut federation = Network::of(consortium(7, 5, 2), 2, seed);
        federation.members[faulty].host.secrets.wrong_tags = 1;
        federation.run_to_the_end();
        let reports = federation.seen.reports.iter();
        let taken_back = reports.filter(|r| matches!(r, Report::RolledBack { round: 1, .. }));
        assert_eq!(taken_back.count(), 1, "{faulty}");
        let participants = &federation.seen.participants;
        assert_eq!(
            participants[0], participants[1],
            "the very same contributors"
        );
        assert_eq!(federation.seen.completed.len(), 3);
    }
}

#[test]
fn a_relay_that_loses_its_state_over_a_vote_goes_on_with_the_very_same_contributors() {
    let mut federation = Network::of(consortium(7, 5, 2), 3, 9);
    assert!(federation.run(HOUR, |f| {
        f.relay.disk.head.round == 1
            && f.everyone_stands_with_the_relay()
            && f.relay.disk.checkpoint.is_some()
    }));
    let voted = federation.seen.votes;
    assert!(federation.run(HOUR, |f| f.seen.votes == voted + 3));
    federation.relay_loses_its_disk(Duration::from_secs(5));
    federation.run_to_the_end();
    assert!(federation.seen.turned_away.is_empty());
    let recovered = |report: &&Report| matches!(report, Report::Recovered { round: 1 });
    assert_eq!(federation.seen.reports.iter().filter(recovered).count(), 1);
    assert_eq!(
        federation.seen.participants[1],
        federation.seen.participants[2]
    );
    assert_eq!(federation.seen.completed.len(), 3);
}
