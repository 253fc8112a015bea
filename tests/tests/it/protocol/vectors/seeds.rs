//! How seeds expand.

use anyhow::Result;
use fl_protocol::digest::Digest;
use fl_shaders::cpu::chacha20;
use fl_shaders::{Counters, Ring};
use fl_sharing::{Input, Mask, Plan, Seed, Sign};
use fl_tests::federation::masked;
use serde::Deserialize;

use super::{bytes, parse};

const WORDS_A_BLOCK: u64 = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seeds {
    expansions: Vec<Expansion>,
    mistakes: Vec<Mistake>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expansion {
    seed: String,
    ctx: String,
    key_vec: String,
    key_tag: String,
    blocks: Vec<Block>,
    sha256_of_the_first_65536_words: String,
    #[serde(rename = "tag_mask_mod_p61")]
    _tag_mask_mod_p61: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    block: u64,
    words: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    what: String,
    block: u64,
    words: Vec<String>,
}

fn seeds() -> Result<Seeds> {
    parse(include_str!("../../../../vectors/seeds.json"))
}

fn block(key: &[u8; 32], block: u64) -> Vec<String> {
    chacha20::words(key, WORDS_A_BLOCK * block)
        .take(16)
        .map(|word| format!("{word:08x}"))
        .collect()
}

impl Expansion {
    fn key(&self) -> Result<[u8; 32]> {
        let seed = Seed::from_bytes(bytes(&self.seed)?);
        Ok(*seed.expand(&bytes(&self.ctx)?).expose())
    }
}

#[test]
fn seeds_expand_as_the_protocol_says() -> Result<()> {
    let known = seeds()?;
    assert!(known.expansions.len() >= 6);
    for expansion in &known.expansions {
        let key = expansion.key()?;
        assert_eq!(hex::encode(key), expansion.key_vec);
        assert_ne!(hex::encode(key), expansion.key_tag);
        for known in &expansion.blocks {
            assert_eq!(block(&key, known.block), known.words);
        }
        let chunk = chacha20::words(&key, 0).take(65_536);
        let chunk: Vec<u8> = chunk.flat_map(u32::to_le_bytes).collect();
        let digest = Digest::sha256(&[&chunk]).to_hex();
        assert_eq!(digest, expansion.sha256_of_the_first_65536_words);
    }
    Ok(())
}

#[test]
fn no_rule_of_the_expansion_is_broken() -> Result<()> {
    let known = seeds()?;
    let key = known.expansions[0].key()?;
    assert!(known.mistakes.len() >= 10);
    for mistake in &known.mistakes {
        assert_eq!(mistake.words.len(), 16);
        assert_ne!(
            block(&key, mistake.block),
            mistake.words,
            "{}",
            mistake.what
        );
    }
    Ok(())
}

/// The engine's masks are the known words: element e of a vector takes word e, or words 2e and 2e +
/// 1.
#[test]
fn the_engine_masks_with_the_known_words_in_both_rings() -> Result<()> {
    const COORDINATES: usize = 65_560;
    for expansion in &seeds()?.expansions {
        let seed = Seed::from_bytes(bytes(&expansion.seed)?);
        for (ring, sign) in [
            (Ring::U32, Sign::Plus),
            (Ring::U32, Sign::Minus),
            (Ring::U64, Sign::Plus),
        ] {
            let format = Plan::new(ring, 3, 1_000, 0)?.format;
            let counters = Counters {
                examples: 1,
                ..Counters::default()
            };
            let update = vec![0.0; COORDINATES];
            let input = Input {
                format: &format,
                counters: &counters,
                update: &update,
            };
            let mask = Mask {
                key: seed.expand(&bytes(&expansion.ctx)?),
                sign,
            };
            let masked = masked(&input, &[mask])?;
            let mut compared = 0;
            for known in &expansion.blocks {
                for (i, word) in known.words.iter().enumerate() {
                    let index = usize::try_from(WORDS_A_BLOCK * known.block)? + i;
                    // The header is not zero.
                    let at = 4 * index..4 * index + 4;
                    let skip = index < format.header_words() * ring.word_bytes() / 4;
                    let Some(found) = masked.get(at).filter(|_| !skip) else {
                        continue;
                    };
                    let found = u32::from_le_bytes(found.try_into()?);
                    let found = match sign {
                        Sign::Plus => found,
                        Sign::Minus => found.wrapping_neg(),
                    };
                    assert_eq!(format!("{found:08x}"), *word, "{ring}, word {index}");
                    compared += 1;
                }
            }
            assert!(compared > 40, "{compared}");
            let first = u32::from_le_bytes(masked[..4].try_into()?);
            let first = format!(
                "{:08x}",
                if sign == Sign::Plus {
                    first
                } else {
                    first.wrapping_neg()
                }
            );
            assert_ne!(first, expansion.blocks[0].words[0], "the header hides a 1");
        }
    }
    Ok(())
}
