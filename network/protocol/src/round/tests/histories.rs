//! The promise over many rounds, checked by linear algebra: who may be in which sums.
//!
//! Whoever knows sums over the sets `S_1 … S_R` can form every combination of them; the input of a
//! node then has the sum of the coefficients of the sets that it is in. Models are left out on
//! purpose: an attacker can hold a model still, so that sums on two models count as on one.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::NodeId;
use crate::manifest::{CohortTable, Manifest, ManifestFile, ParticipationMode};
use crate::round::cohort_minimum::check_participants;
use crate::sim::Consortium;

/// Names of nodes.
pub(super) type Set = BTreeSet<&'static str>;

/// What sets a node apart: who colludes, the node, and the coefficients of the sums.
pub(super) type Apart = (Vec<&'static str>, &'static str, Vec<i32>);

/// Returns whether in every combination, whoever up to `c` organisations collude, each honest
/// node's coefficient is that of a node of another honest organisation: exactly if the nodes of
/// each history are of c + 2 organisations.
pub(super) fn holds(
    sums: &[Set],
    organisation: impl Fn(&'static str) -> &'static str,
    c: usize,
) -> bool {
    let mut histories: BTreeMap<Vec<bool>, BTreeSet<&str>> = BTreeMap::new();
    for node in sums.iter().flatten() {
        let history = sums.iter().map(|set| set.contains(node)).collect();
        let organisations = histories.entry(history).or_default();
        organisations.insert(organisation(node));
    }
    histories.values().all(|found| found.len() >= c + 2)
}

/// Searches for a collusion and a combination, with coefficients up to 3, that set a node apart.
pub(super) fn apart(
    sums: &[Set],
    organisation: impl Fn(&'static str) -> &'static str,
    c: usize,
) -> Option<Apart> {
    let nodes: Set = sums.iter().flatten().copied().collect();
    let organisations: Set = nodes.iter().map(|node| organisation(node)).collect();
    let organisations: Vec<_> = organisations.into_iter().collect();
    for colluding in subsets(&organisations).filter(|colluding| colluding.len() <= c) {
        let honest = nodes
            .iter()
            .filter(|node| !colluding.contains(&organisation(node)));
        let honest: Vec<_> = honest.copied().collect();
        let combinations = 7_i32.pow(u32::try_from(sums.len()).unwrap());
        for number in 0..combinations {
            let places = (0..sums.len()).scan(number, |rest, _| {
                let digit = *rest % 7 - 3;
                *rest /= 7;
                Some(digit)
            });
            let coefficients: Vec<_> = places.collect();
            let weight = |node: &str| -> i32 {
                let its = sums
                    .iter()
                    .zip(&coefficients)
                    .filter(|(set, _)| set.contains(node));
                its.map(|(_, coefficient)| coefficient).sum()
            };
            let stands_out = |node: &&&'static str| {
                let own = weight(node);
                let mut others = honest
                    .iter()
                    .filter(|other| organisation(other) != organisation(node));
                own != 0 && !others.any(|other| weight(other) == own)
            };
            if let Some(node) = honest.iter().find(stands_out) {
                return Some((colluding, node, coefficients));
            }
        }
    }
    None
}

/// All subsets of up to 16 names, the empty one first.
pub(super) fn subsets<'a>(
    names: &'a [&'static str],
) -> impl Iterator<Item = Vec<&'static str>> + 'a {
    (0..1_u32 << names.len()).map(|bits| {
        let chosen = names
            .iter()
            .enumerate()
            .filter(move |(k, _)| bits >> k & 1 == 1);
        chosen.map(|(_, name)| *name).collect()
    })
}

pub(super) fn set(names: &'static str) -> Set {
    names.split(' ').collect()
}

