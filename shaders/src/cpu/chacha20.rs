//! ChaCha20 (RFC 8439), addressed by the word (the protocol, section 4).
//!
//! Word e of a keystream is the little-endian word at byte 4e. It lies in block `e / 16`; the low
//! 32 bits of the block's number are the counter, the high 32 bits, its *stripe*, are the first
//! four bytes of the nonce. The other eight are zero. So one key makes 2^64 blocks, and any of them
//! alone.

use crate::Word;

/// Number of 32-bit words in a block.
pub const BLOCK_WORDS: usize = 16;

/// Number of rounds, counted as double rounds.
const DOUBLE_ROUNDS: usize = 10;
/// "expand 32-byte k", little-endian (RFC 8439, section 2.3).
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// The ChaCha20 block function (RFC 8439, section 2.3).
pub fn block(key: &[u8; 32], counter: u32, nonce: [u32; 3]) -> [u32; BLOCK_WORDS] {
    let mut initial = [0; BLOCK_WORDS];
    initial[..4].copy_from_slice(&CONSTANTS);
    for (word, bytes) in initial[4..12].iter_mut().zip(key.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    initial[12] = counter;
    initial[13..].copy_from_slice(&nonce);

    let mut state = initial;
    for _ in 0..DOUBLE_ROUNDS {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter_round(&mut state, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter_round(&mut state, a, b, c, d);
        }
    }
    std::array::from_fn(|i| state[i].wrapping_add(initial[i]))
}

/// The quarter round (RFC 8439, section 2.1).
fn quarter_round(state: &mut [u32; BLOCK_WORDS], a: usize, b: usize, c: usize, d: usize) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(12);
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(7);
}

/// The 32-bit words of a keystream, from word `first` on.
pub fn words(key: &[u8; 32], first: u64) -> impl Iterator<Item = u32> {
    #[expect(clippy::cast_possible_truncation, reason = "below 16")]
    let skip = (first % BLOCK_WORDS as u64) as usize;
    (first / BLOCK_WORDS as u64..)
        .flat_map(|number| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "stripe and counter are the halves"
            )]
            let (stripe, counter) = ((number >> 32) as u32, number as u32);
            block(key, counter, [stripe, 0, 0])
        })
        .skip(skip)
}

/// The elements of a share, from element `first` on: `PRG(seed)` for the key that the seed expands
/// to.
pub fn share<W: Word>(key: &[u8; 32], first: u64) -> impl Iterator<Item = W> {
    let mut words = words(key, first * W::KEYSTREAM_WORDS as u64);
    std::iter::from_fn(move || {
        let low = words.next()?;
        let high = if W::KEYSTREAM_WORDS == 2 {
            words.next()?
        } else {
            0
        };
        Some(W::from_keystream(low, high))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: impl IntoIterator<Item = u32>) -> String {
        hex::encode(
            words
                .into_iter()
                .flat_map(u32::to_le_bytes)
                .collect::<Vec<_>>(),
        )
    }

    /// RFC 8439, section 2.1.1.
    #[test]
    fn quarter_round_of_the_rfc() {
        let mut state = [0; BLOCK_WORDS];
        state[..4].copy_from_slice(&[0x1111_1111, 0x0102_0304, 0x9b8d_6f43, 0x0123_4567]);
        quarter_round(&mut state, 0, 1, 2, 3);
        assert_eq!(
            state[..4],
            [0xea2a_92f4, 0xcb1c_f8ce, 0x4581_472e, 0x5881_c4bb]
        );
    }

    /// RFC 8439, section 2.3.2.
    #[test]
    fn block_of_the_rfc() {
        let key = std::array::from_fn(|i| i.to_le_bytes()[0]);
        assert_eq!(
            bytes(block(&key, 1, [0x0900_0000, 0x4a00_0000, 0])),
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e\
             d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
        );
    }

    /// RFC 8439, appendix A.1, test vectors 1 and 2: consecutive blocks under the zero key and
    /// nonce.
    #[test]
    fn keystream_of_the_rfc() {
        assert_eq!(
            bytes(words(&[0; 32], 0).take(32)),
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586\
             9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
             29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
        );
    }

    #[test]
    fn any_word_can_be_made_alone() {
        let key = [3; 32];
        let all: Vec<u32> = words(&key, 0).take(100).collect();
        for first in 0..80 {
            let alone: Vec<u32> = words(&key, first).take(20).collect();
            assert_eq!(alone, all[usize::try_from(first).unwrap()..][..20]);
        }
        // Negative control.
        assert_ne!(words(&[4; 32], 0).next(), all.first().copied());
    }

    #[test]
    fn a_wide_element_is_two_words_low_first() {
        let key = [3; 32];
        let wide: Vec<u64> = share(&key, 21).take(9).collect();
        let narrow: Vec<u32> = share(&key, 42).take(18).collect();
        for (wide, [low, high]) in wide.iter().zip(narrow.as_chunks().0) {
            assert_eq!(*wide, u64::from(*low) | u64::from(*high) << 32);
        }
    }

    #[test]
    fn a_stripe_follows_the_last_counter() {
        let key = [3; 32];
        let stripe = 1 << 36;
        let around: Vec<u32> = words(&key, stripe - 16).take(32).collect();
        assert_eq!(around[..16], block(&key, u32::MAX, [0, 0, 0]));
        assert_eq!(around[16..], block(&key, 0, [1, 0, 0]));
    }
}
