//! What only the GPU's engine does: updates on the device, small devices, lost devices, and means.

use fl_shaders::{MeanScale, Ring, Word, cpu};
use fl_sharing::gpu::{self, OpenAdapter, Selector, wgpu};
use fl_sharing::{DeviceError, Engine, EngineError, GpuEngine, Input, masked_len};
use wgpu::util::{BufferInitDescriptor, DeviceExt};

use crate::inputs::{Mix, blinding, counters, format};
use crate::twin::{SENTINEL, assert_same, masked, twin};

/// A fresh device. Without an adapter a test is skipped, loudly, or fails where a GPU is required.
pub(crate) fn open() -> Option<OpenAdapter> {
    match gpu::open(&Selector::Fastest) {
        Ok(open) => Some(open),
        Err(error) if gpu::is_required() => panic!("{}=1, but: {error}", gpu::REQUIRE_GPU),
        Err(error) => {
            eprintln!("SKIPPED, NO GPU: {error}");
            None
        }
    }
}

/// What the coefficients of a block take, and so the least that a device must bind at once.
const BINDING_MIN: u64 = 1 << 20;

/// A device of the same adapter that binds at most `bytes` at once, so that every vector takes many
/// pieces.
fn small_engine(bytes: u64) -> Option<GpuEngine> {
    let adapter = open()?.adapter;
    let required_limits = wgpu::Limits {
        max_storage_buffer_binding_size: bytes,
        ..wgpu::Limits::downlevel_defaults()
    };
    let descriptor = wgpu::DeviceDescriptor {
        required_limits,
        ..wgpu::DeviceDescriptor::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Some(GpuEngine::from_device(device, queue).unwrap())
}

fn update_on_device(engine: &GpuEngine, update: &[f32]) -> wgpu::Buffer {
    let bytes: Vec<u8> = update.iter().flat_map(|u| u.to_le_bytes()).collect();
    engine.device().create_buffer_init(&BufferInitDescriptor {
        label: None,
        contents: &bytes,
        usage: wgpu::BufferUsages::STORAGE,
    })
}

#[test]
fn a_vector_beyond_the_binding_limit_goes_in_pieces() {
    for bytes in [BINDING_MIN, 5 * BINDING_MIN / 4] {
        let Some(engine) = small_engine(bytes) else {
            return;
        };
        for (ring, len) in [(Ring::U32, 600_003), (Ring::U64, 300_021)] {
            let mut mix = Mix(bytes);
            let (update, masks) = (mix.update(len), mix.masks(3));
            let format = format(ring);
            let input = Input {
                format: &format,
                counters: &counters(500),
                update: &update,
            };
            let (expected, met) = match ring {
                Ring::U32 => twin::<u32>(&input, &masks),
                Ring::U64 => twin::<u64>(&input, &masks),
            };
            let got = masked(&engine, &input, &masks);
            assert_same(&got.0, &expected, &format!("{ring}, {bytes} bytes at once"));
            assert_eq!(got.1, met);
        }
    }
}

#[test]
fn the_first_number_that_is_not_finite_is_found_in_any_piece() {
    let Some(engine) = small_engine(BINDING_MIN) else {
        return;
    };
    let format = format(Ring::U32);
    for coordinate in [0, 1_000, 262_074, 262_075, 599_999] {
        let mut update = vec![0.5; 600_000];
        update[coordinate..].fill(f32::NAN);
        let input = Input {
            format: &format,
            counters: &counters(1),
            update: &update,
        };
        let mut bytes = vec![SENTINEL; masked_len(&format, update.len())];
        let error = engine.mask(&input, &blinding(&[]), &mut bytes).unwrap_err();
        let coordinate = coordinate as u64;
        assert_eq!(error, EngineError::NonFinite { coordinate });
    }
}

#[test]
fn an_update_on_the_device_is_masked_where_it_is() {
    let Some(OpenAdapter { device, queue, .. }) = open() else {
        return;
    };
    let engines = [
        GpuEngine::from_device(device, queue).unwrap(),
        small_engine(BINDING_MIN).unwrap(),
    ];
    for engine in &engines {
        let mut mix = Mix(3);
        let (update, masks) = (mix.update(300_000), mix.masks(2));
        let buffer = update_on_device(engine, &update);
        for (ring, range) in [
            (Ring::U32, 0..300_000),
            (Ring::U32, 77..299_999),
            (Ring::U64, 1..200_000),
            (Ring::U64, 5..6),
        ] {
            let format = format(ring);
            let input = Input {
                format: &format,
                counters: &counters(7),
                update: &update[range.clone()],
            };
            let (expected, met) = match ring {
                Ring::U32 => twin::<u32>(&input, &masks),
                Ring::U64 => twin::<u64>(&input, &masks),
            };
            let slice = buffer.slice(4 * range.start as u64..4 * range.end as u64);
            let mut bytes = vec![SENTINEL; expected.len()];
            let outcome = engine
                .mask_on_device(
                    &format,
                    input.counters,
                    slice,
                    &blinding(&masks),
                    &mut bytes,
                )
                .unwrap();
            assert_same(&bytes, &expected, &format!("{ring}, {range:?}"));
            assert_eq!(outcome, met);
        }
    }
}

#[test]
fn calls_may_run_at_once() {
    let Some(OpenAdapter { device, queue, .. }) = open() else {
        return;
    };
    let engine = GpuEngine::from_device(device, queue).unwrap();
    let format = format(Ring::U32);
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (engine, format) = (&engine, &format);
            scope.spawn(move || {
                let mut mix = Mix(seed);
                let (update, masks) = (mix.update(20_000), mix.masks(2));
                let input = Input {
                    format,
                    counters: &counters(1 + seed),
                    update: &update,
                };
                let expected = twin::<u32>(&input, &masks);
                for _ in 0..10 {
                    let got = masked(engine, &input, &masks);
                    assert_same(&got.0, &expected.0, "in a crowd");
                    assert_eq!(got.1, expected.1);
                }
            });
        }
    });
}

