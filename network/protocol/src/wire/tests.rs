//! The codec, perturbed in every way.

use proptest::prelude::*;

use super::{BodyId, BulkHeader, Hello, MAX_MESSAGE_BYTES, NodeFrame, RelayFrame, decode, encode};
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::{Identity, NodeId};
use crate::round::Head;
use crate::round::committee::ClassSet;
use crate::round::committee::message::{Contribution, ContributionId, Receipt, Reveal, Vote};
use crate::round::message::{Keys, Message, ResultAck, Signed};
use crate::round::peer::message::{Accusation, Share, Sum};
use crate::round::peer::{OpenedSum, Proof, SealedShare, TagShare};
use crate::round::{Fault, Kind, Refusal};
use crate::round::{KeyOffer, Opening};

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn node(byte: u8) -> NodeId {
    NodeId(digest(byte))
}

fn keys() -> Keys {
    Keys {
        consortium_id: digest(1),
        node: node(2),
        round: 3,
        attempt: 4,
        previous: digest(5),
        model: digest(6),
        round_key: digest(7),
        expires_unix_s: 8,
    }
}

fn offer() -> KeyOffer {
    KeyOffer {
        keys: Signed::new(&keys(), &Identity::of_test("signer")).unwrap(),
        round_key: vec![9; 3],
    }
}

fn share() -> Share {
    Share {
        ctx: digest(1),
        from: node(2),
        to: node(3),
        sealed: digest(4),
    }
}

fn sealed_share() -> SealedShare {
    SealedShare {
        share: Signed::new(&share(), &Identity::of_test("signer")).unwrap(),
        sealed: vec![5; 6],
    }
}

fn sum() -> Sum {
    Sum {
        ctx: digest(1),
        node: node(2),
        root: digest(3),
        tag_commitment: digest(4),
    }
}

fn tag_share() -> TagShare {
    TagShare {
        tag: [4, 5],
        nonce: [6; 32],
    }
}

fn ack() -> ResultAck {
    ResultAck {
        consortium_id: digest(1),
        node: node(2),
        head: Head {
            round: 3,
            previous: digest(4),
            model: digest(5),
        },
    }
}

fn hello() -> Hello {
    Hello {
        consortium_id: digest(1),
        head: Head {
            round: 2,
            previous: digest(3),
            model: digest(4),
        },
        pending: Some(digest(5)),
        holding: Some(digest(6)),
        voted_for: vec![node(7)],
        unix_s: 8,
    }
}

/// `runs` of (byte, how often).
fn bytes(runs: &[(u8, usize)]) -> Vec<u8> {
    runs.iter()
        .flat_map(|(byte, times)| std::iter::repeat_n(*byte, *times))
        .collect()
}

#[test]
fn each_signed_message_has_its_fixed_bytes() {
    let expected = [
        (1, 32),
        (2, 32),
        (3, 1),
        (0, 7),
        (4, 1),
        (0, 3),
        (5, 32),
        (6, 32),
        (7, 32),
        (8, 1),
        (0, 7),
    ];
    assert_eq!(encode(&keys()).unwrap(), bytes(&expected));
    let expected = [(1, 32), (2, 32), (3, 32), (4, 32)];
    assert_eq!(encode(&share()).unwrap(), bytes(&expected));
    assert_eq!(encode(&sum()).unwrap(), bytes(&expected));
    let expected = [(1, 32), (2, 32), (3, 1), (0, 7), (4, 32), (5, 32)];
    assert_eq!(encode(&ack()).unwrap(), bytes(&expected));
    let SealedShare { share, .. } = sealed_share();
    let accusation = Accusation {
        ctx: digest(1),
        accuser: node(2),
        share: share.clone(),
        round_key: [3; 32],
    };
    let share = encode(&share).unwrap();
    let expected = [bytes(&[(1, 32), (2, 32)]), share.clone(), bytes(&[(3, 32)])].concat();
    assert_eq!(encode(&accusation).unwrap(), expected);
    let sealed = bytes(&[(6, 1), (0, 7), (5, 6)]);
    assert_eq!(
        encode(&sealed_share()).unwrap(),
        [share, sealed.clone()].concat()
    );
    let proof = Proof {
        bundle: Vec::new(),
        accusation: Signed::new(&accusation, &Identity::of_test("signer")).unwrap(),
        sealed: vec![5; 6],
    };
    let accusation = encode(&proof.accusation).unwrap();
    let expected = [bytes(&[(0, 8)]), accusation, sealed].concat();
    assert_eq!(encode(&proof).unwrap(), expected);
}

