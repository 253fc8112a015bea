//! Consortia for tests.

use std::sync::Arc;

use fl_shaders::{FixedPoint, Parameters, Ring};

use crate::digest::model_hash;
use crate::identity::Identity;
use crate::manifest::{
    Manifest, ManifestFile, ModelTable, NodeTable, TensorLayout, epoch_key_check,
};

/// Number of parameters of the test model.
pub const PARAMETERS: usize = 6;

/// A consortium of `n` nodes with a tiny model of zeros.
pub struct Consortium {
    /// The nodes' identities, in the order of their names: `node-0`, `node-1`, …
    pub identities: Vec<Identity>,
    /// The manifest that their authority has signed.
    pub manifest: Arc<Manifest>,
}

impl Consortium {
    /// A consortium of `n` nodes of different organisations, in the peer scheme.
    pub fn new(n: usize) -> Self {
        Self::with(n, |_| ())
    }

    /// A consortium of `n` nodes whose manifest is changed before it is signed.
    pub fn with(n: usize, change: impl FnOnce(&mut ManifestFile)) -> Self {
        // The same in every run: much goes by the order of ids, and a seed that failed must fail again.
        let identity = |k| Identity::of_test(&format!("{k} of {n}"));
        let identities: Vec<_> = (0..n).map(identity).collect();
        let mut file = manifest_file(&identities);
        change(&mut file);
        let manifest = Manifest::sign(&file, &Identity::of_test("authority")).unwrap();
        Self {
            identities,
            manifest: Arc::new(manifest),
        }
    }
}

/// Returns a manifest for these nodes, not yet signed.
pub fn manifest_file(identities: &[Identity]) -> ManifestFile {
    let plan = FixedPoint::new(Parameters {
        ring: Ring::U32,
        clip: 1.0,
        fraction_bits: 23,
        nodes_max: 128,
        examples_max: 1000,
        loss_fraction_bits: 8,
    });
    let nodes = identities
        .iter()
        .enumerate()
        .map(|(k, identity)| NodeTable {
            name: format!("node-{k}"),
            organisation: format!("organisation {k}"),
            key: hex::encode(identity.public_key().as_bytes()),
            expires_unix_s: u64::MAX >> 1,
        });
    let layout = vec![
        TensorLayout {
            name: "weight".to_owned(),
            shape: vec![2, 2],
        },
        TensorLayout {
            name: "bias".to_owned(),
            shape: vec![2],
        },
    ];
    let model = ModelTable {
        initial: model_hash(&[0.0; PARAMETERS]).to_hex(),
        layout,
    };
    ManifestFile::new(
        "test".to_owned(),
        "localhost:4433".to_owned(),
        epoch_key_check(&[0; 32]),
        &plan.unwrap(),
        toml::Table::new(),
        model,
        nodes.collect(),
    )
}
