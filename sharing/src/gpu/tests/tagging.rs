//! Tags: the kernel alone at extremes, and whole vectors in pieces of every size.

use fl_shaders::{Beta, Coefficients, Counters, FixedPoint, Ring, Tag, Word, cpu};
use wgpu::util::{BufferInitDescriptor, DeviceExt};
use wgpu::{BufferUsages, CommandEncoder};

use super::{GpuEngine, engine, le_bytes};
use crate::gpu::masking::{TAG_BYTES, tagging, total, write_beta};
use crate::gpu::stream::{Job, Piece, PieceOutput, StreamBuffers};
use crate::gpu::uniforms::{UniformLayout, UniformPlace, Uniforms};
use crate::{
    Blinding, CpuEngine, Engine, EpochKey, Input, Mask, Plan, RoundingKey, Seed, Sign, masked_len,
};

const MODULUS: i128 = (1 << 61) - 1;
const WIDE_EXTREMES: [i64; 9] = [
    i64::MIN,
    i64::MAX,
    -1,
    0,
    1,
    1 << 32,
    -1 << 32,
    i64::MIN + 1,
    (1 << 32) - 1,
];

/// One dispatch of the kernel on a vector that begins at element `first`.
struct Tagging<'a, W> {
    engine: &'a GpuEngine,
    places: [UniformPlace; 2],
    vector: wgpu::Buffer,
    first: u64,
    words: &'a [W],
    alpha: &'a [Tag],
    tag: Tag,
}

impl<W: Word> Tagging<'_, W> {
    fn uniform(&self) -> fl_shaders::uniform::Tagging {
        uniform(self.first, self.words)
    }
}

fn uniform<W: Word>(first: u64, words: &[W]) -> fl_shaders::uniform::Tagging {
    let start = usize::try_from(first).unwrap() * W::BYTES;
    tagging::<W>(&(start..start + size_of_val(words)))
}

impl<W: Word> Job for Tagging<'_, W> {
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
        encoder.copy_buffer_to_buffer(&self.vector, 0, &buffers.output, 0, len);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let [tagging, beta] = self.places.map(|place| uniforms.at(place));
        let bindings = [
            tagging,
            buffers.output.as_entire_buffer_binding(),
            beta,
            buffers.partials.as_entire_buffer_binding(),
        ];
        let pipelines = self.engine.pipelines(W::RING);
        let threads = self.uniform().threads();
        pipelines.tag.dispatch(&mut pass, &bindings, threads);
    }

    fn take(&mut self, _piece: &Piece, made: &PieceOutput<'_>) {
        self.tag = total(&self.uniform(), made.partials, self.alpha);
    }
}

/// The tag of `words`, which begin at element `first`, by the kernel.
fn by_kernel<W: Word>(
    engine: &GpuEngine,
    words: &[W],
    first: u64,
    coefficients: Coefficients<'_>,
) -> Tag {
    let uniform = uniform(first, words);
    let beta_bytes = (coefficients.beta.len() * TAG_BYTES) as u64;
    let sizes = [fl_shaders::uniform::Tagging::BYTES, beta_bytes];
    let mut layout = UniformLayout::new(&engine.device, sizes);
    let places = [
        layout.push(sizes[0], |words| uniform.write(words)),
        layout.push(sizes[1], |words| write_beta(coefficients.beta, words)),
    ];
    let pieces = [Piece {
        index: 0,
        input: 0..0,
        output: 0..size_of_val(words),
        partials: uniform.runs() as usize * TAG_BYTES,
    }];
    let mut job = Tagging {
        engine,
        places,
        vector: engine.device.create_buffer_init(&BufferInitDescriptor {
            label: None,
            contents: &le_bytes(words),
            usage: BufferUsages::COPY_SRC,
        }),
        first,
        words,
        alpha: coefficients.alpha,
        tag: Tag::default(),
    };
    engine.run(&pieces, &layout, &mut job).unwrap();
    job.tag
}

/// `count` tags of extreme values, in an order that meets every value of a vector.
fn extreme_tags(count: usize) -> impl ExactSizeIterator<Item = Tag> {
    let values = [MODULUS - 1, 1, 0, 0xffff_ffff, 1 << 32, MODULUS >> 1, -5];
    (0..count).map(move |i| Tag::from_integers([values[i % 7], values[(i + i / 7) % 7]]))
}

fn assert_equals_the_twin<W: Word>(
    engine: &GpuEngine,
    words: &[W],
    first: u64,
    coefficients: Coefficients<'_>,
) {
    let expected = cpu::tag(words, first, coefficients);
    let got = by_kernel(engine, words, first, coefficients);
    assert_eq!(got, expected, "{} words from {first}", words.len());
}

