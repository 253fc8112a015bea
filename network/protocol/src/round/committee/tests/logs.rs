//! Logs of a committee's rounds: sound whatever late messages come, and not after the votes or
//! masks in them were changed by somebody who computes the chain of digests anew.

use std::time::Duration;

use super::consortium;
use crate::audit::{Entry, Party, Record, Unsound, verify};
use crate::digest::Digest;
use crate::round::committee::ClassSet;
use crate::round::committee::message::{Contribution, Receipt, Reveal, Vote};
use crate::round::message::{Message, Signed};
use crate::round::relay::Event;
use crate::round::{Kind, Refusal};
use crate::sim::MemoryLog;
use crate::sim::{EPOCH, Network, OPEN_BOXES};
use crate::wire::{self, NodeFrame};

const HOUR: Duration = Duration::from_secs(3600);
const OTHER: Digest = Digest([9; 32]);

fn federation() -> Network {
    Network::of(consortium(7, 5, 2), 1, 23)
}

/// The records of a party's log.
fn records(federation: &Network, name: &str) -> Vec<Record> {
    let mut rest = federation.log(name);
    let mut records = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (payload, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        records.push(wire::decode(payload).unwrap());
        rest = &behind[32..];
    }
    records
}

/// What is found when the forger has chained these records anew.
fn found(federation: &Network, records: &[Record]) -> Option<Unsound> {
    let manifest = &federation.consortium.manifest;
    let mut log = MemoryLog::new(manifest.consortium_id(), Party::Relay);
    records.iter().for_each(|record| log.append_raw(record));
    let verdict = verify(manifest, OPEN_BOXES, log.bytes()).unwrap();
    verdict.flaw.map(|flaw| flaw.what)
}

/// What `signed` says, changed, and signed again by its signer, who is in league with the forger.
fn again<T: Message>(
    federation: &Network,
    signed: &Signed<T>,
    change: impl FnOnce(&mut T),
) -> Signed<T> {
    let consortium = &federation.consortium;
    let mut message = signed.verify(&consortium.manifest, EPOCH).unwrap();
    let mut identities = consortium.identities.iter();
    let identity = identities.find(|identity| identity.node_id() == message.signer());
    change(&mut message);
    Signed::new(&message, identity.unwrap()).unwrap()
}

/// What is found in the log of a party after its first entry of some kind was changed by `change`.
fn forged(name: &str, change: impl Fn(&Network, &mut Entry) -> bool) -> Unsound {
    let mut federation = federation();
    federation.run_to_the_end();
    let mut records = records(&federation, name);
    assert!(found(&federation, &records).is_none(), "the control");
    let mut entries = records.iter_mut().map(|record| &mut record.entry);
    assert!(
        entries.any(|entry| change(&federation, entry)),
        "no such entry"
    );
    found(&federation, &records).expect("a forgery that is not seen")
}

fn vote(change: fn(&mut Vote)) -> impl Fn(&Network, &mut Entry) -> bool {
    move |federation, entry| match entry {
        Entry::Vote(vote) => {
            *vote = again(federation, vote, change);
            true
        }
        _ => false,
    }
}

fn reveal(change: fn(&mut Reveal)) -> impl Fn(&Network, &mut Entry) -> bool {
    move |federation, entry| match entry {
        Entry::Reveal(reveal) => {
            *reveal = again(federation, reveal, change);
            true
        }
        _ => false,
    }
}

#[test]
fn votes_for_two_lists_and_masks_for_another_are_found_in_a_log() {
    let of_others = |what: Unsound, kind: Kind| {
        let other = matches!(
            &what,
            Unsound::Refused(Refusal::OtherContributors { what, .. }) if *what == kind
        );
        assert!(other, "{what}");
    };
    of_others(
        forged("relay", vote(|vote| vote.contributors = OTHER)),
        Kind::Vote,
    );
    of_others(
        forged("relay", reveal(|reveal| reveal.contributors = OTHER)),
        Kind::Reveal,
    );
    of_others(
        forged("0", reveal(|reveal| reveal.contributors = OTHER)),
        Kind::Reveal,
    );
    let what = forged("relay", vote(|vote| vote.ctx = OTHER));
    assert!(matches!(what, Unsound::NoAttempt(Kind::Vote)), "{what}");
    let what = forged(
        "relay",
        reveal(|reveal| reveal.classes = ClassSet::of(0..10)),
    );
    assert!(
        matches!(what, Unsound::Refused(Refusal::Classes { .. })),
        "{what}"
    );
}

