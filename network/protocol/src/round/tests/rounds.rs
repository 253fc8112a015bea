//! Rounds in which nothing, or little, goes wrong.

use std::time::Duration;

use super::federation::Federation;

#[test]
fn three_five_and_ten_nodes_complete_their_rounds() {
    for (n, rounds) in [(3, 4), (5, 3), (10, 2)] {
        let mut federation = Federation::new(n, rounds, n as u64);
        federation.run_to_the_end();
        federation.assert_peaceful();
        assert_eq!(federation.completed.len() as u64, rounds);
        for completed in &federation.completed {
            assert_eq!((completed.nodes as usize, completed.attempts), (n, 1));
            assert_eq!(completed.totals.test_examples, 40 * n as u64);
        }
    }
}

#[test]
fn observers_of_a_sampled_round_end_with_the_same_model() {
    let mut federation = Federation::new(10, 4, 7);
    federation.settings.fraction_fit = 0.35;
    federation.run_to_the_end();
    federation.assert_peaceful();
    assert!(federation.participants.iter().all(|nodes| nodes.len() == 4));
    assert!(
        federation
            .participants
            .iter()
            .any(|nodes| *nodes != federation.participants[0])
    );
}

#[test]
fn a_straggler_forms_no_part_of_the_round_and_catches_up() {
    let mut federation = Federation::new(5, 2, 8);
    federation.members[2].training = Duration::from_secs(3600);
    federation.run_to_the_end();
    federation.assert_peaceful();
    let straggler = federation.id(2);
    for nodes in &federation.participants {
        assert_eq!(nodes.len(), 4);
        assert!(!nodes.contains(&straggler));
    }
}

#[test]
fn a_late_joiner_far_behind_is_brought_up_by_a_checkpoint() {
    let mut federation = Federation::new(5, 6, 9);
    federation.crash(4, None);
    let hour = Duration::from_secs(3600);
    assert!(federation.run(hour, |f| f.relay_chain.round == 3));
    federation.bring_back(4);
    federation.run_to_the_end();
    federation.assert_peaceful();
    let late = federation.id(4);
    assert!(!federation.participants[2].contains(&late));
    assert!(
        federation.participants[5].contains(&late),
        "it takes part again"
    );
}

#[test]
fn a_larger_minimum_of_the_operator_is_kept_and_a_smaller_one_is_not() {
    let mut federation = Federation::new(4, 1, 10);
    federation.settings.min_nodes = 0;
    federation.members[3].training = Duration::from_secs(3600);
    federation.run_to_the_end();
    assert_eq!(
        federation.participants[0].len(),
        3,
        "the manifest's minimum holds"
    );

    let mut federation = Federation::new(4, 1, 11);
    federation.settings.min_nodes = 4;
    federation.members[3].training = Duration::from_secs(3000);
    federation.run_to_the_end();
    assert_eq!(
        federation.participants[0].len(),
        4,
        "the straggler is waited for"
    );
}

#[test]
fn a_node_without_its_state_is_brought_up_even_where_all_are_needed_and_the_relay_was_restarted() {
    for keeps_checkpoint in [true, false] {
        let mut federation = Federation::new(3, 4, 12);
        let hour = Duration::from_secs(3600);
        let all_stand_there =
            |f: &Federation| f.relay_chain.round == 2 && f.everyone_stands_with_the_relay();
        assert!(federation.run(hour, all_stand_there));
        // All have said so as well.
        federation.run(Duration::from_secs(1), |_| false);
        federation.crash(1, Some(Duration::from_secs(10)));
        federation.members[1].site.loses_its_disk();
        if !keeps_checkpoint {
            federation.checkpoint = None;
        }
        federation.restart_relay(Duration::from_secs(5), true);
        let ended = federation.run(hour, |f| f.finished);
        assert_eq!(ended, keeps_checkpoint);
        assert!(federation.turned_away.is_empty());
    }
}
