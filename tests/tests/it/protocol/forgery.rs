//! A relay that publishes another sum than the participants agreed on is caught, whatever else it
//! makes fit.
//!
//! Every forgery here comes with the chunk root and the model that follow from it, so that nothing
//! but the tags can tell.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::round::training::{Averaged, average};
use fl_protocol::round::{Check, CheckedOutcome, Head, Outcome, Refusal, Verifier};
use fl_protocol::sim::HEADER_WORDS;
use fl_protocol::wire::{self, RelayFrame};
use fl_shaders::{Ring, Tag};
use fl_tests::federation::Kits;
use fl_tests::federation::memory::{Round, drawn, sums_of};

const PARAMETERS: usize = 600;
const WORD: usize = 4;

/// What the relay published.
fn published(round: &Round) -> Result<Outcome> {
    for (_, bytes) in &round.sent {
        if let RelayFrame::Outcome(outcome) = wire::decode(bytes)? {
            return Ok(outcome);
        }
    }
    anyhow::bail!("no outcome")
}

/// What a node says to `outcome` with `body`, for which root and model are made to fit.
fn forged(
    kits: &Kits,
    round: &Round,
    mut outcome: Outcome,
    body: &[u8],
    verifier: &impl Verifier,
) -> Result<Averaged, Refusal> {
    let manifest = &kits.relay.manifest;
    let (plan, head) = (manifest.fixed_point(), Head::start(manifest));
    let base = kits.relay.initial().unwrap();
    outcome.root = ChunkHashes::of(body).root();
    let addends = manifest.addends(&outcome.parts.nodes(manifest));
    if let Ok(averaged) = average(body, &base, plan, addends, head, outcome.ctx) {
        outcome.model = averaged.head.model;
    }
    CheckedOutcome::verify(
        outcome,
        None,
        manifest,
        &head,
        round.unix_s(),
        &BTreeSet::new(),
    )?
    .average(body, &base, plan, verifier)
}

/// `body` with the word at `index` changed.
fn with_word(body: &[u8], index: usize, change: impl FnOnce(i32) -> i32) -> Vec<u8> {
    let mut body = body.to_vec();
    let word = &mut body[WORD * index..WORD * (index + 1)];
    let value = change(i32::from_le_bytes((&*word).try_into().unwrap()));
    word.copy_from_slice(&value.to_le_bytes());
    body
}

fn map_words(body: &[u8], map: impl Fn(i32) -> i32) -> Vec<u8> {
    let (words, _) = body.as_chunks::<WORD>();
    let words = words.iter().map(|le| map(i32::from_le_bytes(*le)));
    words.flat_map(i32::to_le_bytes).collect()
}

/// Believes everything.
struct Credulous;

impl Verifier for Credulous {
    type Check = Self;

    fn begin(&self, _: Digest, _: Ring, _: usize) -> Self {
        Self
    }
}

impl Check for Credulous {
    fn add(&mut self, _: &[u8]) {}

    fn holds(self, _: &BTreeSet<NodeId>, _: Tag) -> bool {
        true
    }
}

