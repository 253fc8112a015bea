//! The pass over an input vector: encode, subtract shares, add shares.

use std::marker::PhantomData;

use fl_shaders::cpu::chacha20::BLOCK_WORDS;
use fl_shaders::uniform::{Encoding, Shares, Span};
use fl_shaders::{InputScale, Word};
use wgpu::CommandEncoder;

use super::pipelines::{Pipeline, Pipelines};
use super::stream::{Buffers, Job, Piece};
use super::transfer::copy_to;
use super::uniforms::{Layout, Place, Uniforms};
use super::update::{Run, Update};
use crate::engine::{Mask, Sign};
use crate::seed::RoundingKey;

const BLOCK_BYTES: usize = 4 * BLOCK_WORDS;

/// Where the uniforms of a piece are.
#[derive(Clone, Copy)]
struct Places {
    encoding: Place,
    span: Place,
}

/// The uniforms that mask a vector, and the dispatches that read them.
pub(super) struct Program {
    pub(super) layout: Layout,
    pieces: Vec<Places>,
    batches: Vec<(Place, Kernel)>,
}

/// What a batch of shares needs.
#[derive(Clone, Copy)]
enum Kernel {
    Split,
    Sum,
    Mask,
}

impl Program {
    /// The program for `pieces` of `update`, with at most `batch` shares in one dispatch.
    pub(super) fn new<W: Word>(
        device: &wgpu::Device,
        update: &Update<'_>,
        pieces: &[Piece],
        scale: InputScale,
        rounding: &RoundingKey,
        masks: &[Mask],
        batch: usize,
    ) -> Self {
        let keys = |sign| masks.iter().filter(move |mask| mask.sign == sign);
        let ordered: Vec<_> = keys(Sign::Minus)
            .chain(keys(Sign::Plus))
            .map(|mask| mask.key.expose())
            .collect();
        let minus = keys(Sign::Minus).count();

        let sizes = pieces.iter().flat_map(|_| [Encoding::BYTES, Span::BYTES]);
        let batches = ordered.chunks(batch).map(|_| Shares::BYTES);
        let mut layout = Layout::new(device, sizes.chain(batches));
        let pieces = pieces.iter().map(|piece| {
            let run = Run::of::<W>(&piece.output);
            let encoding = Encoding {
                rounding: rounding.expose(),
                first_coordinate: run.first as u64,
                coordinates: word(run.count),
                update_start: update.start(device, &run).1,
                vector_start: word(run.header * W::KEYSTREAM_WORDS),
                scale,
            };
            let span = Span {
                first_block: (piece.output.start / BLOCK_BYTES) as u64,
                blocks: blocks(piece),
            };
            Places {
                encoding: layout.push(Encoding::BYTES, |words| encoding.write(words)),
                span: layout.push(Span::BYTES, |words| span.write(words)),
            }
        });
        let pieces = pieces.collect();
        let batches = (0..)
            .step_by(batch)
            .zip(ordered.chunks(batch))
            .map(|(first, keys)| {
                let (minus, plus) = keys.split_at(minus.saturating_sub(first).min(keys.len()));
                let kernel = match (minus, plus) {
                    (_, []) => Kernel::Split,
                    ([], _) => Kernel::Sum,
                    _ => Kernel::Mask,
                };
                let shares = Shares { minus, plus };
                (
                    layout.push(Shares::BYTES, |words| shares.write(words)),
                    kernel,
                )
            });
        let batches = batches.collect();
        Self {
            layout,
            pieces,
            batches,
        }
    }
}

/// A vector being masked.
pub(super) struct Masking<'a, W> {
    pub(super) device: &'a wgpu::Device,
    pub(super) pipelines: &'a Pipelines,
    pub(super) program: &'a Program,
    pub(super) update: Update<'a>,
    pub(super) masked: &'a mut [u8],
    pub(super) met: Met,
    pub(super) word: PhantomData<W>,
}

/// What was met while encoding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    /// Number of coordinates above C in magnitude.
    pub(super) clipped: u64,
    /// The first coordinate that is NaN or infinite, if any.
    pub(super) non_finite: Option<u64>,
}

impl<W: Word> Job for Masking<'_, W> {
    fn input(&self) -> &[u8] {
        self.update.host_bytes()
    }

    fn record(
        &self,
        piece: &Piece,
        uniforms: &Uniforms,
        buffers: &Buffers,
        encoder: &mut CommandEncoder,
    ) {
        let places = self.program.pieces[piece.index];
        let run = Run::of::<W>(&piece.output);
        if run.header > 0 {
            let header = (run.header * W::BYTES) as u64;
            encoder.clear_buffer(&buffers.output, 0, Some(header));
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        if run.count > 0 {
            let bindings = [
                uniforms.at(places.encoding),
                self.update.binding(self.device, &run, &buffers.input),
                buffers.output.as_entire_buffer_binding(),
                buffers.met.as_entire_buffer_binding(),
            ];
            let threads = Encoding::threads(run.first as u64, word(run.count));
            let quantize = &self.pipelines.quantize;
            quantize.dispatch(self.device, &mut pass, &bindings, threads);
        }
        for (shares, kernel) in &self.program.batches {
            let bindings = [
                uniforms.at(places.span),
                uniforms.at(*shares),
                buffers.output.as_entire_buffer_binding(),
            ];
            let pipeline = kernel.pipeline(self.pipelines);
            pipeline.dispatch(self.device, &mut pass, &bindings, blocks(piece));
        }
    }

    fn take(&mut self, piece: &Piece, output: &[u8], [clipped, non_finite]: [u32; 2]) {
        copy_to(output, &mut self.masked[piece.output.clone()]);
        self.met.clipped += u64::from(clipped);
        if non_finite > 0 {
            let first = Run::of::<W>(&piece.output).first as u64;
            self.met
                .non_finite
                .get_or_insert(first + u64::from(!non_finite));
        }
    }
}

impl Kernel {
    fn pipeline(self, pipelines: &Pipelines) -> &Pipeline {
        match self {
            Self::Split => &pipelines.split,
            Self::Sum => &pipelines.sum,
            Self::Mask => &pipelines.mask,
        }
    }
}

/// Number of blocks in a piece.
fn blocks(piece: &Piece) -> u32 {
    word(piece.output.len().div_ceil(BLOCK_BYTES))
}

/// A count within a piece, which is far smaller than 2^32 bytes.
fn word(count: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "within a piece")]
    let count = count as u32;
    count
}
