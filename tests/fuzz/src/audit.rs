//! Logs of rounds, as files of any bytes, and as records of any contents whose chain of digests
//! holds.

use fl_protocol::sim::OPEN_BOXES;
use std::collections::BTreeSet;
use std::fs;

use fl_network::audit::{Log, LogError};
use fl_protocol::audit::{Entry, Party, Record, Unsound, Verdict, verify};
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::manifest::Manifest;
use fl_protocol::round::Opening;
use fl_protocol::round::committee::Decision;
use fl_protocol::round::committee::message::Receipt;
use fl_protocol::round::message::{Message, ResultAck, Signed};
use fl_protocol::round::peer::message::Share;
use fl_protocol::round::{Evidence, Head, Outcome};
use fl_protocol::wire::{MAX_MESSAGE_BYTES, encode};
use tempfile::TempDir;

use crate::committee::{self, committee};
use crate::fixture::{EPOCH, consortium, round};
use crate::folder::folder;
use crate::{Seed, memory};

/// Most memory that checking may take: a record, what is decoded of it, and what is remembered of
/// those before.
const CHECKING_BYTES: usize = 8 * MAX_MESSAGE_BYTES;

/// Where digests are computed anew after a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chaining {
    /// Nowhere.
    Kept,
    /// Everywhere, so that the change does not show in them.
    Anew,
}

pub(crate) fn audit_log(data: &[u8]) {
    audit_log_of(Chaining::Kept, data);
}

/// The first byte says of which consortium, and whether the rest is a file or payloads behind their
/// lengths.
pub(crate) fn audit_log_of(chaining: Chaining, data: &[u8]) {
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    let manifest = match mode & 1 {
        0 => &consortium().manifest,
        _ => &committee().manifest,
    };
    if mode & 2 == 0 {
        let verdict = checked(manifest, data);
        return gone_on_with(manifest, data, &verdict);
    }
    let payloads = payloads(data);
    let log = log(manifest, &payloads);
    let verdict = checked(manifest, &log);
    gone_on_with(manifest, &log, &verdict);
    if verdict.flaw.is_none() && verdict.summary.incomplete == 0 {
        a_change_is_found(chaining, manifest, payloads);
    }
}

fn checked(manifest: &Manifest, log: &[u8]) -> Verdict {
    let (verdict, peak) =
        memory::peak(|| verify(manifest, OPEN_BOXES, log).expect("memory can be read"));
    assert!(peak <= CHECKING_BYTES, "{peak} bytes of memory");
    let summary = &verdict.summary;
    assert!(summary.bytes + summary.incomplete <= log.len() as u64);
    match &verdict.flaw {
        None => assert_eq!(summary.bytes + summary.incomplete, log.len() as u64),
        Some(flaw) => {
            assert_eq!(
                (flaw.record, flaw.offset),
                (summary.records + 1, summary.bytes)
            );
            let _ = flaw.to_string();
        }
    }
    verdict
}

/// A party goes on with a log if its chain of digests holds, whatever its contents, and cuts off
/// what a crash left.
fn gone_on_with(manifest: &Manifest, log: &[u8], verdict: &Verdict) {
    thread_local! {
        static FOLDER: TempDir = folder(|_| ());
    }
    let opened = FOLDER.with(|folder| {
        let path = folder.path().join("audit.log");
        fs::write(&path, log).expect("a file of our own");
        Log::open(&path, manifest.consortium_id())
    });
    match (&verdict.flaw, opened) {
        (None, Ok((_, dropped))) => assert_eq!(dropped, verdict.summary.incomplete),
        (None, Err(error)) => panic!("a sound log that nobody goes on with: {error}"),
        (Some(flaw), Ok(_)) => {
            let broken = matches!(flaw.what, Unsound::Digest | Unsound::Length);
            assert!(!broken, "gone on with a log that was changed: {flaw}");
        }
        (Some(_), Err(LogError::Altered { .. })) => {}
        (Some(_), Err(error)) => panic!("{error}"),
    }
}

