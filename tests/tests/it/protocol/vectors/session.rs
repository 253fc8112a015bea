//! A manifest, bundles of keys, and the hash of a result.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use fl_protocol::digest::Digest;
use fl_protocol::fingerprint::Fingerprint;
use fl_protocol::identity::PublicKey;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::message::{Keys, Signed};
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::peer::{Participants, sums_digest};
use fl_protocol::round::{Head, Refusal};
use fl_protocol::wire;
use serde::Deserialize;

use super::{bytes, parse};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    unix_s: u64,
    manifest: String,
    authority: String,
    signature: String,
    signature_under_another_label: String,
    #[serde(rename = "sid")]
    consortium_id: String,
    fingerprint: String,
    authority_fingerprint: String,
    initial_model: String,
    node_ids: Vec<String>,
    right: Vec<RightBundle>,
    wrong: Vec<WrongBundle>,
    mistaken_contexts: Vec<MistakenContext>,
    root: String,
    next_model: String,
    result: String,
    sums: String,
    digest_of_the_sums: String,
    mistaken_digests_of_the_sums: Vec<String>,
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
        Participants::verify(
            bundle,
            manifest,
            &Head::start(manifest),
            self.unix_s,
            &BTreeSet::new(),
        )
    }
}

#[test]
fn a_manifest_that_others_wrote_and_signed_is_read() -> Result<()> {
    let (known, manifest) = Session::load()?;
    assert_eq!(manifest.consortium_id().to_hex(), known.consortium_id);
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
fn fingerprints_are_those_of_the_protocol() -> Result<()> {
    let (known, manifest) = Session::load()?;
    let consortium = Fingerprint::of_consortium(&manifest);
    assert_eq!(consortium.to_string(), known.fingerprint);
    let authority = PublicKey::from_bytes(&bytes(&known.authority)?)?;
    let authority = Fingerprint::of_authority(&authority);
    assert_eq!(authority.to_string(), known.authority_fingerprint);
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
fn signed_sums_are_told_from_others_by_the_known_digest() -> Result<()> {
    let (known, manifest) = Session::load()?;
    let bytes = hex::decode(&known.sums)?;
    let mut sums: Vec<Signed<Sum>> = wire::decode(&bytes)?;
    assert_eq!(wire::encode(&sums)?, bytes);
    for sum in &sums {
        let sum = sum.verify(&manifest, known.unix_s)?;
        assert_eq!(sum.ctx.to_hex(), known.right[0].ctx);
    }
    assert_eq!(sums_digest(&sums).to_hex(), known.digest_of_the_sums);
    // The order of arrival does not matter.
    sums.rotate_left(1);
    assert_eq!(sums_digest(&sums).to_hex(), known.digest_of_the_sums);
    assert_ne!(sums_digest(&sums[1..]).to_hex(), known.digest_of_the_sums);
    let mistaken = &known.mistaken_digests_of_the_sums;
    assert!(mistaken.len() == 3 && !mistaken.contains(&known.digest_of_the_sums));
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
    let next = Head::start(&manifest).next(participants.ctx(), root, model);
    assert_eq!(next.previous.to_hex(), known.result);
    ensure!((next.round, next.model) == (1, model));
    let other = Head::start(&manifest).next(participants.ctx(), model, root);
    assert_ne!(other.previous.to_hex(), known.result);
    Ok(())
}
