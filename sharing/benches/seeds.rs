//! What each pair of nodes costs in a round, beside the masks: a seed drawn, sealed, opened and
//! made a key. And what each attempt costs a node: the coefficients of its tags.
//!
//! `cargo bench -p fl-sharing --bench seeds`

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may panic")]

use divan::{Bencher, black_box};
use fl_sharing::{EpochKey, RoundKey, Seed, TagKey, seal};

const CTX: [u8; 32] = [7; 32];
const FROM: [u8; 32] = [1; 32];
const TO: [u8; 32] = [2; 32];

fn main() {
    divan::main();
}

#[divan::bench]
fn draw() -> Seed {
    Seed::generate().unwrap()
}

#[divan::bench]
fn sealing(bencher: Bencher<'_, '_>) {
    let (key, seed) = (RoundKey::generate().unwrap(), Seed::generate().unwrap());
    bencher.bench_local(|| seal(key.public(), &CTX, &FROM, &TO, black_box(&seed)).unwrap());
}

#[divan::bench]
fn opening(bencher: Bencher<'_, '_>) {
    let (key, seed) = (RoundKey::generate().unwrap(), Seed::generate().unwrap());
    let sealed = seal(key.public(), &CTX, &FROM, &TO, &seed).unwrap();
    bencher.bench_local(|| key.open(&CTX, &FROM, &TO, black_box(&sealed)).unwrap());
}

#[divan::bench]
fn expanding(bencher: Bencher<'_, '_>) {
    let seed = Seed::generate().unwrap();
    bencher.bench_local(|| black_box(&seed).expand(&CTX));
}

#[divan::bench(args = [1_000, 100_000, 10_000_000])]
fn coefficients(elements: usize) -> TagKey {
    EpochKey::from_bytes([9; 32]).tag_key(&CTX, elements)
}
