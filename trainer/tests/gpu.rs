//! Training and masking on one GPU. Without an adapter a test is skipped, loudly, or fails where a
//! GPU is required.

#![cfg(feature = "gpu")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use fl_datasets::{Dataset, LoadOptions, Schema, Shape, Source, Split, load};
use fl_shaders::{Counters, FixedPoint, Ring};
use fl_sharing::gpu::{REQUIRE_GPU, Selector, is_required};
use fl_sharing::{
    Blinding, CpuEngine, DeviceError, EngineError, EpochKey, Mask, Masked, Plan, RoundingKey, Seed,
    Sign, masked_len,
};
use fl_trainer::{
    Compute, Gpu, LocalTrainer, LocalUpdate, ModelKind, ModelSpec, OrderSeed, TrainError, Training,
    Update, cpu,
};

const EXAMPLES: u32 = 300;

fn open() -> Option<Gpu> {
    match Gpu::open(&Selector::Fastest) {
        Ok(gpu) => Some(gpu),
        Err(error) if is_required() => panic!("{REQUIRE_GPU}=1, but: {error}"),
        Err(error) => {
            eprintln!("SKIPPED, NO GPU: {error}");
            None
        }
    }
}

/// One for all tests that leave it whole.
fn gpu() -> Option<Gpu> {
    static GPU: LazyLock<Option<Gpu>> = LazyLock::new(open);
    GPU.clone()
}

fn trainer(compute: impl Into<Compute>, settings: Training) -> Box<dyn LocalTrainer> {
    let digits = load(&Source::Digits, &LoadOptions::default()).unwrap();
    let Split { train, test } = digits.split(0.2, 1).unwrap();
    let train = train.select(&(0..EXAMPLES as usize).collect::<Vec<_>>());
    let spec = ModelSpec::new(ModelKind::Cnn, train.schema().clone(), None).unwrap();
    spec.trainer(train, test, settings, compute).unwrap()
}

fn train(trainer: &mut dyn LocalTrainer, global: &[f32]) -> Result<LocalUpdate, TrainError> {
    let order = OrderSeed::of_numbers(42, 1);
    trainer.train(global, 1, &order, &mut |_| ControlFlow::Continue(()))
}

fn masks() -> Vec<Mask> {
    let mask = |(seed, sign): (u8, Sign)| Mask {
        key: Seed::from_bytes([seed; 32]).expand(&[9; 32]),
        sign,
    };
    [(1, Sign::Minus), (2, Sign::Plus), (3, Sign::Minus)]
        .map(mask)
        .into()
}

/// The masked sum of an update, whose masks are always the same, with its tag.
fn masked(
    update: &Update,
    format: &FixedPoint,
    rounding: u8,
) -> Result<(Vec<u8>, Masked), EngineError> {
    let counters = Counters {
        examples: EXAMPLES.into(),
        ..Counters::default()
    };
    let rounding = RoundingKey::from_bytes([rounding; 32]);
    let tag_key =
        EpochKey::from_bytes([3; 32]).tag_key(&[9; 32], format.header_words() + update.len());
    let masks = masks();
    let blinding = Blinding {
        rounding: &rounding,
        masks: &masks,
        coefficients: tag_key.coefficients(),
    };
    // A sentinel, so that a word that nobody writes shows.
    let mut masked = vec![0xa5; masked_len(format, update.len())];
    let contribution = (format, &counters);
    let done = update.mask(&CpuEngine, contribution, &blinding, &mut masked);
    if done.is_err() {
        assert!(masked.iter().all(|&byte| byte == 0));
    }
    done.map(|met| (masked, met))
}

#[test]
fn an_update_masked_on_the_gpu_is_the_one_masked_on_the_cpu_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(gpu, Training::default());
    let global = trainer.initial().unwrap();
    let resident = train(&mut *trainer, &global).unwrap().update;
    let values = resident.to_vec().unwrap();
    assert_eq!(values.len(), global.len());
    assert!(values.iter().filter(|&&value| value != 0.0).count() > values.len() / 2);
    for ring in [Ring::U32, Ring::U64] {
        let format = Plan::new(ring, 3, EXAMPLES, 0).unwrap().format;
        let on_gpu = masked(&resident, &format, 7).unwrap();
        let on_cpu = masked(&values.clone().into(), &format, 7).unwrap();
        assert!(on_gpu == on_cpu, "{ring:?}");
        // Masking leaves the update as it is, for a round may take several attempts.
        assert!(masked(&resident, &format, 7).unwrap() == on_cpu, "{ring:?}");
        // Negative controls: another rounding, and a coordinate that differs by a step of the grid.
        assert!(masked(&resident, &format, 8).unwrap() != on_cpu);
        let mut other = values.clone();
        other[1_000] += 0.01;
        assert!(masked(&other.into(), &format, 7).unwrap() != on_gpu);
    }
}

