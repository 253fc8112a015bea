//! How sums are tagged.

use anyhow::{Result, ensure};
use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::epoch_key_check;
use fl_protocol::round::peer::TagShare;
use fl_shaders::{Ring, Tag, cpu};
use fl_sharing::{EpochKey, Seed};
use serde::Deserialize;

use super::{bytes, parse};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    epoch_key: String,
    epoch_key_check: String,
    ctx: String,
    elements: usize,
    nodes: Vec<String>,
    first_coefficients: FirstCoefficients,
    blinds: Vec<[u64; 2]>,
    linear: Vec<[u64; 2]>,
    sum: [u64; 2],
    seed: String,
    mask_of_the_seed: [u64; 2],
    tag_share: [u64; 2],
    nonce: String,
    commitment: String,
    mistaken_commitments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstCoefficients {
    alpha: [u64; 2],
    beta: [u64; 2],
}

/// The vector of node `k`, as the script makes it.
fn vector(k: i64, elements: usize) -> Result<Vec<i32>> {
    let mut vector = Vec::with_capacity(elements);
    for e in 0..i64::try_from(elements)? {
        vector.push(i32::try_from((e * 7919 + 31 * k) % 2001 - 1000)?);
    }
    vector[65_535] = -(1 << 23);
    vector[65_536] = (1 << 23) - i32::try_from(k)?;
    Ok(vector)
}

#[test]
fn tags_are_made_and_checked_as_the_protocol_says() -> Result<()> {
    let known: Known = parse(include_str!("../../../../vectors/tags.json"))?;
    let key = bytes(&known.epoch_key)?;
    assert_eq!(epoch_key_check(&key).to_hex(), known.epoch_key_check);
    let ctx = bytes(&known.ctx)?;
    let tag_key = EpochKey::from_bytes(key).tag_key(&ctx, known.elements);
    let coefficients = tag_key.coefficients();
    assert_eq!(
        coefficients.alpha[0].values(),
        known.first_coefficients.alpha
    );
    assert_eq!(
        coefficients.beta.coefficient(0).values(),
        known.first_coefficients.beta
    );

    let nodes: Vec<_> = known
        .nodes
        .iter()
        .map(|node| bytes(node))
        .collect::<Result<_>>()?;
    let mut sum = vec![0_i32; known.elements];
    for (k, node) in (0..).zip(&nodes) {
        let vector = vector(i64::try_from(k)?, known.elements)?;
        let words: Vec<_> = vector.iter().map(|x| x.cast_unsigned()).collect();
        assert_eq!(cpu::tag(&words, 0, coefficients).values(), known.linear[k]);
        assert_eq!(tag_key.blind(node).values(), known.blinds[k]);
        sum.iter_mut().zip(&vector).for_each(|(sum, x)| *sum += x);
    }
    let mut body: Vec<u8> = sum.iter().flat_map(|x| x.to_le_bytes()).collect();
    let fits = |body: &[u8]| {
        let tag_key = EpochKey::from_bytes(key).tag_key(&ctx, known.elements);
        let mut verification = tag_key.verify(Ring::U32);
        verification.add(body);
        Tag::new(known.sum).is_some_and(|tag| verification.holds(nodes.iter(), tag))
    };
    ensure!(fits(&body));
    // Negative control.
    body[4 * 65_536] ^= 1;
    ensure!(!fits(&body));

    let mask = Seed::from_bytes(bytes(&known.seed)?).tag_mask(&ctx);
    assert_eq!(mask.values(), known.mask_of_the_seed);
    Ok(())
}

#[test]
fn a_tag_share_is_committed_to_as_the_protocol_says() -> Result<()> {
    let known: Known = parse(include_str!("../../../../vectors/tags.json"))?;
    let share = TagShare {
        tag: known.tag_share,
        nonce: bytes(&known.nonce)?,
    };
    let (ctx, node) = (bytes(&known.ctx)?, bytes(&known.nodes[0])?);
    let commitment = share.commitment(Digest(ctx), NodeId(Digest(node)));
    assert_eq!(commitment.to_hex(), known.commitment);
    assert_eq!(known.mistaken_commitments.len(), 5);
    assert!(!known.mistaken_commitments.contains(&known.commitment));
    Ok(())
}
