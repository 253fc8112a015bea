//! Random latency, cuts, crashes and restarts: always ends once everybody is back, and never with a
//! wrong sum or two models for a round (which the federation itself asserts).

use std::time::Duration;

use proptest::prelude::*;
use rand::RngExt;

use crate::round::refusal::Refusal;
use crate::sim::Network;
use crate::sim::settings;

/// A while of random trouble, then peace. With `outboxes`, a node may lose its outbox with its
/// process.
pub(in crate::round) fn survives(
    mut federation: Network,
    troubles: usize,
    outboxes: bool,
    seed: u64,
) {
    federation.timing.latency = Duration::from_millis(1 + seed % 3000);
    for _ in 0..troubles {
        let pause = federation.random(Duration::from_secs(20));
        let until = federation.now + pause;
        federation.run(pause + Duration::from_secs(1), |f| f.now >= until);
        let node = federation.rng.random_range(0..federation.members.len());
        let back = federation.random(Duration::from_secs(60));
        match federation.rng.random_range(0..10) {
            0 => federation.restart_relay(back, true),
            1..=4 => federation.cut(node),
            5 if outboxes => {
                federation.crash(node, Some(back));
                federation.members[node].host.disk.outbox = None;
            }
            _ => federation.crash(node, Some(back)),
        }
    }
    federation.run_to_the_end();
    let turned_away = &federation.seen.turned_away;
    assert!(turned_away.is_empty(), "{turned_away:?}");
    for (node, refusal) in &federation.seen.refusals {
        let is_expected = matches!(refusal, Refusal::Difference { .. });
        assert!(is_expected, "{node}: {refusal}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_troubled_federation_ends_with_all_rounds_done(
        n in 3usize..=6,
        all in any::<bool>(),
        troubles in 0usize..20,
        seed in any::<u64>(),
    ) {
        let mut federation = Network::new(n, 2, seed);
        federation.relay.settings = settings(federation.relay.settings.rounds(), if all { 1.0 } else { 0.6 }, 3);
        survives(federation, troubles, true, seed);
    }
}