#[test]
fn each_message_of_a_committee_has_its_fixed_bytes() {
    let entry = ContributionId {
        node: node(3),
        contribution: digest(4),
    };
    let contribution = Contribution {
        ctx: digest(1),
        node: node(2),
        root: digest(3),
        tag: [4, 5],
        envelope: digest(6),
    };
    let number = |byte: u8| [(byte, 1), (0, 7)];
    let expected = [
        &[(1, 32), (2, 32), (3, 32)][..],
        &number(4),
        &number(5),
        &[(6, 32)],
    ]
    .concat();
    assert_eq!(encode(&contribution).unwrap(), bytes(&expected));
    let mut receipt = Receipt {
        ctx: digest(1),
        holder: node(2),
        entry,
        fault: None,
    };
    let expected = [(1, 32), (2, 32), (3, 32), (4, 32), (0, 1)];
    assert_eq!(encode(&receipt).unwrap(), bytes(&expected));
    receipt.fault = Some(Fault::Commitment);
    let expected = [(1, 32), (2, 32), (3, 32), (4, 32), (1, 1), (1, 1), (0, 3)];
    assert_eq!(encode(&receipt).unwrap(), bytes(&expected));
    let vote = Vote {
        ctx: digest(1),
        holder: node(2),
        contributors: digest(3),
    };
    assert_eq!(encode(&vote).unwrap(), bytes(&[(1, 32), (2, 32), (3, 32)]));
    let reveal = Reveal {
        ctx: digest(1),
        holder: node(2),
        contributors: digest(3),
        classes: ClassSet::of([0, 9]),
        root: digest(4),
        tag: [5, 6],
    };
    let classes = [(1, 1), (2, 1), (0, 6)];
    let expected = [
        &[(1, 32), (2, 32), (3, 32)][..],
        &classes,
        &[(4, 32)],
        &number(5),
        &number(6),
    ]
    .concat();
    assert_eq!(encode(&reveal).unwrap(), bytes(&expected));
    // Ballot is the thirteenth frame of a relay.
    let ballot = RelayFrame::Ballot {
        ctx: digest(9),
        entries: vec![entry],
    };
    let expected = [(12, 1), (0, 3), (9, 32), (1, 1), (0, 7), (3, 32), (4, 32)];
    assert_eq!(encode(&ballot).unwrap(), bytes(&expected));
    let send = RelayFrame::SendModel { model: digest(9) };
    assert_eq!(encode(&send).unwrap(), bytes(&[(15, 1), (0, 3), (9, 32)]));
}

#[test]
fn a_signed_message_is_its_bytes_with_a_length_and_64_bytes_of_signature() {
    let identity = Identity::of_test("one");
    let signed = Signed::new(&sum(), &identity).unwrap();
    let encoded = encode(&signed).unwrap();
    assert_eq!(encoded[..8], 128u64.to_le_bytes());
    assert_eq!(encoded[8..136], encode(&sum()).unwrap());
    assert_eq!(encoded[136..], identity.sign(Sum::LABEL, signed.bytes()));
    assert_eq!(
        encode(&NodeFrame::Sum(signed)).unwrap().len(),
        4 + encoded.len()
    );
}

