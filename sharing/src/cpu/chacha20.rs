//! ChaCha20 blocks side by side, one a SIMD lane, added up over several keys before they are put in
//! order.
//!
//! A block function with one block a lane needs no shuffles, but leaves word r of all blocks in one
//! vector, where the keystream wants all words of one block. Shares are needed as their sum only,
//! so they are added up as they come, and only the sum is put in order.
//!
//! Sums are erased by their owners. What registers, and the stack behind them, have held of keys
//! and keystreams is out of reach.

use fl_shaders::cpu::chacha20::BLOCK_WORDS;
use fl_shaders::{Ring, Word};

use super::upcoming::Upcoming;
use crate::engine::Sign;

/// Blocks that are made side by side: as many as the widest vectors have lanes of 32 bits. Narrower
/// ones take several turns.
pub(super) const LANES: usize = 16;
pub(super) const BLOCK_BYTES: usize = 4 * BLOCK_WORDS;
pub(super) const BATCH_BYTES: usize = LANES * BLOCK_BYTES;
pub(super) const BATCH_WORDS: usize = LANES * BLOCK_WORDS;
/// Number of blocks that share a nonce (the protocol, section 4).
const STRIPE_BLOCKS: u64 = 1 << 32;
/// "expand 32-byte k", little-endian (RFC 8439, section 2.3).
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/// Where the state has the counter, and behind it the nonce, which begins with the stripe.
const COUNTER: usize = 12;

/// Blocks side by side: word r of block b is `[r][b]`. In order: `[b][r]`.
pub(super) type Batch = [[u32; LANES]; BLOCK_WORDS];

pub(super) const EMPTY: Batch = [[0; LANES]; BLOCK_WORDS];

/// Adds or subtracts the keystream of `key`, from block `first_block` on, a multiple of [`LANES`],
/// to `sums`, whose words are those of the ring. After each batch `upcoming` memory is asked for.
#[inline(always)]
pub(super) fn combine<W: Word>(
    key: &[u8; 32],
    sign: Sign,
    first_block: u64,
    sums: &mut [Batch],
    upcoming: &mut Upcoming<'_>,
) {
    debug_assert!(first_block.is_multiple_of(LANES as u64), "a whole batch");
    let mut sums = sums;
    let mut block = first_block;
    while !sums.is_empty() {
        let stripe_ends = (STRIPE_BLOCKS - block % STRIPE_BLOCKS) / LANES as u64;
        let batches = usize::try_from(stripe_ends).map_or(sums.len(), |n| n.min(sums.len()));
        let (here, next) = sums.split_at_mut(batches);
        match sign {
            Sign::Plus => in_stripe::<W, true>(key, block, here, upcoming),
            Sign::Minus => in_stripe::<W, false>(key, block, here, upcoming),
        }
        block += (batches * LANES) as u64;
        sums = next;
    }
}

/// [`combine`] within one stripe.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "stripe and counter are the halves of a number, and lanes are few"
)]
#[expect(
    clippy::needless_range_loop,
    reason = "rows are many, and the loop is over their columns"
)]
fn in_stripe<W: Word, const PLUS: bool>(
    key: &[u8; 32],
    first_block: u64,
    sums: &mut [Batch],
    upcoming: &mut Upcoming<'_>,
) {
    let (stripe, mut counter) = ((first_block >> 32) as u32, first_block as u32);
    let mut initial = [0; BLOCK_WORDS];
    initial[..4].copy_from_slice(&CONSTANTS);
    for (word, bytes) in initial[4..COUNTER].iter_mut().zip(key.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    initial[COUNTER + 1] = stripe;
    for rows in sums {
        // One iteration is one block; compiled, a vector of blocks. What does not depend on the
        // counter, most of the first round, is then done once for all batches.
        for lane in 0..LANES {
            let mut initial = initial;
            initial[COUNTER] = counter.wrapping_add(lane as u32);
            let mut state = initial;
            rounds(&mut state);
            for r in (0..BLOCK_WORDS).step_by(2) {
                let block = [r, r + 1].map(|r| state[r].wrapping_add(initial[r]));
                let sum = [rows[r][lane], rows[r + 1][lane]];
                [rows[r][lane], rows[r + 1][lane]] = match PLUS {
                    true => add::<W>(sum, block),
                    false => subtract::<W>(sum, block),
                };
            }
        }
        upcoming.ask();
        counter = counter.wrapping_add(LANES as u32);
    }
}

/// The sum of two consecutive keystream words, or of one wide one, and others.
#[inline(always)]
fn add<W: Word>([low, high]: [u32; 2], other: [u32; 2]) -> [u32; 2] {
    let sum = low.wrapping_add(other[0]);
    let carry = match W::RING {
        Ring::U32 => 0,
        Ring::U64 => u32::from(sum < other[0]),
    };
    [sum, high.wrapping_add(other[1]).wrapping_add(carry)]
}

/// The difference of two consecutive keystream words, or of one wide one, and others.
#[inline(always)]
fn subtract<W: Word>([low, high]: [u32; 2], other: [u32; 2]) -> [u32; 2] {
    let borrow = match W::RING {
        Ring::U32 => 0,
        Ring::U64 => u32::from(low < other[0]),
    };
    let high = high.wrapping_sub(other[1]).wrapping_sub(borrow);
    [low.wrapping_sub(other[0]), high]
}

/// Ten double rounds. They and their steps are written out, because only a loop without a loop
/// inside is compiled to vectors.
#[inline(always)]
fn rounds(state: &mut [u32; BLOCK_WORDS]) {
    double_round(state);
    double_round(state);
    double_round(state);
    double_round(state);
    double_round(state);
    double_round(state);
    double_round(state);
    double_round(state);
    double_round(state);
    double_round(state);
}

#[inline(always)]
fn double_round(state: &mut [u32; BLOCK_WORDS]) {
    quarter_rounds(
        state,
        [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]],
    );
    quarter_rounds(
        state,
        [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]],
    );
}

/// Four quarter rounds (RFC 8439, section 2.1), a quarter of each at a time.
///
/// Compilers keep much of this order. Of a processor's units that calculate, one alone rotates;
/// here it never has to wait, and never has others wait, for long.
#[inline(always)]
fn quarter_rounds(state: &mut [u32; BLOCK_WORDS], words: [[usize; 4]; 4]) {
    step(state, words.map(|[a, b, _, d]| [a, b, d]), 16);
    step(state, words.map(|[_, b, c, d]| [c, d, b]), 12);
    step(state, words.map(|[a, b, _, d]| [a, b, d]), 8);
    step(state, words.map(|[_, b, c, d]| [c, d, b]), 7);
}

#[inline(always)]
fn step(state: &mut [u32; BLOCK_WORDS], [q, r, s, t]: [[usize; 3]; 4], bits: u32) {
    add_xor_rotate(state, q, bits);
    add_xor_rotate(state, r, bits);
    add_xor_rotate(state, s, bits);
    add_xor_rotate(state, t, bits);
}

#[inline(always)]
fn add_xor_rotate(state: &mut [u32; BLOCK_WORDS], [x, y, z]: [usize; 3], bits: u32) {
    state[x] = state[x].wrapping_add(state[y]);
    state[z] = (state[z] ^ state[x]).rotate_left(bits);
}
