//! Shares and keystreams, made a piece at a time where they are used.

use std::marker::PhantomData;
use std::ops::Range;

use fl_shaders::{Instructions, Word, Work};
use zeroize::{Zeroize, Zeroizing};

use super::PIECE_BYTES;
use super::chacha20::{self, BATCH_BYTES, BATCH_WORDS, BLOCK_BYTES, Batch, EMPTY, LANES};
use super::order::order;
use super::upcoming::Upcoming;
use crate::engine::Sign;

const PIECE_BATCHES: usize = PIECE_BYTES / BATCH_BYTES;
const _: () = assert!(PIECE_BYTES.is_multiple_of(BATCH_BYTES));

/// The key of a share, and what is done with it.
pub(super) type KeystreamShare<'a> = (&'a [u8; 32], Sign);

/// The sum of the shares of a piece. Erased on drop, not after each piece.
#[repr(align(64))]
pub(super) struct KeystreamSums([Batch; PIECE_BATCHES]);

impl KeystreamSums {
    pub(super) fn new() -> Self {
        Self([EMPTY; _])
    }
}

impl Drop for KeystreamSums {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Adds `shares` to the little-endian words of `piece`, or subtracts them: from block `first_block`
/// on, a multiple of [`LANES`]. Meanwhile `upcoming` memory is asked for.
pub(super) fn combine<W: Word>(
    with: Instructions,
    shares: &[KeystreamShare<'_>],
    first_block: usize,
    upcoming: Upcoming<'_>,
    sums: &mut KeystreamSums,
    piece: &mut [u8],
) {
    if shares.is_empty() {
        return;
    }
    let sums = &mut sums.0[..piece.len().div_ceil(BATCH_BYTES)];
    expand::<W>(with, shares, first_block, upcoming, sums);
    with.run(Add::<W> {
        sums: sums.as_flattened().as_flattened(),
        piece,
        word: PhantomData,
    });
}

/// Writes the sum of `shares`, in order.
fn expand<W: Word>(
    with: Instructions,
    shares: &[KeystreamShare<'_>],
    first_block: usize,
    upcoming: Upcoming<'_>,
    sums: &mut [Batch],
) {
    let upcoming = upcoming.in_steps(shares.len() * sums.len());
    with.run(Expand::<W> {
        shares,
        first_block: first_block as u64,
        upcoming,
        sums,
        word: PhantomData,
    });
    order(with, sums);
}

struct Expand<'a, W> {
    shares: &'a [KeystreamShare<'a>],
    first_block: u64,
    upcoming: Upcoming<'a>,
    sums: &'a mut [Batch],
    word: PhantomData<W>,
}

impl<W: Word> Work for Expand<'_, W> {
    type Output = ();

    #[inline(always)]
    fn work(mut self) {
        self.sums.fill(EMPTY);
        for (key, sign) in self.shares {
            chacha20::combine::<W>(key, *sign, self.first_block, self.sums, &mut self.upcoming);
        }
    }
}

/// Adds keystream words to the ring's.
struct Add<'a, W> {
    sums: &'a [u32],
    piece: &'a mut [u8],
    word: PhantomData<W>,
}

impl<W: Word> Work for Add<'_, W> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        let sums = self.sums.chunks_exact(W::KEYSTREAM_WORDS);
        for (bytes, sum) in self.piece.chunks_exact_mut(W::BYTES).zip(sums) {
            let high = if W::KEYSTREAM_WORDS == 2 { sum[1] } else { 0 };
            let sum = W::from_keystream(sum[0], high);
            W::read(bytes).wrapping_add(sum).write(bytes);
        }
    }
}

/// The keystream that rounds an update, made a piece at a time. Erased on drop.
#[repr(align(64))]
pub(super) struct Random {
    /// One batch more than a piece has, because pieces of coordinates begin inside a batch.
    batches: [Batch; PIECE_BATCHES + 1],
    /// The numbers of these batches.
    made: Range<usize>,
}

impl Random {
    pub(super) fn new() -> Self {
        Self {
            batches: [EMPTY; _],
            made: 0..0,
        }
    }

