//! What a model says of examples of which nobody needs to know what is so.

use burn::tensor::{Device, Tensor, TensorData};
use fl_datasets::Dataset;

use crate::burn_trainer::EVALUATION_BATCH;
use crate::{Compute, Layout, Predictor, TrainError, cpu, state};

/// Returns what `finish` makes of a model's outputs `[batch, outputs]` for each example,
/// `[examples, outputs]`, row-major.
pub(super) fn predicted<M: Predictor>(
    init: impl Fn(&Device) -> M + Send,
    finish: impl Fn(Tensor<2>) -> Tensor<2> + Send,
    data: &Dataset,
    parameters: &[f32],
    compute: &Compute,
) -> Result<Vec<f32>, TrainError> {
    compute.check_reach("model", parameters.len())?;
    if data.is_empty() {
        return Ok(Vec::new());
    }
    compute.run(|| {
        let device = compute.device();
        let model = init(&cpu()).valid();
        let layout = Layout::of(&model)?;
        let model = layout.unflatten(&model.to_device(device), parameters)?;
        let columns = data.schema().shape().size();
        let batches = data
            .features()
            .chunks(EVALUATION_BATCH * columns)
            .map(|batch| {
                let shape = [batch.len() / columns, columns];
                let features =
                    Tensor::<2>::from_data(TensorData::new(batch.to_vec(), shape), device);
                finish(model.outputs(features))
            });
        let all = Tensor::cat(batches.collect(), 0);
        state::read(all.flatten(0, 1))
    })
}
