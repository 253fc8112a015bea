//! The linear part of a tag: [`fl_shaders::cpu::tag`] with SIMD, and one reduction a part instead
//! of one a word.

use fl_shaders::{Beta, Coefficients, Instructions, Ring, TAG_BLOCK, Tag, Word, Work, cpu};

const PAIR_BYTES: usize = size_of::<u64>();

/// Returns what the words of `part`, which begins at element `first`, an even one, and lies in one
/// block, add to the tag.
pub(crate) fn tag_in_block<W: Word>(
    with: Instructions,
    part: &[u8],
    first: usize,
    coefficients: Coefficients<'_>,
) -> Tag {
    debug_assert!(first.is_multiple_of(2), "coefficients come in pairs");
    let (pairs, odd) = part.split_at(part.len() - part.len() % (2 * W::BYTES));
    let beta = coefficients.beta.pairs();
    let beta = beta.map(|limbs| &limbs[first % TAG_BLOCK / 2..]);
    let linear = match W::RING {
        Ring::U32 => Narrow::tag(with, pairs, beta),
        Ring::U64 => Wide::tag(with, pairs, beta),
    };
    let odd: Vec<W> = odd.chunks_exact(W::BYTES).map(W::read).collect();
    let last = (first + pairs.len() / W::BYTES) as u64;
    coefficients.alpha[first / TAG_BLOCK] * linear + cpu::tag(&odd, last, coefficients)
}

/// Sums of fewer than 2^31 numbers of 64 bits, one sum for each limb of the coefficients. Longer
/// than 64 bits, they are held as what is left of them modulo 2^64, and as the sums of the numbers'
/// high halves, rounded down.
#[derive(Clone, Copy, Default)]
struct TagSums {
    wrapped: [u64; Beta::LIMBS],
    high: [i64; Beta::LIMBS],
}

impl TagSums {
    #[inline(always)]
    fn add_signed(&mut self, limb: usize, number: i64) {
        self.wrapped[limb] = self.wrapped[limb].wrapping_add(number.cast_unsigned());
        self.high[limb] += number >> 32;
    }

    #[inline(always)]
    fn add(&mut self, limb: usize, number: u64) {
        self.wrapped[limb] = self.wrapped[limb].wrapping_add(number);
        self.high[limb] += (number >> 32).cast_signed();
    }

    fn tag(&self) -> Tag {
        let sum = |limb: usize| {
            let high = self.high[limb];
            // The sum of the low halves, which is below 2^63.
            let low = self.wrapped[limb].wrapping_sub(high.cast_unsigned() << 32);
            (i128::from(high) << 32) + i128::from(low)
        };
        // Sums are below 2^94.
        Tag::from_integers([0, 2].map(|low| sum(low) + (sum(low + 1) << Beta::LIMB_BITS)))
    }
}

/// The inner product of words of 32 bits.
struct Narrow<'a> {
    words: &'a [[u8; PAIR_BYTES]],
    beta: [&'a [u64]; Beta::LIMBS],
}

impl<'a> Narrow<'a> {
    fn tag(with: Instructions, words: &'a [u8], beta: [&'a [u64]; Beta::LIMBS]) -> Tag {
        let (words, _) = words.as_chunks();
        with.run(Self { words, beta }).tag()
    }
}

impl Work for Narrow<'_> {
    type Output = TagSums;

    #[inline(always)]
    fn work(self) -> TagSums {
        let mut sums = TagSums::default();
        for (words, pairs) in self.words.iter().zip(zipped(self.beta)) {
            let words = u64::from_le_bytes(*words);
            for (limb, pair) in pairs.into_iter().enumerate() {
                // Two products of at most 2^31 · (2^31 − 1).
                let even = low_signed(words) * low_signed(pair);
                let odd = high_signed(words) * high_signed(pair);
                sums.add_signed(limb, even + odd);
            }
        }
        sums
    }
}

/// The inner product of words of 64 bits, with their halves apart.
struct Wide<'a> {
    words: &'a [[[u8; PAIR_BYTES]; 2]],
    beta: [&'a [u64]; Beta::LIMBS],
}

impl<'a> Wide<'a> {
    fn tag(with: Instructions, words: &'a [u8], beta: [&'a [u64]; Beta::LIMBS]) -> Tag {
        let (words, _) = words.as_chunks().0.as_chunks();
        let (low, high) = with.run(Self { words, beta });
        low.tag() + high.tag() * Tag::from_integers([1 << 32; 2])
    }
}

