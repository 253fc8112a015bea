//! Puts blocks that were made side by side in order: the one step that compilers do not find the
//! instructions for.

use std::array;

use fl_shaders::cpu::chacha20::BLOCK_WORDS;

use super::chacha20::{Batch, LANES};
use fl_shaders::{Instructions, Work};

/// Rows and blocks that are turned together.
const SIDE: usize = 4;
const _: () = assert!(SIDE * SIDE == BLOCK_WORDS && SIDE * SIDE == LANES);

/// Turns rows into blocks: afterwards word r of block b is `[b][r]`, and the words of a batch are
/// in the order of the keystream.
pub(super) fn order(with: Instructions, batches: &mut [Batch]) {
    #[cfg(target_arch = "x86_64")]
    if with.has_avx512() {
        #[expect(unsafe_code, reason = "calls a function that not every CPU can run")]
        // SAFETY: this CPU can.
        unsafe {
            avx512::order(batches);
        }
        return;
    }
    with.run(Order(batches));
}

struct Order<'a>(&'a mut [Batch]);

impl Work for Order<'_> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        for rows in self.0 {
            let unordered = *rows;
            let (quarters, _) = rows.as_chunks_mut::<SIDE>();
            for (quarter, blocks) in quarters.iter_mut().enumerate() {
                let part = |r: usize| -> [u32; SIDE] {
                    array::from_fn(|b| unordered[r][SIDE * quarter + b])
                };
                // Read whole, then turned.
                let mut squares = [[[0; SIDE]; SIDE]; SIDE];
                for (i, square) in squares.iter_mut().enumerate() {
                    for (j, row) in square.iter_mut().enumerate() {
                        *row = part(SIDE * i + j);
                    }
                }
                for (b, block) in blocks.iter_mut().enumerate() {
                    let (parts, _) = block.as_chunks_mut::<SIDE>();
                    for (part, [r, s, t, u]) in parts.iter_mut().zip(squares) {
                        *part = [r[b], s[b], t[b], u[b]];
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;
    use std::mem;

    use super::*;

    // Without closures: they are not always compiled for these instructions.
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn order(batches: &mut [Batch]) {
        for rows in batches {
            let turned = [turn(rows, 0), turn(rows, 1), turn(rows, 2), turn(rows, 3)];
            for (row, block) in rows.iter_mut().zip(turned.as_flattened()) {
                *row = words(*block);
            }
        }
    }

    /// Four of the blocks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn turn(rows: &Batch, quarter: usize) -> [__m512i; SIDE] {
        let (a, b) = (gather(rows, quarter, 0), gather(rows, quarter, 1));
        let (c, d) = (gather(rows, quarter, 2), gather(rows, quarter, 3));
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab2, cd2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab2, cd2),
            _mm512_unpackhi_epi64(ab2, cd2),
        ]
    }

    /// The words of four blocks in rows i, i + 4, i + 8 and i + 12.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn gather(rows: &Batch, quarter: usize, i: usize) -> __m512i {
        let parts = _mm512_castsi128_si512(part(&rows[i], quarter));
        let parts = _mm512_inserti32x4::<1>(parts, part(&rows[i + SIDE], quarter));
        let parts = _mm512_inserti32x4::<2>(parts, part(&rows[i + 2 * SIDE], quarter));
        _mm512_inserti32x4::<3>(parts, part(&rows[i + 3 * SIDE], quarter))
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "a vector is its words")]
    fn part(row: &[u32; LANES], quarter: usize) -> __m128i {
        let (parts, _) = row.as_chunks::<SIDE>();
        // SAFETY: both are 16 bytes, and any are valid.
        unsafe { mem::transmute(parts[quarter]) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "a vector is its words")]
    fn words(block: __m512i) -> [u32; BLOCK_WORDS] {
        // SAFETY: both are 64 bytes, and any are valid.
        unsafe { mem::transmute(block) }
    }
}