/// Nodes `a1` and `a2` are run by `a`.
pub(super) fn first_letter(node: &'static str) -> &'static str {
    &node[..1]
}

#[test]
fn theorem_and_search_agree_on_the_known_answers() {
    let known: &[(&str, &[&str], usize, bool)] = &[
        (
            "everyone, always",
            &["a b c d", "a b c d", "a b c d"],
            1,
            true,
        ),
        ("everyone, but too few for c", &["a b c", "a b c"], 2, false),
        (
            "M holds the model, accuses c, restores it",
            &["a b c d M", "a b d M", "a b c d M"],
            1,
            false,
        ),
        ("M alone is left out", &["a b c d M", "a b c d"], 1, false),
        (
            "founded anew without d",
            &["a b c d", "a b c d", "a b c"],
            1,
            false,
        ),
        (
            "two cohorts in turns, and both",
            &["a b c", "d e f", "a b c d e f"],
            1,
            true,
        ),
        ("two cohorts, c = 2", &["a b c", "d e f"], 2, false),
        (
            "three leave together",
            &["a b c d e f", "a b c", "a b c d e f", "d e f"],
            1,
            true,
        ),
        ("two leave together", &["a b c d e f", "a b c d"], 1, false),
        (
            "far apart in pairs, still twice a's input",
            &["a b c", "a d e", "b c d e"],
            0,
            false,
        ),
        (
            "a node of an organisation is missing once",
            &["a1 a2 b c d", "a1 b c d"],
            1,
            false,
        ),
        (
            "all nodes of all organisations",
            &["a1 a2 b c d", "a1 a2 b c d"],
            1,
            true,
        ),
        ("b leaves, c takes its place", &["a b", "a c"], 0, false),
    ];
    for (what, sums, c, expected) in known {
        let sums: Vec<_> = sums.iter().map(|names| set(names)).collect();
        assert_eq!(holds(&sums, first_letter, *c), *expected, "{what}");
        let found = apart(&sums, first_letter, *c);
        assert_eq!(found.is_none(), *expected, "{what}: {found:?}");
    }
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A consortium of the first `n` nodes, each of an organisation of its own.
fn consortium(n: usize, change: impl FnOnce(&mut ManifestFile)) -> Consortium {
    Consortium::with(n, |file| {
        for (node, name) in file.nodes.iter_mut().zip(NAMES) {
            (node.name, node.organisation) = (name.to_owned(), name.to_owned());
        }
        change(file);
    })
}

/// The sets that honest nodes take part in, once these are `convicted`.
fn admitted(consortium: &Consortium, convicted: &Set) -> Vec<Set> {
    let manifest: &Manifest = &consortium.manifest;
    let id = |name: &&str| -> NodeId {
        let member = manifest.roster().values().find(|m| m.name == **name);
        member.unwrap().id
    };
    let convicted = convicted.iter().map(id).collect();
    let admitted = subsets(&NAMES[..manifest.roster().len()]).filter(|names| {
        let nodes = names.iter().map(id).collect();
        check_participants(manifest, &nodes, &convicted).is_ok()
    });
    admitted.map(|names| names.into_iter().collect()).collect()
}

/// Lets everyone take part, of whom `c` may collude.
fn everyone(file: &mut ManifestFile, c: usize) {
    file.collusion = u32::try_from(c).unwrap();
    file.min_nodes = u32::try_from(c + 2).unwrap();
    (file.participation, file.accepts_differences) = (ParticipationMode::All, false);
}

/// All sequences of up to `depth` of these sets: whatever a relay opens, loses, restarts or blames,
/// the sums that come of it are such a sequence.
fn sequences(sets: &[Set], depth: usize) -> Vec<Vec<Set>> {
    let mut all: Vec<Vec<Set>> = vec![Vec::new()];
    let mut last = 0;
    for _ in 0..depth {
        let next: Vec<Vec<Set>> = all[last..]
            .iter()
            .flat_map(|sequence| {
                sets.iter()
                    .map(|set| [&sequence[..], std::slice::from_ref(set)].concat())
            })
            .collect();
        last = all.len();
        all.extend(next);
    }
    all.remove(0);
    all
}

#[test]
fn no_sequence_of_rounds_with_all_or_whole_cohorts_sets_a_node_apart() {
    let cohorts = |file: &mut ManifestFile, of: usize| {
        let names: Vec<_> = file.nodes.iter().map(|node| node.name.clone()).collect();
        let table = |nodes: &[String]| CohortTable {
            nodes: nodes.to_vec(),
        };
        (file.participation, file.accepts_differences) = (ParticipationMode::Cohorts, false);
        file.cohorts = names.chunks(of).map(table).collect();
    };
    let mut checked = 0;
    for n in 3..=6 {
        for c in 1..=n - 2 {
            let sets = admitted(&consortium(n, |file| everyone(file, c)), &Set::new());
            assert_eq!(sets.len(), 1, "everyone");
            for sums in sequences(&sets, 3) {
                assert!(holds(&sums, first_letter, c));
                checked += 1;
            }
        }
    }
    let two = consortium(6, |file| cohorts(file, 3));
    let (c, sets) = (two.manifest.collusion(), admitted(&two, &Set::new()));
    assert_eq!(sets.len(), 3, "either cohort, and both");
    for sums in sequences(&sets, 4) {
        assert!(holds(&sums, first_letter, c), "{sums:?}");
        assert_eq!(apart(&sums, first_letter, c), None, "{sums:?}");
        checked += 1;
    }
    assert_eq!(checked, 10 * 3 + 3 + 9 + 27 + 81);
}

/// The control: where the relay chooses, three rounds are enough for whatever the roster.
#[test]
fn where_any_may_take_part_a_sequence_of_rounds_sets_a_node_apart() {
    for n in 4..=6 {
        let any = consortium(n, |_| ());
        let (c, sets) = (any.manifest.collusion(), admitted(&any, &Set::new()));
        let broken = sequences(&sets, 2)
            .into_iter()
            .find(|sums| !holds(sums, first_letter, c));
        let sums = broken.expect("a difference of two sums");
        assert!(apart(&sums, first_letter, c).is_some(), "{sums:?}");
    }
}

/// Returns whether every node that is not one of `liars` has the history of another such node.
fn hides_the_honest(sums: &[Set], liars: &Set) -> bool {
    let mut histories: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
    let all: Set = sums.iter().flatten().copied().collect();
    for node in all.difference(liars) {
        let history = sums.iter().map(|set| set.contains(node)).collect();
        *histories.entry(history).or_default() += 1;
    }
    histories.values().all(|nodes| *nodes >= 2)
}

/// Sums that are made while ever more of the `liars` are convicted: of all sequences of three, the
/// first one that sets an honest node apart, and how many there are.
fn convicting(consortium: &Consortium, liars: &Set, honest: &Set) -> (Option<Vec<Set>>, usize) {
    let names: Vec<_> = liars.iter().copied().collect();
    let stages: Vec<Set> = subsets(&names)
        .map(|names| names.into_iter().collect())
        .collect();
    let sets: Vec<_> = stages
        .iter()
        .map(|convicted| admitted(consortium, convicted))
        .collect();
    let mut sequences = vec![(0, Vec::new())];
    for _ in 0..3 {
        let mut longer = Vec::new();
        for (last, sums) in &sequences {
            let later = |next: &usize| stages[*last].is_subset(&stages[*next]);
            for next in (0..stages.len()).filter(later) {
                for set in &sets[next] {
                    longer.push((next, [&sums[..], std::slice::from_ref(set)].concat()));
                }
            }
        }
        sequences = longer;
    }
    let count = sequences.len();
    let sums = sequences.into_iter().map(|(_, sums)| sums);
    let colluding = liars.difference(honest).copied().collect();
    let apart = sums
        .into_iter()
        .find(|sums| !hides_the_honest(sums, &colluding));
    (apart, count)
}

#[test]
fn a_node_that_is_convicted_of_a_lie_sets_no_honest_node_apart() {
    let mut checked = 0;
    for n in 3..=6 {
        for c in 1..=n - 2 {
            let consortium = consortium(n, |file| everyone(file, c));
            for liars in subsets(&NAMES[..n]).filter(|liars| liars.len() <= c) {
                let liars = liars.into_iter().collect();
                let (apart, count) = convicting(&consortium, &liars, &Set::new());
                assert_eq!(apart, None, "{n} nodes, {liars:?} lie");
                checked += count;
            }
        }
    }
    assert!(checked > 1000, "{checked}");
    // The control: an honest node that is taken for a liar gives itself away.
    let consortium = consortium(5, |file| everyone(file, 1));
    let faulty = set("a");
    let (apart, _) = convicting(&consortium, &faulty, &faulty);
    assert!(apart.is_some());
}
