//! ChaCha20 (RFC 8439), addressed by the word (the protocol, section 4).
//!
//! Word e of a keystream is the little-endian word at byte 4e. It lies in block `e / 16`; the low 32 bits of the block's
//! number are the counter, the high 32 bits, its *stripe*, are the first four bytes of the nonce. The other eight are
//! zero. So one key makes 2^64 blocks, and any of them alone.

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

/// The elements of a share, from element `first` on: `PRG(seed)` for the key that the seed expands to.
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
