//! Who gives whom a share: of each pair, one.
//!
//! A share hides both its ends, as what the giver takes away and the receiver adds. A second one in
//! the other direction would hide the same two behind the same two keys, and cost each of them
//! another expansion of the whole vector.

/// Returns whether the participant in place `from` gives the one in place `to` a share, with
/// `nodes` of them in a circle: each gives to the half of the others that comes next (the protocol,
/// section 5, step 3).
///
/// So each gives and receives (n − 1) / 2 shares, or, where n is even, one more of one than of the
/// other. Opposites in an even circle are as far from each other both ways, and the one in the
/// lower place gives.
pub(super) fn gives(from: usize, to: usize, nodes: usize) -> bool {
    let ahead = (to + nodes - from) % nodes;
    let opposite = 2 * ahead == nodes;
    ahead != 0 && (2 * ahead < nodes || opposite && from < to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_pair_one_gives() {
        for nodes in 1..40 {
            for a in 0..nodes {
                assert!(!gives(a, a, nodes), "{a} of {nodes} gives to itself");
                for b in 0..a {
                    assert_ne!(
                        gives(a, b, nodes),
                        gives(b, a, nodes),
                        "{a}, {b} of {nodes}"
                    );
                }
            }
        }
    }

    #[test]
    fn all_give_and_receive_about_as_much() {
        for nodes in 3..40 {
            for place in 0..nodes {
                let given = (0..nodes).filter(|to| gives(place, *to, nodes)).count();
                let received = (0..nodes).filter(|from| gives(*from, place, nodes)).count();
                assert_eq!(given + received, nodes - 1);
                assert!(
                    given.abs_diff(received) <= 1 && given.min(received) > 0,
                    "{place} of {nodes}"
                );
            }
        }
    }
}