    /// Words `first` to `first + count` of the keystream of `key`, as many as a piece has at most.
    /// All calls have the same key.
    pub(super) fn words(
        &mut self,
        with: Instructions,
        key: &[u8; 32],
        first: usize,
        count: usize,
    ) -> &[u32] {
        let needed = first / BATCH_WORDS..(first + count).div_ceil(BATCH_WORDS);
        // The last batch of one piece is most often the first of the next.
        let kept = match self.made.contains(&needed.start) {
            true => needed.start - self.made.start..needed.end.min(self.made.end) - self.made.start,
            false => 0..0,
        };
        let (kept_len, first_block) = (kept.len(), (needed.start + kept.len()) * LANES);
        self.batches.copy_within(kept, 0);
        let new = &mut self.batches[kept_len..needed.len()];
        let share = [(key, Sign::Plus)];
        expand::<u32>(with, &share, first_block, Upcoming::default(), new);
        self.made = needed;

        let words = self.batches.as_flattened().as_flattened();
        &words[first % BATCH_WORDS..][..count]
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        self.batches.zeroize();
    }
}

/// The first `len` bytes of the keystream of `key`, in whole words of 32 bits.
pub(crate) fn bytes(key: &[u8; 32], len: usize) -> Zeroizing<Vec<u8>> {
    debug_assert!(len.is_multiple_of(size_of::<u32>()), "whole words");
    let mut bytes = Zeroizing::new(vec![0; len]);
    let mut sums = KeystreamSums::new();
    let share = [(key, Sign::Plus)];
    for (piece, bytes) in bytes.chunks_mut(PIECE_BYTES).enumerate() {
        let first_block = piece * PIECE_BYTES / BLOCK_BYTES;
        let upcoming = Upcoming::default();
        combine::<u32>(
            Instructions::best(),
            &share,
            first_block,
            upcoming,
            &mut sums,
            bytes,
        );
    }
    bytes
}

#[cfg(test)]
mod tests {
    use ::chacha20::ChaCha20;
    use ::chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
    use fl_shaders::cpu;

    use super::*;

    const KEYS: [[u8; 32]; 3] = [[0x5a; 32], [0xff; 32], [0; 32]];
    const STRIPE: u64 = 1 << 32;

