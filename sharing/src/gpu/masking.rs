//! The pass over an input vector: encode, make the tag, subtract shares, add shares.

use std::marker::PhantomData;
use std::ops::Range;

use fl_shaders::uniform::{Encoding, Tagging};
use fl_shaders::{Beta, Coefficients, InputScale, TAG_BLOCK, Tag, Word};
use wgpu::CommandEncoder;

use super::combining::Combination;
use super::pipelines::Pipelines;
use super::stream::{Job, Piece, PieceOutput, StreamBuffers, count};
use super::transfer::copy_to;
use super::uniforms::{UniformLayout, UniformPlace, Uniforms};
use super::update::{DeviceUpdate, UpdateRun};
use crate::engine::{Blinding, Mask, Sign};

/// Bytes of a coefficient, and of a partial tag: two numbers, little-endian.
pub(super) const TAG_BYTES: usize = 2 * size_of::<u64>();

/// Where the uniforms of a piece are.
#[derive(Clone, Copy)]
struct Places {
    encoding: UniformPlace,
    tagging: UniformPlace,
}

/// The uniforms that mask a vector, and the dispatches that read them.
pub(super) struct Program {
    pub(super) layout: UniformLayout,
    pieces: Vec<Places>,
    beta: UniformPlace,
    combination: Combination,
}

impl Program {
    /// The program for `pieces` of `update`, with at most `batch` shares in one dispatch.
    pub(super) fn new<W: Word>(
        device: &wgpu::Device,
        header_words: usize,
        update: &DeviceUpdate<'_>,
        pieces: &[Piece],
        scale: InputScale,
        blinding: &Blinding<'_>,
        batch: usize,
    ) -> Self {
        let keys = |sign| -> Vec<_> {
            let masks = blinding.masks.iter().filter(|mask| mask.sign == sign);
            masks.map(|Mask { key, .. }| key.expose()).collect()
        };
        let (minus, plus) = (keys(Sign::Minus), keys(Sign::Plus));
        let elements = pieces.last().map_or(0, |piece| piece.output.end / W::BYTES);
        let coefficients = elements.min(TAG_BLOCK);
        let beta_bytes = (coefficients * TAG_BYTES) as u64;

        let sizes = pieces
            .iter()
            .flat_map(|_| [Encoding::BYTES, Tagging::BYTES])
            .chain([beta_bytes])
            .chain(Combination::sizes(
                pieces.len(),
                blinding.masks.len(),
                batch,
            ));
        let mut layout = UniformLayout::new(device, sizes);
        let places = pieces.iter().map(|piece| {
            let run = UpdateRun::of::<W>(header_words, &piece.output);
            let encoding = Encoding {
                rounding: blinding.rounding.expose(),
                first_coordinate: run.first as u64,
                coordinates: count(run.count),
                update_start: update.start(device, &run).1,
                vector_start: count(run.header * W::KEYSTREAM_WORDS),
                scale,
            };
            let tagging = tagging::<W>(&piece.output);
            Places {
                encoding: layout.push(Encoding::BYTES, |words| encoding.write(words)),
                tagging: layout.push(Tagging::BYTES, |words| tagging.write(words)),
            }
        });
        let places = places.collect();
        let beta = layout.push(beta_bytes, |words| {
            write_beta(blinding.coefficients.beta, words);
        });
        let combination = Combination::new(&mut layout, pieces, &minus, &plus, batch);
        Self {
            layout,
            pieces: places,
            beta,
            combination,
        }
    }
}

/// A vector being masked.
pub(super) struct GpuMasking<'a, W> {
    pub(super) device: &'a wgpu::Device,
    pub(super) pipelines: &'a Pipelines,
    pub(super) program: &'a Program,
    pub(super) header_words: usize,
    pub(super) update: DeviceUpdate<'a>,
    pub(super) coefficients: Coefficients<'a>,
    pub(super) masked: &'a mut [u8],
    pub(super) met: KernelReport,
    pub(super) word: PhantomData<W>,
}

/// What was met while masking.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KernelReport {
    /// Number of coordinates above C in magnitude.
    pub(super) clipped: u64,
    /// The first coordinate that is NaN or infinite, if any.
    pub(super) non_finite: Option<u64>,
    /// The linear part of the tag, as if the header were zeros.
    pub(super) tag: Tag,
}

impl<W: Word> Job for GpuMasking<'_, W> {
    fn input(&self) -> &[u8] {
        self.update.host_bytes()
    }

    fn record(
        &self,
        piece: &Piece,
        uniforms: &Uniforms,
        buffers: &StreamBuffers,
        encoder: &mut CommandEncoder,
    ) {
        let places = self.program.pieces[piece.index];
        let run = UpdateRun::of::<W>(self.header_words, &piece.output);
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
            let threads = Encoding::threads(run.first as u64, count(run.count));
            self.pipelines
                .quantize
                .dispatch(&mut pass, &bindings, threads);
        }
        let bindings = [
            uniforms.at(places.tagging),
            buffers.output.as_entire_buffer_binding(),
            uniforms.at(self.program.beta),
            buffers.partials.as_entire_buffer_binding(),
        ];
        let threads = tagging::<W>(&piece.output).threads();
        self.pipelines.tag.dispatch(&mut pass, &bindings, threads);
        let combination = &self.program.combination;
        combination.record(&mut pass, self.pipelines, piece, uniforms, buffers);
    }

    fn take(&mut self, piece: &Piece, made: &PieceOutput<'_>) {
        copy_to(made.output, &mut self.masked[piece.output.clone()]);
        let [clipped, non_finite] = made.met;
        self.met.clipped += u64::from(clipped);
        if non_finite > 0 {
            let run = UpdateRun::of::<W>(self.header_words, &piece.output);
            self.met
                .non_finite
                .get_or_insert(run.first as u64 + u64::from(!non_finite));
        }
        let tagging = tagging::<W>(&piece.output);
        self.met.tag += total(&tagging, made.partials, self.coefficients.alpha);
    }
}

/// The elements that are the bytes `output` of the vector, as the kernel that makes tags takes
/// them.
pub(super) fn tagging<W: Word>(output: &Range<usize>) -> Tagging {
    Tagging {
        first_element: (output.start / W::BYTES) as u64,
        elements: count(output.len() / W::BYTES),
    }
}

/// Writes as many coefficients as fit.
pub(super) fn write_beta(beta: &Beta, words: &mut [u32]) {
    let (slots, _) = words.as_chunks_mut::<{ TAG_BYTES / 4 }>();
    for (element, slot) in slots.iter_mut().enumerate() {
        let [a, b] = beta.coefficient(element).values().map(halves);
        *slot = [a[0], a[1], b[0], b[1]];
    }
}

/// Returns what a piece adds to the tag: the partial tags of its runs, each times the coefficient
/// of its block.
pub(super) fn total(tagging: &Tagging, partials: &[u8], alpha: &[Tag]) -> Tag {
    let (partials, _) = partials.as_chunks::<TAG_BYTES>();
    let terms = partials.iter().enumerate().map(|(run, partial)| {
        let (values, _) = partial.as_chunks();
        let values = [values[0], values[1]].map(|value| u64::from_le_bytes(value).into());
        alpha[tagging.block(run)] * Tag::from_integers(values)
    });
    terms.sum()
}

/// The low and the high word.
fn halves(value: u64) -> [u32; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the halves")]
    [value as u32, (value >> 32) as u32]
}
