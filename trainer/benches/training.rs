//! Images a second in local training: the built-in network for images on data of MNIST's size, on
//! the CPU and on a GPU.
//!
//! `cargo bench -p fl-trainer -- [--gpu NAME] [--images N] [--batch N]`, by default the fastest
//! GPU, 8,192 images and batches of 256. The images are noise, which costs what real ones cost.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use fl_datasets::{Dataset, Schema, Shape};
use fl_trainer::{Compute, ModelKind, ModelSpec, OrderSeed, Training, cpu};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CLASSES: u32 = 10;
/// Calls that are timed, after one that is not, in which a GPU compiles its kernels.
const CALLS: usize = 3;

#[derive(Parser)]
struct Args {
    /// Part of the GPU's name
    #[arg(long)]
    gpu: Option<String>,
    /// Number of images in a round of training
    #[arg(long, default_value_t = 8_192)]
    images: usize,
    /// Images of a step
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let data = noise(args.images)?;
    let on_cpu = images_per_second(&data, args.batch, cpu().into())?;
    println!("CPU: {on_cpu:.0} images/s");
    gpu(args.gpu, &data, args.batch, on_cpu)
}

#[cfg(feature = "gpu")]
fn gpu(name: Option<String>, data: &Dataset, batch: usize, on_cpu: f64) -> Result<()> {
    use fl_sharing::gpu::Selector;

    let selector = name.map_or(Selector::Fastest, Selector::Named);
    let gpu = match fl_trainer::Gpu::open(&selector) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("GPU: {error}");
            return Ok(());
        }
    };
    let adapter = gpu.adapter().clone();
    let on_gpu = images_per_second(data, batch, gpu.into())?;
    let ratio = on_gpu / on_cpu;
    println!("{adapter}: {on_gpu:.0} images/s, {ratio:.2} times the CPU");
    Ok(())
}

#[cfg(not(feature = "gpu"))]
fn gpu(_: Option<String>, _: &Dataset, _: usize, _: f64) -> Result<()> {
    println!("this build has no GPU support");
    Ok(())
}

fn noise(images: usize) -> Result<Dataset> {
    let shape = Shape::Image {
        channels: 1,
        height: 28,
        width: 28,
    };
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    let mut random = StdRng::seed_from_u64(1);
    let pixels = (0..images * shape.size()).map(|_| random.random_range(0.0..1.0));
    let pixels = pixels.collect();
    let labels = (0..images).map(|_| random.random_range(0..CLASSES));
    let labels = labels.collect();
    Ok(Dataset::new(
        Schema::new(shape, vec![], classes)?,
        pixels,
        labels,
    )?)
}

/// Images trained a second, in the fastest of some calls.
fn images_per_second(data: &Dataset, batch_size: usize, compute: Compute) -> Result<f64> {
    let spec = ModelSpec::new(ModelKind::Cnn, data.schema().clone(), None)?;
    let settings = Training {
        batch_size,
        epochs: 1,
        ..Training::default()
    };
    let mut trainer = spec.trainer(data.clone(), data.select(&[]), settings, compute)?;
    let global = trainer.initial()?;
    let seconds = (0..=CALLS as u64)
        .map(|round| {
            let begun = Instant::now();
            let order = OrderSeed::of_numbers(settings.seed, round);
            trainer.train(&global, round, &order, &mut |_| ControlFlow::Continue(()))?;
            Ok(begun.elapsed().as_secs_f64())
        })
        .collect::<Result<Vec<_>>>()?;
    let best = seconds[1..].iter().copied().min_by(f64::total_cmp);
    Ok(data.len() as f64 / best.context("no calls")?)
}
