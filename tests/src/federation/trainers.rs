//! Trainers for tests: real ones with unequal data, one that remembers, and one that only draws
//! numbers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use fl_datasets::{LoadOptions, Partition, Source, load};
use fl_protocol::metrics::{Metrics, Tally};
use fl_trainer::{
    Compute, Layout, LocalTrainer, LocalUpdate, ModelSpec, OrderSeed, Part, Progress, TensorLayout,
    TrainError, Training, cpu,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// One round of local training.
#[derive(Clone, Debug)]
pub struct Step {
    /// Round, from 1.
    pub round: u64,
    /// The global model that training began with.
    pub global: Vec<f32>,
    /// What training changed.
    pub update: Vec<f32>,
    /// Number of training examples.
    pub examples: u32,
}

/// What a [`Recorded`] trainer did.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    steps: Vec<Step>,
    evaluated: Vec<Vec<f32>>,
}

impl Log {
    /// The training of `round`, if there was any.
    pub fn step(&self, round: u64) -> Option<Step> {
        let record = self.lock();
        let mut steps = record.steps.iter();
        steps.find(|step| step.round == round).cloned()
    }

    /// The models that were evaluated, in their order.
    pub fn evaluated(&self) -> Vec<Vec<f32>> {
        self.lock().evaluated.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trainer that remembers what it returned, and can be made to return rubbish.
pub struct Recorded {
    trainer: Box<dyn LocalTrainer>,
    log: Log,
    poison: BTreeMap<u64, (usize, f32)>,
}

impl Recorded {
    /// `trainer`, remembered in the log.
    pub fn new(trainer: Box<dyn LocalTrainer>) -> (Self, Log) {
        let log = Log::default();
        let recorded = Self {
            trainer,
            log: log.clone(),
            poison: BTreeMap::new(),
        };
        (recorded, log)
    }

    /// Returns `value` as coordinate `index` of the update of `round`.
    #[must_use]
    pub fn poisoned(mut self, round: u64, index: usize, value: f32) -> Self {
        self.poison.insert(round, (index, value));
        self
    }
}

impl LocalTrainer for Recorded {
    fn layout(&self) -> &Layout {
        self.trainer.layout()
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        self.trainer.initial()
    }

    fn examples(&self) -> u64 {
        self.trainer.examples()
    }

    fn train(
        &mut self,
        global: &[f32],
        round: u64,
        order: &OrderSeed,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        let mut trained = self.trainer.train(global, round, order, progress)?;
        let mut update = trained.update.to_vec()?;
        if let Some((index, value)) = self.poison.get(&round) {
            update[*index] = *value;
            trained.update = update.clone().into();
        }
        self.log.lock().steps.push(Step {
            round,
            global: global.to_vec(),
            update,
            examples: trained.examples,
        });
        Ok(trained)
    }

    fn metrics(&self) -> Metrics {
        self.trainer.metrics()
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Tally, TrainError> {
        self.log.lock().evaluated.push(parameters.to_vec());
        self.trainer.evaluate(parameters)
    }

    fn pad(
        &mut self,
        part: Part,
        up_to: u32,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        self.trainer.pad(part, up_to, progress)
    }
}

/// A trainer around whose training something happens, of which the rest of the node knows nothing.
pub struct Disturbed {
    trainer: Box<dyn LocalTrainer>,
    before: Disturbance,
    after: Disturbance,
}

/// Happens in a round, counted from 1.
type Disturbance = Box<dyn FnMut(u64) + Send>;

impl Disturbed {
    /// `trainer`, with something `before` each training and something `after` it.
    pub fn new(
        trainer: Box<dyn LocalTrainer>,
        before: impl FnMut(u64) + Send + 'static,
        after: impl FnMut(u64) + Send + 'static,
    ) -> Self {
        Self {
            trainer,
            before: Box::new(before),
            after: Box::new(after),
        }
    }
}

impl LocalTrainer for Disturbed {
    fn layout(&self) -> &Layout {
        self.trainer.layout()
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        self.trainer.initial()
    }

    fn examples(&self) -> u64 {
        self.trainer.examples()
    }

    fn train(
        &mut self,
        global: &[f32],
        round: u64,
        order: &OrderSeed,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        (self.before)(round);
        let trained = self.trainer.train(global, round, order, progress);
        (self.after)(round);
        trained
    }

    fn metrics(&self) -> Metrics {
        self.trainer.metrics()
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Tally, TrainError> {
        self.trainer.evaluate(parameters)
    }

    fn pad(
        &mut self,
        part: Part,
        up_to: u32,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        self.trainer.pad(part, up_to, progress)
    }
}

/// Trainers of the usual model for `source`, one for each of `shares`, with sample counts in those
/// proportions.
///
/// # Errors
///
/// If the data cannot be parted like this.
pub fn learners(source: &Source, shares: &[usize]) -> Result<Vec<Box<dyn LocalTrainer>>> {
    learners_on(source, shares, &vec![cpu().into(); shares.len()])
}

/// [`learners`], each on a device of its own.
///
/// # Errors
///
/// If the data cannot be parted like this, or a device fails.
pub fn learners_on(
    source: &Source,
    shares: &[usize],
    places: &[Compute],
) -> Result<Vec<Box<dyn LocalTrainer>>> {
    let split = load(source, &LoadOptions::default())?.split(0.2, 1)?;
    let spec = ModelSpec::for_data(&split.train, None)?;
    let pieces = "iid"
        .parse::<Partition>()?
        .parts(split.train.labels(), shares.iter().sum(), 1)?;
    let settings = Training {
        epochs: 1,
        ..Training::default()
    };
    let mut pieces = pieces.into_iter();
    let trainer = |(share, compute): (&usize, &Compute)| {
        let part: Vec<_> = pieces.by_ref().take(*share).flatten().collect();
        let train = split.train.select(&part);
        Ok(spec.trainer(train, split.test.clone(), settings, compute.clone())?)
    };
    shares.iter().zip(places).map(trainer).collect()
}

/// The mean update of a round, weighted by examples, in f64 and in the clear: what the federation
/// must arrive at.
pub fn plain_mean<'a>(steps: impl IntoIterator<Item = &'a Step> + Clone) -> Vec<f64> {
    let total: u64 = steps
        .clone()
        .into_iter()
        .map(|step| u64::from(step.examples))
        .sum();
    let mut mean = Vec::new();
    for step in steps {
        let weight = f64::from(step.examples) / total as f64;
        mean.resize(step.update.len(), 0.0);
        for (mean, update) in mean.iter_mut().zip(&step.update) {
            *mean += weight * f64::from(*update);
        }
    }
    mean
}

/// A layout of one tensor.
///
/// # Errors
///
/// If `parameters` is 0.
pub fn layout(parameters: usize) -> Result<Layout> {
    let tensor = TensorLayout {
        name: "weight".to_owned(),
        shape: vec![parameters],
    };
    Ok(Layout::try_from(vec![tensor])?)
}

/// A trainer without a model: its updates are drawn, the same for the same seed and round.
pub struct Synthetic {
    layout: Layout,
    examples: u32,
    seed: u64,
}

impl Synthetic {
    /// Updates of `parameters` coordinates in ±0.5, said to come from `examples` examples.
    ///
    /// # Errors
    ///
    /// If `parameters` is 0.
    pub fn new(parameters: usize, examples: u32, seed: u64) -> Result<Self> {
        let layout = layout(parameters)?;
        Ok(Self {
            layout,
            examples,
            seed,
        })
    }
}

impl LocalTrainer for Synthetic {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        Ok(vec![0.0; self.layout.len()])
    }

    fn examples(&self) -> u64 {
        self.examples.into()
    }

    fn train(
        &mut self,
        global: &[f32],
        round: u64,
        _: &OrderSeed,
        _: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        let mut random = StdRng::seed_from_u64(self.seed << 32 | round);
        let update = global.iter().map(|_| random.random_range(-0.5..0.5));
        Ok(LocalUpdate {
            update: update.collect::<Vec<_>>().into(),
            examples: self.examples,
        })
    }

    fn evaluate(&mut self, _: &[f32]) -> Result<Tally, TrainError> {
        Ok(Tally::default())
    }

    fn pad(
        &mut self,
        _: Part,
        _: u32,
        _: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        Ok(())
    }
}
