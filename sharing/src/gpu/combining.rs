//! Shares on their way into a vector: their keys in batches, and the dispatches that expand them.

use fl_shaders::cpu::chacha20::BLOCK_WORDS;
use fl_shaders::uniform::{Shares, Span};
use wgpu::ComputePass;

use super::pipelines::{Pipeline, Pipelines};
use super::stream::{Piece, StreamBuffers, count};
use super::uniforms::{UniformLayout, UniformPlace, Uniforms};

const BLOCK_BYTES: usize = 4 * BLOCK_WORDS;

/// The shares that a vector takes, and where its pieces are.
pub(super) struct Combination {
    /// One for each piece.
    spans: Vec<UniformPlace>,
    batches: Vec<(UniformPlace, CombiningKernel)>,
}

/// What a batch of shares needs.
#[derive(Clone, Copy)]
enum CombiningKernel {
    Split,
    Sum,
    Mask,
}

impl Combination {
    /// Sizes of the uniforms for so many pieces and shares, with at most `batch` shares in one
    /// dispatch.
    pub(super) fn sizes(pieces: usize, shares: usize, batch: usize) -> impl Iterator<Item = u64> {
        let spans = (0..pieces).map(|_| Span::BYTES);
        spans.chain((0..shares).step_by(batch).map(|_| Shares::BYTES))
    }

    /// Subtracts the shares of the keys `minus` and adds those of `plus`, at most `batch` of them
    /// in one dispatch.
    pub(super) fn new(
        layout: &mut UniformLayout,
        pieces: &[Piece],
        minus: &[&[u8; 32]],
        plus: &[&[u8; 32]],
        batch: usize,
    ) -> Self {
        let spans = pieces.iter().map(|piece| {
            let span = Span {
                first_block: (piece.output.start / BLOCK_BYTES) as u64,
                blocks: blocks(piece),
            };
            layout.push(Span::BYTES, |words| span.write(words))
        });
        let spans = spans.collect();
        let ordered = [minus, plus].concat();
        let batches = (0..).step_by(batch).zip(ordered.chunks(batch));
        let batches = batches.map(|(first, keys)| {
            let (minus, plus) = keys.split_at(minus.len().saturating_sub(first).min(keys.len()));
            let kernel = match (minus, plus) {
                (_, []) => CombiningKernel::Split,
                ([], _) => CombiningKernel::Sum,
                _ => CombiningKernel::Mask,
            };
            let shares = Shares { minus, plus };
            let place = layout.push(Shares::BYTES, |words| shares.write(words));
            (place, kernel)
        });
        let batches = batches.collect();
        Self { spans, batches }
    }

    /// Records what combines the shares into a piece.
    pub(super) fn record(
        &self,
        pass: &mut ComputePass<'_>,
        pipelines: &Pipelines,
        piece: &Piece,
        uniforms: &Uniforms,
        buffers: &StreamBuffers,
    ) {
        for (shares, kernel) in &self.batches {
            let bindings = [
                uniforms.at(self.spans[piece.index]),
                uniforms.at(*shares),
                buffers.output.as_entire_buffer_binding(),
            ];
            kernel
                .pipeline(pipelines)
                .dispatch(pass, &bindings, blocks(piece));
        }
    }
}

impl CombiningKernel {
    fn pipeline(self, pipelines: &Pipelines) -> &Pipeline {
        match self {
            Self::Split => &pipelines.split,
            Self::Sum => &pipelines.sum,
            Self::Mask => &pipelines.mask,
        }
    }
}

/// Returns the number of blocks in a piece.
fn blocks(piece: &Piece) -> u32 {
    count(piece.output.len().div_ceil(BLOCK_BYTES))
}
