//! Share expansion and sum of every engine, against the plain ChaCha20 keystream of the same
//! machine and run.
//!
//! `cargo bench -p fl-sharing [--features gpu] [-- COORDINATES…]` prints, for each set of
//! instructions that the CPU has, for both rings, for one thread and for all of them, and for the
//! GPU, GB/s of keystream:
//!
//! * `plain`: the `chacha20` crate writes keystream into a buffer that stays in the first-level
//!   cache, on as many threads as the engine may use, whatever their instructions with the best
//!   that the CPU has;
//! * `masks`: what each further mask costs, the time with the masks minus the time without them;
//! * `whole`: the whole pass, with encoding, the tag, the keystream that rounds, and on a GPU the
//!   way there and back;
//! * `sum`: the sum of as many shares, and nothing else;
//!
//! and GB/s of words:
//!
//! * `none`: the whole pass without masks, beside `copy`, which copies the words from one vector to
//!   another;
//! * `tag`: on the CPU whichever the engine, the tag alone, of words that are in the second-level
//!   cache, and its share of the time of the whole pass.
//!
//! The measurements take turns, and the best of several counts.
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use fl_shaders::{Counters, Instructions, Ring, TAG_BLOCK};
use fl_sharing::{
    Blinding, CpuEngine, Engine, EpochKey, Input, Mask, MaskKey, Plan, RoundingKey, Seed, Sign,
    masked_len,
};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

/// Turns go on for at least so many, and so long.
const TURNS: usize = 3;
const DURATION: Duration = Duration::from_millis(500);
const BUFFER: usize = 8 * 1024;
/// Numbers of coordinates, unless the command line has others.
const COORDINATES: [usize; 3] = [100_000, 1_000_000, 10_000_000];
/// So many take too long but with the best engines, and for a few masks.
const MANY: usize = 100_000_000;
const MASKS: [usize; 3] = [2, 8, 32];

/// An engine, and how it is measured.
struct Case {
    name: String,
    engine: Box<dyn Engine>,
    ring: Ring,
    threads: usize,
    many: bool,
}

fn main() {
    // Cargo adds `--bench`.
    let given: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    for case in cases() {
        println!(
            "\n{}, ring {}, {} threads",
            case.name, case.ring, case.threads
        );
        println!(
            "coordinates  masks  plain    masks (ratio)    whole (ratio)      sum (ratio)    none   copy      tag (share)   GB/s"
        );
        let coordinates = if given.is_empty() {
            &COORDINATES
        } else {
            &given[..]
        };
        let rows = coordinates
            .iter()
            .flat_map(|&n| MASKS.map(|masks| (n, masks)));
        let many = [(MANY, 2), (MANY, 8)]
            .into_iter()
            .filter(|_| case.many && given.is_empty());
        let pool = ThreadPoolBuilder::new()
            .num_threads(case.threads)
            .build()
            .unwrap();
        for (coordinates, masks) in rows.chain(many) {
            let rates = pool.install(|| Rates::measure(&case, coordinates, masks));
            println!("{coordinates:11}  {masks:5}  {rates}");
        }
    }
}

fn cases() -> Vec<Case> {
    let all = std::thread::available_parallelism().unwrap().get();
    let mut cases = Vec::new();
    for (i, set) in Instructions::available().enumerate() {
        for ring in [Ring::U32, Ring::U64] {
            cases.push(Case {
                name: format!("CPU, {set:?}"),
                engine: Box::new(set),
                ring,
                threads: 1,
                many: i == 0 && ring == Ring::U32,
            });
        }
    }
    let engines = gpu()
        .into_iter()
        .chain([("CPU".into(), Box::new(CpuEngine) as _)]);
    cases.extend(engines.map(|(name, engine)| Case {
        name,
        engine,
        ring: Ring::U32,
        threads: all,
        many: true,
    }));
    cases
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
    sum: f64,
    none: f64,
    copy: f64,
    tag: f64,
    /// Time of the tag, of the time of the whole pass.
    tag_share: f64,
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5.2}", self.plain)?;
        for rate in [self.masks, self.whole, self.sum] {
            write!(f, "  {rate:7.2} ({:5.2})", rate / self.plain)?;
        }
        write!(f, "  {:6.2}  {:5.2}", self.none, self.copy)?;
        write!(f, "  {:7.2} ({:4.1} %)", self.tag, 100.0 * self.tag_share)
    }
}