#[test]
fn masks_before_the_certificate_are_found_in_the_relays_log() {
    let mut federation = federation();
    federation.run_to_the_end();
    let mut records = records(&federation, "relay");
    let is_vote = |record: &Record| matches!(record.entry, Entry::Vote(_));
    let last = records.iter().rposition(is_vote).unwrap();
    let votes = records.iter().filter(|record| is_vote(record)).count();
    assert_eq!(votes, 4, "what decides, and no more");
    records.remove(last);
    let what = found(&federation, &records).unwrap();
    let few = Refusal::Votes {
        found: 3,
        needed: 4,
    };
    assert!(
        matches!(&what, Unsound::Refused(refusal) if *refusal == few),
        "{what}"
    );
}

#[test]
fn contributions_and_receipts_of_others_are_found_in_a_log() {
    let of_another = |entry: &mut Entry, federation: &Network| {
        let other = &federation.consortium.identities[6];
        match entry {
            Entry::Receipt(receipt) => {
                let manifest = &federation.consortium.manifest;
                let of_a_holder: Receipt = receipt.verify(manifest, EPOCH).unwrap();
                let holder = other.node_id();
                let foreign = Receipt {
                    holder,
                    ..of_a_holder
                };
                *receipt = Signed::new(&foreign, other).unwrap();
                true
            }
            _ => false,
        }
    };
    let what = forged("relay", |federation, entry| of_another(entry, federation));
    assert!(
        matches!(what, Unsound::Refused(Refusal::Stranger(_))),
        "{what}"
    );

    let contribution = |change: fn(&mut Contribution)| {
        move |federation: &Network, entry: &mut Entry| match entry {
            Entry::Contribution(contribution) => {
                *contribution = again(federation, contribution, change);
                true
            }
            _ => false,
        }
    };
    for name in ["relay", "0"] {
        let what = forged(name, contribution(|contribution| contribution.root = OTHER));
        assert!(matches!(what, Unsound::OtherSum(_)), "{what}");
        let what = forged(name, contribution(|contribution| contribution.ctx = OTHER));
        assert!(
            matches!(what, Unsound::NoAttempt(Kind::Contribution)),
            "{what}"
        );
    }
}

#[test]
fn what_the_relay_lets_pass_unseen_does_not_spoil_its_log() {
    let mut federation = federation();
    let quorum = federation.consortium.manifest.committee().unwrap().quorum();
    let forger = federation.consortium.identities[6].clone();
    let holder = federation.id(0);
    // Enough have looked, and then voted; this was not signed by the holder.
    assert!(federation.run(HOUR, |f| !f.seen.participants.is_empty()));
    let contribution = crate::round::committee::message::ContributionId {
        node: holder,
        contribution: OTHER,
    };
    let receipt = Receipt {
        ctx: OTHER,
        holder,
        entry: contribution,
        fault: None,
    };
    let receipt = NodeFrame::Receipt(Signed::new(&receipt, &forger).unwrap());
    federation.tell_relay(Event::Frame(holder, receipt));
    assert!(federation.run(HOUR, |f| f.seen.votes == quorum));
    let vote = Vote {
        ctx: OTHER,
        holder,
        contributors: OTHER,
    };
    let vote = NodeFrame::Vote(Signed::new(&vote, &forger).unwrap());
    federation.tell_relay(Event::Frame(holder, vote));
    // That ends with a look at all logs.
    federation.run_to_the_end();
}
