//! Subtracts shares from a vector: what a node keeps of its input.

use super::chacha20;
use crate::Word;

/// `vector −= Σ PRG(key)` over `keys`, where `vector[0]` is element `first_element` of the whole.
pub fn split<W: Word>(vector: &mut [W], first_element: u64, keys: &[[u8; 32]]) {
    for key in keys {
        for (element, share) in vector.iter_mut().zip(chacha20::share(key, first_element)) {
            *element = element.wrapping_sub(share);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::sum;

    fn chunks_agree_and_sum_undoes<W: Word>(vector: &[W], cut: usize, keys: &[[u8; 32]]) {
        let mut whole = vector.to_vec();
        split(&mut whole, 1_000, keys);

        let mut parts = vector.to_vec();
        let (front, back) = parts.split_at_mut(cut);
        split(front, 1_000, keys);
        split(back, 1_000 + cut as u64, keys);
        assert_eq!(parts, whole);

        // Negative control: a share from another offset is another share.
        let mut shifted = vector.to_vec();
        split(&mut shifted, 1_001, keys);
        assert_ne!(shifted, whole);

        sum(&mut whole, 1_000, keys);
        assert_eq!(whole, vector);
    }

    proptest! {
        #[test]
        fn sum_undoes_split_in_any_chunks(
            vector in prop::collection::vec(any::<u64>(), 8..80),
            cut in 0_usize..8,
            keys in prop::collection::vec(any::<[u8; 32]>(), 1..5),
        ) {
            chunks_agree_and_sum_undoes(&vector, cut, &keys);
            let narrow: Vec<u32> = vector.iter().map(|&word| u32::from_signed(word.to_signed())).collect();
            chunks_agree_and_sum_undoes(&narrow, cut, &keys);
        }
    }
}