#[test]
fn a_sum_that_is_not_the_participants_is_refused_by_its_tags() -> Result<()> {
    let kits = Kits::of_zeros(4, PARAMETERS, 1_000)?;
    let contributions = || drawn(&[10, 20, 30, 40], PARAMETERS);
    let (round, other) = (
        Round::run(&kits, contributions())?,
        Round::run(&kits, contributions())?,
    );
    let (outcome, verifier) = (published(&round)?, kits.verifier()?);
    let honest = forged(&kits, &round, outcome.clone(), &round.result, &verifier)?;
    ensure!(honest.totals.examples == 100, "the control");

    let x = &round.result;
    let first = HEADER_WORDS;
    let forgeries = [
        ("X + 1", with_word(x, first, |x| x + 1)),
        (
            "X − 1 in the last word",
            with_word(x, first + PARAMETERS - 1, |x| x - 1),
        ),
        ("2X", map_words(x, |x| 2 * x)),
        ("−X", {
            let mut negated = map_words(x, i32::wrapping_neg);
            negated[..WORD * HEADER_WORDS].copy_from_slice(&x[..WORD * HEADER_WORDS]);
            negated
        }),
        ("zeros under an honest header", {
            let mut zeros = vec![0; x.len()];
            zeros[..WORD * HEADER_WORDS].copy_from_slice(&x[..WORD * HEADER_WORDS]);
            zeros
        }),
        ("X of another attempt", other.result.clone()),
        ("two words that have changed places", {
            let mut swapped = x.clone();
            for byte in 0..WORD {
                swapped.swap(WORD * first + byte, WORD * (first + 1) + byte);
            }
            swapped
        }),
        ("another Σn", with_word(x, 0, |n| n + 1)),
        ("other test examples", with_word(x, 1, |n| n + 1)),
        ("another loss", with_word(x, 3, |loss| loss - 1)),
    ];
    for (what, body) in forgeries {
        let refusal = forged(&kits, &round, outcome.clone(), &body, &verifier);
        ensure!(matches!(refusal, Err(Refusal::Tag)), "{what}: {refusal:?}");
        // The control: without tags it would have been believed.
        let taken = forged(&kits, &round, outcome.clone(), &body, &Credulous);
        ensure!(taken.is_ok(), "{what}: {taken:?}");
    }

    let refusal = forged(&kits, &round, outcome.clone(), &vec![0; x.len()], &verifier);
    ensure!(matches!(refusal, Err(Refusal::Counters(_))), "{refusal:?}");
    let beyond = with_word(x, first + 7, |_| i32::MAX);
    let refusal = forged(&kits, &round, outcome, &beyond, &verifier);
    ensure!(
        matches!(refusal, Err(Refusal::OutOfRange { .. })),
        "{refusal:?}"
    );
    Ok(())
}

#[test]
fn tags_cannot_be_exchanged_between_attempts_or_nodes() -> Result<()> {
    let kits = Kits::of_zeros(3, PARAMETERS, 1_000)?;
    let contributions = || drawn(&[10, 20, 30], PARAMETERS);
    let (round, other) = (
        Round::run(&kits, contributions())?,
        Round::run(&kits, contributions())?,
    );
    let verifier = kits.verifier()?;
    let (outcome, foreign) = (published(&round)?, published(&other)?);

    // Zero with the tags of another attempt, and one signed sum taken from there.
    let mut exchanged = outcome.clone();
    exchanged.parts.clone_from(&foreign.parts);
    let refusal = forged(&kits, &round, exchanged, &other.result, &verifier);
    ensure!(matches!(refusal, Err(Refusal::Stale { .. })), "{refusal:?}");
    let mut doubled = outcome.clone();
    let sums = sums_of(&mut doubled);
    sums.extend(sums.clone());
    let twice = map_words(&round.result, |x| 2 * x);
    let refusal = forged(&kits, &round, doubled, &twice, &verifier);
    ensure!(
        matches!(refusal, Err(Refusal::Duplicate { .. })),
        "{refusal:?}"
    );

    // The relay, or another consortium's node, has no key that fits.
    let strangers = Kits::of_zeros(3, PARAMETERS, 1_000)?.verifier()?;
    let refusal = forged(&kits, &round, outcome, &round.result, &strangers);
    ensure!(matches!(refusal, Err(Refusal::Tag)), "{refusal:?}");
    Ok(())
}

#[test]
fn a_tag_tells_nothing_about_an_input() -> Result<()> {
    // The same inputs, three times: each node's tag share is another each time, and all are below
    // the modulus.
    let kits = Kits::of_zeros(3, PARAMETERS, 1_000)?;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let round = Round::run(&kits, drawn(&[10, 20, 30], PARAMETERS))?;
        for opened in sums_of(&mut published(&round)?) {
            let tag = opened.tag_share.tag;
            ensure!(tag.iter().all(|value| *value < (1 << 61) - 1));
            for value in tag {
                ensure!(seen.insert(value), "a value that came before");
            }
        }
    }
    Ok(())
}

#[test]
fn the_relays_kit_has_no_epoch_key() -> Result<()> {
    let kits = Kits::found(
        3,
        Ring::U32,
        1_000,
        fl_tests::federation::layout(6)?,
        vec![0.0; 6],
    )?;
    ensure!(kits.relay.epoch_key().is_err());
    let keys: Vec<_> = kits
        .nodes
        .iter()
        .map(|kit| kit.epoch_key())
        .collect::<Result<_, _>>()?;
    ensure!(
        keys.windows(2).all(|pair| pair[0] == pair[1]),
        "all nodes have the same"
    );
    Ok(())
}
