//! The secure average is the plain one: what real models learn from unequal data, averaged in f64
//! without any secrecy, against what a federation arrives at.

use std::sync::Arc;

use anyhow::{Context, Result};
use fl_datasets::Source;
use fl_protocol::digest::{Digest, model_hash};
use fl_protocol::ring_bytes;
use fl_protocol::round::relay::Report;
use fl_protocol::round::training::average;
use fl_protocol::round::{Head, Refusal};
use fl_shaders::{Addends, Counters, FixedPoint, Ring};
use fl_sharing::{CpuEngine, Input, Mask, Plan, Seed, Sign, masked_len};
use fl_tests::federation::{Federation, Log, Recorded, Step, learners, masked, plain_mean};
use fl_trainer::node::NodeEvent;
use fl_trainer::provision::rounded_up;
use fl_trainer::simulation::{Simulation, SimulationEvent};
use fl_trainer::{LocalTrainer, OrderSeed, Sharing};

use crate::support::federation::{
    assert_one_model, federation, member, settings, steps_of, synthetic,
};

/// How far a new model is from the one that plain averaging gives.
#[derive(Debug)]
struct Distance {
    /// Root mean square of the difference, over that which the protocol's section 3 predicts
    /// together with the rounding of the model to f32.
    rms: f64,
    /// Greatest difference, over its bound: a quantisation step for each node, and the rounding to
    /// f32.
    max: f64,
}

impl Distance {
    /// `next` came of `steps`, and should be their common global model plus `mean`.
    fn of(next: &[f32], mean: &[f64], steps: &[Step], format: &FixedPoint) -> Self {
        let nodes = u32::try_from(steps.len()).unwrap();
        let total = steps.iter().map(|step| u64::from(step.examples)).sum();
        let (rms_error, step) = (format.rms_error(nodes, total), format.resolution(total));
        let (mut squares, mut predicted, mut max) = (0.0, 0.0, 0.0_f64);
        for (i, (next, mean)) in next.iter().zip(mean).enumerate() {
            let expected = f64::from(steps[0].global[i]) + mean;
            let difference = f64::from(*next) - expected;
            let ulp = ulp(*next) + ulp(steps[0].global[i] - next);
            max = max.max(difference.abs() / (f64::from(nodes) * step + ulp));
            // What did not change at any node is not rounded either.
            if steps.iter().all(|step| step.update[i] != 0.0) {
                squares += difference.powi(2);
                predicted += rms_error.powi(2) + ulp.powi(2) / 12.0;
            }
        }
        let rms = (squares / predicted).sqrt();
        Self { rms, max }
    }

    fn agrees(&self) -> bool {
        self.rms < 1.1 && self.max < 1.0
    }
}

fn ulp(value: f32) -> f64 {
    f64::from(value.abs().next_up()) - f64::from(value.abs())
}

/// The mean that a server arrives at which forgets the weights.
fn unweighted(steps: &[Step]) -> Vec<f64> {
    let alike: Vec<_> = steps
        .iter()
        .map(|step| Step {
            examples: 1,
            ..step.clone()
        })
        .collect();
    plain_mean(&alike)
}

/// `steps` with coordinate `index` of one node's update changed by what moves the mean by `quanta`
/// steps.
fn altered(steps: &[Step], index: usize, quanta: f64, format: &FixedPoint) -> Vec<Step> {
    let total: u64 = steps.iter().map(|step| u64::from(step.examples)).sum();
    let mut altered = steps.to_vec();
    let weight = f64::from(altered[1].examples) / total as f64;
    #[expect(clippy::cast_possible_truncation, reason = "an update is of f32")]
    let change = (quanta * format.resolution(total) / weight) as f32;
    altered[1].update[index] += change;
    altered
}

