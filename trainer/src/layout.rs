//! The order of a model's tensors in its flat parameter vector.

pub use fl_protocol::manifest::TensorLayout;
use serde::{Deserialize, Serialize};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::{TrainError, state};

/// Names, shapes and order of all floating-point state of a model.
///
/// The flat vector of a model is its tensors one after the other in this order, each in row-major
/// order. The order is that of the fields in the module's declaration, depth first; see
/// [`Layout::of`]. Nodes can only be averaged when their layouts are equal.
///
/// Serialised as a list of `{ name, shape }`. Names are unique and not empty, and the values number
/// 1 to [`u32::MAX`]; a list that breaks this does not deserialise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<TensorLayout>", into = "Vec<TensorLayout>")]
pub struct Layout {
    tensors: Vec<TensorLayout>,
    /// Index in the flat vector that follows each tensor's last value.
    ends: Vec<usize>,
}

impl Layout {
    /// Returns the tensors in order.
    pub fn tensors(&self) -> &[TensorLayout] {
        &self.tensors
    }

    /// Returns the number of values in the flat vector, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a layout is never empty")]
    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The tensor that holds the value at `index` of the flat vector; `None` past its end.
    pub fn tensor_at(&self, index: usize) -> Option<&TensorLayout> {
        self.tensors
            .get(self.ends.partition_point(|&end| end <= index))
    }

    /// The tensors with their slices of a flat vector.
    ///
    /// # Errors
    ///
    /// The vector is longer or shorter than the layout, or holds a value that is not finite.
    pub fn split<'a>(
        &'a self,
        flat: &'a [f32],
    ) -> Result<impl Iterator<Item = (&'a TensorLayout, &'a [f32])>, TrainError> {
        self.check_values(flat)?;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        Ok(self
            .tensors
            .iter()
            .zip(starts.zip(&self.ends))
            .map(move |(tensor, (start, &end))| (tensor, &flat[start..end])))
    }

    /// Fails if a flat vector is longer or shorter than the layout, or holds a value that is not
    /// finite.
    pub(crate) fn check_values(&self, flat: &[f32]) -> Result<(), TrainError> {
        if flat.len() != self.len() {
            return Err(TrainError::Length {
                expected: self.len(),
                found: flat.len(),
            });
        }
        self.check_finite(flat)
    }

    /// Fails on the first value that is not finite and names its tensor.
    pub(crate) fn check_finite(&self, flat: &[f32]) -> Result<(), TrainError> {
        let Some(index) = flat.iter().position(|value| !value.is_finite()) else {
            return Ok(());
        };
        let tensor = self
            .tensor_at(index)
            .map(|tensor| tensor.name.clone())
            .unwrap_or_default();
        Err(TrainError::NotFinite {
            tensor,
            value: flat[index],
        })
    }

    /// The layout of a module: its float tensors in the order in which the fields are declared,
    /// depth first.
    ///
    /// A tensor's name is the path of field names to it, with the index for an element of a `Vec`
    /// or an array and the variant for an enum, joined by dots. Shapes are those that Burn holds
    /// in memory; the weight of a `Linear` is `[inputs, outputs]`.
    ///
    /// # Errors
    ///
    /// The module has no parameters, or too many ([`Layout`]).
    pub fn of<M: Module>(module: &M) -> Result<Self, TrainError> {
        state::survey(module).try_into()
    }

    /// The state of a module as one flat vector.
    ///
    /// # Errors
    ///
    /// The module has another layout, or the device fails.
    pub fn flatten<M: Module>(&self, module: &M) -> Result<Vec<f32>, TrainError> {
        state::read(self.join(module)?)
    }

    /// The state of a module as one flat vector on its device.
    ///
    /// # Errors
    ///
    /// The module has another layout.
    pub(crate) fn join<M: Module>(&self, module: &M) -> Result<Tensor<1>, TrainError> {
        self.check(module)?;
        Ok(state::join(module))
    }

    /// A copy of `module`, in evaluation mode, whose state is the flat vector.
    ///
    /// # Errors
    ///
    /// The module has another layout, or the vector has another length or holds a value that is
    /// not finite.
    pub fn unflatten<M: Module>(&self, module: &M, flat: &[f32]) -> Result<M, TrainError> {
        let device = module.devices().into_iter().next().unwrap_or_default();
        self.part(module, &self.upload(flat, &device)?)
    }

    /// A flat vector on `device`.
    ///
    /// # Errors
    ///
    /// The vector has another length or holds a value that is not finite.
    pub(crate) fn upload(&self, flat: &[f32], device: &Device) -> Result<Tensor<1>, TrainError> {
        self.check_values(flat)?;
        let data = TensorData::new(flat.to_vec(), [flat.len()]);
        Ok(Tensor::from_data(data, device))
    }

    /// A copy of `module`, in evaluation mode, whose state is a flat vector that was uploaded.
    ///
    /// # Errors
    ///
    /// The module has another layout.
    pub(crate) fn part<M: Module>(&self, module: &M, flat: &Tensor<1>) -> Result<M, TrainError> {
        self.check(module)?;
        Ok(state::part(module, flat))
    }

    fn check<M: Module>(&self, module: &M) -> Result<(), TrainError> {
        match *self == Self::of(module)? {
            true => Ok(()),
            false => Err(TrainError::OtherLayout),
        }
    }
}

