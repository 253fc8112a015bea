//! What is learned, from flags or from a manifest.

use std::path::Path;

use anyhow::{Context as _, ensure};
use fl_datasets::{DEFAULT_TEST_FRACTION, LoadOptions, Scaling, Schema, Source, Split};
use fl_trainer::{Checkpoint, ModelSpec, Optimizer, Training};
use serde::{Deserialize, Serialize};

use super::args::{HeldBackArgs, OptimizerName, TaskArgs};
use super::data::loaded;

/// The task as kits hold it: all that nodes must agree on to train one model.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskTable {
    pub(crate) training: Training,
    pub(crate) model: ModelSpec,
}

impl TaskTable {
    /// The task of the flags and of this seed, with this data, against a schema if there is one.
    /// `note` is told how the data was understood.
    pub(crate) fn of(
        source: &Source,
        held_back: &HeldBackArgs,
        schema: Option<Schema>,
        args: &TaskArgs,
        seed: u64,
        note: impl FnMut(&str),
    ) -> anyhow::Result<(Self, Split)> {
        let training = training(args, seed)?;
        let options = args.table.options(schema);
        let split = split((source, held_back), &options, None, seed, note)?;
        let model = ModelSpec::for_data(&split.train, args.model)?;
        Ok((Self { training, model }, split))
    }

    /// The task of the model in a file, with these flags and this seed for its training. Returns
    /// that model as well.
    pub(crate) fn from_checkpoint(
        path: &Path,
        args: &TaskArgs,
        seed: u64,
    ) -> anyhow::Result<(Self, Checkpoint)> {
        let checkpoint = Checkpoint::read(path)?;
        let model = checkpoint
            .model
            .clone()
            .with_context(|| format!("the model in {} is not a built-in one", path.display()))?;
        let training = training(args, seed)?;
        Ok((Self { training, model }, checkpoint))
    }

    /// The task in a kit.
    pub(crate) fn from_table(table: toml::Table) -> anyhow::Result<Self> {
        let task: Self = table.try_into().context(
            "this program cannot run the kit's task; are its versions the same everywhere?",
        )?;
        task.training.check()?;
        Ok(task)
    }

    /// Returns the task as a kit's table.
    pub(crate) fn to_table(&self) -> anyhow::Result<toml::Table> {
        Ok(toml::Table::try_from(self)?)
    }

    /// Loads data that must fit the task, and splits it if it comes without a test part. `note` is
    /// told how it was understood.
    pub(crate) fn load(
        &self,
        source: &Source,
        held_back: &HeldBackArgs,
        label: Option<String>,
        note: impl FnMut(&str),
    ) -> anyhow::Result<Split> {
        let options = LoadOptions {
            label,
            schema: Some(self.model.schema().clone()),
            ..LoadOptions::default()
        };
        let (scaling, seed) = (self.model.scaling(), self.training.seed);
        split((source, held_back), &options, scaling, seed, note)
    }
}

/// Loads data, and what is held back: a source of its own, which must fit the data's schema, or
/// else a part.
fn split(
    (source, held_back): (&Source, &HeldBackArgs),
    options: &LoadOptions,
    scaling: Option<&Scaling>,
    seed: u64,
    mut note: impl FnMut(&str),
) -> anyhow::Result<Split> {
    ensure!(
        held_back.test.is_none() || held_back.test_fraction.is_none(),
        "test and test_fraction exclude each other; leave one of them out"
    );
    let all = loaded(source, options, scaling, &mut note)?;
    let Some(test) = &held_back.test else {
        let fraction = held_back.test_fraction.unwrap_or(DEFAULT_TEST_FRACTION);
        return Ok(all.split(fraction, seed)?);
    };
    let options = LoadOptions {
        label: options.label.clone(),
        // What is all held back need not be kept together.
        schema: Some(all.train.schema().clone().grouped_by(None)?),
        ..LoadOptions::default()
    };
    let test = loaded(test, &options, scaling, note)?;
    Ok(Split {
        train: all.train,
        test: test.test.unwrap_or(test.train),
    })
}

fn training(args: &TaskArgs, seed: u64) -> anyhow::Result<Training> {
    let defaults = Training::default();
    let (optimizer, learning_rate) = match args.optimizer {
        None | Some(OptimizerName::Sgd) => (defaults.optimizer, defaults.learning_rate),
        Some(OptimizerName::Adam) => (Optimizer::Adam, 0.001),
    };
    // TOML has signed integers only.
    ensure!(i64::try_from(seed).is_ok(), "--seed must be less than 2^63");
    let training = Training {
        optimizer,
        learning_rate: args.learning_rate.unwrap_or(learning_rate),
        batch_size: args.batch_size.unwrap_or(defaults.batch_size),
        epochs: args.local_epochs.unwrap_or(defaults.epochs),
        seed,
    };
    training.check()?;
    Ok(training)
}