/// Asserts that `next` is the plain average of `steps`, and that it would have been seen were it
/// not.
fn assert_average(next: &[f32], steps: &[Step], format: &FixedPoint) {
    let mean = plain_mean(steps);
    let distance = Distance::of(next, &mean, steps, format);
    assert!(distance.agrees(), "{distance:?}");
    // It is the prediction, not merely below it: nothing is rounded twice or thrown away.
    assert!(distance.rms > 0.7, "{distance:?}");

    let forgotten = Distance::of(next, &unweighted(steps), steps, format);
    assert!(!forgotten.agrees(), "without the weights: {forgotten:?}");
    let quanta = 2.0 * steps.len() as f64 + 1.0;
    for index in [0, next.len() / 2, next.len() - 1] {
        let mut other = next.to_vec();
        // In units of f32 where those are coarser than the fixed point.
        let quantum = format.resolution(steps.iter().map(|s| u64::from(s.examples)).sum());
        let quanta = quanta.max(6.0 * ulp(next[index]) / quantum);
        let elsewhere = plain_mean(&altered(steps, index, quanta, format));
        let distance = Distance::of(next, &elsewhere, steps, format);
        assert!(!distance.agrees(), "coordinate {index}: {distance:?}");
        #[expect(clippy::cast_possible_truncation, reason = "a model is of f32")]
        let moved = (f64::from(next[index]) + quanta * quantum) as f32;
        other[index] = moved;
        let distance = Distance::of(&other, &mean, steps, format);
        assert!(!distance.agrees(), "parameter {index}: {distance:?}");
    }
}

/// Wraps every trainer.
fn recorded(trainers: Vec<Box<dyn LocalTrainer>>) -> (Vec<Box<dyn LocalTrainer>>, Vec<Log>) {
    let recorded = trainers.into_iter().map(|trainer| {
        let (trainer, log) = Recorded::new(trainer);
        (Box::new(trainer) as Box<dyn LocalTrainer>, log)
    });
    recorded.unzip()
}

fn format(ring: Ring, nodes: usize, examples_max: u32) -> FixedPoint {
    let nodes = u32::try_from(nodes).unwrap();
    Plan::new(ring, nodes, rounded_up(examples_max), 0)
        .unwrap()
        .format
}

/// Runs a simulation over `source`, whose nodes have data in the proportions `shares`, and checks
/// every round of it.
async fn simulate(source: Source, shares: &[usize], rounds: u64) -> Result<()> {
    let nodes = shares.len();
    let trainers = learners(&source, shares)?;
    let (trainers, logs) = recorded(trainers);
    // Loaded once more, to know the counts before anything is trained.
    let examples_max = most_examples(&source, shares)?;
    let mut totals = Vec::new();
    let simulation = Simulation {
        trainers,
        engine: Arc::new(CpuEngine),
        settings: settings(rounds),
        sharing: Sharing::Peer,
        training_at_once: 2,
    };
    let mut announced = Vec::new();
    let ended = simulation
        .run(
            |_, event| match event {
                SimulationEvent::Node(_, NodeEvent::Round(report)) => totals.push(report.totals),
                SimulationEvent::Relay(Report::Completed(completed)) => {
                    announced.push(completed.model);
                }
                _ => {}
            },
            std::future::pending(),
        )
        .await?;
    assert!(ended.is_finished());
    assert_eq!(ended.round, rounds);

    let format = format(Ring::U32, nodes, examples_max);
    for round in 1..=rounds {
        let steps = steps_of(&logs, round);
        assert_eq!(steps.len(), nodes);
        let next = match round == rounds {
            true => ended.model.to_vec(),
            false => steps_of(&logs, round + 1)[0].global.clone(),
        };
        let announced = announced.get(usize::try_from(round)? - 1);
        assert_eq!(announced.copied(), Some(model_hash(&next)));
        assert_average(&next, &steps, &format);
    }
    // Every node evaluates every global model, once; the last one is the same everywhere.
    let initial = model_hash(&steps_of(&logs, 1)[0].global);
    let models: Vec<_> = std::iter::once(initial).chain(announced).collect();
    assert_eq!(models.last(), Some(&model_hash(&ended.model)));
    for log in &logs {
        let evaluated: Vec<_> = log.evaluated().iter().map(|m| model_hash(m)).collect();
        assert_eq!(evaluated, models);
    }
    let steps = steps_of(&logs, 1);
    let examples: u64 = steps.iter().map(|step| u64::from(step.examples)).sum();
    assert_eq!(totals.len() as u64, rounds * nodes as u64);
    for totals in totals {
        assert_eq!((totals.examples, totals.clipped), (examples, 0));
        assert!(totals.tally.examples() > 0);
    }
    Ok(())
}