#[test]
fn a_slice_that_no_kernel_can_read_is_refused_and_the_engine_goes_on() {
    let Some(OpenAdapter { device, queue, .. }) = open() else {
        return;
    };
    let engine = GpuEngine::from_device(device, queue).unwrap();
    let format = format(Ring::U32);
    let buffer = update_on_device(&engine, &[0.5; 100]);
    let unreadable = engine.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 400,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    for slice in [buffer.slice(2..42), unreadable.slice(0..40)] {
        let mut bytes = vec![SENTINEL; masked_len(&format, 10)];
        let error = engine
            .mask_on_device(&format, &counters(1), slice, &blinding(&[]), &mut bytes)
            .unwrap_err();
        assert!(matches!(
            error,
            EngineError::Device(DeviceError::Refused { .. })
        ));
        assert!(bytes.iter().all(|&byte| byte == 0));
    }
    let mut bytes = vec![SENTINEL; masked_len(&format, 10)];
    let slice = buffer.slice(0..40);
    engine
        .mask_on_device(&format, &counters(1), slice, &blinding(&[]), &mut bytes)
        .unwrap();
}

#[test]
fn a_lost_device_is_an_error_that_leaves_zeros() {
    let Some(OpenAdapter { device, queue, .. }) = open() else {
        return;
    };
    let engine = GpuEngine::from_device(device, queue).unwrap();
    let format = format(Ring::U32);
    let (update, masks) = (vec![0.5; 1_000], Mix(4).masks(2));
    let input = Input {
        format: &format,
        counters: &counters(1),
        update: &update,
    };
    masked(&engine, &input, &masks);
    engine.device().destroy();
    for _ in 0..2 {
        let mut bytes = vec![SENTINEL; masked_len(&format, update.len())];
        let error = engine
            .mask(&input, &blinding(&masks), &mut bytes)
            .unwrap_err();
        assert_eq!(error, EngineError::Device(DeviceError::Lost));
        assert!(bytes.iter().all(|&byte| byte == 0));
    }
}

fn assert_means_equal<W: Word>(engine: &GpuEngine, sum: &[W], total_examples: u64) {
    let scale = MeanScale::new(&format(W::RING), total_examples).unwrap();
    let mut expected = vec![f32::NAN; sum.len()];
    cpu::dequantize(sum, scale, &mut expected);
    let bytes: Vec<u8> = sum
        .iter()
        .flat_map(|word| word.to_le_bytes().as_ref().to_vec())
        .collect();
    let mut mean = vec![f32::NAN; sum.len()];
    engine
        .dequantize(W::RING, &bytes, scale, &mut mean)
        .unwrap();
    for (mean, (expected, word)) in mean.iter().zip(expected.iter().zip(sum)) {
        assert_eq!(mean.to_bits(), expected.to_bits(), "{word:?}");
    }
}

#[test]
fn means_equal_the_twin() {
    let Some(OpenAdapter { device, queue, .. }) = open() else {
        return;
    };
    let engines = [
        GpuEngine::from_device(device, queue).unwrap(),
        small_engine(4_096).unwrap(),
    ];
    for engine in &engines {
        let mut mix = Mix(5);
        for (len, examples) in [(0, 1), (1, 1), (70_001, 4_000), (20_000, 127_999)] {
            // Words of every magnitude, ties of rounding (where the scale is a power of two), the
            // ends of the range.
            let mut words: Vec<u64> = (0..len)
                .map(|e| mix.next() >> (e % 64) & (u64::MAX << (e % 29)))
                .collect();
            for (word, end) in words
                .iter_mut()
                .zip([0, u64::MAX, 1 << 63, 1 << 31, 1 << 24])
            {
                *word = end;
            }
            let narrow: Vec<u32> = words.iter().map(|&word| word as u32).collect();
            assert_means_equal(engine, &words, examples);
            assert_means_equal(engine, &narrow, examples);
        }
    }
    // More threads than one dimension of a dispatch has.
    let words: Vec<u32> = (0..4_194_400)
        .map(|e: u32| e.wrapping_mul(40_503))
        .collect();
    assert_means_equal(&engines[0], &words, 17);
}
