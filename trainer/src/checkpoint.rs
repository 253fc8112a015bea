//! A model on disk, in the safetensors format (<https://huggingface.co/docs/safetensors>).
//!
//! The file holds one F32 tensor per entry of the [`Layout`], under the layout's name, so PyTorch
//! reads it with `safetensors.torch.load_file`. Shapes are Burn's: the weight of a linear layer is
//! `[inputs, outputs]`, the transpose of PyTorch's. The format sorts tensors by name, so the
//! metadata entry `checkpoint` keeps the order, as JSON:
//!
//! ```json
//! {"round": 10, "model": {"kind": "mlp", "schema": {}}, "layout": [{"name": "a", "shape": [2]}]}
//! ```
//!
//! Equal checkpoints are equal files, to the byte.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use fl_network::files::{read_limited, write_public};
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::{Layout, ModelSpec, TensorLayout, TrainError};

/// The metadata entry of ours.
const ENTRY: &str = "checkpoint";

/// The largest file that is read: [`u32::MAX`] parameters of four bytes, and 16 MiB of header.
const MOST_BYTES: usize = 4 * u32::MAX as usize + (16 << 20);

/// A global model after some round.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Rounds that were averaged into the parameters; 0 for the initial model.
    pub round: u64,
    /// The model, if it is a built-in one.
    pub model: Option<ModelSpec>,
    /// Names, shapes and order of the tensors.
    pub layout: Layout,
    /// The flat vector, of the layout's length and finite.
    pub parameters: Vec<f32>,
}

/// One tensor for the serialiser.
struct Values<'a> {
    layout: &'a TensorLayout,
    values: &'a [f32],
}

impl View for Values<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// What the metadata says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    round: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelSpec>,
    layout: Layout,
}

impl Checkpoint {
    /// Writes the checkpoint to `path` by way of a temporary file beside it, so that a reader
    /// finds the old file or the new one, whole, and a crash leaves the old one.
    ///
    /// # Errors
    ///
    /// The parameters do not fit the layout or are not finite, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TrainError> {
        let bytes = self.to_bytes(path)?;
        Ok(write_public(path, &bytes)?)
    }

    /// Reads a checkpoint that [`write`](Self::write) made.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is larger than the largest model, or is damaged: no metadata of
    /// ours, a tensor that is missing, too many, not F32 or of another shape than the metadata
    /// says, or a value that is not finite.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        Self::from_bytes(path, &read_limited(path, MOST_BYTES)?)
    }

    fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, TrainError> {
        let metadata = Metadata {
            round: self.round,
            model: self.model.clone(),
            layout: self.layout.clone(),
        };
        let metadata = serde_json::to_string(&metadata).map_err(|e| damaged(path, e))?;
        let metadata = HashMap::from([(ENTRY.to_owned(), metadata)]);
        let tensors = self.layout.split(&self.parameters)?;
        let tensors = tensors.map(|(layout, values)| (&layout.name, Values { layout, values }));
        safetensors::serialize(tensors, Some(metadata)).map_err(|e| damaged(path, e))
    }

    fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, TrainError> {
        let (header, index) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(path, e))?;
        let metadata = index
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(ENTRY));
        let metadata = metadata.ok_or_else(|| {
            damaged(
                path,
                format!("it has no metadata entry {ENTRY:?}; use a file of this program"),
            )
        })?;
        let Metadata {
            round,
            model,
            layout,
        } = serde_json::from_str(metadata).map_err(|e| damaged(path, e))?;
        let tensors = index.tensors();
        if tensors.len() != layout.tensors().len() {
            let (found, expected) = (tensors.len(), layout.tensors().len());
            return Err(damaged(
                path,
                format!("it has {found} tensors, not {expected}"),
            ));
        }
        let mut parameters = Vec::with_capacity(bytes.len() / size_of::<f32>());
        for tensor in layout.tensors() {
            let name = &tensor.name;
            let info = tensors
                .get(name)
                .ok_or_else(|| damaged(path, format!("tensor {name} is missing")))?;
            if info.dtype != Dtype::F32 || info.shape != tensor.shape {
                let (dtype, found, expected) = (info.dtype, &info.shape, &tensor.shape);
                let reason = format!("tensor {name} is {dtype} {found:?}, not F32 {expected:?}");
                return Err(damaged(path, reason));
            }
            let (start, end) = info.data_offsets;
            let values = bytes
                .get(8 + header..)
                .and_then(|data| data.get(start..end));
            let values =
                values.ok_or_else(|| damaged(path, format!("tensor {name} is cut off")))?;
            let (values, _) = values.as_chunks();
            parameters.extend(values.iter().map(|&value| f32::from_le_bytes(value)));
        }
        layout.check_finite(&parameters)?;
        if model
            .as_ref()
            .is_some_and(|model| model.layout().ok().as_ref() != Some(&layout))
        {
            let reason =
                "it has other tensors than its model; is it of another version of this program?";
            return Err(damaged(path, reason));
        }
        Ok(Self {
            round,
            model,
            layout,
            parameters,
        })
    }
}

