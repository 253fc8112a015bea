//! Local training with Burn.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Int, Tensor, TensorData};
use fl_protocol::metrics::{Metrics, Tally};
use rand::seq::SliceRandom;

use crate::{
    Compute, Layout, LocalTrainer, LocalUpdate, OrderSeed, Part, Progress, Task, TrainError,
    Training, cpu, evaluation, state,
};

/// Examples scored at once in an evaluation: bounds the memory, not the result.
pub(crate) const EVALUATION_BATCH: usize = 256;

/// Steps after which training waits for the device, so that it neither runs far ahead of it nor is
/// slow to stop.
const STEPS_AHEAD: usize = 32;

/// Burn keeps one random generator per device for the whole process. Held from seeding it to the
/// last draw of an initialisation, so that trainers on other threads neither draw nor seed it in
/// between.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Trains a [`Task`] on a device.
///
/// On the CPU the same task, settings, parameters and order give the same update to the bit. The
/// initial model is drawn on the CPU wherever training runs, so it is the same everywhere.
pub struct BurnTrainer<T: Task> {
    task: T,
    training: Training,
    compute: Compute,
    layout: Layout,
    /// The initial model, in evaluation mode. Every other model is a copy of it with other values.
    initial: T::Model,
}

impl<T: Task> BurnTrainer<T> {
    /// Initialises the model. Training runs where `compute` says, a device of Burn's or a GPU,
    /// which must be where the task has its data.
    ///
    /// # Errors
    ///
    /// A setting is out of its range, the model has no parameters or too many, or the GPU fails.
    pub fn new(
        task: T,
        training: Training,
        compute: impl Into<Compute>,
    ) -> Result<Self, TrainError> {
        training.check()?;
        let compute = compute.into();
        let drawn = {
            let _drawing = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
            compute.device().seed(training.seed);
            cpu().seed(training.seed);
            // Parameters are drawn when first read; `valid` reads them all.
            task.model(&cpu()).valid()
        };
        let layout = Layout::of(&drawn)?;
        compute.check_reach("model", layout.len())?;
        let initial = compute.run(|| Ok(drawn.to_device(compute.device())))?;
        Ok(Self {
            task,
            training,
            compute,
            layout,
            initial,
        })
    }

    fn examples(&self, part: Part) -> Result<u32, TrainError> {
        let examples = self.task.examples(part).try_into();
        examples.map_err(|_| TrainError::TooManyExamples { part })
    }

    /// Puts positions on the device, and gives them in batches.
    fn batches(
        &self,
        positions: &[u32],
        batch_size: usize,
    ) -> impl Iterator<Item = Tensor<1, Int>> + use<T> {
        let len = positions.len();
        let data = TensorData::new(positions.to_vec(), [len]);
        let positions = Tensor::from_data(data, self.compute.device());
        (0..len)
            .step_by(batch_size)
            .map(move |start| positions.clone().slice(start..len.min(start + batch_size)))
    }

    fn fit(
        &self,
        global: &[f32],
        order: &OrderSeed,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        let Training {
            optimizer,
            batch_size,
            epochs,
            ..
        } = self.training;
        let examples = self.examples(Part::Training)?;
        if examples == 0 {
            return Err(TrainError::NoExamples);
        }
        let device = self.compute.device();
        let mut positions: Vec<u32> = (0..examples).collect();
        let global = self.layout.upload(global, device)?;
        let mut model = self.layout.part(&self.initial, &global)?.train();
        let mut optimizer = optimizer.init();
        let mut shuffle = order.generator();
        {
            let _seeding = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
            // For layers that draw numbers, such as dropout.
            device.seed(order.device_seed());
        }
        let steps = positions.len().div_ceil(batch_size).saturating_mul(epochs);
        let mut step = 0;
        for _ in 0..epochs {
            positions.shuffle(&mut shuffle);
            for batch in self.batches(&positions, batch_size) {
                model = self.descend(model, &mut optimizer, batch);
                step += 1;
                self.keep_pace(step)?;
                if progress(Progress { step, steps }).is_break() {
                    return Err(TrainError::Stopped { step, steps });
                }
            }
        }
        let update = self.layout.join(&model)? - global;
        let update = self.compute.update(update, &self.layout)?;
        Ok(LocalUpdate { update, examples })
    }

