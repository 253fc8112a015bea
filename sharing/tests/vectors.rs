//! Known answers of the seed expansion, made by an independent implementation in Python.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use fl_shaders::cpu::chacha20;
use fl_sharing::Seed;
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedExpansion {
    seed: String,
    ctx: String,
    key_vec: String,
    key_tag: String,
    words_0_8: Vec<String>,
    word_65535: String,
    word_65536: String,
    sha256_of_words_0_65536_le: String,
    last_block_of_stripe_0_words_0_4: Vec<String>,
    first_block_of_stripe_1_words_0_4: Vec<String>,
    tag_mask_mod_p61: u64,
}

fn bytes(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn words(key: &[u8; 32], first: u64, count: usize) -> Vec<String> {
    chacha20::words(key, first)
        .take(count)
        .map(|word| format!("{word:08x}"))
        .collect()
}

#[test]
fn seeds_expand_as_in_the_reference() {
    let known: SeedExpansion =
        serde_json::from_str(include_str!("vectors/seed_expansion.json")).unwrap();
    let seed = Seed::from_bytes(bytes(&known.seed));
    let expanded = seed.expand(&bytes(&known.ctx));
    let key = expanded.expose();
    assert_eq!(hex::encode(key), known.key_vec);

    assert_eq!(words(key, 0, 8), known.words_0_8);
    assert_eq!(words(key, 65_535, 2), [known.word_65535, known.word_65536]);
    let chunk = chacha20::words(key, 0)
        .take(65_536)
        .flat_map(u32::to_le_bytes);
    let digest = Sha256::digest(chunk.collect::<Vec<_>>());
    assert_eq!(hex::encode(digest), known.sha256_of_words_0_65536_le);

    let stripe = 1 << 36;
    assert_eq!(
        words(key, stripe - 16, 4),
        known.last_block_of_stripe_0_words_0_4
    );
    assert_eq!(
        words(key, stripe, 4),
        known.first_block_of_stripe_1_words_0_4
    );

    let mask = seed.tag_mask(&bytes(&known.ctx)).values();
    assert_eq!(mask[0], known.tag_mask_mod_p61);
    // The second value is the next 16 bytes of the same keystream.
    let block = chacha20::block(&bytes(&known.key_tag), 0, [0; 3]);
    let number = (4..8)
        .rev()
        .fold(0, |number, i| number << 32 | u128::from(block[i]));
    assert_eq!(u128::from(mask[1]), number % ((1 << 61) - 1));
    assert_ne!(seed.tag_mask(&[0; 32]).values(), mask);

    // Negative control: another attempt has other words.
    let other = seed.expand(&[0; 32]);
    assert_ne!(words(other.expose(), 0, 8), known.words_0_8);
}
