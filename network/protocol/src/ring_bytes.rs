//! Ring elements as bulk bodies carry them: little-endian, added up in place.

use fl_shaders::{Ring, Word};

/// Decodes as many little-endian words as `words` holds.
#[inline(always)]
pub fn read<W: Word>(bytes: &[u8], words: &mut [W]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(W::BYTES)) {
        *word = W::read(bytes);
    }
}

/// Adds the words in `bytes` to those in `sum`, modulo 2^w. Both are little-endian and equally
/// long.
pub fn add(ring: Ring, sum: &mut [u8], bytes: &[u8]) {
    debug_assert_eq!(sum.len(), bytes.len());
    match ring {
        Ring::U32 => add_words::<u32>(sum, bytes),
        Ring::U64 => add_words::<u64>(sum, bytes),
    }
}

fn add_words<W: Word>(sum: &mut [u8], bytes: &[u8]) {
    let words = bytes.chunks_exact(W::BYTES);
    for (sum, word) in sum.chunks_exact_mut(W::BYTES).zip(words) {
        W::read(sum).wrapping_add(W::read(word)).write(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_and_do_not_carry_into_each_other() {
        let mut sum = [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
        add(Ring::U32, &mut sum, &[1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(sum, [0, 0, 0, 0, 3, 0, 0, 0]);
        let mut sum = [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
        add(Ring::U64, &mut sum, &[1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(sum, [0, 0, 0, 0, 4, 0, 0, 0]);
    }

    #[test]
    fn reading_is_little_endian() {
        let mut words = [0u32; 2];
        read(&[1, 2, 3, 4, 255, 255, 255, 255], &mut words);
        assert_eq!(words, [0x0403_0201, u32::MAX]);
    }
}
