//! Federated averaging of an opened sum. Relay and nodes each do it themselves and must agree on
//! every bit.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use fl_shaders::cpu::dequantize;
use fl_shaders::{Addends, Counters, FixedPoint, Instructions, MeanScale, Ring, Word, Work};

use crate::digest::{CHUNK_BYTES, ChunkHashes, Digest, ModelHasher, chunk_hash};
use crate::ring_bytes;
use crate::round::head::Head;
use crate::round::refusal::Refusal;

/// Sums of squares that are made side by side, since each addition waits for the one before.
const LANES: usize = 8;

/// Coordinates that are decoded at a time: what fits into the innermost cache.
const PIECE: usize = 4096;

/// A sum that was checked and averaged.
#[derive(Clone, Debug)]
pub struct Averaged {
    /// The next global model, in the order of the layout.
    pub model: Arc<Vec<f32>>,
    /// The state after the round.
    pub head: Head,
    /// [`ChunkHashes::root`] of the sum.
    pub root: Digest,
    /// Sums of the participants' counters.
    pub totals: Counters,
    /// Number of participants.
    pub nodes: u32,
    /// L2 norm of what the round adds to the model.
    pub moved: f64,
}

/// A sum that is checked and averaged onto `base` while its chunks arrive, in order.
///
/// Each chunk is read once, while it is in the cache, and need not be kept.
#[derive(Debug)]
pub struct Averaging<B> {
    plan: FixedPoint,
    base: B,
    addends: Addends,
    /// Bytes taken.
    taken: usize,
    chunks: Vec<Digest>,
    /// What the header says, once it is here.
    header: Option<(Counters, Decoding)>,
    model: Vec<f32>,
    model_hash: ModelHasher,
    /// Squares of what was added to the model, in sum.
    squares: f64,
    refused: Option<Refusal>,
}

/// How the coordinates of a sum are read.
#[derive(Clone, Copy, Debug)]
struct Decoding {
    scale: MeanScale,
    /// Greatest magnitude of an honest sum.
    limit: u64,
}

impl<B> Averaging<B>
where
    B: Deref<Target: AsRef<[f32]>>,
{
    /// Begins the average of the inputs of these participants, in the place of `spare`: memory
    /// that is reused needs not be found and cleared by the system.
    pub fn new(plan: &FixedPoint, base: B, addends: Addends, mut spare: Vec<f32>) -> Self {
        spare.clear();
        spare.reserve_exact(base.as_ref().len());
        Self {
            plan: *plan,
            base,
            addends,
            taken: 0,
            chunks: Vec::new(),
            header: None,
            model: spare,
            model_hash: ModelHasher::default(),
            squares: 0.0,
            refused: None,
        }
    }

    /// Takes the next chunk of the sum: [`CHUNK_BYTES`] of it, unless it is the last one. Returns
    /// whether all words so far are ones that honest participants can add up to.
    pub fn add(&mut self, chunk: &[u8]) -> bool {
        self.chunks.push(chunk_hash(chunk));
        if self.refused.is_none() {
            let averaged = match self.plan.ring() {
                Ring::U32 => self.average::<u32>(chunk),
                Ring::U64 => self.average::<u64>(chunk),
            };
            self.refused = averaged.err();
        }
        self.taken += chunk.len();
        self.refused.is_none()
    }

    /// [`ChunkHashes::root`] of what was taken so far.
    pub fn root(&self) -> Digest {
        ChunkHashes::from_list(self.chunks.clone()).root()
    }

    /// The average, and the state after the round, which was run in the context `ctx` from `head`
    /// on.
    ///
    /// # Errors
    ///
    /// [`Refusal::OutOfRange`] and [`Refusal::Counters`] for sums that honest participants cannot
    /// add up to.
    pub fn finish(self, head: Head, ctx: Digest) -> Result<Averaged, Refusal> {
        let root = self.root();
        let complete = self.model.len() == self.base.as_ref().len();
        match (self.refused, self.header) {
            (Some(refusal), _) => Err(refusal),
            (None, Some((totals, _))) if complete => Ok(Averaged {
                model: Arc::new(self.model),
                head: head.next(ctx, root, self.model_hash.finish()),
                root,
                totals,
                nodes: self.addends.nodes,
                moved: self.squares.sqrt(),
            }),
            _ => Err(wrong_length(self.taken)),
        }
    }

    fn average<W: Word>(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        if !self.taken.is_multiple_of(CHUNK_BYTES) {
            return Err(wrong_length(self.taken + chunk.len()));
        }
        let (decoding, coordinates) = match self.header {
            Some((_, decoding)) => (decoding, chunk),
            None => {
                let parts = chunk.split_at_checked(self.plan.header_words() * W::BYTES);
                let (words, coordinates) = parts.ok_or_else(|| wrong_length(chunk.len()))?;
                let (totals, decoding) = self.read_header::<W>(words)?;
                self.header = Some((totals, decoding));
                (decoding, coordinates)
            }
        };

        let done = self.model.len();
        let base = &self.base.as_ref()[done..];
        let (whole, rest) = coordinates.split_at(coordinates.len() - coordinates.len() % W::BYTES);
        let base = base
            .get(..whole.len() / W::BYTES)
            .filter(|_| rest.is_empty());
        let base = base.ok_or_else(|| wrong_length(self.taken + chunk.len()))?;
        let averaged = Instructions::best().run(Mean::<W> {
            sums: whole,
            decoding,
            base,
            model: &mut self.model,
            word: PhantomData,
        });
        self.squares += averaged.map_err(|(at, value)| Refusal::OutOfRange {
            index: (done + at) as u64,
            value,
            limit: decoding.limit,
        })?;
        self.model_hash.add(&self.model[done..]);
        Ok(())
    }

    fn read_header<W: Word>(&self, words: &[u8]) -> Result<(Counters, Decoding), Refusal> {
        let mut header = vec![W::default(); self.plan.header_words()];
        ring_bytes::read(words, &mut header);
        let totals = Counters::from_header(&header, &self.plan, self.addends)
            .map_err(|error| Refusal::Counters(error.to_string()))?;
        let scale = MeanScale::new(&self.plan, totals.examples)
            .map_err(|error| Refusal::Counters(error.to_string()))?;
        let limit = coordinate_limit(&self.plan, self.addends.nodes, totals.examples);
        Ok((totals, Decoding { scale, limit }))
    }
}

