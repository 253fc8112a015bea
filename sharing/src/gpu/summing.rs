//! The pass over a sum of shares: zeros, and the shares on top.

use wgpu::CommandEncoder;

use super::combining::Combination;
use super::pipelines::Pipelines;
use super::stream::{Job, Piece, PieceOutput, StreamBuffers};
use super::transfer::copy_to;
use super::uniforms::{UniformLayout, Uniforms};
use crate::seed::MaskKey;

/// The pieces of a sum of `len` bytes, each of at most `piece_bytes`, a multiple of a block.
pub(super) fn pieces(len: usize, piece_bytes: usize) -> Vec<Piece> {
    (0..len)
        .step_by(piece_bytes)
        .enumerate()
        .map(|(index, start)| Piece {
            index,
            input: 0..0,
            output: start..len.min(start + piece_bytes),
            partials: 0,
        })
        .collect()
}

/// The uniforms that sum the shares of `keys`, and the dispatches that read them.
pub(super) fn program(
    device: &wgpu::Device,
    pieces: &[Piece],
    keys: &[MaskKey],
    batch: usize,
) -> (UniformLayout, Combination) {
    let keys: Vec<_> = keys.iter().map(MaskKey::expose).collect();
    let mut layout =
        UniformLayout::new(device, Combination::sizes(pieces.len(), keys.len(), batch));
    let combination = Combination::new(&mut layout, pieces, &[], &keys, batch);
    (layout, combination)
}

/// Shares being summed.
pub(super) struct Summing<'a> {
    pub(super) pipelines: &'a Pipelines,
    pub(super) combination: &'a Combination,
    pub(super) sum: &'a mut [u8],
}

impl Job for Summing<'_> {
    fn input(&self) -> &[u8] {
        &[]
    }

    fn record(
        &self,
        piece: &Piece,
        uniforms: &Uniforms,
        buffers: &StreamBuffers,
        encoder: &mut CommandEncoder,
    ) {
        let len = piece.output.len() as u64;
        encoder.clear_buffer(&buffers.output, 0, Some(len));
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.combination
            .record(&mut pass, self.pipelines, piece, uniforms, buffers);
    }

    fn take(&mut self, piece: &Piece, made: &PieceOutput<'_>) {
        copy_to(made.output, &mut self.sum[piece.output.clone()]);
    }
}