    fn signs(plus: &[bool]) -> Vec<KeystreamShare<'static>> {
        let sign = |plus: &bool| if *plus { Sign::Plus } else { Sign::Minus };
        KEYS.iter().zip(plus.iter().map(sign)).collect()
    }

    fn combined<W: Word>(
        with: Instructions,
        shares: &[KeystreamShare<'_>],
        first_block: u64,
        words: usize,
    ) -> Vec<W> {
        let mut piece = vec![0xa5; words * W::BYTES];
        let upcoming = Upcoming::new(&[1.0; 100], &[1; 100]);
        let first_block = usize::try_from(first_block).unwrap();
        combine::<W>(
            with,
            shares,
            first_block,
            upcoming,
            &mut KeystreamSums::new(),
            &mut piece,
        );
        piece.chunks_exact(W::BYTES).map(W::read).collect()
    }

    fn twin<W: Word>(shares: &[KeystreamShare<'_>], first_block: u64, words: usize) -> Vec<W> {
        let mut vector = vec![W::read(&[0xa5; 8][..W::BYTES]); words];
        let first_element = first_block * (BLOCK_BYTES / W::BYTES) as u64;
        for (key, sign) in shares {
            match sign {
                Sign::Plus => cpu::sum(&mut vector, first_element, &[**key]),
                Sign::Minus => cpu::split(&mut vector, first_element, &[**key]),
            }
        }
        vector
    }

    fn assert_equals_the_twin<W: Word>(
        shares: &[KeystreamShare<'_>],
        first_block: u64,
        words: usize,
    ) {
        let expected = twin::<W>(shares, first_block, words);
        for with in Instructions::available() {
            let case = format!("{with:?}, block {first_block}, {words} words");
            assert!(
                combined::<W>(with, shares, first_block, words) == expected,
                "{case}"
            );
            if words > 0 {
                // Negative controls: the blocks beside, and the other sign.
                let other = first_block ^ LANES as u64;
                assert!(
                    combined::<W>(with, shares, other, words) != expected,
                    "{case}"
                );
                let mut other = shares.to_vec();
                other[0].1 = match shares[0].1 {
                    Sign::Plus => Sign::Minus,
                    Sign::Minus => Sign::Plus,
                };
                assert!(
                    combined::<W>(with, &other, first_block, words) != expected,
                    "{case}"
                );
            }
        }
    }

    #[test]
    fn shares_are_those_of_the_twin_across_stripes() {
        let last = STRIPE - LANES as u64;
        for first_block in [0, 16, 4_096, last, last - 32, STRIPE, 7 * STRIPE - 16] {
            for words in (0..18).chain([255, 256, 257, 1_023, 1_024, 1_025, 2_048]) {
                for plus in [&[true][..], &[false], &[false, true, false]] {
                    assert_equals_the_twin::<u32>(&signs(plus), first_block, words);
                    assert_equals_the_twin::<u64>(&signs(plus), first_block, words);
                }
            }
        }
        assert_equals_the_twin::<u32>(&signs(&[true, false]), 0, PIECE_BYTES / 4);
        assert_equals_the_twin::<u64>(&signs(&[true, false]), 0, PIECE_BYTES / 8);
    }

    #[test]
    fn a_stripe_changes_the_nonce_and_not_only_the_counter() {
        let word = |stripe: u32| cpu::chacha20::block(&KEYS[0], 0, [stripe, 0, 0])[0];
        for with in Instructions::available() {
            let shares = signs(&[true]);
            let first = combined::<u32>(with, &shares, STRIPE, 1)[0].wrapping_sub(0xa5a5_a5a5);
            assert_eq!(first, word(1));
            assert_ne!(first, word(0));
        }
    }

    /// RFC 8439, appendix A.1, test vectors 1 and 2: consecutive blocks under the zero key and
    /// nonce.
    #[test]
    fn keystream_of_the_rfc() {
        let expected = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
                        da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586\
                        9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
                        29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f";
        assert_eq!(hex::encode(&*bytes(&[0; 32], 128)), expected);
        for with in Instructions::available() {
            let mut random = Random::new();
            let words = random.words(with, &[0; 32], 0, 32).iter();
            let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(hex::encode(bytes), expected, "{with:?}");
        }
    }

    #[test]
    fn keystreams_are_those_of_the_cipher() {
        let expected = |stripe: u8, counter: u64, len: usize| {
            let mut nonce = [0; 12];
            nonce[0] = stripe;
            let mut cipher = ChaCha20::new(&KEYS[0].into(), &nonce.into());
            cipher.seek(counter * BLOCK_BYTES as u64);
            let mut bytes = vec![0; len];
            cipher.write_keystream(&mut bytes);
            bytes
        };
        for len in [
            0, 4, 60, 64, 68, 1_020, 1_024, 1_028, 65_532, 65_536, 65_540, 262_148,
        ] {
            assert!(*bytes(&KEYS[0], len) == expected(0, 0, len), "{len}");
        }
        assert_ne!(*bytes(&KEYS[1], 64), expected(0, 0, 64));
        for with in Instructions::available() {
            let end = combined::<u32>(with, &signs(&[true]), STRIPE - 16, 512);
            let end = end
                .iter()
                .flat_map(|word| word.wrapping_sub(0xa5a5_a5a5).to_le_bytes());
            let end: Vec<u8> = end.collect();
            // The cipher refuses the last block of a stripe.
            assert!(end[..960] == expected(0, STRIPE - 16, 960), "{with:?}");
            assert!(end[1_024..] == expected(1, 0, 1_024), "{with:?}");
        }
    }

    #[test]
    fn random_words_are_the_same_in_any_pieces() {
        for with in Instructions::available() {
            let all: Vec<u32> = cpu::chacha20::words(&KEYS[0], 0).take(70_000).collect();
            for (first, steps) in [
                (0, vec![4_091, 4_096, 4_096, 1]),
                (5_000, vec![1, 255, 256, 257, 4_096, 0, 3]),
                (61_435, vec![4_096, 4_096]),
                (256 * 9 - 1, vec![1, 1, 4_096, 2_048]),
            ] {
                let (mut random, mut first) = (Random::new(), first);
                for count in steps {
                    let words = random.words(with, &KEYS[0], first, count);
                    assert!(
                        words == &all[first..][..count],
                        "{with:?}, {first}, {count}"
                    );
                    if count > 0 {
                        assert!(words != &all[first + 1..][..count], "{with:?}, {first}");
                    }
                    first += count;
                }
                // A piece that does not follow the last one.
                assert_eq!(random.words(with, &KEYS[0], 777, 10), &all[777..787]);
            }
        }
    }
}