    /// Takes one step of training.
    fn descend(
        &self,
        model: T::Model,
        optimizer: &mut ModuleOptimizer,
        batch: Tensor<1, Int>,
    ) -> T::Model {
        let loss = self.task.score(&model, Part::Training, batch).loss;
        let gradients = GradientsParams::from_grads(loss.mean().backward(), &model);
        optimizer.step(self.training.learning_rate, model, gradients)
    }

    /// Waits for the device every [`STEPS_AHEAD`] steps.
    fn keep_pace(&self, step: usize) -> Result<(), TrainError> {
        match step % STEPS_AHEAD {
            0 => self.wait(),
            _ => Ok(()),
        }
    }

    fn wait(&self) -> Result<(), TrainError> {
        let failed = state::failed("a training step");
        let waited = self.compute.device().sync();
        waited.map_err(|error| failed(error.into()))
    }

    fn test(&self, parameters: &[f32]) -> Result<Tally, TrainError> {
        let model = self.layout.unflatten(&self.initial, parameters)?;
        let positions: Vec<u32> = (0..self.examples(Part::Test)?).collect();
        self.evaluation(&model, Part::Test, &positions)
    }

    fn evaluation(
        &self,
        model: &T::Model,
        part: Part,
        positions: &[u32],
    ) -> Result<Tally, TrainError> {
        // Read once all batches are on their way, for the device would wait at each.
        let batches = self.batches(positions, EVALUATION_BATCH);
        let scores = batches.map(|batch| self.task.score(model, part, batch));
        evaluation::count(self.task.metrics(), scores.collect())
    }

    /// Does what is lacking of the work on `up_to` examples of `part`, on training examples, again
    /// and again if they are few.
    fn work_on(
        &self,
        part: Part,
        up_to: u32,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        let examples = self.examples(Part::Training)?;
        let positions = |count| -> Vec<_> { (0..examples).cycle().take(count).collect() };
        let (own, up_to) = (self.task.examples(part), up_to as usize);
        match part {
            Part::Test => {
                let positions = positions(up_to.saturating_sub(own));
                let scored = self.evaluation(&self.initial, Part::Training, &positions);
                scored.map(drop)
            }
            Part::Training => {
                let Training {
                    batch_size, epochs, ..
                } = self.training;
                // Whole batches: a step's time is that of its overhead, too.
                let batches = lacking_batches(own, up_to, batch_size);
                let positions = positions(batches * batch_size);
                let mut model = self.initial.clone().train();
                let mut optimizer = self.training.optimizer.init();
                let batches = (0..epochs).flat_map(|_| self.batches(&positions, batch_size));
                let steps = epochs * positions.len() / batch_size;
                for (step, batch) in (1..).zip(batches) {
                    model = self.descend(model, &mut optimizer, batch);
                    self.keep_pace(step)?;
                    if progress(Progress { step, steps }).is_break() {
                        break;
                    }
                }
                self.wait()
            }
        }
    }
}

impl<T: Task> LocalTrainer for BurnTrainer<T> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        self.compute.run(|| self.layout.flatten(&self.initial))
    }

    fn examples(&self) -> u64 {
        self.task.examples(Part::Training) as u64
    }

    fn train(
        &mut self,
        global: &[f32],
        _: u64,
        order: &OrderSeed,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        self.compute.run(|| self.fit(global, order, progress))
    }

    fn pad(
        &mut self,
        part: Part,
        up_to: u32,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        self.compute.run(|| self.work_on(part, up_to, progress))
    }

    fn metrics(&self) -> Metrics {
        self.task.metrics()
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Tally, TrainError> {
        self.compute.run(|| self.test(parameters))
    }
}

