//! What comes over the network: frames, headers of bodies, signed messages.

use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::Identity;
use fl_protocol::round::Opening;
use fl_protocol::round::committee::message::{Contribution, ContributionId, Receipt, Reveal, Vote};
use fl_protocol::round::committee::{ClassSet, Decision, Envelope};
use fl_protocol::round::message::{Keys, Message, ResultAck, Signed};
use fl_protocol::round::peer::message::{Accusation, Share, Sum};
use fl_protocol::round::peer::{OpenedSum, Proof, SealedShare, TagShare};
use fl_protocol::round::{
    AbortReason, Checkpoint, Evidence, Fault, Head, KeyOffer, Kind, Outcome, Refusal,
};
use fl_protocol::wire::{
    BodyId, BulkHeader, Hello, MAX_BULK_HEADER_BYTES, MAX_MESSAGE_BYTES, NodeFrame, RelayFrame,
    decode, encode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fixture::{EPOCH, consortium};
use crate::{Seed, memory};

/// Most memory that decoding may take, whatever a message claims: it, what became of it, and a list
/// that grows.
const DECODING_BYTES: usize = 4 * MAX_MESSAGE_BYTES;

/// Decodes `data`, if it is an encoding of `T`: then the only one of its value, and no more memory
/// than allowed.
pub(crate) fn canonical<T: Serialize + DeserializeOwned>(data: &[u8]) -> Option<T> {
    let (decoded, peak) = memory::peak(|| decode::<T>(data));
    assert!(peak <= DECODING_BYTES, "{peak} bytes of memory");
    let value = decoded.ok()?;
    assert!(data.len() <= MAX_MESSAGE_BYTES, "{} bytes", data.len());
    let again = encode(&value).expect("what was decoded is short enough to be encoded");
    assert_eq!(again, data, "two encodings of one value");
    Some(value)
}

/// Frames of a node.
pub(crate) fn node_frame(data: &[u8]) {
    if let Some(frame) = canonical::<NodeFrame>(data) {
        let _ = format!("{frame:?} {}", frame.kind());
    }
}

/// Frames of the relay.
pub(crate) fn relay_frame(data: &[u8]) {
    if let Some(frame) = canonical::<RelayFrame>(data) {
        let _ = format!("{frame:?}");
        if let RelayFrame::Refused(refusal) = &frame {
            let _ = format!("{refusal} {}", refusal.is_final());
        }
    }
}

/// Headers of bodies.
pub(crate) fn bulk_header(data: &[u8]) {
    if let Some(header) = canonical::<BulkHeader>(data) {
        let length = data.len();
        assert!(length <= MAX_BULK_HEADER_BYTES, "{header:?}: {length}");
    }
}

/// Signed messages. The first byte says of which kind.
pub(crate) fn signed_message(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 9 {
        0 => verified(data, &keys()),
        1 => verified(data, &share()),
        2 => verified(data, &sum()),
        3 => verified(data, &ack()),
        4 => verified(data, &contribution()),
        5 => verified(data, &receipt()),
        6 => verified(data, &vote()),
        7 => verified(data, &reveal()),
        _ => verified(data, &accusation()),
    }
}

/// Nothing verifies but what was signed: here, `signed` by node 0.
fn verified<T: Message + PartialEq + std::fmt::Debug>(data: &[u8], signed: &T) {
    let _ = canonical::<T>(data);
    let Some(message) = canonical::<Signed<T>>(data) else {
        return;
    };
    match message.verify(&consortium().manifest, EPOCH) {
        Ok(verified) => assert_eq!(&verified, signed, "a forgery"),
        Err(Refusal::Invalid { .. } | Refusal::Stranger(_) | Refusal::Expired(_)) => {}
        Err(refusal) => panic!("another refusal than is documented: {refusal}"),
    }
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn signer() -> &'static Identity {
    &consortium().identities[0]
}

fn signed<T: Message>(message: &T) -> Signed<T> {
    Signed::new(message, signer()).expect("a short message")
}

fn keys() -> Keys {
    let head = Head::start(&consortium().manifest);
    Keys {
        consortium_id: consortium().manifest.consortium_id(),
        node: signer().node_id(),
        round: head.next_round(),
        attempt: 1,
        previous: head.previous,
        model: head.model,
        round_key: Digest::sha256(&[&[7; 32]]),
        expires_unix_s: EPOCH + 1000,
    }
}

fn offer() -> KeyOffer {
    KeyOffer {
        keys: signed(&keys()),
        round_key: vec![7; 32],
    }
}

fn share() -> Share {
    Share {
        ctx: digest(1),
        from: signer().node_id(),
        to: consortium().id(1),
        sealed: Digest::sha256(&[&[4; 80]]),
    }
}

fn sealed_share() -> SealedShare {
    SealedShare {
        share: signed(&share()),
        sealed: vec![4; 80],
    }
}

fn accusation() -> Accusation {
    Accusation {
        ctx: digest(1),
        accuser: signer().node_id(),
        share: signed(&share()),
        round_key: [7; 32],
    }
}

fn proof() -> Proof {
    Proof {
        bundle: vec![signed(&keys()); 3],
        accusation: signed(&accusation()),
        sealed: vec![4; 80],
    }
}

fn sum() -> Sum {
    Sum {
        ctx: digest(1),
        node: signer().node_id(),
        root: ChunkHashes::of(&[1; 44]).root(),
        tag_commitment: tag_share().commitment(digest(1), signer().node_id()),
    }
}

fn tag_share() -> TagShare {
    TagShare {
        tag: [6, (1 << 61) - 2],
        nonce: [7; 32],
    }
}

fn ack() -> ResultAck {
    ResultAck {
        consortium_id: consortium().manifest.consortium_id(),
        node: signer().node_id(),
        head: Head {
            round: 1,
            previous: digest(4),
            model: digest(5),
        },
    }
}

fn envelope() -> Envelope {
    Envelope {
        commitments: vec![digest(7); 4],
        boxes: vec![vec![8; 80]; 4],
    }
}

fn contribution() -> Contribution {
    Contribution {
        ctx: digest(1),
        node: signer().node_id(),
        root: digest(2),
        tag: [6, (1 << 61) - 2],
        envelope: envelope().digest(),
    }
}

fn entry() -> ContributionId {
    ContributionId {
        node: signer().node_id(),
        contribution: digest(3),
    }
}

fn receipt() -> Receipt {
    Receipt {
        ctx: digest(1),
        holder: signer().node_id(),
        entry: entry(),
        fault: Some(Fault::Commitment),
    }
}

fn vote() -> Vote {
    Vote {
        ctx: digest(1),
        holder: signer().node_id(),
        contributors: digest(4),
    }
}

fn reveal() -> Reveal {
    Reveal {
        ctx: digest(1),
        holder: signer().node_id(),
        contributors: digest(4),
        classes: ClassSet::of([0, 3, 63]),
        root: digest(5),
        tag: [6, 7],
    }
}

/// One refusal of each shape that an encoding can have.
fn refusals() -> Vec<Refusal> {
    let id = consortium().id(1);
    vec![
        Refusal::Manifest {
            ours: digest(1),
            theirs: digest(2),
        },
        Refusal::Stranger(id),
        Refusal::Duplicate {
            what: Kind::Share,
            signer: id,
        },
        Refusal::OwnKeys,
        Refusal::NotNext {
            round: 3,
            attempt: 1,
            done: 1,
            joined: 2,
        },
        Refusal::Difference {
            sent_with: vec![id; 3],
        },
        Refusal::CannotContribute(AbortReason::NotFinite {
            tensor: "conv1.weight".to_owned(),
        }),
        Refusal::OutOfRange {
            index: 5,
            value: -9,
            limit: 8,
        },
        Refusal::Counters("negative".to_owned()),
        Refusal::Clock { ahead_min: -15 },
    ]
}

fn encoded<T: Serialize>(name: impl Into<String>, message: &T) -> Seed {
    (name.into(), encode(message).expect("a short message"))
}

pub(crate) fn node_frames() -> Vec<Seed> {
    let hello = |pending| {
        NodeFrame::Hello(Hello {
            consortium_id: consortium().manifest.consortium_id(),
            head: Head {
                round: 2,
                previous: digest(3),
                model: digest(4),
            },
            pending,
            holding: pending,
            voted_for: Vec::new(),
            unix_s: 8,
        })
    };
    let opened = NodeFrame::TagShare {
        ctx: digest(1),
        share: tag_share(),
    };
    let mut seeds = vec![
        encoded("hello", &hello(None)),
        encoded("hello-pending", &hello(Some(digest(5)))),
        encoded("keys", &NodeFrame::Keys(offer())),
        encoded("shares", &NodeFrame::Shares(vec![sealed_share(); 2])),
        encoded("sum", &NodeFrame::Sum(signed(&sum()))),
        encoded("ack", &NodeFrame::Ack(signed(&ack()))),
        encoded(
            "contribution",
            &NodeFrame::Contribution(signed(&contribution()), envelope()),
        ),
        encoded("receipt", &NodeFrame::Receipt(signed(&receipt()))),
        encoded("vote", &NodeFrame::Vote(signed(&vote()))),
        encoded("reveal", &NodeFrame::Reveal(signed(&reveal()))),
        encoded("tag-share", &opened),
        encoded("accusation", &NodeFrame::Accusation(proof())),
    ];
    seeds.extend(refusals().into_iter().enumerate().map(|(k, refusal)| {
        let (round, attempt) = (1, 2);
        let frame = NodeFrame::Refused {
            round,
            attempt,
            refusal,
        };
        encoded(format!("refused-{k}"), &frame)
    }));
    seeds
}

pub(crate) fn relay_frames() -> Vec<Seed> {
    let open = RelayFrame::Open {
        opening: Opening {
            round: 1,
            attempt: 1,
            previous: digest(1),
            model: digest(2),
        },
        deadline_ms: 600_000,
    };
    let collect = |sums| RelayFrame::Collect {
        ctx: digest(1),
        first_chunk: 0,
        sums,
    };
    let opened = OpenedSum {
        sum: signed(&sum()),
        tag_share: tag_share(),
    };
    let outcome = RelayFrame::Outcome(Outcome {
        ctx: digest(1),
        bundle: vec![signed(&keys()); 3],
        parts: Evidence::Sums(vec![opened; 3]),
        root: digest(2),
        model: digest(3),
    });
    let decided = RelayFrame::Outcome(Outcome {
        ctx: digest(1),
        bundle: vec![signed(&keys()); 3],
        parts: Evidence::Decision(Decision {
            contributions: vec![signed(&contribution()); 3],
            votes: vec![signed(&vote()); 3],
            reveals: vec![signed(&reveal()); 2],
        }),
        root: digest(2),
        model: digest(3),
    });
    let seeds_for = envelope().seeds_for(&signed(&contribution()), 1);
    let seeds_for = RelayFrame::SealedSeeds(seeds_for.expect("a box at this place"));
    let (ctx, previous, model) = (digest(1), digest(1), digest(2));
    let convene = RelayFrame::Convene(Opening {
        round: 1,
        attempt: 1,
        previous,
        model,
    });
    let ballot = RelayFrame::Ballot {
        ctx,
        entries: vec![entry(); 3],
    };
    let order = RelayFrame::Reveal {
        ctx,
        entries: vec![entry(); 3],
        votes: vec![signed(&vote()); 3],
        classes: ClassSet::of([1, 2]),
    };
    let collect_reveal = RelayFrame::CollectReveal {
        root: digest(5),
        first_chunk: 3,
    };
    let checkpoint = RelayFrame::Checkpoint(Checkpoint {
        head: Head::start(&consortium().manifest),
        acks: vec![signed(&ack()); 3],
    });
    let waiting = RelayFrame::Waiting {
        missing: vec![consortium().id(2); 2],
        for_s: 10,
    };
    let shown = RelayFrame::Keys {
        bundle: vec![signed(&keys()); 3],
        round_keys: vec![offer().round_key; 2],
    };
    let mut seeds = vec![
        encoded("open", &open),
        encoded("keys", &shown),
        encoded("shares", &RelayFrame::Shares(vec![sealed_share(); 2])),
        encoded("collect", &collect(vec![signed(&sum()); 3])),
        encoded("collect-contribution", &collect(Vec::new())),
        encoded("outcome", &outcome),
        encoded("decided", &decided),
        encoded("sealed-seeds", &seeds_for),
        encoded("convene", &convene),
        encoded("ballot", &ballot),
        encoded("order", &order),
        encoded("collect-reveal", &collect_reveal),
        encoded("send-model", &RelayFrame::SendModel { model: digest(6) }),
        encoded("received", &RelayFrame::Received { ctx }),
        encoded("checkpoint", &checkpoint),
        encoded("waiting", &waiting),
        encoded("finished", &RelayFrame::Finished { rounds: 3 }),
        encoded("convicted", &RelayFrame::Convicted(proof())),
    ];
    let refused = refusals().into_iter().map(RelayFrame::Refused).enumerate();
    seeds.extend(refused.map(|(k, frame)| encoded(format!("refused-{k}"), &frame)));
    seeds
}

pub(crate) fn bulk_headers() -> Vec<Seed> {
    let header = |body, first_chunk| BulkHeader { body, first_chunk };
    vec![
        encoded("sum", &header(BodyId::sum(digest(9)), 2)),
        encoded("result", &header(BodyId::result(digest(9)), 0)),
        encoded("model", &header(BodyId::model(digest(9)), 0)),
    ]
}

pub(crate) fn signed_messages() -> Vec<Seed> {
    fn kind<T: Message>(kind: u8, name: &str, message: &T) -> Seed {
        let (name, bytes) = encoded(name, &signed(message));
        (name, [&[kind], &bytes[..]].concat())
    }
    vec![
        kind(0, "keys", &keys()),
        kind(1, "share", &share()),
        kind(2, "sum", &sum()),
        kind(3, "ack", &ack()),
        kind(4, "contribution", &contribution()),
        kind(5, "receipt", &receipt()),
        kind(6, "vote", &vote()),
        kind(7, "reveal", &reveal()),
        kind(8, "accusation", &accusation()),
    ]
}
