//! Two consortia, of which the second lacks a member: what the difference of their sums tells.

use anyhow::{Context, Result};
use fl_datasets::{DEFAULT_TEST_FRACTION, Dataset, LoadOptions, Partition, Source, Split, load};
use fl_tests::federation::{Recorded, Step};
use fl_tests::statistics::{apart, cosine, less};
use fl_trainer::{LocalTrainer, ModelSpec, RepeatableOrder, Training, cpu};

use crate::support::federation::{assert_one_model, federation, member};

/// The members of the first consortium. The last of them is not in the second.
const MEMBERS: usize = 5;

/// The seed of the first consortium.
const SEED: u64 = 42;

/// In which order the members go through their examples.
#[derive(Clone, Copy)]
enum Order {
    /// In one that follows from the seed that all know.
    Known,
    /// Each in its own, that of the program.
    Secret,
}

/// Where a consortium begins.
enum Beginning {
    /// At the initial model of its seed.
    Seed,
    /// At a model that was trained.
    Model(Vec<f32>),
}

/// What whoever sees the sum of a round can compute, and what nobody should.
struct Round {
    initial: Vec<f32>,
    model: Vec<f32>,
    /// Of each member, in the order of the members.
    steps: Vec<Step>,
}

impl Round {
    /// The weighted updates of all, which the sum gives.
    fn sum(&self) -> Vec<f64> {
        let examples: u32 = self.steps.iter().map(|step| step.examples).sum();
        let pairs = self.model.iter().zip(&self.initial);
        pairs
            .map(|(model, initial)| f64::from(examples) * (f64::from(*model) - f64::from(*initial)))
            .collect()
    }

    /// The weighted update of the member that the second consortium lacks.
    fn of_the_missing(&self) -> Vec<f64> {
        let step = &self.steps[MEMBERS - 1];
        let update = step.update.iter();
        update
            .map(|value| f64::from(step.examples) * f64::from(*value))
            .collect()
    }
}

/// The patients of each member, who differ from member to member, and the model on which all agree.
fn data() -> Result<(Vec<Dataset>, ModelSpec)> {
    let all = load(&Source::BreastCancer, &LoadOptions::default())?.train;
    let partition: Partition = "dirichlet:1".parse()?;
    let parts = partition.parts(all.labels(), MEMBERS, 1)?;
    let spec = ModelSpec::for_data(&all, None)?;
    Ok((parts.iter().map(|part| all.select(part)).collect(), spec))
}

/// One round of a consortium of the first `members`, founded with `seed`.
async fn round(members: usize, seed: u64, order: Order, beginning: Beginning) -> Result<Round> {
    let (parts, spec) = data()?;
    let settings = Training {
        seed,
        ..Training::default()
    };
    let (mut trainers, mut logs) = (Vec::new(), Vec::new());
    for part in &parts[..members] {
        let Split { train, test } = Split::of(part, DEFAULT_TEST_FRACTION, seed)?;
        let mut trainer = spec.trainer(train, test, settings, cpu())?;
        if let Order::Known = order {
            trainer = Box::new(RepeatableOrder::new(trainer, seed));
        }
        let (recorded, log) = Recorded::new(trainer);
        trainers.push(Box::new(recorded) as Box<dyn LocalTrainer>);
        logs.push(log);
    }
    let initial = match beginning {
        Beginning::Seed => trainers[0].initial()?,
        Beginning::Model(model) => model,
    };
    let members = trainers.into_iter().map(member).collect();
    let ended = federation(members, 1)
        .run_from(initial.clone(), |_| ())
        .await?;
    assert_one_model(&ended, 1);
    let steps = logs.iter().map(|log| log.step(1).context("it has trained"));
    Ok(Round {
        initial,
        model: ended[0].model.to_vec(),
        steps: steps.collect::<Result<_>>()?,
    })
}

/// How well the difference of two sums tells the update of whoever is in the first alone.
#[derive(Clone, Copy, Debug)]
struct Attack {
    /// Cosine of the difference and the update.
    difference: f64,
    /// Cosine of what the two have that the first sum does not tell by itself.
    own: f64,
    /// Cosine of the first sum and the update: without any attack.
    sum_alone: f64,
}

impl Attack {
    fn of(first: &Round, second: &Round) -> Self {
        let (sum, truth) = (first.sum(), first.of_the_missing());
        let difference = less(&sum, &second.sum());
        Self {
            difference: cosine(&difference, &truth),
            own: cosine(&apart(&difference, &sum), &apart(&truth, &sum)),
            sum_alone: cosine(&sum, &truth),
        }
    }
}

/// Prints what an attack comes to, for `--nocapture`.
fn told(what: &str, first: &Round, second: &Round) -> Attack {
    let attack = Attack::of(first, second);
    println!("{what}: {attack:.4?}");
    attack
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_known_seed_and_known_orders_a_second_consortium_tells_the_missing_update()
-> Result<()> {
    let first = round(MEMBERS, SEED, Order::Known, Beginning::Seed).await?;
    let second = round(MEMBERS - 1, SEED, Order::Known, Beginning::Seed).await?;
    let attack = told("known seed, known orders", &first, &second);
    assert!(attack.difference > 0.999_999, "{attack:?}");
    assert!(attack.own > 0.999_9, "{attack:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_another_seed_and_secret_orders_a_second_consortium_tells_less_than_the_first_sum()
-> Result<()> {
    let first = round(MEMBERS, SEED, Order::Secret, Beginning::Seed).await?;
    let second = round(MEMBERS - 1, SEED + 1, Order::Secret, Beginning::Seed).await?;
    let attack = told("another seed, secret orders", &first, &second);
    assert!(attack.difference < attack.sum_alone, "{attack:?}");
    assert!(attack.own.abs() < 0.5, "{attack:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_secret_orders_the_same_seed_or_a_trained_model_tells_the_missing_update_in_part()
-> Result<()> {
    let first = round(MEMBERS, SEED, Order::Secret, Beginning::Seed).await?;
    let same = round(MEMBERS - 1, SEED, Order::Secret, Beginning::Seed).await?;
    let trained = Beginning::Model(first.model.clone());
    let later = round(MEMBERS - 1, SEED + 1, Order::Secret, trained).await?;
    for (what, second) in [("same seed", same), ("trained model", later)] {
        let attack = told(&format!("{what}, secret orders"), &first, &second);
        assert!(attack.own < 0.95, "{attack:?}");
    }
    Ok(())
}
