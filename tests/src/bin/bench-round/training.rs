//! What the nodes of a bench contribute: an update that is there at once, or one that is trained on
//! data.

use std::ops::ControlFlow;

use anyhow::{Context as _, ensure};
use fl_datasets::{DEFAULT_TEST_FRACTION, LoadOptions, Partition, Source, Split, load};
use fl_network::kit::Kit;
use fl_protocol::metrics::{Metrics, Tally};
use fl_trainer::{
    Layout, LocalTrainer, LocalUpdate, ModelSpec, OrderSeed, Part, Progress, TensorLayout,
    TrainError, Training, Update, cpu,
};

use crate::party::ready;

/// Training examples of a node that trains on none.
const EXAMPLES: u32 = 1000;

/// What the consortium of a bench agrees to learn.
pub(crate) struct Learned {
    pub(crate) layout: Layout,
    pub(crate) initial: Vec<f32>,
    /// What is counted of the model.
    pub(crate) metrics: Metrics,
    /// The most training examples of a node.
    pub(crate) examples_max: u32,
}

impl Learned {
    /// So many parameters, and nothing to train them on.
    pub(crate) fn nothing(parameters: usize) -> anyhow::Result<Self> {
        let tensor = TensorLayout {
            name: "parameters".to_owned(),
            shape: vec![parameters],
        };
        Ok(Self {
            layout: Layout::try_from(vec![tensor])?,
            initial: vec![0.0; parameters],
            metrics: Metrics::Answers,
            examples_max: EXAMPLES,
        })
    }

    /// The usual model for `data`, with the default settings, for `nodes` nodes with even parts of
    /// it.
    pub(crate) fn from(data: &Source, nodes: usize) -> anyhow::Result<Self> {
        let (model, split) = usual(data)?;
        // The initial model comes from the seed; the data is only needed for its shape.
        let none = || split.train.select(&[]);
        let mut trainer = model.trainer(none(), none(), Training::default(), cpu())?;
        Ok(Self {
            layout: trainer.layout().clone(),
            initial: trainer.initial()?,
            metrics: model.metrics(),
            examples_max: u32::try_from(split.train.len().div_ceil(nodes))
                .context("too many examples")?,
        })
    }
}

/// Returns the usual model for `data` and the data, the same to the founder and to every node.
fn usual(data: &Source) -> anyhow::Result<(ModelSpec, Split)> {
    let loaded = load(data, &LoadOptions::default())?;
    let split = loaded.split(DEFAULT_TEST_FRACTION, Training::default().seed)?;
    Ok((ModelSpec::for_data(&split.train, None)?, split))
}

/// The trainer of a node: on its part of `data`, or [`Instantly`]. It waits for the bench before it
/// trains.
pub(crate) fn trainer(kit: &Kit, data: Option<&Source>) -> anyhow::Result<Box<dyn LocalTrainer>> {
    let Some(data) = data else {
        return Ok(Box::new(Instantly::new(kit)?));
    };
    let (model, split) = usual(data)?;
    let settings = Training::default();
    let roster = kit.manifest.roster();
    let own = roster.keys().position(|node| *node == kit.id());
    let own = own.context("the kit's node is not in its manifest")?;
    let part = |labels: &[u32]| -> anyhow::Result<Vec<usize>> {
        let mut parts = Partition::Iid.parts(labels, roster.len(), settings.seed)?;
        ensure!(own < parts.len(), "there is no data for every node");
        Ok(parts.swap_remove(own))
    };
    let train = split.train.select(&part(split.train.labels())?);
    let test = split.test.select(&part(split.test.labels())?);
    let trainer = model.trainer(train, test, settings, cpu())?;
    Ok(Box::new(Released(trainer)))
}

/// A trainer that waits for the bench each time.
struct Released(Box<dyn LocalTrainer>);

impl LocalTrainer for Released {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        self.0.initial()
    }

    fn examples(&self) -> u64 {
        self.0.examples()
    }

    fn train(
        &mut self,
        global: &[f32],
        round: u64,
        order: &OrderSeed,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        ready();
        self.0.train(global, round, order, progress)
    }

    fn metrics(&self) -> Metrics {
        self.0.metrics()
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Tally, TrainError> {
        self.0.evaluate(parameters)
    }

    fn pad(
        &mut self,
        part: Part,
        up_to: u32,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        self.0.pad(part, up_to, progress)
    }
}

/// A node that has its update at once, and waits for the bench.
struct Instantly {
    layout: Layout,
    update: Update,
}

impl Instantly {
    fn new(kit: &Kit) -> anyhow::Result<Self> {
        Ok(Self {
            layout: Layout::try_from(kit.manifest.layout().to_vec())?,
            update: update(kit).into(),
        })
    }
}

impl LocalTrainer for Instantly {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        Ok(vec![0.0; self.layout.len()])
    }

    fn examples(&self) -> u64 {
        EXAMPLES.into()
    }

    fn train(
        &mut self,
        _global: &[f32],
        _round: u64,
        _order: &OrderSeed,
        _progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        ready();
        Ok(LocalUpdate {
            update: self.update.clone(),
            examples: EXAMPLES,
        })
    }

    fn evaluate(&mut self, _parameters: &[f32]) -> Result<Tally, TrainError> {
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

/// A node's update: small, and another for each node.
pub(crate) fn update(kit: &Kit) -> Vec<f32> {
    let own = f32::from(kit.id().as_bytes()[0]);
    let parameters = 0..kit.manifest.parameters();
    parameters
        .map(|k| 0.01 * (k as f32 * 31.0 + own).sin())
        .collect()
}
