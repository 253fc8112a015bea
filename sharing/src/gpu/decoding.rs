//! The pass over a sum: decode the mean.

use fl_shaders::uniform::Decoding;
use fl_shaders::{MeanScale, Ring};
use wgpu::CommandEncoder;

use super::pipelines::Pipelines;
use super::stream::{Job, Piece, PieceOutput, StreamBuffers, count};
use super::transfer::copy_to;
use super::uniforms::{UniformLayout, UniformPlace, Uniforms};

const MEAN_BYTES: usize = size_of::<f32>();

/// The pieces of a sum of `len` bytes, each of at most `piece_bytes`, a multiple of a word.
pub(super) fn pieces(ring: Ring, len: usize, piece_bytes: usize) -> Vec<Piece> {
    let mean = |byte: usize| byte / ring.word_bytes() * MEAN_BYTES;
    let piece = |(index, start): (usize, usize)| {
        let end = len.min(start + piece_bytes);
        Piece {
            index,
            input: start..end,
            output: mean(start)..mean(end),
            partials: 0,
        }
    };
    (0..len)
        .step_by(piece_bytes)
        .enumerate()
        .map(piece)
        .collect()
}

/// The uniforms of a decoding, one a piece.
pub(super) fn layout(
    device: &wgpu::Device,
    pieces: &[Piece],
    scale: MeanScale,
) -> (UniformLayout, Vec<UniformPlace>) {
    let mut layout = UniformLayout::new(device, pieces.iter().map(|_| Decoding::BYTES));
    let places = pieces.iter().map(|piece| {
        let decoding = Decoding {
            coordinates: coordinates(piece),
            scale,
        };
        layout.push(Decoding::BYTES, |words| decoding.write(words))
    });
    let places = places.collect();
    (layout, places)
}

/// A sum being decoded.
pub(super) struct GpuAveraging<'a> {
    pub(super) pipelines: &'a Pipelines,
    pub(super) places: &'a [UniformPlace],
    pub(super) sum: &'a [u8],
    pub(super) mean: &'a mut [u8],
}

impl Job for GpuAveraging<'_> {
    fn input(&self) -> &[u8] {
        self.sum
    }

    fn record(
        &self,
        piece: &Piece,
        uniforms: &Uniforms,
        buffers: &StreamBuffers,
        encoder: &mut CommandEncoder,
    ) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let bindings = [
            uniforms.at(self.places[piece.index]),
            buffers.input.as_entire_buffer_binding(),
            buffers.output.as_entire_buffer_binding(),
        ];
        let dequantize = &self.pipelines.dequantize;
        dequantize.dispatch(&mut pass, &bindings, coordinates(piece));
    }

    fn take(&mut self, piece: &Piece, made: &PieceOutput<'_>) {
        copy_to(made.output, &mut self.mean[piece.output.clone()]);
    }
}

/// Returns the number of coordinates in a piece.
fn coordinates(piece: &Piece) -> u32 {
    count(piece.output.len() / MEAN_BYTES)
}
