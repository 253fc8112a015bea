//! A relay whose state is lost, or is an old one, and what it takes over from the nodes.

use std::time::Duration;

use crate::round::Head;
use crate::round::Refusal;
use crate::round::relay::{Event, Report};
use crate::sim::{Member, Network};
use crate::wire::{Hello, NodeFrame};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const PAUSE: Duration = Duration::from_secs(5);

/// Rounds after which the relay has taken over the nodes' model.
fn recovered(federation: &Network) -> Vec<u64> {
    let rounds = federation.seen.reports.iter().map(|report| match report {
        Report::Recovered { round } => Some(*round),
        _ => None,
    });
    rounds.flatten().collect()
}

/// A federation of `nodes` in which everyone stands after `done` of `rounds` rounds.
fn after(done: u64, nodes: usize, rounds: u64, seed: u64) -> Network {
    let mut federation = Network::new(nodes, rounds, seed);
    stand_after(&mut federation, done);
    federation
}

fn stand_after(federation: &mut Network, done: u64) {
    assert!(federation.run(HOUR, |f| {
        f.relay.disk.head.round == done
            && f.everyone_stands_with_the_relay()
            && f.relay.disk.checkpoint.is_some()
    }));
}

#[test]
fn a_relay_that_has_lost_its_state_goes_on_where_the_nodes_stand() {
    for (nodes, seed) in [(3, 70), (4, 71), (6, 72)] {
        let mut federation = after(2, nodes, 4, seed);
        federation.relay_loses_its_disk(PAUSE);
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        assert_eq!(recovered(&federation), [2]);
        assert_eq!(federation.seen.completed.len(), 4, "none of them again");
    }
}

#[test]
fn a_relay_with_an_old_state_goes_on_where_the_nodes_stand() {
    let mut federation = after(1, 3, 4, 73);
    let (head, model) = (
        federation.relay.disk.head,
        federation.relay.disk.model.clone(),
    );
    let log = federation.relay.log.clone();
    stand_after(&mut federation, 3);
    federation.restart_relay(PAUSE, false);
    (federation.relay.disk.head, federation.relay.disk.model) = (head, model);
    federation.relay.log = log;
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(recovered(&federation), [3]);
}

#[test]
fn too_few_who_have_a_model_are_waited_for_and_the_rest_is_brought_up() {
    let mut federation = after(1, 5, 3, 74);
    // Two miss the second round.
    (0..2).for_each(|node| federation.crash(node, None));
    assert!(federation.run(HOUR, |f| {
        let stand = |member: &Member| member.host.disk.head.round == 2;
        f.members[2..].iter().all(stand)
    }));
    federation.crash(2, None);
    federation.relay_loses_its_disk(PAUSE);
    (0..2).for_each(|node| federation.bring_back(node));
    federation.run(HOUR, |_| false);
    assert!(recovered(&federation).is_empty());
    let missing: Vec<_> = (0..3).map(|node| federation.id(node)).collect();
    let waits = |report: &Report| {
        matches!(report, Report::Waiting { missing: told, .. }
            if told.len() == 3 && missing.iter().all(|id| told.contains(id)))
    };
    assert!(federation.seen.reports.iter().any(waits));

    federation.bring_back(2);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(recovered(&federation), [2]);
    assert_eq!(federation.seen.completed.last().unwrap().nodes, 5);
}

#[test]
fn another_node_lends_its_model_when_one_is_lost_over_it() {
    let mut federation = after(1, 4, 2, 75);
    federation.relay_loses_its_disk(PAUSE);
    assert!(federation.run(MINUTE, |f| f.relay.received_model.is_some()));
    let (lender, _) = federation.relay.received_model.clone().unwrap();
    let lender = (0..4).find(|k| federation.id(*k) == lender).unwrap();
    federation.crash(lender, None);
    assert!(federation.run(MINUTE, |f| recovered(f) == [1]));
    federation.bring_back(lender);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(recovered(&federation), [1]);
}

#[test]
fn after_all_rounds_it_tells_the_nodes_that_they_are_done() {
    let mut federation = after(1, 4, 2, 76);
    federation.crash(0, None);
    federation.run_to_the_end();
    federation.bring_back(0);
    for member in &mut federation.members {
        member.finished = false;
    }
    federation.relay_loses_its_disk(PAUSE);
    federation.run_to_the_end();
    federation.seen.assert_peaceful();
    assert_eq!(recovered(&federation), [2]);
    assert_eq!(federation.seen.completed.len(), 2);
}

#[test]
fn nodes_that_are_bound_by_sums_on_the_model_stay_so() {
    let mut federation = after(1, 5, 2, 77);
    // In the second round, all have sent sums with all the others; one is lost, and then the
    // relay's disk.
    assert!(federation.run(HOUR, |f| f.relay.bodies.is_some()));
    federation.crash(0, None);
    federation.run(Duration::from_secs(5), |_| false);
    federation.relay_loses_its_disk(PAUSE);
    federation.run(5 * MINUTE, |_| false);
    assert_eq!(recovered(&federation), [1]);
    assert_eq!(
        federation.seen.completed.len(),
        1,
        "four do not go on without the fifth"
    );
    federation.bring_back(0);
    federation.run_to_the_end();
    assert!(federation.seen.turned_away.is_empty());
    assert_eq!(federation.seen.completed[1].nodes, 5);
}

#[test]
fn who_claims_to_be_ahead_once_a_round_was_completed_is_turned_away() {
    let refusal = Refusal::CannotCatchUp { relay: 1, node: 9 };
    let mut federation = after(1, 4, 2, 78);
    claims_to_be_ahead(&mut federation, 0);
    let refused = [(federation.id(0), refusal.clone())];
    assert_eq!(federation.seen.turned_away, refused);
    federation.run_to_the_end();

    // So is one that came before, as soon as a round is.
    let mut federation = Network::new(5, 1, 79);
    federation.crash(0, None);
    assert!(federation.run(MINUTE, |f| f.relay.machine().is_some()));
    claims_to_be_ahead(&mut federation, 0);
    assert!(federation.seen.turned_away.is_empty());
    federation.run_to_the_end();
    let refused = [(federation.id(0), refusal)];
    assert_eq!(federation.seen.turned_away, refused);
}

fn claims_to_be_ahead(federation: &mut Network, node: usize) {
    let hello = Hello {
        consortium_id: federation.consortium.manifest.consortium_id(),
        head: Head {
            round: 9,
            ..federation.relay.disk.head
        },
        pending: None,
        holding: None,
        voted_for: Vec::new(),
        unix_s: federation.unix_s(),
    };
    let id = federation.id(node);
    federation.tell_relay(Event::Frame(id, NodeFrame::Hello(hello)));
}
