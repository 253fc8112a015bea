//! Examples in memory.

use std::fmt;

use crate::{Error, Schema};

/// Examples of one [`Schema`], all with a label or none.
///
/// Features are `f32`, row-major: example `i` is the `schema.shape().size()` numbers from
/// `i * size`. All are finite, but for what the schema lets be missing, which is NaN. Labels are
/// indexes into the schema's classes. Printing with `Debug` shows the schema and the count, never
/// the data.
#[derive(Clone, PartialEq)]
pub struct Dataset {
    schema: Schema,
    features: Vec<f32>,
    labels: Vec<u32>,
}

impl Dataset {
    /// Examples with the given `features`, `[labels.len(), schema.shape().size()]`, and `labels`.
    ///
    /// # Errors
    ///
    /// [`Error::FeatureCount`] if the two do not fit each other, [`Error::Feature`] if a feature is
    /// not finite, [`Error::Label`] if a label is not an index into the schema's classes.
    pub fn new(schema: Schema, features: Vec<f32>, labels: Vec<u32>) -> Result<Self, Error> {
        let shape = schema.shape();
        if labels.len().checked_mul(shape.size()) != Some(features.len()) {
            let (features, labels) = (features.len(), labels.len());
            return Err(Error::FeatureCount {
                features,
                labels,
                shape,
            });
        }
        Self::of(schema, features, labels)
    }

    /// Returns examples without labels, for a model to say what they are. `features` is `[examples,
    /// schema.shape().size()]`.
    ///
    /// # Errors
    ///
    /// [`Error::FeatureCount`] if that is no whole number of examples, [`Error::Feature`] if a
    /// feature is not finite.
    pub fn unlabelled(schema: Schema, features: Vec<f32>) -> Result<Self, Error> {
        let shape = schema.shape();
        if !features.len().is_multiple_of(shape.size()) {
            return Err(Error::FeatureCount {
                features: features.len(),
                labels: features.len() / shape.size(),
                shape,
            });
        }
        Self::of(schema, features, Vec::new())
    }

    /// Checks values and labels, of which there are as many as examples, or none.
    fn of(schema: Schema, features: Vec<f32>, labels: Vec<u32>) -> Result<Self, Error> {
        let shape = schema.shape();
        let has_gaps: Vec<bool> = schema.measured().map(|feature| feature.has_gaps).collect();
        let mut values = features.iter().zip(has_gaps.iter().cycle());
        let is_fault =
            |(value, has_gaps): (&f32, &bool)| !(value.is_finite() || value.is_nan() && *has_gaps);
        let fault = match has_gaps.is_empty() {
            true => features.iter().position(|value| !value.is_finite()),
            false => values.position(is_fault),
        };
        if let Some(at) = fault {
            let (example, feature) = (at / shape.size(), at % shape.size());
            return Err(Error::Feature {
                example,
                feature,
                value: features[at],
            });
        }
        let classes = schema.classes().len();
        if let Some(example) = labels.iter().position(|&label| label as usize >= classes) {
            return Err(Error::Label {
                example,
                label: labels[example],
                classes,
            });
        }
        Ok(Self {
            schema,
            features,
            labels,
        })
    }

    /// Returns what an example is and which classes there are.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns all features, `[len, schema.shape().size()]`, row-major.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// Returns the label of each example, an index into the schema's classes; nothing if they have
    /// none.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Returns the number of examples.
    pub fn len(&self) -> usize {
        self.features.len() / self.schema.shape().size()
    }

    /// Returns whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// The features of example `i`, `[schema.shape().size()]`.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`len`](Self::len), as slices do.
    pub fn row(&self, i: usize) -> &[f32] {
        let size = self.schema.shape().size();
        &self.features[i * size..(i + 1) * size]
    }

    /// The examples at `indexes`, in that order; an index may come twice.
    ///
    /// # Panics
    ///
    /// If an index is not below [`len`](Self::len), as slices do.
    #[must_use]
    pub fn select(&self, indexes: &[usize]) -> Self {
        let mut features = Vec::with_capacity(indexes.len() * self.schema.shape().size());
        for &i in indexes {
            features.extend_from_slice(self.row(i));
        }
        let labels = match self.labels.is_empty() {
            true => Vec::new(),
            false => indexes.iter().map(|&i| self.labels[i]).collect(),
        };
        Self {
            schema: self.schema.clone(),
            features,
            labels,
        }
    }

    /// Takes the parts out: schema, features, labels.
    pub(crate) fn into_parts(self) -> (Schema, Vec<f32>, Vec<u32>) {
        (self.schema, self.features, self.labels)
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("schema", &self.schema)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    fn schema() -> Schema {
        let classes = vec!["no".to_owned(), "yes".to_owned()];
        Schema::new(Shape::Table { columns: 2 }, vec![], classes).unwrap()
    }

    #[test]
    fn rows_and_selections_follow_the_row_major_order() {
        let data =
            Dataset::new(schema(), vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], vec![0, 1, 0]).unwrap();
        assert_eq!(data.len(), 3);
        assert_eq!(data.row(1), [2.0, 3.0]);
        let picked = data.select(&[2, 1, 2]);
        assert_eq!(picked.features(), [4.0, 5.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(picked.labels(), [0, 1, 0]);
        assert!(data.select(&[]).is_empty());
    }

    #[test]
    fn examples_may_be_without_labels() {
        let data = Dataset::unlabelled(schema(), vec![0.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((data.len(), data.labels()), (2, &[][..]));
        assert_eq!(
            data.select(&[1, 0, 1]).features(),
            [2.0, 3.0, 0.0, 1.0, 2.0, 3.0]
        );
        assert!(Dataset::unlabelled(schema(), vec![0.0; 3]).is_err());
    }

    #[test]
    fn rejects_what_does_not_fit_the_schema() {
        assert!(matches!(
            Dataset::new(schema(), vec![0.0; 3], vec![0, 1]),
            Err(Error::FeatureCount {
                features: 3,
                labels: 2,
                ..
            })
        ));
        assert!(matches!(
            Dataset::new(schema(), vec![0.0, 0.0, 0.0, f32::NAN], vec![0, 1]),
            Err(Error::Feature {
                example: 1,
                feature: 1,
                ..
            })
        ));
        assert!(matches!(
            Dataset::new(schema(), vec![0.0; 4], vec![0, 2]),
            Err(Error::Label {
                example: 1,
                label: 2,
                classes: 2
            })
        ));
    }

    #[test]
    fn debug_does_not_print_the_data() {
        let data = Dataset::new(schema(), vec![1234.5, 6789.0], vec![1]).unwrap();
        let text = format!("{data:?}");
        assert!(text.contains("len: 1"), "{text}");
        assert!(!text.contains("1234") && !text.contains("6789"), "{text}");
    }
}