/// Another time in one record of a sound log is found, in that record.
fn a_change_is_found(chaining: Chaining, manifest: &Manifest, mut payloads: Vec<Vec<u8>>) {
    let mut changed = log(manifest, &payloads);
    let record = changed.len() % payloads.len();
    let before: usize = payloads[..record]
        .iter()
        .map(|payload| payload.len() + 36)
        .sum();
    changed[before + 4] ^= 1;
    if chaining == Chaining::Anew {
        payloads[record][0] ^= 1;
        changed = log(manifest, &payloads);
    }
    let flaw = checked(manifest, &changed).flaw;
    let found = flaw.expect("a change that is not seen");
    assert_eq!(found.record, record as u64 + 1, "{found}");
}

/// What stands behind its length, as far as it goes.
fn payloads(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        payloads.push(payload.to_vec());
        data = rest;
    }
    payloads
}

/// A log of these records, as the protocol has it (section 9).
fn log(manifest: &Manifest, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut digest = Digest::sha256(&[b"smpcfl/2 log of", manifest.consortium_id().as_bytes()]);
    let mut log = Vec::new();
    for payload in payloads {
        digest = Digest::sha256(&[b"smpcfl/2 log", digest.as_bytes(), payload]);
        let length = u32::try_from(payload.len()).expect("a short payload");
        log.extend([&length.to_le_bytes(), &payload[..], digest.as_bytes()].concat());
    }
    log
}

fn started(manifest: &Manifest) -> [Entry; 2] {
    let head = Head::start(manifest);
    let started = Entry::Started {
        consortium_id: manifest.consortium_id(),
        party: Party::Relay,
        head,
        dropped: 0,
    };
    let opened = Entry::Opened(Opening::after(&head, 1));
    [started, opened]
}

/// A round of the peer scheme in the relay's log.
fn of_peers() -> Vec<Entry> {
    let (peers, round) = (consortium(), round());
    let ctx = round.participants.ctx();
    fn sign<T: Message>(node: usize, message: &T) -> Signed<T> {
        Signed::new(message, &consortium().identities[node]).expect("a short message")
    }
    let nodes = 0..peers.identities.len();
    let shares = nodes.clone().map(|from| {
        let gives = |to: &usize| round.participants.gives(peers.id(from), peers.id(*to));
        let others = nodes.clone().filter(gives);
        let shares = others.map(|to| {
            let share = Share {
                ctx,
                from: peers.id(from),
                to: peers.id(to),
                sealed: Digest([4; 32]),
            };
            sign(from, &share)
        });
        Entry::Shares(shares.collect())
    });
    let bodies = nodes.clone().map(|node| Entry::Body {
        ctx,
        node: peers.id(node),
    });
    let next = round.averaged.head;
    let acks = nodes.clone().map(|node| {
        let ack = ResultAck {
            consortium_id: peers.manifest.consortium_id(),
            node: peers.id(node),
            head: next,
        };
        Entry::Ack(sign(node, &ack))
    });
    let mut entries = started(&peers.manifest).to_vec();
    entries.push(Entry::Keys(round.bundle.clone()));
    entries.extend(shares);
    let sums = round.sums.iter().map(|opened| opened.sum.clone());
    entries.extend(sums.map(Entry::Sum));
    entries.extend(bodies);
    entries.push(Entry::Outcome(round.outcome()));
    entries.extend(acks);
    entries
}

/// The same in the log of the first node, up to its own body.
fn of_a_peer() -> Vec<Entry> {
    let own = consortium().id(0);
    let sums = round().sums.iter().map(|opened| opened.sum.clone());
    let sums: Vec<_> = sums.collect();
    let mut entries = of_peers();
    let Entry::Started { party, .. } = &mut entries[0] else {
        unreachable!("every log begins with this")
    };
    *party = Party::Node(own);
    let is_own = |entry: &Entry| match entry {
        Entry::Sum(sum) => *sum == sums[0],
        Entry::Body { node, .. } => *node == own,
        Entry::Ack(_) => false,
        _ => true,
    };
    let mut of_own = Vec::new();
    for entry in entries.into_iter().filter(is_own) {
        match entry {
            Entry::Shares(shares) => {
                let concerns = |share: &Share| share.from == own || share.to == own;
                let manifest = &consortium().manifest;
                let own = shares.into_iter().filter(|signed| {
                    let share = signed.verify(manifest, EPOCH);
                    concerns(&share.expect("a share that was just signed"))
                });
                of_own.push(Entry::Shares(own.collect()));
            }
            body @ Entry::Body { .. } => of_own.extend([Entry::Sums(sums.clone()), body]),
            entry => of_own.push(entry),
        }
    }
    of_own
}

