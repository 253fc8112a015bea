//! Federations with GPUs in them. Without an adapter a test is skipped, loudly, or fails where a
//! GPU is required.

use std::sync::Arc;

use anyhow::Result;
use fl_datasets::Source;
use fl_sharing::gpu::{REQUIRE_GPU, Selector, is_required};
use fl_sharing::{CpuEngine, DeviceError};
use fl_tests::deployed::{Process, fl_node};
use fl_tests::federation::{Disturbed, Member, learners, learners_on};
use fl_trainer::node::NodeEvent;
use fl_trainer::simulation::SimulationEvent;
use fl_trainer::{Compute, Gpu, LocalTrainer, cpu};

use crate::support::federation::{assert_one_model, federation, member};

/// Opens a GPU as a device of its own, which one test can lose while others go on.
fn open() -> Option<Gpu> {
    match Gpu::open(&Selector::Fastest) {
        Ok(gpu) => Some(gpu),
        Err(error) if is_required() => panic!("{REQUIRE_GPU}=1, but: {error}"),
        Err(error) => {
            eprintln!("SKIPPED, NO GPU: {error}");
            None
        }
    }
}

/// A node that trains and masks on one device.
fn on(trainer: Box<dyn LocalTrainer>, compute: &Compute) -> Member {
    Member {
        engine: compute.engine(),
        ..member(trainer)
    }
}

#[test]
fn simulate_on_a_gpu_learns_what_it_learns_on_the_cpu() {
    let Some(gpu) = open() else { return };
    let accuracy = |flags: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = fl_node();
        command
            .current_dir(folder.path())
            .args(["simulate", "--rounds", "3", "--json"])
            .args(["--batch-size", "64", "--learning-rate", "0.1"])
            .args(flags);
        let ended = Process::start("simulate", command).ended().succeeded();
        let rounds = ended.json();
        assert_eq!(rounds.len(), 3);
        (rounds[2]["accuracy"].as_f64().unwrap(), ended.text())
    };
    let (on_cpu, text_of_cpu) = accuracy(&[]);
    let (on_gpu, text) = accuracy(&["--gpu"]);
    assert!(
        on_gpu > 0.9 && (on_gpu - on_cpu).abs() < 0.02,
        "{on_gpu}, {on_cpu}"
    );
    let device = format!("on {}", gpu.adapter().name);
    assert!(text.contains(&device), "{text}");
    assert!(!text_of_cpu.contains(&device), "the control");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_and_without_gpus_learn_together() -> Result<()> {
    let Some(gpu) = open() else { return Ok(()) };
    let source = Source::BreastCancer;
    let (gpu, cpu) = (Compute::from(gpu), Compute::from(cpu()));
    let places = [gpu.clone(), cpu.clone(), gpu.clone()];
    let trainers = learners_on(&source, &[1, 2, 1], &places)?;
    let mut members: Vec<_> = trainers
        .into_iter()
        .zip(&places)
        .map(|(t, c)| on(t, c))
        .collect();
    // The engine need not be where the update is: one of each.
    members[2].engine = Arc::new(CpuEngine);
    members[1].engine = gpu.engine();
    let ended = federation(members, 5).run(|_| ()).await?;
    assert_one_model(&ended, 5);

    let mut alone = learners(&source, &[1, 1, 1])?;
    let before = alone[0].initial()?;
    let [before, after] =
        [&before, &*ended[0].model].map(|model| alone[0].evaluate(model).unwrap());
    assert!(after.accuracy() > Some(0.93), "{before:?}, {after:?}");
    assert!(after.loss() < before.loss());
    Ok(())
}

/// What is said when the GPU of one of four nodes is pulled out in the second round.
async fn pulled(after_training: bool) -> Result<Option<(String, Vec<String>)>> {
    let Some(gpu) = open() else { return Ok(None) };
    let compute = Compute::from(gpu.clone());
    let places = [compute.clone(), cpu().into(), cpu().into(), cpu().into()];
    let trainers = learners_on(&Source::BreastCancer, &[1, 1, 1, 1], &places)?;
    let members = trainers.into_iter().zip(&places).map(|(t, c)| on(t, c));
    let mut members: Vec<_> = members.collect();
    let pull = |due: bool| {
        let gpu = gpu.clone();
        move |round| {
            if due && round == 2 {
                gpu.engine().device().destroy();
            }
        }
    };
    let honest = members.remove(0);
    let pulled = Disturbed::new(honest.trainer, pull(!after_training), pull(after_training));
    members.insert(0, on(Box::new(pulled), &compute));
    let mut failed = Vec::new();
    let ended = federation(members, 1_000).run(|event| {
        if let SimulationEvent::Node(0, NodeEvent::Failed { reason }) = event {
            failed.push(reason);
        }
    });
    let error = ended.await.err().map(|error| format!("{error:#}"));
    Ok(Some((error.unwrap_or_default(), failed)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_gpu_is_lost_says_so_and_ends() -> Result<()> {
    for after_training in [false, true] {
        let Some((error, failed)) = pulled(after_training).await? else {
            return Ok(());
        };
        let lost = DeviceError::Lost.to_string();
        assert!(error.contains("node 0") && error.contains(&lost), "{error}");
        assert_eq!(failed, [lost]);
    }
    Ok(())
}
