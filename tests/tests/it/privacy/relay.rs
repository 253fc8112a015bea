//! What the relay sees tells it nothing but the sum.
//!
//! An attacker who has every byte that passes the relay, and the relay's own keys, tries what
//! breaks schemes that only look secure: shares that hide nothing, shares that the server can read,
//! weights in the clear.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use fl_protocol::identity::NodeId;
use fl_protocol::ring_bytes;
use fl_protocol::round::peer::SealedShare;
use fl_protocol::round::peer::message::Share;
use fl_protocol::wire::{self, NodeFrame};
use fl_shaders::Ring;
use fl_sharing::{Input, Mask, RoundKey, Seed, Sign};
use fl_tests::federation::memory::{Contribution, RelayCall, Round, counters, drawn};
use fl_tests::federation::{Kits, Member, RecordingEngine, Synthetic, add_mask, masked};
use fl_tests::statistics::{difference, is_uniform};
use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustls_pki_types::pem::{PemObject, SectionKind};

use super::contains;
use crate::support::federation::{federation, member};

/// The input vector of a contribution without any mask, or with those of `keys`.
fn encoded(kits: &Kits, (update, counters): &Contribution, keys: &[([u8; 32], Sign)]) -> Vec<u8> {
    let format = kits.relay.manifest.fixed_point();
    let input = Input {
        format,
        counters,
        update,
    };
    let masks: Vec<_> = keys
        .iter()
        .map(|(seed, sign)| Mask {
            key: Seed::from_bytes(*seed).expand(&[0; 32]),
            sign: *sign,
        })
        .collect();
    masked(&input, &masks).unwrap()
}

/// Shares that are floats in (−1, 1) hide nothing: an update less such a number still follows the
/// update. Only what is uniform over the whole ring, with a mask that is used once, says nothing
/// about what it hides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_real_nodes_upload_is_uniform_and_no_key_serves_twice() -> Result<()> {
    const PARAMETERS: usize = 60_000;
    let engine = RecordingEngine::default();
    let members = (0..4).map(|k| {
        let trainer = Synthetic::new(PARAMETERS, 100 + k, u64::from(k))?;
        let engine = engine.clone();
        anyhow::Ok(Member {
            engine: Arc::new(engine),
            ..member(Box::new(trainer))
        })
    });
    let federation = federation(members.collect::<Result<_>>()?, 3);
    let ended = federation.run(|_| ()).await?;
    assert!(ended.iter().all(|ended| ended.round == 3));

    let calls = engine.calls();
    assert_eq!(calls.len(), 3 * 4);
    let mut uses: BTreeMap<[u8; 32], Vec<Sign>> = BTreeMap::new();
    let mut roundings = Vec::new();
    for call in &calls {
        assert!(is_uniform(&call.masked));
        assert_eq!(call.masks.len(), 3, "a seed to or from every peer");
        for (key, sign) in &call.masks {
            uses.entry(*key).or_default().push(*sign);
        }
        roundings.push(call.rounding);
    }
    // Each share is taken away once, where it was drawn, and added once, where it was sent.
    assert_eq!(uses.len(), 3 * (4 * 3 / 2));
    for signs in uses.values() {
        assert!(signs.contains(&Sign::Plus) && signs.contains(&Sign::Minus) && signs.len() == 2);
    }
    roundings.sort_unstable();
    roundings.dedup();
    assert_eq!(roundings.len(), calls.len());
    assert!(!roundings.iter().any(|key| uses.contains_key(key)));
    for (k, one) in calls.iter().enumerate() {
        for other in &calls[..k] {
            assert!(is_uniform(&difference(&one.masked, &other.masked)));
        }
    }
    Ok(())
}

/// Controls of the test above: what the attacker would see if masks were missing, reused, or
/// floats.
#[test]
fn the_attacker_sees_through_missing_reused_and_float_masks() -> Result<()> {
    const PARAMETERS: usize = 60_000;
    let kits = Kits::of_zeros(3, PARAMETERS, 1_000)?;
    let [one, other, _] = &drawn(&[900, 500, 400], PARAMETERS)[..] else {
        unreachable!("three")
    };
    assert!(!is_uniform(&encoded(&kits, one, &[])), "no mask");
    let key = ([3; 32], Sign::Minus);
    assert!(is_uniform(&encoded(&kits, one, &[key])));
    let cancelled = [key, ([3; 32], Sign::Plus)];
    assert!(
        !is_uniform(&encoded(&kits, one, &cancelled)),
        "a mask that cancels itself"
    );
    let (first, second) = (encoded(&kits, one, &[key]), encoded(&kits, other, &[key]));
    assert!(
        !is_uniform(&difference(&first, &second)),
        "one mask for two"
    );

    let mut random = StdRng::seed_from_u64(1);
    let shares: Vec<u8> = one
        .0
        .iter()
        .flat_map(|update| (update - random.random_range(-1.0_f32..1.0)).to_le_bytes())
        .collect();
    assert!(!is_uniform(&shares), "float shares");
    // And they give away more than their looks: the share follows what it should hide.
    let larger: f32 = one
        .0
        .iter()
        .zip(shares.as_chunks::<4>().0)
        .map(|(update, share)| update * f32::from_le_bytes(*share))
        .sum();
    assert!(larger > 0.05 * PARAMETERS as f32);
    Ok(())
}