/// The mean of a chunk, added to its part of the old model.
struct Mean<'a, W> {
    /// Little-endian words, one for each parameter in `base`.
    sums: &'a [u8],
    decoding: Decoding,
    base: &'a [f32],
    /// Where the new parameters go.
    model: &'a mut Vec<f32>,
    word: PhantomData<W>,
}

impl<W: Word> Work for Mean<'_, W> {
    /// The sum of the squares of what is added. Fails on the first value that is out of its range,
    /// and where it is.
    type Output = Result<f64, (usize, i64)>;

    #[inline(always)]
    fn work(self) -> Self::Output {
        let mut sums = [W::default(); PIECE];
        let mut mean = [0.0; PIECE];
        let mut squares = [0.0; LANES];
        let pieces = self.sums.chunks(PIECE * W::BYTES);
        for (piece, (base, bytes)) in self.base.chunks(PIECE).zip(pieces).enumerate() {
            let (sums, mean) = (&mut sums[..base.len()], &mut mean[..base.len()]);
            ring_bytes::read(bytes, sums);
            let limit = self.decoding.limit;
            let beyond = |word: &W| word.to_signed().unsigned_abs() > limit;
            // All of them, for a loop that may end early is not vectorised.
            if sums.iter().fold(false, |any, word| any | beyond(word)) {
                let at = sums.iter().position(beyond).unwrap_or_default();
                return Err((piece * PIECE + at, sums[at].to_signed()));
            }
            dequantize(sums, self.decoding.scale, mean);
            let next = base.iter().zip(&*mean).map(|(base, mean)| base + mean);
            self.model.extend(next);
            for mean in mean.chunks(LANES) {
                for (sum, mean) in squares.iter_mut().zip(mean) {
                    *sum += f64::from(*mean) * f64::from(*mean);
                }
            }
        }
        Ok(squares.iter().sum())
    }
}

fn wrong_length(bytes: usize) -> Refusal {
    Refusal::Counters(format!(
        "{bytes} bytes, which is another length than the model's"
    ))
}

/// The most that a coordinate can be: every participant's part is at most B · n_i / n_max, rounded
/// up.
fn coordinate_limit(plan: &FixedPoint, nodes: u32, examples: u64) -> u64 {
    let weighted = u128::from(plan.bound()) * u128::from(examples);
    let most = weighted.div_ceil(u128::from(plan.examples_max())) + u128::from(nodes);
    u64::try_from(most).unwrap_or(u64::MAX)
}

/// Averages a sum that is here whole; see [`Averaging`].
///
/// # Errors
///
/// Those of [`Averaging::finish`].
pub fn average(
    body: &[u8],
    base: &[f32],
    plan: &FixedPoint,
    addends: Addends,
    head: Head,
    ctx: Digest,
) -> Result<Averaged, Refusal> {
    let mut averaging = Averaging::new(plan, base, addends, Vec::new());
    for chunk in body.chunks(CHUNK_BYTES) {
        averaging.add(chunk);
    }
    averaging.finish(head, ctx)
}

#[cfg(test)]
mod tests {
    use fl_shaders::Parameters;

    use super::*;
    use crate::sim::Consortium;

