//! Loads a data set, and says how long that took and how much memory at most.
//!
//! `cargo run --release -p fl-datasets --example load -- FILE [LABEL]`

use std::error::Error;
use std::time::Instant;
use std::{env, fs};

use fl_datasets::{LoadOptions, Source, load};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let source: Source = arguments.next().ok_or("no file is named")?.parse()?;
    let options = LoadOptions {
        label: arguments.next(),
        ..LoadOptions::default()
    };
    let begun = Instant::now();
    let loaded = load(&source, &options)?;
    let seconds = begun.elapsed().as_secs_f64();
    let data = loaded.train;
    println!("{source}: {} × {}", data.len(), data.schema().shape());
    println!("{seconds:.2} s, {} MiB at most", peak().unwrap_or_default());
    Ok(())
}

/// The most memory that this process had, in MiB, where the system tells.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1024)
}
