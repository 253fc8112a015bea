//! The linear part of a tag: [`fl_shaders::cpu::tag`] on all cores, with one reduction a block instead of one a word.

use fl_shaders::{Coefficients, TAG_BLOCK, Tag, Word};
use rayon::prelude::*;

use crate::words::read_word;

/// 2^64 modulo 2^61 − 1.
const HIGH_WORD: i128 = 8;

/// The tag of a whole vector of little-endian words.
pub(crate) fn tag<W: Word>(vector: &[u8], coefficients: Coefficients<'_>) -> Tag {
    vector
        .par_chunks(TAG_BLOCK * W::BYTES)
        .enumerate()
        .map(|(block, words)| tag_in_block::<W>(words, block * TAG_BLOCK, coefficients))
        .sum()
}

/// What the words of `part`, which begins at element `first` and lies in one block, add to the tag.
pub(super) fn tag_in_block<W: Word>(
    part: &[u8],
    first: usize,
    coefficients: Coefficients<'_>,
) -> Tag {
    let beta = &coefficients.beta[first % TAG_BLOCK..];
    let words = part.chunks_exact(W::BYTES).map(read_word::<W>);
    let mut low = [0_u128; 2];
    let mut sum = [0_i128; 2];
    for (word, beta) in words.zip(beta) {
        let (word, beta) = (i128::from(word.to_signed()), beta.values());
        for copy in 0..2 {
            let product = i128::from(beta[copy]) * word;
            if W::BYTES == 4 {
                // 2^16 products below 2^92.
                sum[copy] += product;
            } else {
                // Products below 2^124 leave too little room, so their halves are added up apart.
                #[expect(clippy::cast_possible_truncation, reason = "the low half")]
                let half = product as u64;
                low[copy] += u128::from(half);
                sum[copy] += product >> 64;
            }
        }
    }
    let mut tag = Tag::from_integers(sum);
    if W::BYTES == 8 {
        // Below 2^80, so it is the same number as an `i128`.
        tag = tag * Tag::from_integers([HIGH_WORD; 2])
            + Tag::from_integers(low.map(u128::cast_signed));
    }
    coefficients.alpha[first / TAG_BLOCK] * tag
}