impl Rates {
    fn measure(case: &Case, coordinates: usize, masks: usize) -> Self {
        let &Case {
            ref engine,
            ring,
            threads,
            ..
        } = case;
        let format = Plan::new(ring, 3, 1_000, 0).unwrap().format;
        let update: Vec<f32> = (0..coordinates).map(|e| (e as f32).sin() * 0.01).collect();
        let counters = Counters {
            examples: 700,
            ..Counters::default()
        };
        let input = Input {
            format: &format,
            counters: &counters,
            update: &update,
        };
        let rounding = RoundingKey::generate().unwrap();
        let key = || Seed::generate().unwrap().expand(&[0; 32]);
        let sign = |i: usize| {
            if i.is_multiple_of(2) {
                Sign::Plus
            } else {
                Sign::Minus
            }
        };
        let keys: Vec<MaskKey> = (0..masks).map(|_| key()).collect();
        let all: Vec<Mask> = (0..masks)
            .map(|i| Mask {
                key: key(),
                sign: sign(i),
            })
            .collect();
        let mut masked = vec![0; masked_len(&format, coordinates)];
        let words = vec![0x5a; masked.len()];
        let bytes = masked.len();
        let epoch_key = EpochKey::generate().unwrap();
        let tag_key = epoch_key.tag_key(&[0; 32], format.header_words() + coordinates);
        let mask = |masks: &[Mask], masked: &mut [u8]| {
            let blinding = Blinding {
                rounding: &rounding,
                masks,
                coefficients: tag_key.coefficients(),
            };
            engine.mask(&input, &blinding, masked).unwrap();
        };

        let tagged = tag(ring, &epoch_key) * bytes as f64;
        let mut best = [f64::INFINITY; 5];
        let (start, mut turn) = (Instant::now(), 0);
        while turn < TURNS || start.elapsed() < DURATION {
            turn += 1;
            let turns = [
                seconds(|| plain(bytes * masks, threads)),
                seconds(|| mask(&[], &mut masked)),
                seconds(|| mask(&all, &mut masked)),
                seconds(|| engine.sum(ring, &keys, &mut masked).unwrap()),
                seconds(|| copy(&words, &mut masked)),
            ];
            best = std::array::from_fn(|i| best[i].min(turns[i]));
        }
        let [plain, none, whole, sum, copied] = best;
        let rate = |masks: usize, seconds: f64| (bytes * masks) as f64 / seconds / 1e9;
        Self {
            plain: rate(masks, plain),
            masks: rate(masks, whole - none),
            whole: (bytes * masks + 4 * coordinates) as f64 / whole / 1e9,
            sum: rate(masks, sum),
            none: rate(1, none),
            copy: rate(1, copied),
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

/// Copies words, on all threads of the pool.
fn copy(from: &[u8], to: &mut [u8]) {
    let chunks = to.par_chunks_mut(BUFFER).zip(from.par_chunks(BUFFER));
    chunks.for_each(|(to, from)| to.copy_from_slice(from));
}

/// Seconds for the tag of a byte of words, made on all threads of the pool, once the words and the
/// coefficients are in the cache.
fn tag(ring: Ring, epoch_key: &EpochKey) -> f64 {
    let block = vec![0x5a; ring.word_bytes() * TAG_BLOCK];
    let slowest = rayon::broadcast(|_| {
        let mut verification = epoch_key.tag_key(&[0; 32], 4 * TAG_BLOCK).verify(ring);
        verification.add(&block);
        let times = [(); 3].map(|()| seconds(|| verification.add(&block)));
        times.into_iter().fold(f64::INFINITY, f64::min)
    });
    let slowest = slowest.iter().copied().fold(0.0, f64::max);
    slowest / (rayon::current_num_threads() * block.len()) as f64
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
