//! Who takes part is the manifest's: nodes hold to it whatever the relay says, and the relay waits
//! for whom it has to.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::identity::NodeId;
use crate::manifest::{CohortTable, ManifestFile, ParticipationMode};
use crate::round::committee::tests::committee_of;
use crate::round::peer::Participants;
use crate::round::refusal::Refusal;
use crate::round::relay::Report;
use crate::round::{Head, Kind};
use crate::sim::{Consortium, EPOCH, Moment, Network, settings};

const HOUR: Duration = Duration::from_secs(3600);

fn all(file: &mut ManifestFile) {
    file.participation = ParticipationMode::All;
    file.accepts_differences = false;
}

/// Cohorts of three nodes, in the order of their names.
fn cohorts(file: &mut ManifestFile) {
    let names: Vec<_> = file.nodes.iter().map(|node| node.name.clone()).collect();
    file.participation = ParticipationMode::Cohorts;
    file.accepts_differences = false;
    file.cohorts = names
        .chunks(3)
        .map(|nodes| CohortTable {
            nodes: nodes.to_vec(),
        })
        .collect();
}

/// The peer scheme, and a committee of four, with the same nodes and the same agreement.
fn both(nodes: usize, change: fn(&mut ManifestFile)) -> [Consortium; 2] {
    [
        Consortium::with(nodes, change),
        Consortium::with(nodes, |file| {
            committee_of(file, 4, 1);
            change(file);
        }),
    ]
}

fn set(federation: &Network, nodes: &[usize]) -> BTreeSet<NodeId> {
    nodes.iter().map(|k| federation.id(*k)).collect()
}

#[test]
fn a_bundle_without_a_node_of_the_cohort_is_refused() {
    let consortium = Consortium::with(6, cohorts);
    let manifest = &consortium.manifest;
    let head = Head::start(manifest);
    let verified = |ks: &[usize]| {
        let keys = |k: &usize| consortium.sign(*k, &consortium.keys(*k, &head, 1));
        Participants::verify(
            ks.iter().map(keys).collect(),
            manifest,
            &head,
            EPOCH,
            &BTreeSet::new(),
        )
    };
    assert!(verified(&[0, 1, 2]).is_ok());
    assert!(verified(&[3, 4, 5]).is_ok());
    assert!(verified(&[0, 1, 2, 3, 4, 5]).is_ok());
    // All of these are enough for one round.
    for (offered, absent) in [
        (&[0, 1, 2, 3, 4][..], &[5][..]),
        (&[0, 1, 2, 3], &[4, 5]),
        (&[1, 2, 3, 4, 5], &[0]),
        (&[0, 1, 3, 4], &[2, 5]),
    ] {
        let refusal = verified(offered).unwrap_err();
        let Refusal::Participation { missing } = &refusal else {
            panic!("{refusal}")
        };
        let absent: BTreeSet<_> = absent.iter().map(|k| consortium.id(*k)).collect();
        assert_eq!(missing.iter().copied().collect::<BTreeSet<_>>(), absent);
    }
    // The control: where any may take part, these may.
    let any = Consortium::new(6);
    let head = Head::start(&any.manifest);
    let bundle = [0, 1, 3, 4].map(|k| any.sign(k, &any.keys(k, &head, 1)));
    assert!(
        Participants::verify(
            bundle.to_vec(),
            &any.manifest,
            &head,
            EPOCH,
            &BTreeSet::new()
        )
        .is_ok()
    );
}

#[test]
fn holders_vote_for_whole_cohorts_only() {
    use crate::digest::Digest;
    use crate::round::committee::Contributors;
    use crate::round::committee::message::ContributionId;

    let [_, consortium] = both(6, cohorts);
    let checked = |ks: &[usize]| {
        let entry = |k: &usize| ContributionId {
            node: consortium.id(*k),
            contribution: Digest([0; 32]),
        };
        let mut entries: Vec<_> = ks.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.node);
        let list = Contributors::new(Digest([1; 32]), entries, Kind::Ballot).unwrap();
        list.check_participants(&consortium.manifest)
    };
    assert_eq!(checked(&[3, 4, 5]), Ok(()));
    assert_eq!(checked(&[0, 1, 2, 3, 4, 5]), Ok(()));
    let missing = vec![consortium.id(5)];
    assert_eq!(
        checked(&[0, 1, 2, 3, 4]),
        Err(Refusal::Participation { missing })
    );
}