#[test]
fn frames_and_headers_have_their_fixed_bytes() {
    let expected = [
        (0, 4),
        (1, 32),
        (2, 1),
        (0, 7),
        (3, 32),
        (4, 32),
        (1, 1),
        (5, 32),
        (1, 1),
        (6, 32),
        (1, 1),
        (0, 7),
        (7, 32),
        (8, 1),
        (0, 7),
    ];
    assert_eq!(
        encode(&NodeFrame::Hello(hello())).unwrap(),
        bytes(&expected)
    );
    let collect = RelayFrame::Collect {
        ctx: digest(9),
        first_chunk: 2,
        sums: vec![Signed::new(&sum(), &Identity::of_test("one")).unwrap()],
    };
    let collect = encode(&collect).unwrap();
    let expected = [(3, 1), (0, 3), (9, 32), (2, 1), (0, 3), (1, 1), (0, 7)];
    let (frame, signed) = collect.split_at(48);
    assert_eq!(frame, bytes(&expected));
    assert_eq!(signed.len(), 8 + 128 + 64);
    let signed_keys = encode(&offer().keys).unwrap();
    assert_eq!(signed_keys.len(), 8 + 180 + 64);
    let round_key = bytes(&[(3, 1), (0, 7), (9, 3)]);
    let expected = [bytes(&[(1, 1), (0, 3)]), signed_keys.clone(), round_key].concat();
    assert_eq!(encode(&NodeFrame::Keys(offer())).unwrap(), expected);
    let keys = RelayFrame::Keys {
        bundle: vec![offer().keys],
        round_keys: vec![vec![7; 2]],
    };
    let expected = [
        bytes(&[(1, 1), (0, 3), (1, 1), (0, 7)]),
        signed_keys,
        bytes(&[(1, 1), (0, 7), (2, 1), (0, 7), (7, 2)]),
    ]
    .concat();
    assert_eq!(encode(&keys).unwrap(), expected);
    // The eleventh frame of a node, and what an outcome lists of a participant.
    let opening = NodeFrame::TagShare {
        ctx: digest(9),
        share: tag_share(),
    };
    let share = [(4, 1), (0, 7), (5, 1), (0, 7), (6, 32)];
    let expected = [&[(10, 1), (0, 3), (9, 32)][..], &share].concat();
    assert_eq!(encode(&opening).unwrap(), bytes(&expected));
    let opened = OpenedSum {
        sum: decode(signed).unwrap(),
        tag_share: tag_share(),
    };
    let expected = [signed, &bytes(&share)].concat();
    assert_eq!(encode(&opened).unwrap(), expected);
    let header = BulkHeader {
        body: BodyId::result(digest(9)),
        first_chunk: 2,
    };
    let expected = [(1, 1), (0, 3), (9, 32), (2, 1), (0, 3)];
    assert_eq!(encode(&header).unwrap(), bytes(&expected));
}

fn frames() -> Vec<Vec<u8>> {
    let identity = Identity::of_test("other");
    let refusal = Refusal::Difference {
        sent_with: vec![node(1), node(2)],
    };
    let frames = [
        NodeFrame::Hello(hello()),
        NodeFrame::Keys(offer()),
        NodeFrame::Shares(vec![sealed_share(); 2]),
        NodeFrame::Sum(Signed::new(&sum(), &identity).unwrap()),
        NodeFrame::Ack(Signed::new(&ack(), &identity).unwrap()),
        NodeFrame::TagShare {
            ctx: digest(9),
            share: tag_share(),
        },
        NodeFrame::Refused {
            round: 1,
            attempt: 2,
            refusal,
        },
    ];
    frames.iter().map(|frame| encode(frame).unwrap()).collect()
}

#[test]
fn every_truncation_and_every_trailing_byte_fails() {
    for frame in frames() {
        assert_eq!(
            encode(&decode::<NodeFrame>(&frame).unwrap()).unwrap(),
            frame
        );
        for end in 0..frame.len() {
            let cut = decode::<NodeFrame>(&frame[..end]);
            assert!(matches!(cut, Err(WireError::Malformed(_))), "{end}");
        }
        let longer = [frame, vec![0]].concat();
        assert!(matches!(
            decode::<NodeFrame>(&longer),
            Err(WireError::Trailing(1))
        ));
    }
}