    /// The new parameters that these words make of 0.5, 1.5, …, with each set of instructions.
    fn means<W: Word>(words: &[W], limit: u64) -> Vec<Result<Vec<f32>, (usize, i64)>> {
        let plan = FixedPoint::new(Parameters {
            ring: W::RING,
            clip: 1.0,
            fraction_bits: 23,
            nodes_max: 128,
            examples_max: 1000,
            tallies: 0,
        });
        let plan = plan.unwrap();
        let decoding = Decoding {
            scale: MeanScale::new(&plan, 2345).unwrap(),
            limit,
        };
        let base: Vec<_> = (0..words.len()).map(|k| k as f32 + 0.5).collect();
        let bytes: Vec<_> = words.iter().map(|word| word.to_le_bytes()).collect();
        let bytes: Vec<u8> = bytes
            .iter()
            .flat_map(|bytes| bytes.as_ref())
            .copied()
            .collect();
        let mean = |with: Instructions| {
            let mut model = Vec::new();
            let work = Mean::<W> {
                sums: &bytes,
                decoding,
                base: &base,
                model: &mut model,
                word: PhantomData,
            };
            let squares = with.run(work)?;
            let added = |word: &W| {
                let mut mean = [0.0];
                dequantize(&[*word], decoding.scale, &mut mean);
                f64::from(mean[0]).powi(2)
            };
            let expected: f64 = words.iter().map(added).sum();
            assert!((squares - expected).abs() <= 1e-12 * expected);
            Ok(model)
        };
        let plainly = base.iter().zip(words).map(|(base, word)| {
            let mut mean = [0.0];
            dequantize(&[*word], decoding.scale, &mut mean);
            base + mean[0]
        });
        let plainly: Vec<_> = plainly.collect();
        let means: Vec<_> = Instructions::available().map(mean).collect();
        for mean in means.iter().flatten() {
            assert_eq!(*mean, plainly);
        }
        means
    }

    /// Values of all magnitudes, in both directions, more than two pieces of them.
    fn words<W: Word>(bits: u32) -> Vec<W> {
        let value = |k: u32| {
            let random = u64::from(k + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            random.cast_signed() >> (63 - bits + k % bits)
        };
        (0..9_000).map(|k| W::from_signed(value(k))).collect()
    }

    #[test]
    fn a_sum_has_no_more_examples_than_its_participants_may_have_together() {
        let consortium = Consortium::with(4, |file| {
            for (node, figure) in file.nodes.iter_mut().zip([300, 20, 10, 700]) {
                node.examples_max = figure;
            }
        });
        let manifest = &consortium.manifest;
        let (plan, head) = (manifest.fixed_point(), Head::start(manifest));
        let averaged = |nodes: &[usize], examples: i64, coordinate: i64| {
            let header = [examples, 0, 0, 0, 0, 0, 0, 0];
            let words = [&header[..], &[coordinate, 0, 0, 0, 0, 0]].concat();
            let words = words.into_iter().map(u32::from_signed);
            let body: Vec<_> = words.flat_map(|word| word.to_le_bytes()).collect();
            let nodes: Vec<_> = nodes.iter().map(|k| consortium.id(*k)).collect();
            let addends = manifest.addends(&nodes);
            average(&body, &[0.0; 6], plan, addends, head, Digest([3; 32]))
        };
        for (nodes, together) in [(&[0, 1, 2][..], 330), (&[0, 1, 2, 3], 1_030), (&[1, 2], 30)] {
            assert!(averaged(nodes, together, 0).is_ok(), "{nodes:?}");
            let beyond = averaged(nodes, together + 1, 0);
            assert!(matches!(beyond, Err(Refusal::Counters(_))), "{nodes:?}");
        }
        // The scale is the largest figure of the manifest, whoever takes part:
        // ⌈2^23 · 330 / 700⌉ + 3.
        let limit = 3_954_633;
        assert!(averaged(&[0, 1, 2], 330, limit).is_ok());
        let beyond = averaged(&[0, 1, 2], 330, -limit - 1);
        assert!(matches!(beyond, Err(Refusal::OutOfRange { .. })));
    }

    #[test]
    fn every_set_of_instructions_averages_to_the_same_bits() {
        let narrow = means(&words::<u32>(30), 1 << 30);
        let wide = means(&words::<u64>(58), 1 << 58);
        assert!(narrow.iter().chain(&wide).all(Result::is_ok));
    }

    #[test]
    fn every_set_of_instructions_finds_the_first_word_out_of_range() {
        let mut words = words::<u32>(30);
        words[PIECE + 9] = u32::from_signed(-(1 << 30) - 1);
        words[PIECE + 11] = u32::from_signed(1 << 30 | 1);
        for mean in means(&words, 1 << 30) {
            assert_eq!(mean, Err((PIECE + 9, -(1 << 30) - 1)));
        }
    }
}
