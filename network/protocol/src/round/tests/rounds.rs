//! Rounds in which nothing, or little, goes wrong.

use std::time::Duration;

use crate::sim::Network;
use crate::sim::settings;

#[test]
fn three_five_and_ten_nodes_complete_their_rounds() {
    for (n, rounds) in [(3, 4), (5, 3), (10, 2)] {
        let mut federation = Network::new(n, rounds, n as u64);
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        assert_eq!(federation.seen.completed.len() as u64, rounds);
        for completed in &federation.seen.completed {
            assert_eq!((completed.nodes as usize, completed.attempts), (n, 1));
            assert_eq!(completed.totals.tally.examples(), 40 * n as u64);
        }
    }
}

#[test]
fn all_is_done_once_the_model_has_not_got_better_for_long() {
    // What the nodes draw for losses is chance, so that it soon does not fall twice in a row.
    let mut federation = Network::new(4, 100, 21);
    let patient = settings(100, 1.0, 3).with_patience(Some(2));
    federation.relay.settings = patient.unwrap();
    assert!(settings(100, 1.0, 3).with_patience(Some(0)).is_err());
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    let losses: Vec<_> = federation
        .seen
        .completed
        .iter()
        .map(|completed| completed.totals.tally.loss().unwrap())
        .collect();
    let is_plateau = |rounds: usize| {
        let lowest = losses[..rounds - 2]
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        losses[rounds - 2..rounds]
            .iter()
            .all(|loss| *loss >= lowest)
    };
    let first = (3..=losses.len()).find(|rounds| is_plateau(*rounds));
    assert_eq!(first, Some(losses.len()));
}

#[test]
fn observers_of_a_sampled_round_end_with_the_same_model() {
    let mut federation = Network::new(10, 4, 7);
    federation.relay.settings = settings(federation.relay.settings.rounds(), 0.35, 3);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert!(
        federation
            .seen
            .participants
            .iter()
            .all(|nodes| nodes.len() == 4)
    );
    assert!(
        federation
            .seen
            .participants
            .iter()
            .any(|nodes| *nodes != federation.seen.participants[0])
    );
}

#[test]
fn a_straggler_forms_no_part_of_the_round_and_catches_up() {
    let mut federation = Network::new(5, 2, 8);
    federation.members[2].training = Duration::from_secs(3600);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    let straggler = federation.id(2);
    for nodes in &federation.seen.participants {
        assert_eq!(nodes.len(), 4);
        assert!(!nodes.contains(&straggler));
    }
}

#[test]
fn a_late_joiner_far_behind_is_brought_up_by_a_checkpoint() {
    let mut federation = Network::new(5, 6, 9);
    federation.crash(4, None);
    let hour = Duration::from_secs(3600);
    assert!(federation.run(hour, |f| f.relay.disk.head.round == 3));
    federation.bring_back(4);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    let late = federation.id(4);
    assert!(!federation.seen.participants[2].contains(&late));
    assert!(
        federation.seen.participants[5].contains(&late),
        "it takes part again"
    );
}

#[test]
fn a_larger_minimum_of_the_operator_is_kept_and_a_smaller_one_is_not() {
    let mut federation = Network::new(4, 1, 10);
    federation.relay.settings = settings(federation.relay.settings.rounds(), 1.0, 0);
    federation.members[3].training = Duration::from_secs(3600);
    federation.run_to_the_end();
    assert_eq!(
        federation.seen.participants[0].len(),
        3,
        "the manifest's minimum holds"
    );

    let mut federation = Network::new(4, 1, 11);
    federation.relay.settings = settings(federation.relay.settings.rounds(), 1.0, 4);
    federation.members[3].training = Duration::from_secs(3000);
    federation.run_to_the_end();
    assert_eq!(
        federation.seen.participants[0].len(),
        4,
        "the straggler is waited for"
    );
}

#[test]
fn a_node_without_its_state_is_brought_up_even_where_all_are_needed_and_the_relay_was_restarted() {
    for keeps_checkpoint in [true, false] {
        let mut federation = Network::new(3, 4, 12);
        let hour = Duration::from_secs(3600);
        let all_stand_there =
            |f: &Network| f.relay.disk.head.round == 2 && f.everyone_stands_with_the_relay();
        assert!(federation.run(hour, all_stand_there));
        // All have said so as well.
        federation.run(Duration::from_secs(1), |_| false);
        federation.crash(1, Some(Duration::from_secs(10)));
        federation.members[1].host.lose_disk();
        if !keeps_checkpoint {
            federation.relay.disk.checkpoint = None;
        }
        federation.restart_relay(Duration::from_secs(5), true);
        let ended = federation.run(hour, |f| f.seen.finished);
        assert_eq!(ended, keeps_checkpoint);
        assert!(federation.seen.turned_away.is_empty());
    }
}
