//! ChaCha20 keystreams, handed over a few blocks at a time while they are still in the first-level cache.
//!
//! The consumer is compiled into the cipher's own backend, so its loops use the same instructions (AVX-512, AVX2, …),
//! chosen once for both at run time.

use std::marker::PhantomData;
use std::mem;

use chacha20::cipher::array::Array;
use chacha20::cipher::consts::U64;
use chacha20::cipher::typenum::Unsigned;
use chacha20::cipher::{
    BlockSizeUser, KeyIvInit, ParBlocks, StreamCipherBackend, StreamCipherClosure, StreamCipherCore,
};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20};
use fl_shaders::Word;
use zeroize::Zeroizing;

use crate::engine::Sign;
use crate::words::{read_word, write_word};

pub(super) const BLOCK_BYTES: usize = 64;
/// Number of blocks that share a nonce (the protocol, section 4).
const STRIPE_BLOCKS: u64 = 1 << 32;

/// Takes a keystream in order, in runs of any number of bytes.
///
/// Implementations are `#[inline(always)]`, or they would not be compiled for the backend's instructions.
pub(super) trait Consumer {
    fn consume(&mut self, stream: &[u8]);
}

/// Feeds `len` bytes of the keystream of `key`, from block `first_block` on, to `consumer`.
pub(super) fn feed(key: &[u8; 32], first_block: u64, len: usize, mut consumer: impl Consumer) {
    let (mut block, mut left) = (first_block, len);
    while left > 0 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "stripe and counter are the halves"
        )]
        let (stripe, counter) = ((block >> 32) as u32, block as u32);
        let mut nonce = [0_u8; 12];
        nonce[..4].copy_from_slice(&stripe.to_le_bytes());
        let mut core = ChaChaCore::<R20, Ietf>::new(key.into(), &nonce.into());
        core.set_block_pos(counter);

        let blocks = (STRIPE_BLOCKS - u64::from(counter)).min(left.div_ceil(BLOCK_BYTES) as u64);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "no more than the bytes that are left need"
        )]
        let len = left.min(blocks as usize * BLOCK_BYTES);
        core.process_with_backend(Feed {
            len,
            consumer: &mut consumer,
        });
        block += blocks;
        left -= len;
    }
}

struct Feed<'a, C> {
    len: usize,
    consumer: &'a mut C,
}

impl<C> BlockSizeUser for Feed<'_, C> {
    type BlockSize = U64;
}

impl<C: Consumer> StreamCipherClosure for Feed<'_, C> {
    #[inline(always)]
    fn call<B: StreamCipherBackend<BlockSize = U64>>(mut self, backend: &mut B) {
        let mut blocks = ParBlocks::<B>::default();
        let batch = B::ParBlocksSize::USIZE * BLOCK_BYTES;
        while self.len >= batch {
            backend.gen_par_ks_blocks(&mut blocks);
            self.consumer.consume(Array::slice_as_flattened(&blocks));
            self.len -= batch;
        }
        let tail = self.len.div_ceil(BLOCK_BYTES);
        if tail == B::ParBlocksSize::USIZE {
            backend.gen_par_ks_blocks(&mut blocks);
        } else {
            backend.gen_tail_blocks(&mut blocks[..tail]);
        }
        self.consumer
            .consume(&Array::slice_as_flattened(&blocks)[..self.len]);
    }
}

/// Work to be compiled for the instructions that the cipher's backend uses.
///
/// Implementations are `#[inline(always)]`, or they would not be.
pub(super) trait Work {
    fn work(&mut self);
}

/// Does `work` with the best instructions that the CPU has.
pub(super) fn accelerate(work: &mut impl Work) {
    // The backend is chosen whatever the key, and no keystream is asked for.
    let mut core = ChaChaCore::<R20, Ietf>::new(&[0; 32].into(), &[0; 12].into());
    core.process_with_backend(Accelerated(work));
}

struct Accelerated<'a, W>(&'a mut W);

impl<W> BlockSizeUser for Accelerated<'_, W> {
    type BlockSize = U64;
}

impl<W: Work> StreamCipherClosure for Accelerated<'_, W> {
    #[inline(always)]
    fn call<B: StreamCipherBackend<BlockSize = U64>>(self, _backend: &mut B) {
        self.0.work();
    }
}

