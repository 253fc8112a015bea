//! Share expansion and sum of every engine, against the plain ChaCha20 keystream of the same machine and run.
//!
//! `cargo bench -p fl-sharing [--features gpu] [-- COORDINATES…]` prints, for one thread, for all of them, and for the
//! GPU, GB/s of keystream:
//!
//! * `plain`: the `chacha20` crate writes keystream into a buffer that stays in the first-level cache, on as many threads
//!   as the engine may use;
//! * `masks`: what each further mask costs, the time with the masks minus the time without them;
//! * `whole`: the whole pass, with encoding, the tag, the keystream that rounds, and on a GPU the way there and back;
//!
//! and, on the CPU whichever the engine, GB/s of words:
//!
//! * `tag`: the tag alone, of words that are in the second-level cache, and its share of the time of the whole pass.
//!
//! The measurements take turns, and the best of several counts.
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::hint::black_box;
use std::iter;
use std::time::{Duration, Instant};

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use fl_shaders::{Counters, HEADER_WORDS, Ring, TAG_BLOCK, Tag};
use fl_sharing::{
    Blinding, CpuEngine, Engine, EpochKey, Input, Mask, Needs, Plan, RoundingKey, Seed, Sign,
    TagKey, masked_len,
};
use rayon::ThreadPoolBuilder;

/// Turns go on for at least so many, and so long.
const TURNS: usize = 3;
const DURATION: Duration = Duration::from_millis(500);
const BUFFER: usize = 8 * 1024;
/// Numbers of coordinates, unless the command line has others.
const COORDINATES: [usize; 3] = [100_000, 1_000_000, 10_000_000];

fn main() {
    // Cargo adds `--bench`.
    let given: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let coordinates = if given.is_empty() {
        COORDINATES.to_vec()
    } else {
        given
    };
    let all = std::thread::available_parallelism().unwrap().get();
    let mut engines: Vec<(String, Box<dyn Engine>, usize)> = vec![
        ("CPU, 1 thread".into(), Box::new(CpuEngine), 1),
        (format!("CPU, {all} threads"), Box::new(CpuEngine), all),
    ];
    engines.extend(gpu().map(|(name, engine)| (name, engine, all)));
    for (name, engine, threads) in engines {
        println!("\n{name}");
        println!(
            "coordinates  masks     plain     masks (ratio)     whole (ratio)      tag (share)   GB/s"
        );
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        for &coordinates in &coordinates {
            for masks in [2, 4, 8, 32] {
                let Rates {
                    plain,
                    masks: marginal,
                    whole,
                    tag,
                    tag_share,
                } = pool.install(|| Rates::measure(&*engine, threads, coordinates, masks));
                println!(
                    "{coordinates:11}  {masks:5}  {plain:8.2}  {marginal:8.2} ({:.2})  {whole:8.2} ({:.2})  {tag:8.2} ({:4.1} %)",
                    marginal / plain,
                    whole / plain,
                    100.0 * tag_share,
                );
            }
        }
    }
}

/// The GPU's engine and its name, if there is a GPU.
#[cfg(feature = "gpu")]
fn gpu() -> Option<(String, Box<dyn Engine>)> {
    use fl_sharing::{GpuEngine, gpu};

    match GpuEngine::new(&gpu::Selector::Fastest) {
        Ok(engine) => {
            let info = engine.device().adapter_info();
            let name = format!("{} ({})", info.name, info.driver_info);
            Some((name, Box::new(engine)))
        }
        Err(error) => {
            println!("GPU not measured: {error}");
            None
        }
    }
}

#[cfg(not(feature = "gpu"))]
fn gpu() -> Option<(String, Box<dyn Engine>)> {
    println!("GPU not measured: built without the feature `gpu`");
    None
}

/// GB/s of keystream, and of words.
struct Rates {
    plain: f64,
    masks: f64,
    whole: f64,
    tag: f64,
    /// Time of the tag, of the time of the whole pass.
    tag_share: f64,
}

impl Rates {
    fn measure(engine: &dyn Engine, threads: usize, coordinates: usize, masks: usize) -> Self {
        let format = Plan::new(&Needs::new(Ring::U32, 3, 1_000)).unwrap().format;
        let update: Vec<f32> = (0..coordinates).map(|e| (e as f32).sin() * 0.01).collect();
        let counters = Counters {
            examples: 700,
            ..Counters::default()
        };
        let input = Input {
            format: &format,
            counters,
            update: &update,
        };
        let rounding = RoundingKey::generate().unwrap();
        let keys: Vec<_> = (0..masks)
            .map(|i| Mask {
                key: Seed::generate().unwrap().expand(&[0; 32]),
                sign: if i % 2 == 0 { Sign::Plus } else { Sign::Minus },
            })
            .collect();
        let mut masked = vec![0; masked_len(&format, coordinates)];
        let bytes = masked.len();
        let tag_key = EpochKey::generate()
            .unwrap()
            .tag_key(&[0; 32], HEADER_WORDS + coordinates);
        let mut mask = |masks: &[Mask]| {
            let blinding = Blinding {
                rounding: &rounding,
                masks,
                coefficients: tag_key.coefficients(),
            };
            engine.mask(&input, &blinding, &mut masked).unwrap();
        };

        let cached = vec![0x5a; bytes.min(4 * TAG_BLOCK * threads)];
        let mut best = [f64::INFINITY; 4];
        let (start, mut turn) = (Instant::now(), 0);
        while turn < TURNS || start.elapsed() < DURATION {
            turn += 1;
            let turns = [
                seconds(|| plain(bytes * masks, threads)),
                seconds(|| mask(&[])),
                seconds(|| mask(&keys)),
                tag(&tag_key, &cached) * (bytes as f64 / cached.len() as f64),
            ];
            best = std::array::from_fn(|i| best[i].min(turns[i]));
        }
        let [plain, encode, whole, tagged] = best;
        let rate = |masks: usize, seconds: f64| (bytes * masks) as f64 / seconds / 1e9;
        Self {
            plain: rate(masks, plain),
            masks: rate(masks, whole - encode),
            whole: rate(masks + 1, whole),
            tag: rate(1, tagged),
            tag_share: tagged / whole,
        }
    }
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// Seconds for the tag of a vector, once it and the coefficients are in the cache.
fn tag(tag_key: &TagKey, vector: &[u8]) -> f64 {
    let verify = || {
        let verified = tag_key.verifies(Ring::U32, vector, iter::empty(), Tag::default());
        black_box(verified);
    };
    verify();
    seconds(verify).min(seconds(verify))
}

/// Writes `bytes` of keystream, shared among the threads of the pool.
fn plain(bytes: usize, threads: usize) {
    rayon::broadcast(|_| {
        let mut cipher = ChaCha20::new(&[7; 32].into(), &[0; 12].into());
        let mut buffer = [0; BUFFER];
        for _ in 0..bytes / threads / BUFFER {
            cipher.write_keystream(&mut buffer);
            black_box(&buffer);
        }
    });
}
