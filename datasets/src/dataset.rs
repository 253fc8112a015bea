//! Examples in memory.

use std::fmt;

use crate::units::Units;
use crate::{Error, Schema, Target};

/// Examples of one [`Schema`], all with a label or none.
///
/// Features are `f32`, row-major: example `i` is the `schema.shape().size()` numbers from
/// `i * size`. All are finite, but for what the schema lets be missing, which is NaN. Labels are
/// indexes into the schema's classes, or values of its quantity. Printing with `Debug` shows the
/// schema and the count, never the data.
#[derive(Clone, PartialEq)]
pub struct Dataset {
    schema: Schema,
    features: Vec<f32>,
    labels: Labels,
    /// Which rows belong together, if the schema says so.
    groups: Option<Vec<u32>>,
}

/// What is known of examples.
#[derive(Clone, PartialEq)]
pub(crate) enum Labels {
    /// Nothing.
    None,
    /// Their classes.
    Classes(Vec<u32>),
    /// A quantity of each.
    Quantities(Vec<f32>),
}

impl Labels {
    /// Returns how many there are, if they are known.
    fn len(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Classes(labels) => Some(labels.len()),
            Self::Quantities(values) => Some(values.len()),
        }
    }

    fn select(&self, indexes: &[usize]) -> Self {
        match self {
            Self::None => Self::None,
            Self::Classes(labels) => Self::Classes(indexes.iter().map(|&i| labels[i]).collect()),
            Self::Quantities(values) => {
                Self::Quantities(indexes.iter().map(|&i| values[i]).collect())
            }
        }
    }
}

impl Dataset {
    /// Examples with the given `features`, `[labels.len(), schema.shape().size()]`, and `labels`.
    ///
    /// # Errors
    ///
    /// [`Error::FeatureCount`] if the two do not fit each other, [`Error::Feature`] if a feature is
    /// not finite, [`Error::Label`] if a label is not an index into the schema's classes.
    pub fn new(schema: Schema, features: Vec<f32>, labels: Vec<u32>) -> Result<Self, Error> {
        Self::of(schema, features, Labels::Classes(labels))
    }

    /// Returns examples of a quantity: `features` is `[quantities.len(), schema.shape().size()]`.
    ///
    /// # Errors
    ///
    /// [`Error::FeatureCount`] if the two do not fit each other, [`Error::Feature`] if a feature is
    /// not finite, [`Error::QuantityValue`] if a value is not, [`Error::OtherTarget`] if the schema
    /// has classes.
    pub fn of_quantity(
        schema: Schema,
        features: Vec<f32>,
        quantities: Vec<f32>,
    ) -> Result<Self, Error> {
        Self::of(schema, features, Labels::Quantities(quantities))
    }

    /// Returns examples without labels, for a model to say what they are. `features` is `[examples,
    /// schema.shape().size()]`.
    ///
    /// # Errors
    ///
    /// [`Error::FeatureCount`] if that is no whole number of examples, [`Error::Feature`] if a
    /// feature is not finite.
    pub fn unlabelled(schema: Schema, features: Vec<f32>) -> Result<Self, Error> {
        Self::of(schema, features, Labels::None)
    }

    /// Checks values and labels, of which there are as many as examples, or none.
    pub(crate) fn of(schema: Schema, features: Vec<f32>, labels: Labels) -> Result<Self, Error> {
        let shape = schema.shape();
        let examples = labels.len().unwrap_or(features.len() / shape.size());
        if examples.checked_mul(shape.size()) != Some(features.len()) {
            return Err(Error::FeatureCount {
                features: features.len(),
                labels: examples,
                shape,
            });
        }
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
        check_labels(&schema, &labels)?;
        Ok(Self {
            schema,
            features,
            labels,
            groups: None,
        })
    }

    /// Returns the same examples, of which those with the same number belong together: they are
    /// never divided between training and test data, or between nodes.
    ///
    /// # Errors
    ///
    /// [`Error::GroupCount`] if there are not as many numbers as examples.
    pub fn grouped(self, groups: Vec<u32>) -> Result<Self, Error> {
        match groups.len() == self.len() {
            true => Ok(Self {
                groups: Some(groups),
                ..self
            }),
            false => Err(Error::GroupCount {
                groups: groups.len(),
                examples: self.len(),
            }),
        }
    }