impl Work for Wide<'_> {
    /// The sums of the low halves, and of the high halves.
    type Output = (TagSums, TagSums);

    #[inline(always)]
    fn work(self) -> (TagSums, TagSums) {
        let (mut low, mut high) = (TagSums::default(), TagSums::default());
        for (words, pairs) in self.words.iter().zip(zipped(self.beta)) {
            let [even, odd] = words.map(u64::from_le_bytes);
            for (limb, pair) in pairs.into_iter().enumerate() {
                // Two products of at most (2^32 − 1) · (2^31 − 1).
                let product = low_half(even) * low_half(pair) + low_half(odd) * (pair >> 32);
                low.add(limb, product);
                // Two products of at most 2^31 · (2^31 − 1).
                let even = high_signed(even) * low_signed(pair);
                let odd = high_signed(odd) * high_signed(pair);
                high.add_signed(limb, even + odd);
            }
        }
        (low, high)
    }
}

/// All limbs of a pair of coefficients at a time.
#[inline(always)]
fn zipped([a, b, c, d]: [&[u64]; Beta::LIMBS]) -> impl Iterator<Item = [u64; Beta::LIMBS]> {
    let zipped = a.iter().zip(b).zip(c).zip(d);
    zipped.map(
        #[inline(always)]
        |(((a, b), c), d)| [*a, *b, *c, *d],
    )
}

#[inline(always)]
fn low_half(pair: u64) -> u64 {
    pair & u64::from(u32::MAX)
}

#[inline(always)]
fn low_signed(pair: u64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    let low = pair as i32;
    low.into()
}

#[inline(always)]
fn high_signed(pair: u64) -> i64 {
    pair.cast_signed() >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^61 − 2, the largest coefficient, and others whose limbs are all ones or all zeros.
    const VALUES: [i128; 7] = [-1, 0, 1, (1 << 31) - 1, 1 << 31, 1 << 60, -1 << 31];

    /// The tag of a whole vector.
    fn tag<W: Word>(with: Instructions, vector: &[u8], coefficients: Coefficients<'_>) -> Tag {
        let blocks = vector.chunks(TAG_BLOCK * W::BYTES).enumerate();
        blocks
            .map(|(i, block)| tag_in_block::<W>(with, block, i * TAG_BLOCK, coefficients))
            .sum()
    }

    fn assert_equals_the_twin<W: Word>(words: &[i64], beta: &Beta) {
        let words: Vec<W> = words.iter().map(|word| W::from_signed(*word)).collect();
        let bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| word.to_le_bytes().as_ref().to_vec())
            .collect();
        let alpha = [Tag::from_integers([3, -5]), Tag::from_integers([-1, 7])];
        let alpha = &alpha;
        let coefficients = Coefficients { alpha, beta };
        let whole = cpu::tag(&words, 0, coefficients);
        let first = TAG_BLOCK + 128;
        let expected = cpu::tag(&words[..300], first as u64, coefficients);
        let part = &bytes[..300 * W::BYTES];
        for with in Instructions::available() {
            assert_eq!(tag::<W>(with, &bytes, coefficients), whole, "{with:?}");
            let part = |first| tag_in_block::<W>(with, part, first, coefficients);
            assert_eq!(part(first), expected, "{with:?}");
            // Negative control.
            assert_ne!(part(first + 2), expected, "{with:?}");
        }
    }

    #[test]
    fn equals_the_twin_for_every_pair_of_extremes_and_every_length() {
        let pair = |i: usize| Tag::from_integers([VALUES[i % 7], VALUES[i / 7 % 7]]);
        let beta = Beta::new((0..TAG_BLOCK).map(pair));
        let narrow = [i32::MIN, i32::MAX, -1, 0, 1].map(i64::from);
        let wide = [i64::MIN, i64::MAX, -1, 0, 1 << 32, u32::MAX.into()];
        for len in (300..310).chain(TAG_BLOCK - 2..TAG_BLOCK + 3) {
            let narrow: Vec<_> = narrow.iter().copied().cycle().take(len).collect();
            let wide: Vec<_> = wide.iter().copied().cycle().take(len).collect();
            assert_equals_the_twin::<u32>(&narrow, &beta);
            assert_equals_the_twin::<u64>(&wide, &beta);
        }
    }

    #[test]
    fn sums_of_the_largest_products_do_not_overflow() {
        let alpha = &[Tag::from_integers([1, 1])];
        for value in VALUES.map(|value| Tag::from_integers([value; 2])) {
            let beta = &Beta::new((0..TAG_BLOCK).map(|_| value));
            let coefficients = Coefficients { alpha, beta };
            let expected = |word: i64| value * Tag::from_integers([i128::from(word) << 16; 2]);
            for with in Instructions::available() {
                for word in [i32::MIN, i32::MAX, -1] {
                    let bytes = word.to_le_bytes().repeat(TAG_BLOCK);
                    let tag = tag::<u32>(with, &bytes, coefficients);
                    assert_eq!(tag, expected(word.into()), "{with:?}");
                }
                for word in [i64::MIN, i64::MAX, -1] {
                    let bytes = word.to_le_bytes().repeat(TAG_BLOCK);
                    let tag = tag::<u64>(with, &bytes, coefficients);
                    assert_eq!(tag, expected(word), "{with:?}");
                }
            }
        }
    }
}
