//! Clocks that are not right.

use std::time::Duration;

use crate::round::CLOCK_TOLERANCE_S;
use crate::round::committee::tests::committee_of;
use crate::round::refusal::Refusal;
use crate::round::relay::Report;
use crate::sim::{Consortium, EPOCH, Network};

const HOUR: Duration = Duration::from_secs(3600);
const TOLERANCE_S: i64 = CLOCK_TOLERANCE_S.cast_signed();

/// The peer scheme, and a committee of four, with the same nodes.
fn both(nodes: usize) -> [Consortium; 2] {
    [
        Consortium::new(nodes),
        Consortium::with(nodes, |file| committee_of(file, 4, 1)),
    ]
}

/// Whether the relay's operator is told of this refusal.
fn is_told(federation: &Network, what: &Refusal) -> bool {
    let mut reports = federation.seen.reports.iter();
    reports.any(|report| matches!(report, Report::Refused(_, refusal) if refusal == what))
}

#[test]
fn a_node_whose_clock_is_far_off_is_told_so_and_takes_part_once_it_is_set() {
    for (consortium, ahead_min) in both(5).into_iter().zip([-15, 60]) {
        let mut federation = Network::of(consortium, 3, 71);
        federation.members[4].clock_ahead_s = 60 * ahead_min;
        let one = federation.run(HOUR, |f| !f.seen.completed.is_empty());
        assert!(one, "the others go on");
        let first = &federation.seen.completed[0];
        assert_eq!((first.nodes, first.attempts), (4, 1));
        // Both operators are told, and nothing else is held against the node.
        let (id, clock) = (federation.id(4), Refusal::Clock { ahead_min });
        assert!(federation.seen.turned_away.len() > 1, "it comes back");
        for refused in &federation.seen.turned_away {
            assert_eq!(*refused, (id, clock.clone()));
        }
        assert!(is_told(&federation, &clock));

        federation.members[4].clock_ahead_s = 0;
        federation.run_to_the_end();
        assert_eq!(federation.seen.completed[2].nodes, 5);
    }
}

#[test]
fn clocks_as_far_apart_as_the_relay_lets_in_do_no_harm() {
    for consortium in both(5) {
        let mut federation = Network::of(consortium, 2, 72);
        federation.members[0].clock_ahead_s = -TOLERANCE_S;
        federation.members[1].clock_ahead_s = TOLERANCE_S;
        // The keys of the others wait for it as long as they ever have to.
        let training_s = federation.consortium.manifest.timeouts().training_s;
        federation.members[2].training = Duration::from_secs(training_s);
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        for completed in &federation.seen.completed {
            assert_eq!((completed.nodes, completed.attempts), (5, 1));
        }
    }
}

/// Control of the above: a clock that is wrong does harm, once nobody looks at it.
#[test]
fn a_clock_that_is_set_wrong_after_the_hello_lets_keys_expire() {
    let mut federation = Network::new(4, 1, 73);
    let is_open = |report: &Report| matches!(report, Report::Opened { .. });
    assert!(federation.run(HOUR, |f| f.seen.reports.iter().any(is_open)));
    federation.members[0].clock_ahead_s = -3600;
    assert!(federation.run(HOUR, |f| !f.seen.completed.is_empty()));
    let expired = Refusal::KeyExpired(federation.id(0));
    assert!(is_told(&federation, &expired));
    assert_eq!(federation.seen.completed[0].nodes, 3);
    assert!(is_told(&federation, &Refusal::Clock { ahead_min: -60 }));
    federation.members[0].clock_ahead_s = 0;
    federation.run_to_the_end();
}

#[test]
fn a_relay_whose_clock_is_far_off_goes_on_once_it_is_set() {
    let mut federation = Network::new(3, 1, 74);
    federation.relay.set_clock(Duration::ZERO, EPOCH + 3600);
    let minutes = Duration::from_secs(300);
    assert!(!federation.run(minutes, |f| !f.seen.completed.is_empty()));
    let refused = &federation.seen.turned_away;
    for node in 0..3 {
        let behind = (federation.id(node), Refusal::Clock { ahead_min: -60 });
        assert!(refused.contains(&behind), "{refused:?}");
    }
    let (now, unix_s) = (federation.now, federation.unix_s());
    federation.relay.set_clock(now, unix_s);
    federation.run_to_the_end();
    assert_eq!(federation.seen.completed[0].nodes, 3);
}