    /// Returns for each example the number of its group, if there are groups.
    pub fn groups(&self) -> Option<&[u32]> {
        self.groups.as_deref()
    }

    /// Returns what is never divided.
    pub(crate) fn units(&self) -> Units {
        Units::of(self.strata(), self.groups())
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
    /// none, or are of a quantity.
    pub fn labels(&self) -> &[u32] {
        match &self.labels {
            Labels::Classes(labels) => labels,
            Labels::None | Labels::Quantities(_) => &[],
        }
    }

    /// Returns the quantity of each example, in its unit; nothing if they have none, or have
    /// classes.
    pub fn quantities(&self) -> &[f32] {
        match &self.labels {
            Labels::Quantities(values) => values,
            Labels::None | Labels::Classes(_) => &[],
        }
    }

    /// Returns for each example what it has in common with those like it: its label, or in which
    /// tenth of the examples its quantity is. Parts of a data set should have all of them alike.
    pub fn strata(&self) -> Vec<u32> {
        match &self.labels {
            Labels::None => vec![0; self.len()],
            Labels::Classes(labels) => labels.clone(),
            Labels::Quantities(values) => tenths(values),
        }
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
        Self {
            schema: self.schema.clone(),
            features,
            labels: self.labels.select(indexes),
            groups: self
                .groups
                .as_ref()
                .map(|groups| indexes.iter().map(|&i| groups[i]).collect()),
        }
    }

    /// Changes the features. What becomes of them is checked.
    ///
    /// # Errors
    ///
    /// [`Error::Feature`] if one is not finite any more.
    pub(crate) fn change(self, change: impl FnOnce(&mut [f32])) -> Result<Self, Error> {
        let Self {
            schema,
            mut features,
            labels,
            groups,
        } = self;
        change(&mut features);
        Ok(Self {
            groups,
            ..Self::of(schema, features, labels)?
        })
    }
}

/// Checks that labels are those of a schema.
fn check_labels(schema: &Schema, labels: &Labels) -> Result<(), Error> {
    match (labels, schema.target()) {
        (Labels::None, _) => Ok(()),
        (Labels::Classes(labels), Target::Classes(classes)) => {
            let classes = classes.len();
            match labels.iter().position(|&label| label as usize >= classes) {
                None => Ok(()),
                Some(example) => Err(Error::Label {
                    example,
                    label: labels[example],
                    classes,
                }),
            }
        }
        (Labels::Quantities(values), Target::Quantity(_)) => {
            match values.iter().position(|value| !value.is_finite()) {
                None => Ok(()),
                Some(example) => Err(Error::QuantityValue {
                    example,
                    value: values[example],
                }),
            }
        }
        _ => Err(Error::OtherTarget),
    }
}

/// Returns in which tenth of the values each one is, from 0 to 9. Equal ones may be in two.
fn tenths(values: &[f32]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut tenths = vec![0; values.len()];
    for (rank, place) in order.into_iter().enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "below ten")]
        let tenth = (rank * 10 / values.len()) as u32;
        tenths[place] = tenth;
    }
    tenths
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
    fn a_quantity_is_a_number_of_each_example() {
        let columns = vec![crate::Column::number("age".to_owned())];
        let target = Target::Quantity(crate::Quantity::default());
        let schema = Schema::table(columns, Some("stay".to_owned()), target).unwrap();
        let of = |values: &[f32]| {
            let features = vec![0.5; 20];
            Dataset::of_quantity(schema.clone(), features, values.to_vec())
        };
        let values: Vec<_> = (0..20).map(|day| 20.0 - day as f32).collect();
        let data = of(&values).unwrap();
        assert_eq!((data.quantities(), data.labels()), (&values[..], &[][..]));
        assert_eq!(data.strata()[..4], [9, 9, 8, 8]);
        assert_eq!(data.select(&[3, 0]).quantities(), [17.0, 20.0]);
        assert!(matches!(
            of(&values[1..]),
            Err(Error::FeatureCount { labels: 19, .. })
        ));
        let infinite = [vec![f32::INFINITY], values[1..].to_vec()].concat();
        assert!(matches!(
            of(&infinite),
            Err(Error::QuantityValue { example: 0, .. })
        ));
        let classes = Dataset::new(schema.clone(), vec![0.5], vec![0]);
        assert!(matches!(classes, Err(Error::OtherTarget)));
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