/// Any part of the masked sums is uniform, whatever the inputs; the whole opens.
#[test]
fn only_the_sum_over_all_participants_means_anything() -> Result<()> {
    const PARAMETERS: usize = 60_000;
    let kits = Kits::of_zeros(4, PARAMETERS, 1_000)?;
    let same = |update: f32, examples| (vec![update; PARAMETERS], counters(examples));
    // Two federations with very different members and the same sum: 200 · 0.5 · 4.
    let even = vec![
        same(0.5, 200),
        same(0.5, 200),
        same(0.5, 200),
        same(0.5, 200),
    ];
    let odd = vec![
        same(1.0, 400),
        same(0.0, 100),
        same(0.0, 200),
        same(0.0, 100),
    ];
    for contributions in [even.clone(), odd] {
        let plain: Vec<_> = contributions
            .iter()
            .map(|one| encoded(&kits, one, &[]))
            .collect();
        let round = Round::run(&kits, contributions)?;
        let bodies: Vec<_> = round.bodies.values().collect();
        for chosen in 1_u32..16 {
            let mut part = vec![0; round.result.len()];
            let taken = (0..4).filter(|k| chosen >> k & 1 == 1);
            taken.for_each(|k| ring_bytes::add(Ring::U32, &mut part, bodies[k]));
            let whole = chosen == 15;
            assert_eq!(is_uniform(&part), !whole, "subset {chosen:04b}");
            // Not even knowing some of the inputs helps.
            for plain in plain.iter().filter(|_| !whole) {
                assert!(is_uniform(&difference(&part, plain)), "{chosen:04b}");
            }
            if whole {
                assert_eq!(part, round.result);
            }
        }
        for party in &round.parties {
            let mean = party.host.disk.model[PARAMETERS / 2];
            let total: u64 = 800;
            let expected = 0.5 * 800.0 / total as f32;
            assert!((mean - expected).abs() < 1e-5, "{mean}");
        }
    }
    // A scheme without pairwise masks fails the same test.
    let mut part = encoded(&kits, &even[0], &[([1; 32], Sign::Plus)]);
    let second = encoded(&kits, &even[1], &[([1; 32], Sign::Minus)]);
    ring_bytes::add(Ring::U32, &mut part, &second);
    assert!(!is_uniform(&part));
    Ok(())
}

/// A share that passed the relay, and its box.
type Passed = (Share, Vec<u8>);

/// Opens a sealed share with an X-Wing private key of the attacker's choice, as RFC 9180 has it.
fn open(key: &<XWing as Kem>::PrivateKey, (share, sealed): &Passed) -> Option<[u8; 32]> {
    /// Bytes of an encapsulated key.
    const ENCAPPED: usize = 1120;
    let label: &[u8] = b"smpcfl/2 seal";
    let info = [
        label,
        share.ctx.as_bytes(),
        share.from.as_bytes(),
        share.to.as_bytes(),
    ]
    .concat();
    let encapped = <XWing as Kem>::EncappedKey::from_bytes(sealed.get(..ENCAPPED)?).ok()?;
    let tag = AeadTag::<ChaCha20Poly1305>::from_bytes(sealed.get(ENCAPPED + 32..)?).ok()?;
    let mut seed = [0; 32];
    let buffer = InOutBuf::new(sealed.get(ENCAPPED..ENCAPPED + 32)?, &mut seed).ok()?;
    hpke::single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        key,
        &encapped,
        &info,
        buffer,
        &[],
        &tag,
    )
    .ok()?;
    Some(seed)
}