#[test]
fn a_huge_claimed_length_fails_without_being_allocated() {
    for claimed in [
        u64::MAX,
        1 << 62,
        1 << 40,
        MAX_MESSAGE_BYTES as u64 + 1,
        1 << 19,
    ] {
        let mut shares = vec![2, 0, 0, 0];
        shares.extend_from_slice(&claimed.to_le_bytes());
        shares.extend_from_slice(&[0; 64]);
        assert!(decode::<NodeFrame>(&shares).is_err());
        let mut sum = vec![3, 0, 0, 0];
        sum.extend_from_slice(&claimed.to_le_bytes());
        sum.extend_from_slice(&[0; 160]);
        assert!(decode::<NodeFrame>(&sum).is_err());
    }
}

#[test]
fn a_message_beyond_the_limit_is_neither_encoded_nor_decoded() {
    let long = Refusal::Counters("x".repeat(MAX_MESSAGE_BYTES));
    assert!(matches!(
        encode(&RelayFrame::Refused(long)),
        Err(WireError::Encode(_))
    ));
    let mut bytes = (MAX_MESSAGE_BYTES as u64).to_le_bytes().to_vec();
    bytes.resize(8 + MAX_MESSAGE_BYTES, b'x');
    assert!(decode::<String>(&bytes).is_err());
}

#[test]
fn unknown_tags_fail() {
    for tag in [11u32, 255, u32::MAX] {
        let frame = [&tag.to_le_bytes()[..], &[0; 200]].concat();
        assert!(decode::<NodeFrame>(&frame).is_err());
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(
        round: u64, attempt: u32, a: [u8; 32], b: [u8; 32], sealed in prop::collection::vec(any::<u8>(), 0..300),
        first_chunk: u32, index: u64, value: i64, text: String,
    ) {
        let (ctx, id) = (Digest(a), NodeId(Digest(b)));
        let keys = Keys { round, attempt, round_key: ctx, node: id, ..keys() };
        prop_assert_eq!(decode::<Keys>(&encode(&keys).unwrap()).unwrap(), keys);
        let share = SealedShare { sealed, ..sealed_share() };
        prop_assert_eq!(decode::<SealedShare>(&encode(&share).unwrap()).unwrap(), share);
        let frames = [
            RelayFrame::Open { opening: Opening { round, attempt, previous: ctx, model: ctx }, deadline_ms: index },
            RelayFrame::Collect { ctx, first_chunk, sums: Vec::new() },
            RelayFrame::Waiting { missing: vec![id; 3], for_s: index },
            RelayFrame::Refused(Refusal::OutOfRange { index, value, limit: round }),
            RelayFrame::Refused(Refusal::Counters(text)),
            RelayFrame::Refused(Refusal::Duplicate { what: Kind::Ack, signer: id }),
            RelayFrame::Finished { rounds: round },
        ];
        for frame in frames {
            prop_assert_eq!(decode::<RelayFrame>(&encode(&frame).unwrap()).unwrap(), frame);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), tag in 0u8..11) {
        let tagged = [&[tag, 0, 0, 0][..], &bytes].concat();
        for bytes in [&bytes, &tagged] {
            let _ = decode::<NodeFrame>(bytes);
            let _ = decode::<RelayFrame>(bytes);
            let _ = decode::<BulkHeader>(bytes);
            let _ = decode::<Keys>(bytes);
        }
    }

    #[test]
    fn a_flipped_bit_is_another_message_or_none(which in 0usize..7, at: prop::sample::Index, bit in 0u8..8) {
        let frame = &frames()[which];
        let mut flipped = frame.clone();
        flipped[at.index(frame.len())] ^= 1 << bit;
        if let Ok(decoded) = decode::<NodeFrame>(&flipped) {
            prop_assert_eq!(encode(&decoded).unwrap(), flipped);
        }
    }
}
