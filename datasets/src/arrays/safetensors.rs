//! A safetensors file of features and labels.
//!
//! | tensor | dimensions | type |
//! | --- | --- | --- |
//! | `features` | N×C×H×W or N×H×W pixels, or N×columns | integers or floats |
//! | `labels` | N | integers |
//! | `test_features`, `test_labels` | of as many examples as are for testing | the same |
//!
//! In Python, `safetensors.numpy.save_file({"features": x, "labels": y}, "data.safetensors")`.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::{Array, ArrayError, CHANNELS, Channels, Element, Order, records};
use crate::error::{excerpt, list};
use crate::file::DataFile;
use crate::records::Records;
use crate::{Error, Loaded, Schema, Shape, parts};

/// Bytes of the longest header that is read. Four tensors need a few hundred.
const MAX_HEADER: usize = 1 << 20;

const NAMES: [&str; 4] = ["features", "labels", "test_features", "test_labels"];

/// Loads the file, against `schema` or the one that fits its own data.
pub(crate) fn load(path: &Path, schema: Option<&Schema>) -> Result<Loaded, Error> {
    let bytes = DataFile::open(path)?.read(u64::MAX)?;
    let (train, test) = read(path, &bytes)?;
    // The tensors are copied by now.
    drop(bytes);
    parts::loaded(train, test, schema)
}

/// The examples for training and those for testing.
fn read(path: &Path, bytes: &[u8]) -> Result<(Records, Option<Records>), Error> {
    let file = Tensors::parse(path, bytes)?;
    file.check_names()?;
    let train = file.part("features", "labels")?;
    let has = |name| file.metadata.info(name).is_some();
    let test = match has("test_features") || has("test_labels") {
        true => Some(file.part("test_features", "test_labels")?),
        false => None,
    };
    Ok((train, test))
}

/// The tensors of a file, by their names.
struct Tensors<'a> {
    path: &'a Path,
    metadata: Metadata,
    data: &'a [u8],
}

impl<'a> Tensors<'a> {
    fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let damaged = |said: String| ArrayError::Safetensors {
            path: path.into(),
            said,
        };
        let (length, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| damaged("it is shorter than 8 bytes".to_owned()))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_HEADER {
            let said = format!("its header would be {length} bytes, more than {MAX_HEADER}");
            return Err(damaged(said).into());
        }
        let (header, data) = rest
            .split_at_checked(length)
            .ok_or_else(|| damaged("it ends inside its header".to_owned()))?;
        // Tensors follow each other without gaps, each as long as its dimensions say.
        let metadata: Metadata =
            serde_json::from_slice(header).map_err(|error| damaged(excerpt(&error.to_string())))?;
        if metadata.data_len() != data.len() {
            return Err(ArrayError::Length {
                path: path.into(),
                expected: metadata.data_len(),
                found: data.len(),
            }
            .into());
        }
        Ok(Self {
            path,
            metadata,
            data,
        })
    }

    fn check_names(&self) -> Result<(), Error> {
        let names = self.metadata.offset_keys();
        let unknown = names.iter().filter(|name| !NAMES.contains(&name.as_str()));
        let unknown: Vec<_> = unknown.collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(ArrayError::Unknown {
                path: self.path.into(),
                names: list(unknown),
            }
            .into()),
        }
    }

    fn part(&self, features: &'static str, labels: &'static str) -> Result<Records, Error> {
        let (features_name, features) = (features, self.array(features)?);
        let (labels_name, labels) = (labels, self.array(labels)?);
        if labels.dimensions.len() != 1 {
            return Err(self.dimensions(labels_name, &labels, "one, the number of examples"));
        }
        if features.count() != labels.count() {
            return Err(ArrayError::Counts {
                path: self.path.into(),
                tensor: features_name,
                features: features.count(),
                labels: labels.count(),
            }
            .into());
        }
        let labels = labels.labels(self.path)?;
        let (shape, features) = self.features(features_name, &features)?;
        records(self.path, shape, features, &labels)
    }

    fn features(&self, name: &'static str, array: &Array<'_>) -> Result<(Shape, Vec<f32>), Error> {
        let (channels, height, width) = match *array.dimensions {
            [_, columns] => return self.columns(name, array, columns),
            [_, height, width] => (1, height, width),
            [_, channels, _, last] if CHANNELS.contains(&last) && !CHANNELS.contains(&channels) => {
                return Err(ArrayError::ChannelsLast {
                    path: self.path.into(),
                    tensor: name,
                    dimensions: array.dimensions_in_words(),
                }
                .into());
            }
            [_, channels, height, width] => (channels, height, width),
            _ => {
                let wanted = "examples×channels×height×width, examples×height×width or \
                              examples×columns";
                return Err(self.dimensions(name, array, wanted));
            }
        };
        let shape = Shape::Image {
            channels,
            height,
            width,
        };
        let pixels = array.pixels(self.path, shape, Channels::First)?;
        Ok((shape, pixels))
    }

    /// Measurements stay as they are.
    fn columns(
        &self,
        name: &'static str,
        array: &Array<'_>,
        columns: usize,
    ) -> Result<(Shape, Vec<f32>), Error> {
        let floats = array.floats(|number| number);
        match floats.iter().position(|float| !float.is_finite()) {
            None => Ok((Shape::Table { columns }, floats)),
            Some(at) => Err(ArrayError::NotFinite {
                path: self.path.into(),
                tensor: name,
                row: at / columns + 1,
                feature: at % columns + 1,
            }
            .into()),
        }
    }

    fn array(&self, name: &'static str) -> Result<Array<'a>, Error> {
        let info = self
            .metadata
            .info(name)
            .ok_or_else(|| ArrayError::Missing {
                path: self.path.into(),
                tensor: name,
                found: list(self.metadata.offset_keys()),
            })?;
        let element = element(info.dtype).ok_or_else(|| ArrayError::Type {
            path: self.path.into(),
            tensor: name,
            found: format!("{:?}", info.dtype),
        })?;
        let (start, end) = info.data_offsets;
        let data = self
            .data
            .get(start..end)
            .ok_or_else(|| ArrayError::Length {
                path: self.path.into(),
                expected: end,
                found: self.data.len(),
            })?;
        Ok(Array {
            element,
            order: Order::Little,
            dimensions: info.shape.clone(),
            data,
        })
    }

    fn dimensions(&self, tensor: &'static str, array: &Array<'_>, wanted: &'static str) -> Error {
        ArrayError::Dimensions {
            path: self.path.into(),
            tensor,
            found: array.dimensions_in_words(),
            wanted,
        }
        .into()
    }
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::U8 => Element::U8,
        Dtype::I8 => Element::I8,
        Dtype::U16 => Element::U16,
        Dtype::I16 => Element::I16,
        Dtype::U32 => Element::U32,
        Dtype::I32 => Element::I32,
        Dtype::U64 => Element::U64,
        Dtype::I64 => Element::I64,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
