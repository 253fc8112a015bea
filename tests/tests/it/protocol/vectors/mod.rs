//! Known answers, made by `vectors/make.py` from the text of the protocol, and answers that must not come out.

mod tags;

use anyhow::{Context, Result, ensure};
use fl_protocol::digest::Digest;
use fl_protocol::identity::{Identity, Label, PublicKey};
use fl_protocol::manifest::Manifest;
use fl_protocol::round::message::{Keys, Signed};
use fl_protocol::round::peer::Participants;
use fl_protocol::round::{Chain, Refusal};
use fl_protocol::wire;
use fl_shaders::cpu::chacha20;
use fl_shaders::{Counters, HEADER_WORDS, Ring};
use fl_sharing::{Input, Mask, Plan, Seed, Sign};
use fl_tests::federation::masked;
use serde::Deserialize;
use serde::de::DeserializeOwned;

const WORDS_A_BLOCK: u64 = 16;

fn bytes<const N: usize>(hex: &str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(hex, &mut bytes)?;
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    Ok(serde_json::from_str(json)?)
}

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

/// The engine's masks are the known words: element e of a vector takes word e, or words 2e and 2e + 1.
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
            let format = Plan::new(ring, 3, 1_000)?.format;
            let counters = Counters {
                examples: 1,
                ..Counters::default()
            };
            let update = vec![0.0; COORDINATES];
            let input = Input {
                format: &format,
                counters,
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
                    let skip = index < HEADER_WORDS * ring.word_bytes() / 4;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signatures {
    private_key_pem: String,
    public_key: String,
    node_id: String,
    right: Vec<RightSignature>,
    wrong_for_keys_and_these_bytes: String,
    wrong: Vec<WrongSignature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RightSignature {
    label: String,
    bytes: String,
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrongSignature {
    what: String,
    signature: String,
}

const LABELS: [Label; 5] = [
    Label::Manifest,
    Label::Keys,
    Label::Share,
    Label::Sum,
    Label::ResultAck,
];

#[test]
fn signatures_are_those_of_the_protocol_under_every_label() -> Result<()> {
    let known: Signatures = parse(include_str!("../../../../vectors/signatures.json"))?;
    let identity = Identity::from_pem(&known.private_key_pem)?;
    let key = PublicKey::from_bytes(&bytes(&known.public_key)?)?;
    assert_eq!(identity.public_key(), key);
    assert_eq!(key.node_id().0.to_hex(), known.node_id);
    let mut labels = 0;
    for right in &known.right {
        let (text, signature) = (hex::decode(&right.bytes)?, bytes(&right.signature)?);
        for label in LABELS {
            let named = label.to_string() == right.label;
            assert_eq!(key.verify(label, &text, &signature).is_ok(), named);
            assert_eq!(identity.sign(label, &text) == signature, named);
            labels += usize::from(named);
        }
    }
    assert_eq!(labels, known.right.len(), "every label is known");

    let text = hex::decode(&known.wrong_for_keys_and_these_bytes)?;
    assert!(known.wrong.len() >= 8);
    for wrong in &known.wrong {
        let verified = key.verify(Label::Keys, &text, &bytes(&wrong.signature)?);
        assert!(verified.is_err(), "{}", wrong.what);
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    unix_s: u64,
    manifest: String,
    authority: String,
    signature: String,
    signature_under_another_label: String,
    sid: String,
    initial_model: String,
    node_ids: Vec<String>,
    right: Vec<RightBundle>,
    wrong: Vec<WrongBundle>,
    mistaken_contexts: Vec<MistakenContext>,
    root: String,
    next_model: String,
    result: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RightBundle {
    bundle: String,
    ctx: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrongBundle {
    what: String,
    refusal: String,
    bundle: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MistakenContext {
    what: String,
    ctx: String,
}

impl Session {
    fn load() -> Result<(Self, Manifest)> {
        let known: Self = parse(include_str!("../../../../vectors/session.json"))?;
        let manifest = known.manifest(known.manifest.as_bytes(), &known.signature)?;
        Ok((known, manifest))
    }

    fn manifest(&self, text: &[u8], signature: &str) -> Result<Manifest> {
        let authority = PublicKey::from_bytes(&bytes(&self.authority)?)?;
        let manifest = Manifest::verify(text.to_vec(), bytes(signature)?, &authority)?;
        Ok(manifest)
    }

    fn participants(&self, manifest: &Manifest, bundle: &str) -> Result<Participants, Refusal> {
        let bytes = hex::decode(bundle).unwrap();
        let bundle: Vec<Signed<Keys>> = wire::decode(&bytes).unwrap();
        assert_eq!(wire::encode(&bundle).unwrap(), bytes);
        Participants::verify(bundle, manifest, &Chain::start(manifest), self.unix_s)
    }
}

#[test]
fn a_manifest_that_others_wrote_and_signed_is_read() -> Result<()> {
    let (known, manifest) = Session::load()?;
    assert_eq!(manifest.sid().to_hex(), known.sid);
    assert_eq!(manifest.initial_model().to_hex(), known.initial_model);
    let ids: Vec<_> = manifest.roster().keys().map(|id| id.0.to_hex()).collect();
    assert_eq!(ids, known.node_ids);

    let text = known.manifest.as_bytes();
    let other = known.manifest(text, &known.signature_under_another_label);
    assert!(other.is_err());
    for at in [0, text.len() / 2, text.len() - 1] {
        let mut altered = text.to_vec();
        altered[at] ^= 1;
        assert!(known.manifest(&altered, &known.signature).is_err());
    }
    Ok(())
}

#[test]
fn a_bundle_of_keys_leads_to_the_known_context() -> Result<()> {
    let (known, manifest) = Session::load()?;
    assert_eq!(known.right.len(), 4);
    for right in &known.right {
        let participants = known.participants(&manifest, &right.bundle)?;
        assert_eq!(participants.ctx().to_hex(), right.ctx);
        for mistaken in &known.mistaken_contexts {
            assert_ne!(right.ctx, mistaken.ctx, "{}", mistaken.what);
        }
    }
    // The order of arrival does not matter, and everything else does.
    let contexts: Vec<_> = known.right.iter().map(|right| &right.ctx).collect();
    assert_eq!(contexts[0], contexts[1]);
    assert!(contexts[1] != contexts[2] && contexts[2] != contexts[3] && contexts[1] != contexts[3]);
    Ok(())
}

#[test]
fn every_wrong_bundle_is_refused_for_its_own_reason() -> Result<()> {
    let (known, manifest) = Session::load()?;
    assert!(known.wrong.len() >= 12);
    for wrong in &known.wrong {
        let refusal = known.participants(&manifest, &wrong.bundle).err();
        let refusal = refusal.with_context(|| format!("{} was accepted", wrong.what))?;
        let name = format!("{refusal:?}");
        let name = name.split([' ', '(', '{']).next().unwrap_or_default();
        assert_eq!(name, wrong.refusal, "{}", wrong.what);
    }
    Ok(())
}

#[test]
fn a_result_is_hashed_as_known() -> Result<()> {
    let (known, manifest) = Session::load()?;
    let participants = known.participants(&manifest, &known.right[0].bundle)?;
    let (root, model) = (
        Digest(bytes(&known.root)?),
        Digest(bytes(&known.next_model)?),
    );
    let next = Chain::start(&manifest).next(participants.ctx(), root, model);
    assert_eq!(next.previous.to_hex(), known.result);
    ensure!((next.round, next.model) == (1, model));
    let other = Chain::start(&manifest).next(participants.ctx(), model, root);
    assert_ne!(other.previous.to_hex(), known.result);
    Ok(())
}
