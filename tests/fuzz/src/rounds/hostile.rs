//! Honest nodes before a relay that is not, and that has a node of its own. It knows all that ever
//! left the nodes, and makes frames of it that look right, or nearly.

mod relay;

use self::relay::Relay;
use super::{Conduct, seed, steps};
use crate::Seed;
use crate::fixture::NODES;

/// The relay's own node; those before it are honest.
const OWN: usize = NODES - 1;

/// What a step does; the number is its first byte modulo [`KINDS`]. Its second byte is a set of
/// honest nodes.
mod kind {
    pub(super) const OPEN: u8 = 0;
    pub(super) const KEYS: u8 = 1;
    pub(super) const SHARES: u8 = 2;
    pub(super) const COLLECT: u8 = 3;
    pub(super) const OUTCOME: u8 = 4;
    pub(super) const CHECKPOINT: u8 = 5;
    pub(super) const LOSE: u8 = 6;
    pub(super) const CRASH: u8 = 7;
    pub(super) const AGAIN: u8 = 8;
    pub(super) const ALTER: u8 = 9;
    pub(super) const WAIT: u8 = 10;
    pub(super) const KINDS: u8 = 11;
}

/// Whatever the relay does, a node signs no two sums or shares in one context and sends no sums
/// over two sets of participants on one model (which its ledger asserts), takes nothing for the sum
/// of a round but that of its participants' inputs, and takes over no model that no honest node has
/// averaged.
///
/// The relay's own node has the epoch key, too. It commits itself to zeros, tagged with it as an
/// honest one does; with more, it would shift the sum as it may by its input. It may no longer once
/// it has seen the others' sum.
pub(crate) fn hostile_relay(data: &[u8]) {
    hostile_relay_of(Conduct::Sound, data);
}

/// The same before nodes of any conduct.
pub(crate) fn hostile_relay_of(conduct: Conduct, data: &[u8]) {
    let mut relay = Relay::new(conduct);
    for step in steps(data) {
        relay.step(*step);
    }
}

pub(crate) fn hostile_relays() -> Vec<Seed> {
    use kind::*;
    // All honest nodes, without the relay's own and with it.
    let round = |attempt: u8| {
        [
            [OPEN, 7, attempt],
            [KEYS, 7, 7],
            [SHARES, 7, 7],
            [COLLECT, 7, 0],
        ]
    };
    let with = |attempt: u8| {
        [
            [OPEN, 7, attempt],
            [KEYS, 7, 15],
            [SHARES, 7, 15],
            [COLLECT, 7, 8],
        ]
    };
    let result = [OUTCOME, 7, 0];
    // With one bit of a coordinate flipped, and all else as if it were right.
    let forged = [OUTCOME, 7, 2];
    let rerun = [round(1), with(2)].concat();
    let checkpoint = [&round(1)[..], &[[OUTCOME, 3, 0], [CHECKPOINT, 4, 0]]].concat();
    let crash = [
        &round(1)[..3],
        &[[CRASH, 1, 0], [COLLECT, 7, 0], [CRASH, 2, 1], [OPEN, 7, 1]],
    ]
    .concat();
    vec![
        seed("round", &[&round(1)[..], &[result]].concat()),
        seed("with-own", &[&with(1)[..], &[[OUTCOME, 7, 1]]].concat()),
        seed("forged", &[&round(1)[..], &[forged, result]].concat()),
        seed(
            "forged-own",
            &[&with(1)[..], &[[OUTCOME, 7, 3], [OUTCOME, 7, 0x41]]].concat(),
        ),
        // The signed sums without the last, with one twice, with another or a stranger's in place
        // of the last, and then as they are.
        seed(
            "shown",
            &[
                &round(1)[..3],
                &[[COLLECT, 7, 4], [COLLECT, 7, 6], [COLLECT, 7, 2]],
                &[[COLLECT, 7, 8], [COLLECT, 7, 0], result],
            ]
            .concat(),
        ),
        seed(
            "shown-own",
            &[
                &with(1)[..3],
                &[[COLLECT, 7, 0], [COLLECT, 7, 12], [COLLECT, 7, 14]],
                &[[COLLECT, 7, 8], [COLLECT, 7, 10], [OUTCOME, 7, 1]],
            ]
            .concat(),
        ),
        // A result with another input of its own than it has shown, all else as if it were right.
        seed("later", &[&with(1)[..], &[[OUTCOME, 7, 0x41]]].concat()),
        seed(
            "later-crash",
            &[&with(1)[..], &[[CRASH, 7, 0], [OUTCOME, 7, 0x41]]].concat(),
        ),
        seed(
            "two-rounds",
            &[&round(1)[..], &[result], &round(1), &[result]].concat(),
        ),
        seed("rerun", &rerun),
        seed(
            "rerun-crash",
            &[&round(1)[..], &[[CRASH, 7, 0]], &with(2)].concat(),
        ),
        seed("checkpoint", &checkpoint),
        seed("crash", &crash),
        seed(
            "again",
            &[
                &round(1)[..],
                &[[AGAIN, 7, 2], [ALTER, 7, 3], [LOSE, 1, 0], [WAIT, 0, 255]],
            ]
            .concat(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rounds that each honest node has completed, and whether any took a checkpoint, after the
    /// seed.
    fn after(name: &str) -> ([u64; OWN], bool) {
        let seeds = hostile_relays();
        let seed = seeds.iter().find(|(seed, _)| seed == name);
        let mut relay = Relay::new(Conduct::Sound);
        let (_, data) = seed.expect("a seed of this name");
        steps(data).for_each(|step| relay.step(*step));
        let rounds = std::array::from_fn(|node| relay.hosts[node].disk.head.round);
        let mut commits = relay.hosts.iter().flat_map(|host| &host.ledger.commits);
        (rounds, commits.any(|(_, adopted)| *adopted))
    }

    #[test]
    fn what_looks_right_to_the_nodes_gets_far() {
        assert_eq!(after("round"), ([1; OWN], false));
        assert_eq!(after("with-own"), ([1; OWN], false));
        assert_eq!(after("two-rounds"), ([2; OWN], false));
        assert_eq!(after("checkpoint"), ([1; OWN], true));
        assert_eq!(after("shown"), ([1; OWN], false));
        assert_eq!(after("shown-own"), ([1; OWN], false));
    }

    #[test]
    fn what_is_forged_does_not() {
        assert_eq!(after("forged-own"), ([0; OWN], false));
        assert_eq!(after("later"), ([0; OWN], false));
        assert_eq!(after("later-crash"), ([0; OWN], false));
        // What is right is still taken afterwards.
        assert_eq!(after("forged"), ([1; OWN], false));
    }
}
