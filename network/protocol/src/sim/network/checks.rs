//! What holds at the end of every simulation.

use super::Network;
use crate::audit::verify;
use crate::round::relay::Report;
use crate::sim::{Faults, Secrets};

/// Describes where everyone stands, and what the relay's operator was told.
pub(super) fn state<S: Secrets, F: Faults>(network: &Network<S, F>) -> String {
    let stands = network.members.iter().map(|member| {
        let round = member.host.disk.head.round;
        (
            round,
            member.is_up,
            member.connection,
            member.relays,
            member.finished,
        )
    });
    let (stands, relay) = (stands.collect::<Vec<_>>(), &network.relay.disk);
    let relay = (relay.head.round, relay.last.is_some());
    let told = |report: &&Report| !matches!(report, Report::Waiting { .. });
    let reports: Vec<_> = network.seen.reports.iter().filter(told).collect();
    format!("relay {relay:?}, nodes {stands:?}: {reports:?}")
}

/// Asserts that all rounds are complete, and that every node that runs has the relay's model.
pub(super) fn assert_one_state<S: Secrets, F: Faults>(network: &Network<S, F>) {
    let relay = &network.relay.disk;
    let settings = &network.relay.settings;
    let is_early = relay.head.round < settings.rounds() && settings.patience().is_some();
    assert!(relay.head.round == settings.rounds() || is_early);
    for member in network.members.iter().filter(|member| member.is_up) {
        let node = &member.host.disk;
        assert_eq!(node.head, relay.head);
        let bits = |model: &[f32]| model.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&node.model), bits(&relay.model));
    }
}

/// Asserts that every party's log is sound and leads to where the party stands.
pub(super) fn assert_audited<S: Secrets, F: Faults>(network: &Network<S, F>) {
    let members = network.members.iter().enumerate();
    let nodes = members.map(|(node, member)| (node.to_string(), member.host.disk.head));
    let relay = ("relay".to_owned(), network.relay.disk.head);
    for (name, head) in nodes.chain([relay]) {
        let verdict = verify(
            &network.consortium.manifest,
            S::opener(),
            network.log(&name),
        )
        .unwrap();
        if let Some(flaw) = verdict.flaw {
            panic!("the log of {name}: {flaw}");
        }
        assert_eq!(verdict.summary.incomplete, 0, "{name}");
        assert_eq!(verdict.summary.stands, Some(head), "{name}");
    }
}
