//! Federations in this process.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fl_network::opener::OPENER;
use fl_protocol::audit::{Summary, verify};
use fl_protocol::digest::model_hash;
use fl_protocol::round::relay::Settings;
use fl_protocol::sim;
use fl_shaders::Ring;
use fl_sharing::CpuEngine;
use fl_tests::federation::{Federation, Kits, Log, Member, Recorded, Step, Synthetic};
use fl_trainer::LocalTrainer;
use fl_trainer::node::NodeOutcome;

/// How long a federation may take at most; none comes near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The most examples of a node in most consortia.
pub(crate) const EXAMPLES_MAX: u32 = 1_000;

/// Settings for so many rounds with every node in each.
pub(crate) fn settings(rounds: u64) -> Settings {
    sim::settings(rounds, 1.0, 3)
}

/// A node that masks on the CPU, and to which the network does nothing.
pub(crate) fn member(trainer: Box<dyn LocalTrainer>) -> Member {
    Member {
        trainer,
        engine: Arc::new(CpuEngine),
        weather: None,
    }
}

/// A federation in the narrow ring for so many rounds.
pub(crate) fn federation(members: Vec<Member>, rounds: u64) -> Federation {
    Federation {
        members,
        ring: Ring::U32,
        examples_max: EXAMPLES_MAX,
        settings: settings(rounds),
    }
}

/// A trainer of drawn updates, and the log of what it returned.
pub(crate) fn synthetic(parameters: usize, examples: u32, seed: u64) -> Result<(Recorded, Log)> {
    let trainer = Synthetic::new(parameters, examples, seed)?;
    Ok(Recorded::new(Box::new(trainer)))
}

/// What was trained in `round`, all from the same global model.
pub(crate) fn steps_of(logs: &[Log], round: u64) -> Vec<Step> {
    let steps: Vec<_> = logs.iter().filter_map(|log| log.step(round)).collect();
    let hash = model_hash(&steps[0].global);
    assert!(steps.iter().all(|step| model_hash(&step.global) == hash));
    steps
}

/// How far a parameter of `model` is from that of plain averaging at most.
pub(crate) fn farthest(model: &[f32], plain: &[f64]) -> f64 {
    let pairs = model.iter().zip(plain);
    let distances = pairs.map(|(secure, plain)| (f64::from(*secure) - plain).abs());
    distances.fold(0.0, f64::max)
}

/// Checks that all nodes have completed `rounds` rounds and hold the same model.
#[track_caller]
pub(crate) fn assert_one_model(ended: &[NodeOutcome], rounds: u64) {
    for node in ended {
        assert!(node.is_finished());
        assert_eq!(node.round, rounds);
        assert!(node.model == ended[0].model, "the models differ");
    }
}

/// Verifies a party's log, which must hold. Returns what it says.
#[track_caller]
pub(crate) fn verified(kits: &Kits, party: &str) -> Result<Summary> {
    let log = kits.folder().join(party).join("state/audit.log");
    let verdict = verify(&kits.relay.manifest, OPENER, File::open(log)?)?;
    assert!(verdict.flaw.is_none(), "{party}: {:?}", verdict.flaw);
    Ok(verdict.summary)
}
