//! Local training with Burn.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use rand::seq::SliceRandom;

use crate::{
    Evaluation, Layout, LocalTrainer, LocalUpdate, Part, Progress, Task, TrainError, Training,
};

/// Examples scored at once in an evaluation: bounds the memory, not the result.
const EVALUATION_BATCH: usize = 256;

/// Burn keeps one random generator per device for the whole process. Held from seeding it to the
/// last draw of an initialisation, so that trainers on other threads do not draw in between.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Trains a [`Task`] on a device.
///
/// The same task, settings, device, parameters and round give the same update to the bit.
pub struct BurnTrainer<T: Task> {
    task: T,
    training: Training,
    device: Device,
    layout: Layout,
    /// The initial model, in evaluation mode. Every other model is a copy of it with other values.
    initial: T::Model,
}

impl<T: Task> BurnTrainer<T> {
    /// Initialises the model on `device`, which is where training runs.
    ///
    /// # Errors
    ///
    /// A setting is out of its range, or the model has no parameters or too many.
    pub fn new(task: T, training: Training, device: Device) -> Result<Self, TrainError> {
        training.check()?;
        let initial = {
            let _drawing = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
            device.seed(training.seed);
            // Parameters are drawn when first read; `valid` reads them all.
            task.model(&device).valid()
        };
        let layout = Layout::of(&initial)?;
        Ok(Self {
            task,
            training,
            device,
            layout,
            initial,
        })
    }

    fn examples(&self, part: Part) -> Result<u32, TrainError> {
        let examples = self.task.examples(part).try_into();
        examples.map_err(|_| TrainError::TooManyExamples { part })
    }

    fn on_device(&self, positions: &[u32]) -> Tensor<1, Int> {
        let data = TensorData::new(positions.to_vec(), [positions.len()]);
        Tensor::from_data(data, &self.device)
    }

    fn test(&self, model: &T::Model) -> Result<Evaluation, TrainError> {
        let mut total = Evaluation::default();
        let positions: Vec<u32> = (0..self.examples(Part::Test)?).collect();
        for batch in positions.chunks(EVALUATION_BATCH) {
            let score = self.task.score(model, Part::Test, self.on_device(batch));
            let read = |source| TrainError::Device {
                tensor: "the evaluation".into(),
                source,
            };
            total += Evaluation {
                examples: batch.len() as u64,
                correct: score.correct.sum().try_into_scalar().map_err(read)?,
                loss_sum: score.loss.sum().try_into_scalar().map_err(read)?,
            };
        }
        Ok(total)
    }
}

impl<T: Task> LocalTrainer for BurnTrainer<T> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        self.layout.flatten(&self.initial)
    }

    fn train(
        &mut self,
        global: &[f32],
        round: u64,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        let Training {
            optimizer,
            learning_rate,
            batch_size,
            epochs,
            seed,
        } = self.training;
        let examples = self.examples(Part::Training)?;
        if examples == 0 {
            return Err(TrainError::NoExamples);
        }
        let mut order: Vec<u32> = (0..examples).collect();
        let model = self.layout.unflatten(&self.initial, global)?;
        let before = self.test(&model)?;

        let mut model = model.train();
        let mut optimizer = optimizer.init();
        let mut shuffle = shuffle(seed, round);
        let steps = order.len().div_ceil(batch_size).saturating_mul(epochs);
        let mut step = 0;
        for _ in 0..epochs {
            order.shuffle(&mut shuffle);
            for batch in order.chunks(batch_size) {
                let positions = self.on_device(batch);
                let loss = self.task.score(&model, Part::Training, positions).loss;
                let gradients = GradientsParams::from_grads(loss.mean().backward(), &model);
                model = optimizer.step(learning_rate, model, gradients);
                step += 1;
                if progress(Progress { step, steps }).is_break() {
                    return Err(TrainError::Stopped { step, steps });
                }
            }
        }

        let mut update = self.layout.flatten(&model)?;
        for (local, global) in update.iter_mut().zip(global) {
            *local -= global;
        }
        self.layout.check_finite(&update)?;
        Ok(LocalUpdate {
            update,
            examples,
            before,
        })
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Evaluation, TrainError> {
        self.test(&self.layout.unflatten(&self.initial, parameters)?)
    }
}

/// The generator of the order of examples in a round: both numbers are in the seed, so each round
/// has an order of its own.
fn shuffle(seed: u64, round: u64) -> ChaCha12Rng {
    let mut both = [0; 32];
    both[..8].copy_from_slice(&seed.to_le_bytes());
    both[8..16].copy_from_slice(&round.to_le_bytes());
    ChaCha12Rng::from_seed(both)
}