/// The sample count of the node with the most examples.
fn most_examples(source: &Source, shares: &[usize]) -> Result<u32> {
    let trainers = learners(source, shares)?;
    let examples = trainers.iter().map(|trainer| trainer.examples());
    Ok(u32::try_from(examples.max().unwrap_or_default())?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_round_over_digits_is_plain_federated_averaging() -> Result<()> {
    simulate(Source::Digits, &[6, 3, 1], 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_round_over_digits_is_plain_federated_averaging() -> Result<()> {
    simulate(Source::Digits, &[5, 3, 1, 1], 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_round_over_patients_is_plain_federated_averaging() -> Result<()> {
    simulate(Source::BreastCancer, &[7, 2, 1], 4).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wide_ring_averages_as_well() -> Result<()> {
    let (trainers, logs) = recorded(learners(&Source::BreastCancer, &[1, 5, 2])?);
    let examples_max = 1_000;
    let members = trainers.into_iter().map(member);
    let federation = Federation {
        ring: Ring::U64,
        examples_max,
        ..federation(members.collect(), 2)
    };
    let ended = federation.run(|_| ()).await?;
    assert_one_model(&ended, 2);
    let format = format(Ring::U64, 3, examples_max);
    assert_average(&steps_of(&logs, 2)[0].global, &steps_of(&logs, 1), &format);
    assert_average(&ended[0].model, &steps_of(&logs, 2), &format);
    Ok(())
}

/// Masks `steps` pairwise, adds the masked sums up, and averages them, after `tamper` had the sum.
fn averaged(steps: &[Step], format: &FixedPoint, tamper: impl FnOnce(&mut [u8])) -> Vec<f32> {
    let ctx = Digest([5; 32]);
    let seed = |from: usize, to: usize| {
        let mut bytes = [0; 32];
        (bytes[0], bytes[1]) = (u8::try_from(from).unwrap(), u8::try_from(to).unwrap());
        Seed::from_bytes(bytes).expand(ctx.as_bytes())
    };
    let mut sum = vec![0; masked_len(format, steps[0].update.len())];
    for (own, step) in steps.iter().enumerate() {
        let peers = (0..steps.len()).filter(|peer| *peer != own);
        let masks: Vec<_> = peers
            .flat_map(|peer| {
                let minus = Mask {
                    key: seed(own, peer),
                    sign: Sign::Minus,
                };
                let plus = Mask {
                    key: seed(peer, own),
                    sign: Sign::Plus,
                };
                [minus, plus]
            })
            .collect();
        let counters = Counters {
            examples: step.examples.into(),
            ..Counters::default()
        };
        let input = Input {
            format,
            counters: &counters,
            update: &step.update,
        };
        let masked = masked(&input, &masks).unwrap();
        ring_bytes::add(format.ring(), &mut sum, &masked);
    }
    tamper(&mut sum);
    let head = Head {
        round: 0,
        previous: ctx,
        model: ctx,
    };
    let base = &steps[0].global;
    let addends = Addends {
        nodes: u32::try_from(steps.len()).unwrap(),
        examples_max: steps.iter().map(|step| u64::from(step.examples)).sum(),
    };
    let averaged = average(&sum, base, format, addends, head, ctx).unwrap();
    averaged.model.to_vec()
}

#[test]
fn in_both_rings_one_wrong_word_of_the_sum_shows() -> Result<()> {
    let mut steps = Vec::new();
    for (examples, seed) in [(1_000, 1), (70, 2), (333, 3), (1, 4), (512, 5)] {
        let (mut trainer, log) = synthetic(20_000, examples, seed)?;
        let global = trainer.initial()?;
        let (order, keep_on) = (OrderSeed::of_numbers(1, 1), &mut |_| {
            std::ops::ControlFlow::Continue(())
        });
        trainer.train(&global, 1, &order, keep_on)?;
        steps.push(log.step(1).context("it was trained")?);
    }
    for (ring, examples_max) in [(Ring::U32, 1_000), (Ring::U64, 1 << 25)] {
        let format = format(ring, steps.len(), examples_max);
        let next = averaged(&steps, &format, |_| ());
        assert_average(&next, &steps, &format);
        for word in [format.header_words(), 12_345] {
            let next = averaged(&steps, &format, |sum| {
                let at = word * ring.word_bytes();
                let value = u32::from_le_bytes(sum[at..at + 4].try_into().unwrap());
                let quanta = if ring == Ring::U32 { 11 } else { 64 };
                sum[at..at + 4].copy_from_slice(&value.wrapping_add(quanta).to_le_bytes());
            });
            let distance = Distance::of(&next, &plain_mean(&steps), &steps, &format);
            assert!(!distance.agrees(), "{ring}, word {word}: {distance:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_update_is_not_finite_steps_back_and_the_others_complete() -> Result<()> {
    let mut logs = Vec::new();
    let mut members = Vec::new();
    for (index, trainer) in learners(&Source::Digits, &[4, 1, 2, 1])?
        .into_iter()
        .enumerate()
    {
        let layout = trainer.layout().clone();
        let (mut trainer, log) = Recorded::new(trainer);
        if index == 2 {
            trainer =
                trainer
                    .poisoned(1, 0, f32::NAN)
                    .poisoned(2, layout.len() - 1, f32::NEG_INFINITY);
        }
        logs.push(log);
        members.push(member(Box::new(trainer)));
    }
    let layout = members[0].trainer.layout().clone();
    let first_and_last = [0, layout.len() - 1].map(|index| {
        let tensor = layout.tensor_at(index).map(|tensor| tensor.name.clone());
        format!("the update of {} is not finite", tensor.unwrap_or_default())
    });
    assert_ne!(first_and_last[0], first_and_last[1]);
    let examples_max = 1_000;
    let federation = Federation {
        examples_max,
        ..federation(members, 3)
    };
    let (mut at_node, mut at_relay, mut completed) = (Vec::new(), Vec::new(), Vec::new());
    let ended = federation
        .run(|seen| match seen {
            SimulationEvent::Node(index, NodeEvent::Refused(Refusal::CannotContribute(reason))) => {
                at_node.push((index, reason.to_string()));
            }
            SimulationEvent::Relay(Report::Refused(_, Refusal::CannotContribute(reason))) => {
                at_relay.push(reason.to_string());
            }
            SimulationEvent::Relay(Report::Completed(report)) => completed.push(report),
            _ => {}
        })
        .await?;
    let at_two = first_and_last.clone().map(|reason| (2, reason));
    assert_eq!(at_node, at_two);
    assert_eq!(at_relay, first_and_last);
    let nodes: Vec<_> = completed.iter().map(|report| report.nodes).collect();
    assert_eq!(nodes, [3, 3, 4], "it is back once its update is sound");

    assert_one_model(&ended, 3);
    for round in 1..=3 {
        let mut steps = steps_of(&logs, round);
        if round < 3 {
            steps.remove(2);
        }
        let format = format(Ring::U32, 4, examples_max);
        let next = match round {
            3 => ended[0].model.to_vec(),
            _ => steps_of(&logs, round + 1)[0].global.clone(),
        };
        assert_average(&next, &steps, &format);
    }
    Ok(())
}