/// The sealed shares that passed the relay.
fn shares(kits: &Kits, round: &Round) -> Result<Vec<Passed>> {
    let mut shares = Vec::new();
    for call in &round.calls {
        let RelayCall::Frame(_, frame) = call else {
            continue;
        };
        if let NodeFrame::Shares(list) = wire::decode(frame)? {
            for SealedShare { share, sealed } in list {
                let share = share.verify(&kits.relay.manifest, round.unix_s())?;
                shares.push((share, sealed));
            }
        }
    }
    Ok(shares)
}

/// A server that can read the shares, because they pass it in the clear or under keys that it
/// knows, can take every mask off. Here they are sealed to their recipients.
#[test]
fn no_key_that_the_relay_has_or_can_make_opens_a_share() -> Result<()> {
    let kits = Kits::of_zeros(4, 8, 1_000)?;
    let contributions = || drawn(&[1, 2, 3, 4], 8);
    let (round, earlier) = (
        Round::run(&kits, contributions())?,
        Round::run(&kits, contributions())?,
    );
    let shares = shares(&kits, &round)?;
    assert_eq!(shares.len(), 4 * 3 / 2, "one a pair");

    // A private key follows from any 32 bytes within reach: of the relay's key files, and of all
    // that it ever received or sent but masked words.
    let mut within_reach: Vec<u8> = Vec::new();
    for file in ["key.pem", "cert.pem", "authority.pem"] {
        let path = kits.folder().join("relay").join(file);
        let (_, der) = <(SectionKind, Vec<u8>)>::from_pem_file(path)?;
        within_reach.extend(der);
    }
    let (share, sealed) = &shares[0];
    for public in [
        share.ctx.as_bytes(),
        share.from.as_bytes(),
        share.to.as_bytes(),
    ] {
        within_reach.extend_from_slice(public);
    }
    within_reach.extend(sealed);
    for party in &round.parties {
        within_reach.extend_from_slice(party.round_key().public());
    }
    within_reach.extend([0; 32]);
    let mut keys = Vec::new();
    for window in within_reach.windows(32) {
        keys.push(XWing::derive_keypair(window).0);
        keys.extend(<XWing as Kem>::PrivateKey::from_bytes(window));
    }
    assert!(keys.len() > 1_000);
    for key in &keys {
        assert_eq!(open(key, &shares[0]), None);
    }
    // Whoever passes itself off as a recipient, or kept the keys of another attempt.
    for (share, sealed) in &shares {
        let (from, to) = (share.from.as_bytes(), share.to.as_bytes());
        let fresh = RoundKey::generate()?;
        let others = round.parties.iter().filter(|party| party.id != share.to);
        let stale = earlier.parties.iter();
        let keys = others.chain(stale).map(|party| party.round_key());
        for key in keys.chain([&fresh]) {
            let opened = key.open(share.ctx.as_bytes(), from, to, sealed);
            assert!(opened.is_err());
            // Nor by lying about who is who.
            for party in &round.parties {
                let id = party.id.as_bytes();
                let ctx = share.ctx.as_bytes();
                assert!(key.open(ctx, from, id, sealed).is_err());
                assert!(key.open(ctx, id, to, sealed).is_err());
            }
        }
    }

    // Controls: the recipient opens it, and so does this attacker with the recipient's private key.
    for (share, sealed) in &shares {
        let recipient = round.parties.iter().find(|party| party.id == share.to);
        let key = recipient.context("a participant")?.round_key();
        let ctx = share.ctx.as_bytes();
        key.open(ctx, share.from.as_bytes(), share.to.as_bytes(), sealed)?;
    }
    let (private, public) = XWing::derive_keypair(&[8; 32]);
    let public = hpke::Serializable::to_bytes(&public);
    let (ctx, from, to) = (
        share.ctx.as_bytes(),
        share.from.as_bytes(),
        share.to.as_bytes(),
    );
    let sealed = fl_sharing::seal(&public, ctx, from, to, &Seed::from_bytes([9; 32]))?.to_vec();
    assert_eq!(open(&private, &(share.clone(), sealed)), Some([9; 32]));
    Ok(())
}

/// The relay and all participants but `honest` put together what they have: what remains of the
/// masked sums of these when every mask is taken off whose seed one of them gave or received.
fn without_known_masks(
    shares: &[Passed],
    round: &Round,
    honest: &[NodeId],
) -> Result<Vec<Vec<u8>>> {
    let mut remaining: BTreeMap<_, _> = round.bodies.clone();
    for (share, sealed) in shares {
        if honest.contains(&share.from) && honest.contains(&share.to) {
            continue;
        }
        let receiver = round.parties.iter().find(|party| party.id == share.to);
        let key = receiver.context("a participant")?.round_key();
        let (ctx, from, to) = (&share.ctx.0, &share.from.0.0, &share.to.0.0);
        let seed = key.open(ctx, from, to, sealed)?.expand(ctx);
        // The giver has taken the mask away, and the receiver has added it.
        for (node, sign) in [(share.from, Sign::Plus), (share.to, Sign::Minus)] {
            let body = remaining.get_mut(&node).context("a masked sum")?;
            add_mask(body, seed.expose(), sign);
        }
    }
    remaining.retain(|node, _| honest.contains(node));
    Ok(remaining.into_values().collect())
}