/// A round with a committee.
fn of_committee() -> Vec<Entry> {
    let committee = committee();
    let holders = committee::holders(1);
    let all = committee::contributors(&holders, 0b1_1111, 0);
    let ctx = holders.ctx();
    let contributions = all.entries().iter().map(|entry| {
        let node = committee.index(entry.node).expect("a node");
        committee.sign(node, &committee::contribution(&holders, node, 0))
    });
    let contributions: Vec<_> = contributions.collect();
    let receipts = all.entries().iter().map(|entry| {
        let receipt = Receipt {
            ctx,
            holder: committee.id(0),
            entry: *entry,
            fault: None,
        };
        Entry::Receipt(committee.sign(0, &receipt))
    });
    let vote = |node| committee.sign(node, &committee::vote(ctx, node, all.digest()));
    let votes: Vec<_> = (0..3).map(vote).collect();
    let mut covered = BTreeSet::new();
    let reveals = (0..3).map(|node| {
        let held = holders.committee().held_by(committee.id(node));
        let classes = held.iter().filter(|class| covered.insert(*class));
        let classes = fl_protocol::round::committee::ClassSet::of(classes.collect::<Vec<_>>());
        (node, classes)
    });
    let reveals = reveals.filter(|(_, classes)| !classes.is_empty());
    let reveal = |(node, classes)| {
        committee.sign(node, &committee::reveal(ctx, node, all.digest(), classes))
    };
    let reveals: Vec<_> = reveals.map(reveal).collect();
    let mut entries = started(&committee.manifest).to_vec();
    entries.push(Entry::Keys(holders.bundle().to_vec()));
    entries.extend(contributions.iter().cloned().map(Entry::Contribution));
    entries.extend(receipts);
    entries.extend(votes.iter().cloned().map(Entry::Vote));
    entries.extend(reveals.iter().cloned().map(Entry::Reveal));
    entries.push(Entry::Outcome(Outcome {
        ctx,
        bundle: holders.bundle().to_vec(),
        parts: Evidence::Decision(Decision {
            contributions,
            votes,
            reveals,
        }),
        root: ChunkHashes::of(&[]).root(),
        model: Digest([5; 32]),
    }));
    entries
}

pub(crate) fn audit_logs() -> Vec<Seed> {
    let payload = |(second, entry): (u64, Entry)| {
        let unix_s = EPOCH + second;
        encode(&Record { unix_s, entry }).expect("a short record")
    };
    let payloads = |entries: Vec<Entry>| (0..).zip(entries).map(payload).collect::<Vec<_>>();
    let behind_lengths = |mode: u8, payloads: &[Vec<u8>]| {
        let mut data = vec![mode];
        for payload in payloads {
            data.extend((payload.len() as u32).to_le_bytes());
            data.extend(payload);
        }
        data
    };
    let (peers, of_committee) = (payloads(of_peers()), payloads(of_committee()));
    let of_a_peer = payloads(of_a_peer());
    let file = log(&consortium().manifest, &peers[..4]);
    let torn = &file[..file.len() - 5];
    vec![
        ("peers".to_owned(), behind_lengths(2, &peers)),
        ("peer".to_owned(), behind_lengths(2, &of_a_peer)),
        ("committee".to_owned(), behind_lengths(3, &of_committee)),
        ("file".to_owned(), [&[0], &file[..]].concat()),
        ("torn-file".to_owned(), [&[0], torn].concat()),
    ]
}