fn damaged(path: &Path, reason: impl ToString) -> TrainError {
    TrainError::Checkpoint {
        path: path.into(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let tensor = |name: &str, shape: &[usize]| TensorLayout {
            name: name.into(),
            shape: shape.into(),
        };
        // Not the order of the names, which is the order of the file.
        let tensors = vec![
            tensor("weight", &[2, 3]),
            tensor("bias", &[3]),
            tensor("scale", &[]),
        ];
        Checkpoint {
            round: 7,
            model: None,
            layout: tensors.try_into().unwrap(),
            parameters: (0..10_u8).map(|i| f32::from(i) / 3.0).collect(),
        }
    }

    fn bytes() -> Vec<u8> {
        checkpoint().to_bytes(Path::new("model")).unwrap()
    }

    fn reason(bytes: &[u8]) -> String {
        match Checkpoint::from_bytes(Path::new("model"), bytes) {
            Err(TrainError::Checkpoint { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Edits the header, keeping its length.
    fn edited(from: &str, to: &str) -> Vec<u8> {
        let mut bytes = bytes();
        let at = bytes
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        bytes
    }

    #[test]
    fn reads_what_was_written_and_leaves_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("global.safetensors");
        for round in 0..2 {
            let written = Checkpoint {
                round,
                ..checkpoint()
            };
            written.write(&path).unwrap();
            assert_eq!(Checkpoint::read(&path).unwrap(), written);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn equal_checkpoints_are_equal_files() {
        assert_eq!(bytes(), bytes());
    }

    #[test]
    fn the_file_holds_each_tensor_under_its_name() {
        let bytes = bytes();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let bias = file.tensor("bias").unwrap();
        assert_eq!((bias.dtype(), bias.shape()), (Dtype::F32, &[3][..]));
        let expected: Vec<u8> = checkpoint().parameters[6..9]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert_eq!(bias.data(), expected);
    }

    #[test]
    fn refuses_a_damaged_header_and_says_what_is_wrong() {
        assert!(reason(&edited("checkpoint", "checkpoinx")).contains("metadata entry"));
        assert!(reason(&edited(r#""F32""#, r#""I32""#)).contains("is I32"));
        assert!(reason(&edited(r#""bias":{"#, r#""bios":{"#)).contains("tensor bias is missing"));
        assert!(reason(&edited(r#""shape":[2,3]"#, r#""shape":[3,2]"#)).contains("not F32"));
        assert!(reason(&edited("round", "rouns")).contains("unknown field"));
    }

    #[test]
    fn refuses_a_value_that_is_not_finite_and_names_its_tensor() {
        let mut bytes = bytes();
        let last = bytes.len() - 4; // in "weight", the last tensor by name
        bytes[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        assert!(matches!(
            Checkpoint::from_bytes(Path::new("model"), &bytes),
            Err(TrainError::NotFinite { tensor, .. }) if tensor == "weight"
        ));
    }

    #[test]
    fn refuses_every_truncation_and_what_is_no_checkpoint() {
        let bytes = bytes();
        for end in 0..bytes.len() {
            assert!(
                Checkpoint::from_bytes(Path::new("model"), &bytes[..end]).is_err(),
                "{end}"
            );
        }
        assert!(Checkpoint::from_bytes(Path::new("model"), &[0xff; 64]).is_err());
        assert!(Checkpoint::from_bytes(Path::new("model"), b"").is_err());
    }

    #[test]
    fn no_perturbed_byte_panics() {
        let bytes = bytes();
        for at in 0..bytes.len() {
            let mut perturbed = bytes.clone();
            perturbed[at] ^= 0x15;
            let _ = Checkpoint::from_bytes(Path::new("model"), &perturbed);
        }
    }

    #[test]
    fn does_not_write_parameters_that_do_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("global.safetensors");
        let short = Checkpoint {
            parameters: vec![0.0; 9],
            ..checkpoint()
        };
        assert!(matches!(short.write(&path), Err(TrainError::Length { .. })));
        assert!(!path.exists());
        assert!(matches!(Checkpoint::read(&path), Err(TrainError::File(_))));
    }
}