/// The first `len` bytes of the keystream of `key`.
pub(crate) fn bytes(key: &[u8; 32], len: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(len));
    feed(key, 0, len, Collector(&mut bytes));
    bytes
}

struct Collector<'a>(&'a mut Vec<u8>);

impl Consumer for Collector<'_> {
    #[inline(always)]
    fn consume(&mut self, stream: &[u8]) {
        self.0.extend_from_slice(stream);
    }
}

/// Adds or subtracts the share of `key`, from block `first_block` on, to the little-endian words of `vector`.
pub(super) fn combine<W: Word>(key: &[u8; 32], sign: Sign, first_block: u64, vector: &mut [u8]) {
    let len = vector.len();
    feed(
        key,
        first_block,
        len,
        Combiner::<W> {
            vector,
            sign,
            word: PhantomData,
        },
    );
}

/// Combines a keystream into the words that are left of `vector`.
struct Combiner<'a, W> {
    vector: &'a mut [u8],
    sign: Sign,
    word: PhantomData<W>,
}

impl<W: Word> Consumer for Combiner<'_, W> {
    #[inline(always)]
    fn consume(&mut self, stream: &[u8]) {
        let (vector, rest) = mem::take(&mut self.vector).split_at_mut(stream.len());
        self.vector = rest;
        match self.sign {
            Sign::Plus => combine_words::<W>(vector, stream, W::wrapping_add),
            Sign::Minus => combine_words::<W>(vector, stream, W::wrapping_sub),
        }
    }
}

#[inline(always)]
fn combine_words<W: Word>(vector: &mut [u8], stream: &[u8], combine: impl Fn(W, W) -> W) {
    let words = vector
        .chunks_exact_mut(W::BYTES)
        .zip(stream.chunks_exact(W::BYTES));
    for (word, share) in words {
        let share = read_word::<W>(share);
        write_word(word, combine(read_word::<W>(word), share));
    }
}

#[cfg(test)]
mod tests {
    use fl_shaders::cpu::chacha20;

    use super::*;

    const KEY: [u8; 32] = [0x5a; 32];

    fn combined<W: Word>(sign: Sign, first_block: u64, words: usize) -> Vec<W> {
        let mut vector = vec![0xa5; words * W::BYTES];
        combine::<W>(&KEY, sign, first_block, &mut vector);
        vector.chunks_exact(W::BYTES).map(read_word).collect()
    }

    fn twin<W: Word>(sign: Sign, first_block: u64, words: usize) -> Vec<W> {
        let mut vector = vec![read_word::<W>(&[0xa5; 8][..W::BYTES]); words];
        let first_element = first_block * (BLOCK_BYTES / W::BYTES) as u64;
        match sign {
            Sign::Plus => fl_shaders::cpu::sum(&mut vector, first_element, &[KEY]),
            Sign::Minus => fl_shaders::cpu::split(&mut vector, first_element, &[KEY]),
        }
        vector
    }

    #[test]
    fn shares_are_those_of_the_twin_across_stripes() {
        let last = STRIPE_BLOCKS - 1;
        for first_block in [
            0,
            1,
            4_096,
            last,
            last - 3,
            last - 40,
            7 * STRIPE_BLOCKS - 2,
        ] {
            for words in (0..40).chain([255, 256, 257, 1_023, 1_024, 1_025, 2_048]) {
                for sign in [Sign::Plus, Sign::Minus] {
                    let block = first_block;
                    assert_eq!(
                        combined::<u32>(sign, block, words),
                        twin::<u32>(sign, block, words)
                    );
                    assert_eq!(
                        combined::<u64>(sign, block, words),
                        twin::<u64>(sign, block, words)
                    );
                }
            }
        }
        assert_ne!(
            combined::<u32>(Sign::Plus, 0, 16),
            twin::<u32>(Sign::Plus, 1, 16)
        );
        assert_ne!(
            combined::<u32>(Sign::Plus, 0, 16),
            twin::<u32>(Sign::Minus, 0, 16)
        );
    }

    #[test]
    fn a_stripe_changes_the_nonce_and_not_only_the_counter() {
        let word = |stripe: u32| chacha20::block(&KEY, 0, [stripe, 0, 0])[0];
        let first = combined::<u32>(Sign::Plus, STRIPE_BLOCKS, 1)[0].wrapping_sub(0xa5a5_a5a5);
        assert_eq!(first, word(1));
        assert_ne!(first, word(0));
    }
}
