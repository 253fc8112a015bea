//! Feature rows on the device, and what is asked of their schema.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fl_datasets::{Dataset, Schema};

use super::Part;
use crate::TrainError;

/// The features of a data set on the device, `[examples, features]`.
pub(super) struct Features(Tensor<2>);

impl Features {
    pub(super) fn new(data: &Dataset, device: &Device) -> Self {
        let shape = [data.len(), data.schema().shape().size()];
        let features = TensorData::new(data.features().to_vec(), shape);
        Self(Tensor::from_data(features, device))
    }

    /// Returns the number of examples.
    pub(super) fn examples(&self) -> usize {
        self.0.dims()[0]
    }

    /// Returns the rows at `positions`, as input of a model that is trained or tested.
    pub(super) fn rows(&self, part: Part, positions: Tensor<1, Int>) -> Tensor<2> {
        let rows = self.0.clone().select(0, positions);
        match part {
            // Layers such as batch normalisation read the mode off their input.
            Part::Training => rows.autodiff(),
            Part::Test => rows,
        }
    }
}

/// Fails if a set has examples of another shape or another target than the model. Names of columns
/// may differ: a file without a header has none.
pub(crate) fn check_schema(part: Part, found: &Schema, model: &Schema) -> Result<(), TrainError> {
    if found.shape() == model.shape() && found.target() == model.target() {
        return Ok(());
    }
    let text = |schema: &Schema| match schema.quantity() {
        None => format!(
            "{} and the classes {}",
            schema.shape(),
            schema.target_in_words()
        ),
        Some(_) => format!("{} and {}", schema.shape(), schema.target_in_words()),
    };
    Err(TrainError::OtherData {
        part,
        expected: text(model),
        found: text(found),
    })
}
