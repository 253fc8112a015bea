//! Federated averaging of an opened sum. Relay and nodes each do it themselves and must agree on every bit.

use std::collections::BTreeSet;
use std::sync::Arc;

use fl_shaders::cpu::dequantize;
use fl_shaders::{Counters, FixedPoint, HEADER_WORDS, MeanScale, Ring, Tag, Word};

use super::chain::Chain;
use super::outcome::CheckedOutcome;
use super::participants::count;
use super::refusal::Refusal;
use crate::digest::{ChunkHashes, Digest, model_hash};
use crate::identity::NodeId;
use crate::words;

/// Coordinates that are decoded at a time: what fits into the innermost cache.
const PIECE: usize = 4096;

/// A sum that was checked and averaged.
#[derive(Clone, Debug)]
pub struct Averaged {
    /// The next global model, in the order of the layout.
    pub model: Arc<Vec<f32>>,
    /// The state after the round.
    pub chain: Chain,
    /// Sums of the participants' counters.
    pub totals: Counters,
    /// Number of participants.
    pub nodes: u32,
}

/// A sum that was opened, with all that it takes to tell whether it is the right one.
pub struct Opened<'a> {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Ring of the words.
    pub ring: Ring,
    /// Little-endian ring words, header first, each in the range of honest sums.
    pub sum: &'a [u8],
    /// Whose inputs it adds up.
    pub nodes: BTreeSet<NodeId>,
    /// Sum of the tag shares that they signed.
    pub tag: Tag,
}

/// Tells a sum that fits its tags from any other (the protocol, section 8). That takes a key that only nodes have, which
/// is none of this crate's business.
pub trait Verifier {
    /// Whether the sum fits the tags.
    fn verifies(&self, opened: &Opened<'_>) -> bool;
}

impl CheckedOutcome {
    /// Checks the bytes of X against the outcome and its tags, and averages them onto `base`, the model of the chain.
    ///
    /// # Errors
    /// [`Refusal::ResultRoot`] for other bytes than announced, whatever [`average`] refuses, [`Refusal::Tag`] for a
    /// sum that does not fit the tags, and [`Refusal::Averaged`] if the relay announced another model than comes out.
    pub fn average(
        &self,
        body: &[u8],
        base: &[f32],
        plan: &FixedPoint,
        verifier: &impl Verifier,
    ) -> Result<Averaged, Refusal> {
        let found = ChunkHashes::of(body).root();
        if found != self.root {
            return Err(Refusal::ResultRoot {
                announced: self.root,
                found,
            });
        }
        let nodes = self.nodes.len();
        let averaged = average(body, base, plan, nodes, self.chain, self.ctx, found)?;
        // Tags are of integers: they mean something only now that every word is known to be in its range.
        let opened = Opened {
            ctx: self.ctx,
            ring: plan.ring(),
            sum: body,
            nodes: self.nodes.clone(),
            tag: self.tag,
        };
        if !verifier.verifies(&opened) {
            return Err(Refusal::Tag);
        }
        let computed = averaged.chain.model;
        if computed != self.announced {
            return Err(Refusal::Averaged {
                announced: self.announced,
                computed,
            });
        }
        Ok(averaged)
    }
}

/// Checks the sum `body` of `nodes` participants, and adds their mean update to `base`.
///
/// `body` holds little-endian ring words, header first, as long as `base` says; `root` is its chunk root.
///
/// # Errors
/// [`Refusal::OutOfRange`] and [`Refusal::Counters`] for sums that honest participants cannot add up to.
pub fn average(
    body: &[u8],
    base: &[f32],
    plan: &FixedPoint,
    nodes: usize,
    chain: Chain,
    ctx: Digest,
    root: Digest,
) -> Result<Averaged, Refusal> {
    let nodes = count(nodes);
    let (model, totals) = match plan.ring() {
        Ring::U32 => next_model::<u32>(body, base, plan, nodes)?,
        Ring::U64 => next_model::<u64>(body, base, plan, nodes)?,
    };
    let chain = chain.next(ctx, root, model_hash(&model));
    Ok(Averaged {
        model: Arc::new(model),
        chain,
        totals,
        nodes,
    })
}

/// The most that a coordinate can be: every participant's part is at most B · n_i / n_max, rounded up.
fn coordinate_limit(plan: &FixedPoint, nodes: u32, examples: u64) -> u64 {
    let weighted = u128::from(plan.bound()) * u128::from(examples);
    let most = weighted.div_ceil(u128::from(plan.examples_max())) + u128::from(nodes);
    u64::try_from(most).unwrap_or(u64::MAX)
}

fn next_model<W: Word>(
    body: &[u8],
    base: &[f32],
    plan: &FixedPoint,
    nodes: u32,
) -> Result<(Vec<f32>, Counters), Refusal> {
    let word_bytes = plan.ring().word_bytes();
    let expected = (HEADER_WORDS + base.len()) * word_bytes;
    if body.len() != expected {
        let text = format!("{} bytes instead of {expected}", body.len());
        return Err(Refusal::Counters(text));
    }
    let (header, coordinates) = body.split_at(HEADER_WORDS * word_bytes);
    let mut counters = [W::default(); HEADER_WORDS];
    words::read(header, &mut counters);
    let totals = Counters::from_header(counters, plan, nodes)
        .map_err(|error| Refusal::Counters(error.to_string()))?;
    let scale = MeanScale::new(plan, totals.examples)
        .map_err(|error| Refusal::Counters(error.to_string()))?;
    let limit = coordinate_limit(plan, nodes, totals.examples);

    let mut model = Vec::with_capacity(base.len());
    let mut sums = [W::default(); PIECE];
    let mut mean = [0.0; PIECE];
    let pieces = base
        .chunks(PIECE)
        .zip(coordinates.chunks(PIECE * word_bytes));
    for (piece, (base, bytes)) in pieces.enumerate() {
        let (sums, mean) = (&mut sums[..base.len()], &mut mean[..base.len()]);
        words::read(bytes, sums);
        let beyond = |word: &W| word.to_signed().unsigned_abs() > limit;
        if sums.iter().any(beyond) {
            let at = sums.iter().position(beyond).unwrap_or_default();
            let index = (piece * PIECE + at) as u64;
            return Err(Refusal::OutOfRange {
                index,
                value: sums[at].to_signed(),
                limit,
            });
        }
        dequantize(sums, scale, mean);
        model.extend(base.iter().zip(&*mean).map(|(base, mean)| base + mean));
    }
    Ok((model, totals))
}
