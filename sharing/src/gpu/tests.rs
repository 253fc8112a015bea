//! The kernels that combine shares, at places that no vector reaches: known answers, and the ends
//! of stripes.

mod tagging;

use fl_shaders::uniform::{Shares, Span};
use fl_shaders::{Word, cpu};
use serde_json::Value;
use wgpu::CommandEncoder;
use wgpu::util::{BufferInitDescriptor, DeviceExt};

use super::pipelines::{Pipeline, Pipelines};
use super::stream::{Job, Piece, PieceOutput, StreamBuffers};
use super::uniforms::{UniformLayout, UniformPlace, Uniforms};
use super::{GpuEngine, REQUIRE_GPU, Selector, is_required};

/// The engine, unless there is no adapter and none is required.
fn engine() -> Option<GpuEngine> {
    match GpuEngine::new(&Selector::Fastest) {
        Ok(engine) => Some(engine),
        Err(error) if is_required() => panic!("{REQUIRE_GPU}=1, but: {error}"),
        Err(error) => {
            eprintln!("SKIPPED, NO GPU: {error}");
            None
        }
    }
}

/// One dispatch on one piece.
struct Combination<'a> {
    pipeline: &'a Pipeline,
    places: [UniformPlace; 2],
    vector: wgpu::Buffer,
    combined: Vec<u8>,
}

impl Job for Combination<'_> {
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
        let [span, shares] = self.places.map(|place| uniforms.at(place));
        let bindings = [span, shares, buffers.output.as_entire_buffer_binding()];
        let threads = u32::try_from(len.div_ceil(64)).unwrap();
        self.pipeline.dispatch(&mut pass, &bindings, threads);
    }

    fn take(&mut self, _piece: &Piece, made: &PieceOutput<'_>) {
        self.combined = made.output.to_vec();
    }
}

/// Runs a kernel on `vector`, which begins at element `first`, the first of a block.
fn combine<W: Word>(
    engine: &GpuEngine,
    kernel: fn(&Pipelines) -> &Pipeline,
    vector: &[W],
    first: u64,
    shares: &Shares<'_>,
) -> Vec<W> {
    let bytes = le_bytes(vector);
    let span = Span {
        first_block: first * W::KEYSTREAM_WORDS as u64 / 16,
        blocks: u32::try_from(bytes.len().div_ceil(64)).unwrap(),
    };
    let mut layout = UniformLayout::new(&engine.device, [Span::BYTES, Shares::BYTES]);
    let places = [
        layout.push(Span::BYTES, |words| span.write(words)),
        layout.push(Shares::BYTES, |words| shares.write(words)),
    ];
    let pieces = [Piece {
        index: 0,
        input: 0..0,
        output: 0..bytes.len(),
        partials: 0,
    }];
    let mut job = Combination {
        pipeline: kernel(engine.pipelines(W::RING)),
        places,
        vector: engine.device.create_buffer_init(&BufferInitDescriptor {
            label: None,
            contents: &bytes,
            usage: wgpu::BufferUsages::COPY_SRC,
        }),
        combined: Vec::new(),
    };
    engine.run(&pieces, &layout, &mut job).unwrap();
    job.combined.chunks_exact(W::BYTES).map(W::read).collect()
}

fn le_bytes<W: Word>(words: &[W]) -> Vec<u8> {
    let bytes = words.iter().map(|word| word.to_le_bytes());
    bytes.flat_map(|bytes| bytes.as_ref().to_vec()).collect()
}

/// `count` words of the keystream of `key`, from word `first`, the first of a block, on.
fn words(engine: &GpuEngine, key: &[u8; 32], first: u64, count: usize) -> Vec<u32> {
    let shares = Shares {
        minus: &[],
        plus: &[key],
    };
    combine(
        engine,
        |kernels| &kernels.sum,
        &vec![0; count],
        first,
        &shares,
    )
}