#[test]
fn where_all_take_part_a_lost_node_is_waited_for() {
    for (scheme, consortium) in both(5, all).into_iter().enumerate() {
        let moments = [
            Moment::BeforeKeys,
            Moment::AfterKeys,
            Moment::AfterShares,
            Moment::AfterSum,
            Moment::MidBody,
            Moment::BeforeCommit,
        ];
        let mut killed = 0;
        for moment in moments {
            let mut federation = Network::of(consortium.clone(), 2, 50);
            federation.kill(1, moment, Some(Duration::from_secs(1200)));
            federation.run_to_the_end();
            federation.seen.assert_peaceful();
            killed += federation.seen.killed;
            let everyone = set(&federation, &[0, 1, 2, 3, 4]);
            for participants in &federation.seen.participants {
                let participants: BTreeSet<_> = participants.iter().copied().collect();
                assert_eq!(participants, everyone, "{moment:?}");
            }
        }
        // A contributor with a committee has neither shares nor a sum to be lost behind.
        assert!(killed >= [5, 2][scheme], "{killed} in scheme {scheme}");
    }
}

#[test]
fn where_all_take_part_nothing_goes_on_without_one_and_it_is_named() {
    for consortium in both(5, all) {
        let mut federation = Network::of(consortium, 1, 51);
        federation.crash(2, None);
        assert!(!federation.run(HOUR, |f| f.seen.finished));
        assert!(federation.seen.participants.is_empty());
        let missing = [federation.id(2)];
        let waits =
            |report: &Report| matches!(report, Report::Waiting { missing: m, .. } if *m == missing);
        assert!(federation.seen.reports.iter().any(waits));
        federation.bring_back(2);
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
    }
}

#[test]
fn a_cohort_goes_on_without_the_other() {
    for consortium in both(6, cohorts) {
        let mut federation = Network::of(consortium, 2, 52);
        federation.crash(5, None);
        federation.run(HOUR, |f| f.relay.disk.head.round == 2);
        let rest = set(&federation, &[0, 1, 2]);
        let rounds = &federation.seen.participants;
        let took: Vec<BTreeSet<_>> = rounds.iter().map(|v| v.iter().copied().collect()).collect();
        assert_eq!(took, [rest.clone(), rest]);
    }
}

#[test]
fn a_cohort_goes_on_without_one_in_which_somebody_is_too_slow() {
    for consortium in both(6, cohorts) {
        let mut federation = Network::of(consortium, 1, 53);
        federation.members[4].training = 3 * HOUR;
        federation.run(3 * HOUR, |f| f.relay.disk.head.round == 1);
        let rest = set(&federation, &[0, 1, 2]);
        let took = federation.seen.participants.last().unwrap();
        assert_eq!(took.iter().copied().collect::<BTreeSet<_>>(), rest);
    }
}

#[test]
fn a_fraction_of_the_cohorts_is_sampled() {
    for consortium in both(9, cohorts) {
        let mut federation = Network::of(consortium, 8, 54);
        federation.relay.settings = settings(8, 0.3, 3);
        federation.run_to_the_end();
        federation.seen.assert_peaceful();
        let cohorts = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]].map(|ks| set(&federation, ks));
        let rounds = &federation.seen.participants;
        let took: BTreeSet<BTreeSet<_>> =
            rounds.iter().map(|v| v.iter().copied().collect()).collect();
        assert!(took.iter().all(|nodes| cohorts.contains(nodes)), "{took:?}");
        assert!(took.len() > 1, "always the same");
    }
}