#[test]
fn an_update_that_is_too_long_is_shortened_on_the_gpu_as_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(gpu, Training::default());
    let global = trainer.initial().unwrap();
    let mut update = train(&mut *trainer, &global).unwrap().update;
    let before = update.to_vec().unwrap();
    let mut on_cpu = Update::from(before.clone());
    assert_eq!(update.shorten(1e3).unwrap(), None);
    assert_eq!(update.to_vec().unwrap(), before);

    let norms = [&mut update, &mut on_cpu].map(|update| update.shorten(0.5).unwrap().unwrap());
    assert!((norms[0] / norms[1] - 1.0).abs() < 1e-5, "{norms:?}");
    let [on_gpu, on_cpu] = [update, on_cpu].map(|update| update.to_vec().unwrap());
    for (on_gpu, on_cpu) in on_gpu.iter().zip(&on_cpu) {
        assert!((on_gpu - on_cpu).abs() < 1e-6, "{on_gpu} {on_cpu}");
    }
    assert_ne!(on_gpu, before);
}

#[test]
fn a_gpu_learns_what_a_cpu_learns_from_the_same_start() {
    let Some(gpu) = gpu() else { return };
    let mut on_gpu = trainer(gpu, Training::default());
    let mut on_cpu = trainer(cpu(), Training::default());
    let global = on_cpu.initial().unwrap();
    assert_eq!(on_gpu.initial().unwrap(), global);
    let mut learned = [&mut on_gpu, &mut on_cpu].map(|trainer| {
        let update = train(&mut **trainer, &global).unwrap().update;
        update.to_vec().unwrap()
    });
    let norm = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
    let apart: Vec<f32> = learned[0]
        .iter()
        .zip(&learned[1])
        .map(|(a, b)| a - b)
        .collect();
    assert!(norm(&apart) < 0.02 * norm(&learned[1]), "{}", norm(&apart));

    for (parameter, update) in learned[0].iter_mut().zip(&global) {
        *parameter += update;
    }
    let scores = [on_gpu, on_cpu].map(|mut trainer| trainer.evaluate(&learned[0]).unwrap());
    let examples = scores[0].examples();
    assert_eq!(examples, scores[1].examples());
    let [on_gpu, on_cpu] = [0, 1].map(|k: usize| scores[k].figures());
    let apart = on_gpu.accuracy.unwrap() - on_cpu.accuracy.unwrap();
    assert!(apart.abs() * examples as f64 <= 1.5, "{scores:?}");
    let ratio = on_gpu.loss.unwrap() / on_cpu.loss.unwrap();
    assert!((ratio - 1.0).abs() < 1e-3, "{scores:?}");
    assert!(scores[0].accuracy() > Some(0.7), "{scores:?}");
}

#[test]
fn training_that_diverges_on_a_gpu_names_the_tensor() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(
        gpu,
        Training {
            learning_rate: 1e30,
            ..Training::default()
        },
    );
    let global = trainer.initial().unwrap();
    let diverged = train(&mut *trainer, &global);
    assert!(
        matches!(&diverged, Err(TrainError::NotFinite { tensor, .. }) if !tensor.is_empty()),
        "{diverged:?}"
    );
}

#[test]
fn data_beyond_the_reach_of_a_gpu_is_refused() {
    let Some(gpu) = gpu() else { return };
    let columns = usize::try_from(gpu.adapter().max_binding_bytes / 4 / 1_000).unwrap() + 1;
    if columns > 100_000 {
        eprintln!("SKIPPED: what this GPU does not reach is more memory than a test should take");
        return;
    }
    let shape = Shape::Table { columns };
    let schema = Schema::new(shape, vec![], vec!["no".into(), "yes".into()]).unwrap();
    let data = Dataset::new(schema.clone(), vec![0.0; 1_000 * columns], vec![0; 1_000]).unwrap();
    let spec = ModelSpec::new(ModelKind::Mlp, schema, None).unwrap();
    let test = data.select(&[0]);
    let trainer = spec.trainer(data, test, Training::default(), gpu);
    let error = trainer.err().unwrap();
    assert!(matches!(error, TrainError::OutOfReach { .. }), "{error}");
    assert!(
        error.to_string().starts_with("the training set takes "),
        "{error}"
    );
}

#[test]
fn a_lost_gpu_is_an_error_that_says_so_wherever_it_shows() {
    let Some(gpu) = open() else { return };
    let mut trainer = trainer(gpu.clone(), Training::default());
    let global = trainer.initial().unwrap();
    let resident = train(&mut *trainer, &global).unwrap().update;
    let format = Plan::new(Ring::U32, 3, EXAMPLES, 0).unwrap().format;
    masked(&resident, &format, 7).unwrap();

    let mut steps = 0;
    let lost = trainer.train(&global, 2, &OrderSeed::of_numbers(42, 2), &mut |_| {
        steps += 1;
        if steps == 5 {
            gpu.engine().device().destroy();
        }
        ControlFlow::Continue(())
    });
    let is_lost = |error: TrainError| matches!(error, TrainError::Gpu(DeviceError::Lost));
    assert!(is_lost(lost.unwrap_err()));
    // Training looks after the device every few steps.
    assert!((5..=32).contains(&steps), "{steps}");
    assert!(is_lost(train(&mut *trainer, &global).unwrap_err()));
    assert!(is_lost(trainer.evaluate(&global).unwrap_err()));
    assert!(is_lost(resident.to_vec().unwrap_err()));
    let masking = masked(&resident, &format, 7).unwrap_err();
    assert_eq!(masking, EngineError::Device(DeviceError::Lost));
}