#[test]
fn the_kernel_equals_its_twin_for_extreme_words_and_coefficients_around_blocks() {
    let Some(engine) = engine() else { return };
    let alpha: Vec<_> = extreme_tags(9)
        .map(|tag| tag + Tag::from_integers([3, 7]))
        .collect();
    let beta = Beta::new(extreme_tags(65_536));
    let coefficients = Coefficients {
        alpha: &alpha,
        beta: &beta,
    };
    let wide = |count: usize| -> Vec<u64> {
        let words = WIDE_EXTREMES.iter().cycle().take(count);
        words.map(|word| word.cast_unsigned()).collect()
    };
    let narrow = |count: usize| -> Vec<u32> {
        let extremes = [
            i32::MIN,
            i32::MAX,
            -1,
            0,
            1,
            77,
            i32::MIN + 1,
            0xffff,
            0x10000,
        ];
        let words = extremes.iter().cycle().take(count);
        words.map(|word| word.cast_unsigned()).collect()
    };
    for first in [0, 64, 960, 65_472, 65_536, 5 * 65_536 - 1_088] {
        for count in [1, 63, 64, 65, 1_023, 1_024, 1_025, 3_000] {
            assert_equals_the_twin(&engine, &wide(count), first, coefficients);
            assert_equals_the_twin(&engine, &narrow(count), first, coefficients);
        }
    }
    // Over two whole blocks.
    assert_equals_the_twin(&engine, &wide(140_000), 65_472, coefficients);
    assert_equals_the_twin(&engine, &narrow(140_000), 65_472, coefficients);

    // Negative controls: one step in one word, words that changed places, and another place.
    let words = wide(3_000);
    let tag = by_kernel(&engine, &words, 64, coefficients);
    let (mut stepped, mut swapped) = (words.clone(), words.clone());
    stepped[2_999] ^= 1;
    swapped.swap(0, 1_024);
    assert_ne!(tag, cpu::tag(&stepped, 64, coefficients));
    assert_ne!(tag, cpu::tag(&swapped, 64, coefficients));
    assert_ne!(tag, cpu::tag(&words, 128, coefficients));
}

#[test]
fn sums_of_the_largest_products_do_not_overflow() {
    let Some(engine) = engine() else { return };
    let alpha = [Tag::from_integers([1, 1])];
    for value in [MODULUS - 1, 1, 0] {
        let beta = Beta::new(vec![Tag::from_integers([value; 2]); 4_096].into_iter());
        let coefficients = Coefficients {
            alpha: &alpha,
            beta: &beta,
        };
        for extreme in [i64::MIN, i64::MAX] {
            let words = [extreme.cast_unsigned(); 4_096];
            let expected = Tag::from_integers([i128::from(extreme) * 4_096; 2])
                * Tag::from_integers([value; 2]);
            assert_eq!(by_kernel(&engine, &words, 0, coefficients), expected);
        }
        for extreme in [i32::MIN, i32::MAX] {
            let words = [extreme.cast_unsigned(); 4_096];
            let expected = Tag::from_integers([i128::from(extreme) * 4_096; 2])
                * Tag::from_integers([value; 2]);
            assert_eq!(by_kernel(&engine, &words, 0, coefficients), expected);
        }
    }
}

fn format(ring: Ring) -> FixedPoint {
    Plan::new(ring, 3, 1_000, 0).unwrap().format
}

fn masks(count: u8) -> Vec<Mask> {
    let mask = |i: u8| Mask {
        key: Seed::from_bytes([i; 32]).expand(&[9; 32]),
        sign: match i.is_multiple_of(2) {
            true => Sign::Plus,
            false => Sign::Minus,
        },
    };
    (0..count).map(mask).collect()
}

#[test]
fn pieces_of_any_size_give_what_the_cpu_gives() {
    let Some(mut engine) = engine() else { return };
    let rounding = RoundingKey::from_bytes([5; 32]);
    let masks = masks(3);
    for (piece_bytes, len) in [
        (256, 700),
        (4_096, 20_001),
        (65_792, 200_003),
        (262_144, 200_003),
        (299_776, 300_001),
    ] {
        engine.piece_bytes = piece_bytes;
        let update: Vec<f32> = (0..len + 3).map(|e| (e as f32).sin() * 200.0).collect();
        let on_device = engine.device.create_buffer_init(&BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&update),
            usage: BufferUsages::STORAGE,
        });
        let tag_key = EpochKey::from_bytes([6; 32]).tag_key(&[7; 32], len + 5);
        let other_key = EpochKey::from_bytes([6; 32]).tag_key(&[8; 32], len + 5);
        for ring in [Ring::U32, Ring::U64] {
            let format = format(ring);
            let input = Input {
                format: &format,
                counters: &Counters {
                    examples: 700,
                    ..Counters::default()
                },
                update: &update[3..],
            };
            let blinding = Blinding {
                rounding: &rounding,
                masks: &masks,
                coefficients: tag_key.coefficients(),
            };
            let run = |engine: &dyn Engine, blinding: &Blinding<'_>| {
                let mut bytes = vec![0xc3; masked_len(&format, len)];
                let masked = engine.mask(&input, blinding, &mut bytes).unwrap();
                (masked, bytes)
            };
            let case = format!("{ring}, pieces of {piece_bytes} bytes");
            let expected = run(&CpuEngine, &blinding);
            assert!(expected.0.clipped > 0);
            assert!(run(&engine, &blinding) == expected, "{case}");

            let mut bytes = vec![0xc3; masked_len(&format, len)];
            let slice = on_device.slice(12..);
            let masked = engine
                .mask_on_device(&format, input.counters, slice, &blinding, &mut bytes)
                .unwrap();
            assert!((masked, bytes) == expected, "{case}, on the device");

            // Negative control: other coefficients give another tag of the same bytes.
            let other = Blinding {
                coefficients: other_key.coefficients(),
                ..blinding
            };
            let (masked, bytes) = run(&engine, &other);
            assert_ne!(masked.tag, expected.0.tag);
            assert!(bytes == expected.1);

            let keys = [1, 2, 3].map(|i| Seed::from_bytes([i; 32]).expand(&[9; 32]));
            let sum = |engine: &dyn Engine| {
                let mut sum = vec![0xc3; masked_len(&format, len)];
                engine.sum(ring, &keys, &mut sum).unwrap();
                sum
            };
            assert!(sum(&engine) == sum(&CpuEngine), "{case}, the sum of shares");
        }
    }
}