/// Returns how many batches `up_to` examples make more than `own` do.
fn lacking_batches(own: usize, up_to: usize, batch_size: usize) -> usize {
    let batches = |examples: usize| examples.div_ceil(batch_size);
    batches(up_to).saturating_sub(batches(own))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
    use burn::tensor::Device;
    use fl_datasets::{Dataset, LoadOptions, Source, load};

    use super::*;
    use fl_protocol::digest::{Digest, model_hash};
    use fl_protocol::identity::Identity;

    use crate::{ModelKind, ModelSpec, Optimizer, OrderKey, Outcome, Score};

    fn digits() -> Dataset {
        let digits = load(&Source::Digits, &LoadOptions::default())
            .unwrap()
            .train;
        digits.select(&(0..200).collect::<Vec<_>>())
    }

    fn trainer(training: Training) -> Box<dyn LocalTrainer> {
        let data = digits();
        let spec = ModelSpec::new(ModelKind::Cnn, data.schema().clone(), None).unwrap();
        let [train, test] = [0..150, 150..200].map(|part| data.select(&part.collect::<Vec<_>>()));
        spec.trainer(train, test, training, Device::flex()).unwrap()
    }

    fn order(round: u64) -> OrderSeed {
        OrderSeed::of_numbers(7, round)
    }

    fn run(trainer: &mut dyn LocalTrainer, global: &[f32], round: u64) -> Vec<f32> {
        let trained = trainer.train(global, round, &order(round), &mut |_| {
            ControlFlow::Continue(())
        });
        trained.unwrap().update.to_vec().unwrap()
    }

    #[test]
    fn the_same_model_and_order_give_the_same_bits_and_others_do_not() {
        let mut first = trainer(Training::default());
        let mut second = trainer(Training::default());
        let global = first.initial().unwrap();
        assert_eq!(second.initial().unwrap(), global);
        let update = run(&mut *first, &global, 3);
        assert_eq!(run(&mut *second, &global, 3), update);
        assert_eq!(run(&mut *first, &global, 3), update);
        assert_ne!(run(&mut *first, &global, 4), update);

        // The seed is that of the initial model, and not of the order.
        let mut other = trainer(Training {
            seed: 1,
            ..Training::default()
        });
        assert_ne!(other.initial().unwrap(), global);
        assert_eq!(run(&mut *other, &global, 3), update);
    }

    #[test]
    fn a_node_that_trains_again_gives_the_same_bits_and_others_on_its_data_do_not() {
        let mut trainer = trainer(Training::default());
        let global = trainer.initial().unwrap();
        let model = model_hash(&global);
        let mut update = |node: u8, consortium: u8| {
            let identity = Identity::from_secret(&[node; 32]);
            let key = OrderKey::new(identity, Digest([consortium; 32]));
            let order = key.seed(1, model);
            let trained = trainer.train(&global, 1, &order, &mut |_| ControlFlow::Continue(()));
            trained.unwrap().update.to_vec().unwrap()
        };
        let first = update(1, 1);
        assert_eq!(update(1, 1), first);
        assert_ne!(update(2, 1), first);
        assert_ne!(update(1, 2), first);
    }

    #[test]
    fn trainers_on_many_threads_start_from_the_same_model() {
        let models = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| trainer(Training::default()).initial().unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(models.iter().all(|model| *model == models[0]));
    }

    #[test]
    fn the_update_leads_from_the_global_model_to_a_better_one() {
        let mut trainer = trainer(Training {
            epochs: 10,
            ..Training::default()
        });
        let mut parameters = trainer.initial().unwrap();
        let before = trainer.evaluate(&parameters).unwrap();
        let keep_on = &mut |_| ControlFlow::Continue(());
        let local = trainer.train(&parameters, 0, &order(0), keep_on).unwrap();
        assert_eq!(local.examples, 150);
        assert_eq!(before.examples(), 50);
        for (parameter, update) in parameters.iter_mut().zip(local.update.to_vec().unwrap()) {
            *parameter += update;
        }
        let after = trainer.evaluate(&parameters).unwrap();
        assert!(after.loss() < before.loss(), "{after:?}");
        assert!(after.accuracy() > before.accuracy(), "{after:?}");
    }

    #[test]
    fn reports_each_step_and_stops_when_told_to() {
        let mut trainer = trainer(Training {
            batch_size: 40,
            epochs: 2,
            ..Training::default()
        });
        let global = trainer.initial().unwrap();
        let mut seen = Vec::new();
        trainer
            .train(&global, 0, &order(0), &mut |Progress { step, steps }| {
                seen.push((step, steps));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, (1..=8).map(|step| (step, 8)).collect::<Vec<_>>());

        let stopped = trainer.train(&global, 0, &order(0), &mut |progress| match progress.step {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert!(matches!(
            stopped,
            Err(TrainError::Stopped { step: 3, steps: 8 })
        ));
    }

    #[test]
    fn names_the_tensor_when_training_diverges() {
        let mut trainer = trainer(Training {
            learning_rate: 1e30,
            ..Training::default()
        });
        let global = trainer.initial().unwrap();
        let diverged = trainer.train(&global, 0, &order(0), &mut |_| ControlFlow::Continue(()));
        assert!(
            matches!(diverged, Err(TrainError::NotFinite { tensor, .. }) if !tensor.is_empty())
        );
    }

    #[test]
    fn a_step_of_descent_is_no_longer_than_its_size() {
        let settings = Training {
            optimizer: Optimizer::Sgd { momentum: 0.0 },
            batch_size: 150,
            epochs: 1,
            ..Training::default()
        };
        let mut trainer = trainer(settings);
        let global = trainer.initial().unwrap();
        // The longest step of a tensor, in step sizes.
        let mut longest = |factor: f32| {
            let global: Vec<_> = global.iter().map(|parameter| factor * parameter).collect();
            let update = run(&mut *trainer, &global, 0);
            let mut squares = BTreeMap::<_, f64>::new();
            for (index, moved) in update.into_iter().enumerate() {
                let tensor = &trainer.layout().tensor_at(index).unwrap().name;
                *squares.entry(tensor.clone()).or_default() += f64::from(moved).powi(2);
            }
            squares.into_values().fold(0.0, f64::max).sqrt() / settings.learning_rate
        };
        assert!((0.01..0.99).contains(&longest(0.5)), "{}", longest(0.5));
        // Ten times the parameters in each of three layers: a gradient that is far above 1.
        assert!((0.99..1.01).contains(&longest(10.0)), "{}", longest(10.0));
    }

    #[test]
    fn adam_and_plain_descent_train_too() {
        for optimizer in [Optimizer::Adam, Optimizer::Sgd { momentum: 0.0 }] {
            let settings = Training {
                optimizer,
                learning_rate: 0.01,
                ..Training::default()
            };
            let mut trainer = trainer(settings);
            let mut parameters = trainer.initial().unwrap();
            let before = trainer.evaluate(&parameters).unwrap();
            let local = run(&mut *trainer, &parameters, 0);
            for (parameter, update) in parameters.iter_mut().zip(&local) {
                *parameter += update;
            }
            assert!(trainer.evaluate(&parameters).unwrap().loss() < before.loss());
        }
    }

    #[test]
    fn refuses_parameters_that_do_not_fit() {
        let mut trainer = trainer(Training::default());
        let mut global = trainer.initial().unwrap();
        global[5] = f32::NAN;
        assert!(matches!(
            trainer.evaluate(&global),
            Err(TrainError::NotFinite { .. })
        ));
        let short = trainer.train(&global[1..], 0, &order(0), &mut |_| {
            ControlFlow::Continue(())
        });
        assert!(matches!(short, Err(TrainError::Length { .. })));
    }

    #[test]
    fn evaluates_without_training_examples_but_does_not_train() {
        let data = digits();
        let spec = ModelSpec::new(ModelKind::Mlp, data.schema().clone(), None).unwrap();
        let none = data.select(&[]);
        let mut trainer = spec
            .trainer(
                none.clone(),
                data.clone(),
                Training::default(),
                Device::flex(),
            )
            .unwrap();
        let global = trainer.initial().unwrap();
        assert_eq!(trainer.evaluate(&global).unwrap().examples(), 200);
        let trained = trainer.train(&global, 0, &order(0), &mut |_| ControlFlow::Continue(()));
        assert!(matches!(trained, Err(TrainError::NoExamples)));

        let mut untested = spec
            .trainer(data, none, Training::default(), Device::flex())
            .unwrap();
        assert_eq!(
            untested.evaluate(&global).unwrap(),
            Tally::new(spec.metrics())
        );
    }

    #[test]
    fn with_padding_as_many_steps_are_taken_as_on_the_most_examples() {
        let data = digits();
        let spec = ModelSpec::new(ModelKind::Mlp, data.schema().clone(), None).unwrap();
        let settings = Training {
            batch_size: 16,
            epochs: 3,
            ..Training::default()
        };
        let mut taken = BTreeMap::new();
        for examples in [1, 15, 16, 17, 100, 160] {
            let train = data.select(&(0..examples).collect::<Vec<_>>());
            let test = data.select(&[180]);
            let mut trainer = spec.trainer(train, test, settings, Device::flex()).unwrap();
            let global = trainer.initial().unwrap();
            let (mut own, mut padding) = (0, 0);
            let trained = trainer.train(&global, 1, &order(1), &mut |_| {
                own += 1;
                ControlFlow::Continue(())
            });
            trained.unwrap();
            let mut count = |_| {
                padding += 1;
                ControlFlow::Continue(())
            };
            trainer.pad(Part::Training, 160, &mut count).unwrap();
            taken.insert(examples, (own, padding));
        }
        // Three times ten batches, whatever part of it is the node's own.
        let expected = [(1, 3), (15, 3), (16, 3), (17, 6), (100, 21), (160, 30)];
        let expected = expected.map(|(examples, own)| (examples, (own, 30 - own)));
        assert_eq!(taken, BTreeMap::from(expected));
    }

    #[test]
    fn padding_changes_nothing_and_ends_when_it_is_told_to() {
        let mut plain = trainer(Training::default());
        let mut padded = trainer(Training::default());
        let global = plain.initial().unwrap();
        let mut steps = 0;
        let mut four_steps = |_| {
            steps += 1;
            match steps {
                4 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        padded.pad(Part::Training, 1_000, &mut four_steps).unwrap();
        assert_eq!(steps, 4);
        let mut on = |_| ControlFlow::Continue(());
        padded.pad(Part::Test, 1_000, &mut on).unwrap();
        assert_eq!(run(&mut *padded, &global, 1), run(&mut *plain, &global, 1));
        assert_eq!(
            padded.evaluate(&global).unwrap(),
            plain.evaluate(&global).unwrap()
        );
    }

    /// y = 2x + 1 with a batch normalisation before the linear layer.
    #[derive(Module, Debug)]
    struct Line {
        norm: BatchNorm,
        linear: Linear,
    }

    struct Regression;

    impl Task for Regression {
        type Model = Line;

        fn model(&self, device: &Device) -> Line {
            Line {
                norm: BatchNormConfig::new(1).init(device),
                linear: LinearConfig::new(1, 1).init(device),
            }
        }

        fn metrics(&self) -> Metrics {
            Metrics::Quantity { deviation: 1.0 }
        }

        fn examples(&self, _part: Part) -> usize {
            64
        }

        fn score(&self, model: &Line, part: Part, positions: Tensor<1, Int>) -> Score {
            let x = positions.float() / 64.0;
            let y = x.clone() * 2.0 + 1.0;
            let x = match part {
                Part::Training => x.autodiff(),
                Part::Test => x,
            };
            let predicted = model
                .linear
                .forward(model.norm.forward(x.unsqueeze_dim::<2>(1)));
            let predicted = predicted.squeeze_dim::<1>(1);
            let loss = (predicted.clone() - y.clone()).square();
            let outcome = Outcome::Quantity {
                predicted,
                truth: y,
            };
            Score { loss, outcome }
        }
    }

    #[test]
    fn a_task_by_hand_learns_its_running_statistics_too() {
        let settings = Training {
            epochs: 60,
            ..Training::default()
        };
        let mut trainer = BurnTrainer::new(Regression, settings, Device::flex()).unwrap();
        let mut parameters = trainer.initial().unwrap();
        let before = trainer.evaluate(&parameters).unwrap();
        let local = run(&mut trainer, &parameters, 0);
        let moved = |name| {
            let index = (0..local.len()).find(|&i| {
                trainer
                    .layout()
                    .tensor_at(i)
                    .is_some_and(|t| t.name == name)
            });
            local[index.unwrap()]
        };
        // Inputs are uniform on [0, 1): mean 1/2, from 0, and variance 1/12, from 1.
        assert!((moved("norm.running_mean") - 0.5).abs() < 0.1);
        assert!((moved("norm.running_var") + 11.0 / 12.0).abs() < 0.1);
        for (parameter, update) in parameters.iter_mut().zip(&local) {
            *parameter += update;
        }
        let after = trainer.evaluate(&parameters).unwrap();
        assert!(
            20.0 * after.loss().unwrap() < before.loss().unwrap(),
            "{before:?} {after:?}"
        );
    }
}