impl TryFrom<Vec<TensorLayout>> for Layout {
    type Error = TrainError;

    fn try_from(tensors: Vec<TensorLayout>) -> Result<Self, TrainError> {
        let mut names = std::collections::HashSet::with_capacity(tensors.len());
        let mut ends = Vec::with_capacity(tensors.len());
        let mut end = 0_usize;
        for tensor in &tensors {
            if tensor.name.is_empty() || !names.insert(tensor.name.as_str()) {
                return Err(TrainError::TensorName {
                    name: tensor.name.clone(),
                });
            }
            end = tensor
                .shape
                .iter()
                .try_fold(1_usize, |len, &size| len.checked_mul(size))
                .and_then(|len| end.checked_add(len))
                .filter(|&end| u32::try_from(end).is_ok())
                .ok_or(TrainError::TooManyParameters)?;
            ends.push(end);
        }
        if end == 0 {
            return Err(TrainError::NoParameters);
        }
        Ok(Self { tensors, ends })
    }
}

impl From<Layout> for Vec<TensorLayout> {
    fn from(layout: Layout) -> Self {
        layout.tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize]) -> TensorLayout {
        TensorLayout {
            name: name.into(),
            shape: shape.into(),
        }
    }

    fn layout() -> Layout {
        vec![
            tensor("weight", &[2, 3]),
            tensor("none", &[0, 4]),
            tensor("scale", &[]),
            tensor("bias", &[2]),
        ]
        .try_into()
        .unwrap()
    }

    #[test]
    fn an_index_belongs_to_the_tensor_that_holds_it() {
        let layout = layout();
        let names: Vec<_> = (0..=layout.len())
            .map(|i| layout.tensor_at(i).map(|t| t.name.as_str()))
            .collect();
        assert_eq!(names[..6], [Some("weight"); 6]);
        assert_eq!(
            names[6..],
            [Some("scale"), Some("bias"), Some("bias"), None]
        );
    }

    #[test]
    fn splits_in_order() {
        let flat: Vec<f32> = (0..9_u8).map(f32::from).collect();
        let layout = layout();
        let lens: Vec<_> = layout
            .split(&flat)
            .unwrap()
            .map(|(tensor, values)| (tensor.name.as_str(), values.to_vec()))
            .collect();
        assert_eq!(lens[0], ("weight", vec![0., 1., 2., 3., 4., 5.]));
        assert_eq!(lens[1], ("none", vec![]));
        assert_eq!(lens[2], ("scale", vec![6.]));
        assert_eq!(lens[3], ("bias", vec![7., 8.]));
    }

    #[test]
    fn refuses_a_wrong_length_and_names_the_tensor_that_is_not_finite() {
        let layout = layout();
        assert!(matches!(
            layout.split(&[0.0; 8]).err(),
            Some(TrainError::Length {
                expected: 9,
                found: 8
            })
        ));
        let mut flat = [0.0; 9];
        flat[7] = f32::NAN;
        assert!(
            matches!(layout.split(&flat).err(), Some(TrainError::NotFinite { tensor, .. }) if tensor == "bias")
        );
    }

    #[test]
    fn refuses_lists_that_are_no_layout() {
        let parse = |tensors: Vec<TensorLayout>| Layout::try_from(tensors).unwrap_err();
        assert!(matches!(parse(vec![]), TrainError::NoParameters));
        assert!(matches!(
            parse(vec![tensor("a", &[0])]),
            TrainError::NoParameters
        ));
        assert!(matches!(
            parse(vec![tensor("a", &[1]), tensor("a", &[1])]),
            TrainError::TensorName { .. }
        ));
        assert!(matches!(
            parse(vec![tensor("", &[1])]),
            TrainError::TensorName { .. }
        ));
        assert!(matches!(
            parse(vec![tensor("a", &[usize::MAX, 2])]),
            TrainError::TooManyParameters
        ));
        assert!(matches!(
            parse(vec![tensor("a", &[1 << 16, 1 << 16])]),
            TrainError::TooManyParameters
        ));
    }

    #[test]
    fn serialises_as_a_list_and_parses_back() {
        let json = serde_json::to_string(&layout()).unwrap();
        assert!(
            json.starts_with(r#"[{"name":"weight","shape":[2,3]},"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Layout>(&json).unwrap(), layout());
        assert!(serde_json::from_str::<Layout>("[]").is_err());
    }
}
