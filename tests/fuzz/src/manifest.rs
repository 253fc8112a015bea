//! Manifests, whatever they say.

use std::collections::BTreeSet;

use fl_protocol::digest::Digest;
use fl_protocol::error::ManifestError;
use fl_protocol::identity::Label;
use fl_protocol::manifest::{CohortTable, Manifest, ManifestFile, ParticipationMode, PlanTable};
use fl_protocol::metrics::Metrics;
use fl_protocol::round::Head;
use fl_shaders::{FixedPoint, Parameters, Ring};

use crate::fixture::{authority, consortium, manifest_file};
use crate::{Seed, memory};

/// Manifests, signed by the authority whatever they say.
pub(crate) fn manifest(data: &[u8]) {
    let authority = authority();
    let key = authority.public_key();
    let signature = authority.sign(Label::Manifest, data);
    let mut other = signature;
    other[data.len() % 64] ^= 1;
    let forged = Manifest::verify(data.to_vec(), other, &key);
    assert!(matches!(
        forged,
        Err(ManifestError::Signature(_) | ManifestError::TooLarge { .. })
    ));

    let (verified, peak) = memory::peak(|| Manifest::verify(data.to_vec(), signature, &key));
    let most = (1 << 20) + 1024 * data.len();
    assert!(peak <= most, "{peak} bytes of memory");
    let manifest = match verified {
        Ok(manifest) => manifest,
        Err(error) => return drop(error.to_string()),
    };
    assert_eq!(manifest.consortium_id(), Digest::sha256(&[data]));
    assert_is_sound(&manifest);
    let file: ManifestFile = toml::from_slice(data).expect("it was read before");
    let again = Manifest::sign(&file, authority).expect("what was read can be written");
    assert_eq!(again.layout(), manifest.layout());
    assert_eq!(again.fixed_point(), manifest.fixed_point());
    assert!(again.roster().keys().eq(manifest.roster().keys()));
}

/// What the protocol, section 1, demands of a manifest; and that no number that follows from it
/// overflows.
fn assert_is_sound(manifest: &Manifest) {
    let (nodes, min_nodes) = (manifest.roster().len(), manifest.min_nodes());
    assert!(min_nodes >= 3.max(manifest.collusion() + 2));
    assert!(nodes >= min_nodes && nodes <= 1000);
    assert!(nodes <= manifest.fixed_point().nodes_max() as usize);
    let organisations = manifest
        .roster()
        .values()
        .map(|member| &member.organisation);
    let organisations: BTreeSet<_> = organisations.collect();
    assert!(organisations.len() >= manifest.min_organisations());
    let cohorts = manifest.participation().cohorts();
    let placed: Vec<_> = cohorts.iter().flatten().collect();
    assert!(cohorts.is_empty() || placed.len() == nodes);
    assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), placed.len());
    for cohort in cohorts {
        let members = cohort.iter().filter_map(|id| manifest.roster().get(id));
        let organisations: BTreeSet<_> = members.map(|member| &member.organisation).collect();
        assert!(organisations.len() >= manifest.min_organisations());
    }
    assert!((1..=1 << 32).contains(&manifest.parameters()));
    let word_bytes = manifest.fixed_point().ring().word_bytes();
    assert_eq!(manifest.body_bytes(), word_bytes * manifest.elements());
    let timeouts = manifest.timeouts();
    let pace = timeouts.pace(timeouts.sums_s);
    let _ = pace.allowance(manifest.body_bytes() as u64);
    let _ = manifest.transfer_timeout();
    assert_eq!(Head::start(manifest).model, manifest.initial_model());
}

pub(crate) fn manifests() -> Vec<Seed> {
    let with = |change: fn(&mut ManifestFile)| {
        let mut file = manifest_file(&consortium().identities);
        change(&mut file);
        let text = toml::to_string(&file).expect("a manifest is TOML");
        text.into_bytes()
    };
    let second_epoch = |file: &mut ManifestFile| {
        file.epoch = 2;
        file.previous_epoch = Some("ab".repeat(32));
        let task = "rounds = 3\ntitle = \"t\"\n[optimiser]\nrate = 0.1\n";
        file.task = task.parse().expect("it is TOML");
    };
    let everyone = |file: &mut ManifestFile| {
        (file.participation, file.accepts_differences) = (ParticipationMode::All, false);
    };
    let cohorts = |file: &mut ManifestFile| {
        let table = CohortTable {
            nodes: file.nodes.iter().map(|node| node.name.clone()).collect(),
        };
        (file.participation, file.accepts_differences) = (ParticipationMode::Cohorts, false);
        file.cohorts = vec![table];
    };
    let wide = |file: &mut ManifestFile| {
        let plan = FixedPoint::new(Parameters {
            ring: Ring::U64,
            clip: 128.0,
            fraction_bits: 32,
            nodes_max: 1000,
            examples_max: 100_000,
            tallies: 6,
        });
        file.fixed_point = PlanTable::of(&plan.expect("a sound plan"));
        file.collusion = 2;
        file.min_nodes = 4;
    };
    let classes = |file: &mut ManifestFile| file.metrics = Metrics::Classes { classes: 2 };
    let quantity = |file: &mut ManifestFile| {
        file.metrics = Metrics::Quantity { deviation: 2.5 };
    };
    vec![
        ("plain".to_owned(), with(|_| ())),
        ("classes".to_owned(), with(classes)),
        ("quantity".to_owned(), with(quantity)),
        ("second-epoch".to_owned(), with(second_epoch)),
        ("u64".to_owned(), with(wide)),
        ("all".to_owned(), with(everyone)),
        ("cohorts".to_owned(), with(cohorts)),
    ]
}
