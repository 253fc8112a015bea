//! What a relay and a node do with each chunk, one thread: hash it, add it up, average it.
//!
//! `cargo bench -p fl-network --bench averaging`

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may panic")]

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fl_protocol::digest::{CHUNK_BYTES, Digest, chunk_hash};
use fl_protocol::ring_bytes;
use fl_protocol::round::Head;
use fl_protocol::round::training::Averaging;
use fl_shaders::{Addends, Counters, FixedPoint, Parameters, Ring, Word};

const NODES: u32 = 3;
const EXAMPLES: u32 = 1000;
const PARAMETERS: usize = 1_000_000;

fn main() {
    divan::main();
}

fn format(ring: Ring) -> FixedPoint {
    let format = FixedPoint::new(Parameters {
        ring,
        clip: 1.0,
        fraction_bits: 23,
        nodes_max: 128,
        examples_max: EXAMPLES,
        tallies: 0,
    });
    format.unwrap()
}

/// Returns a sum that honest nodes can have: small updates in both directions.
fn sum<W: Word>(format: &FixedPoint) -> Vec<u8> {
    let counters = Counters {
        examples: (NODES * EXAMPLES).into(),
        ..Counters::default()
    };
    let coordinates = (0..PARAMETERS as i64).map(|k| W::from_signed(k * 7919 % 100_000 - 50_000));
    let words = counters
        .to_header::<W>(format)
        .into_iter()
        .chain(coordinates);
    words
        .flat_map(|word| word.to_le_bytes().as_ref().to_vec())
        .collect()
}

#[divan::bench]
fn hash(bencher: Bencher<'_, '_>) {
    let chunk = vec![0x5a; CHUNK_BYTES];
    let bencher = bencher.counter(BytesCount::new(CHUNK_BYTES));
    bencher.bench_local(|| chunk_hash(black_box(&chunk)));
}

#[divan::bench(args = [Ring::U32, Ring::U64])]
fn add(bencher: Bencher<'_, '_>, ring: Ring) {
    let (mut sum, chunk) = (vec![0; CHUNK_BYTES], vec![0x5a; CHUNK_BYTES]);
    let bencher = bencher.counter(BytesCount::new(CHUNK_BYTES));
    bencher.bench_local(|| ring_bytes::add(ring, black_box(&mut sum), black_box(&chunk)));
}

/// With the hashes of sum and model.
#[divan::bench(args = [Ring::U32, Ring::U64])]
fn averaging(bencher: Bencher<'_, '_>, ring: Ring) {
    let format = format(ring);
    let sum = match ring {
        Ring::U32 => sum::<u32>(&format),
        Ring::U64 => sum::<u64>(&format),
    };
    let base = vec![0.5; PARAMETERS];
    let head = Head {
        round: 1,
        previous: Digest([1; 32]),
        model: Digest([2; 32]),
    };
    let addends = Addends {
        nodes: NODES,
        examples_max: (NODES * EXAMPLES).into(),
    };
    let bencher = bencher.counter(BytesCount::new(sum.len()));
    bencher
        .with_inputs(|| Vec::with_capacity(PARAMETERS))
        .bench_local_values(|spare| {
            let mut averaging = Averaging::new(&format, base.as_slice(), addends, spare);
            for chunk in sum.chunks(CHUNK_BYTES) {
                assert!(averaging.add(chunk));
            }
            averaging.finish(head, Digest([3; 32])).unwrap()
        });
}