/// Each pair has one seed, which one of the two drew. It is enough: whoever has all but two
/// participants on its side still sees of either no more than uniform words, and their sum.
#[test]
fn all_but_two_participants_and_the_relay_learn_the_sum_of_these_two() -> Result<()> {
    const PARAMETERS: usize = 20_000;
    let kits = Kits::of_zeros(5, PARAMETERS, 1_000)?;
    // Whole steps of the fixed point, so that no two roundings differ.
    let contributions: Vec<_> = (1..=5)
        .map(|k| (vec![0.125 * k as f32; PARAMETERS], counters(1_000)))
        .collect();
    let plain: Vec<_> = contributions
        .iter()
        .map(|one| encoded(&kits, one, &[]))
        .collect();
    let round = Round::run(&kits, contributions)?;
    let shares = shares(&kits, &round)?;
    let inputs: BTreeMap<_, _> = round
        .parties
        .iter()
        .map(|party| party.id)
        .zip(plain)
        .collect();
    let ids: Vec<_> = inputs.keys().copied().collect();
    for (k, one) in ids.iter().enumerate() {
        for other in &ids[k + 1..] {
            let remaining = without_known_masks(&shares, &round, &[*one, *other])?;
            let [a, b] = &remaining[..] else {
                panic!("two masked sums");
            };
            assert!(is_uniform(a) && is_uniform(b));
            for input in inputs.values() {
                assert!(is_uniform(&difference(a, input)));
                assert!(is_uniform(&difference(b, input)));
            }
            let sum = |a: &[u8], b: &[u8]| {
                let mut sum = a.to_vec();
                ring_bytes::add(Ring::U32, &mut sum, b);
                sum
            };
            assert_eq!(sum(a, b), sum(&inputs[one], &inputs[other]));
        }
        // The control: a node that is alone among them has no secret left.
        let remaining = without_known_masks(&shares, &round, &[*one])?;
        assert_eq!(remaining, [inputs[one].clone()]);
    }
    Ok(())
}

/// Weights that travel beside a masked update, in the clear, tell how much data each node has. Here
/// they are masked like the update. That the mean is weighted as it should be is shown elsewhere.
#[test]
fn neither_counters_nor_updates_travel_in_the_clear() -> Result<()> {
    const PARAMETERS: usize = 2_000;
    let examples = [735_857, 1_193_046, 611_953];
    let kits = Kits::of_zeros(3, PARAMETERS, 1_200_000)?;
    let contributions = drawn(&examples, PARAMETERS);
    let plain: Vec<_> = contributions
        .iter()
        .map(|one| encoded(&kits, one, &[]))
        .collect();
    let round = Round::run(&kits, contributions.clone())?;
    let seen = round.transcript();
    assert!(seen.len() > 3 * 4 * PARAMETERS);

    // Needles have two words at least: one word is found by chance, in 15,000 runs or so.
    let narrow = |counter: u64| u32::try_from(counter).unwrap().to_le_bytes();
    for ((update, counters), plain) in contributions.iter().zip(&plain) {
        let words = [
            counters.tallies[0],
            counters.tallies[1],
            counters.tallies[2],
        ]
        .map(narrow);
        for pair in words.windows(2).map(<[_]>::concat) {
            assert!(!contains(&seen, &pair), "{pair:?} in the clear");
            assert!(contains(plain, &pair), "the control");
        }
        let floats: Vec<u8> = update.iter().flat_map(|u| u.to_le_bytes()).collect();
        for pair in floats.as_chunks::<8>().0 {
            assert!(!contains(&seen, pair), "an update in the clear");
        }
        let encoded = &plain[4 * fl_protocol::sim::HEADER_WORDS..];
        for pair in encoded.as_chunks::<8>().0 {
            assert!(!contains(&seen, pair), "an encoded update in the clear");
        }
        assert!(contains(plain, &encoded[..8]));
    }
    // The sum is not a secret: it is what the round is for.
    let total: u64 = examples.iter().sum();
    assert!(contains(&round.result, &narrow(total)));
    Ok(())
}