fn hex_words(words: &[u32]) -> String {
    hex::encode(
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

/// RFC 8439, appendix A.1, test vectors 1 to 4.
#[test]
fn keystreams_of_the_rfc() {
    let Some(engine) = engine() else { return };
    assert_eq!(
        hex_words(&words(&engine, &[0; 32], 0, 32)),
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
         da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586\
         9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
         29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    );
    let mut key = [0; 32];
    key[31] = 1;
    assert_eq!(
        hex_words(&words(&engine, &key, 16, 16)),
        "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a\
         8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"
    );
    let mut key = [0; 32];
    key[1] = 0xff;
    assert_eq!(
        hex_words(&words(&engine, &key, 32, 16)),
        "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca\
         13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096"
    );
}

#[test]
fn known_answers_of_the_seed_expansion() {
    let Some(engine) = engine() else { return };
    let known: Value =
        serde_json::from_str(include_str!("../../tests/vectors/seed_expansion.json")).unwrap();
    let key: [u8; 32] = hex::decode(known["key_vec"].as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    let strings = |words: &[u32]| Value::from_iter(words.iter().map(|word| format!("{word:08x}")));

    let chunk = words(&engine, &key, 0, 65_552);
    assert_eq!(strings(&chunk[..8]), known["words_0_8"]);
    let ends = strings(&chunk[65_535..65_537]);
    assert_eq!(ends[0], known["word_65535"]);
    assert_eq!(ends[1], known["word_65536"]);

    let stripe = 1 << 36;
    let around = words(&engine, &key, stripe - 16, 20);
    assert_eq!(
        strings(&around[..4]),
        known["last_block_of_stripe_0_words_0_4"]
    );
    assert_eq!(
        strings(&around[16..]),
        known["first_block_of_stripe_1_words_0_4"]
    );
}

fn assert_equals_the_twins<W: Word>(engine: &GpuEngine, vector: &[W], first: u64) {
    let keys: [[u8; 32]; 4] = std::array::from_fn(|i| [u8::try_from(i).unwrap() + 1; 32]);
    let [a, b, c, d] = &keys;
    let run = |kernel, minus: &[_], plus: &[_]| {
        combine(engine, kernel, vector, first, &Shares { minus, plus })
    };
    let twin = |minus: &[_], plus: &[_]| {
        let mut vector = vector.to_vec();
        cpu::mask(&mut vector, first, minus, plus);
        vector
    };
    assert_eq!(
        run(|kernels| &kernels.split, &[a, b], &[]),
        twin(&keys[..2], &[])
    );
    assert_eq!(
        run(|kernels| &kernels.sum, &[], &[c, d]),
        twin(&[], &keys[2..])
    );
    let masked = run(|kernels| &kernels.mask, &[a, b], &[c, d]);
    assert_eq!(masked, twin(&keys[..2], &keys[2..]));
    // Negative control.
    assert_ne!(masked, twin(&keys[2..], &keys[..2]));
}

#[test]
fn kernels_equal_their_twins_at_the_ends_of_stripes_and_with_every_carry() {
    let Some(engine) = engine() else { return };
    for first in [0, (1 << 36) - 64, 3 << 36, (1 << 50) - 32] {
        // Low words of ones and zeros, so that additions carry and subtractions borrow.
        let wide: Vec<u64> = (0..200_u64)
            .map(|e| if e % 2 == 0 { u64::MAX } else { e << 32 })
            .collect();
        assert_equals_the_twins(&engine, &wide, first);
        // A difference of zero borrows nothing.
        let share: Vec<u64> = cpu::chacha20::share(&[1; 32], first).take(200).collect();
        let shares = Shares {
            minus: &[&[1; 32]],
            plus: &[],
        };
        let nothing = combine(&engine, |kernels| &kernels.split, &share, first, &shares);
        assert_eq!(nothing, [0; 200]);
        let narrow: Vec<u32> = (0..200).collect();
        assert_equals_the_twins(&engine, &narrow, first);
    }
}
