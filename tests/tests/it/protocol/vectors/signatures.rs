//! Signatures under every label.

use anyhow::Result;
use fl_protocol::identity::{Identity, Label, PublicKey};
use serde::Deserialize;

use super::{bytes, parse};

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

const LABELS: [Label; 6] = [
    Label::Manifest,
    Label::Keys,
    Label::Share,
    Label::Sum,
    Label::ResultAck,
    Label::Accusation,
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
