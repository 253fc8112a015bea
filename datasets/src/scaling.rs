//! Standardisation of tables.

use serde::{Deserialize, Serialize};

use crate::{Dataset, Error};

/// Mean and standard deviation of each column, in the column's own unit.
///
/// Fitted on training data and applied to that and to everything the model sees later, so it
/// belongs to the model. Both vectors are `[columns]`; means are finite, deviations are finite and
/// positive. Deserialising checks that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedScaling")]
pub struct Scaling {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Scaling {
    /// Returns a scaling by the given `mean` and `deviation`, each `[columns]`.
    ///
    /// # Errors
    ///
    /// [`Error::Scaling`] if the lengths differ, a mean is not finite, or a deviation is not finite
    /// and positive.
    pub fn new(mean: Vec<f32>, deviation: Vec<f32>) -> Result<Self, Error> {
        let valid = |(mean, deviation): (&f32, &f32)| {
            mean.is_finite() && deviation.is_finite() && *deviation > 0.0
        };
        if let Some(column) = mean.iter().zip(&deviation).position(|pair| !valid(pair)) {
            return Err(Error::Scaling { column });
        }
        if mean.len() != deviation.len() {
            return Err(Error::Scaling {
                column: mean.len().min(deviation.len()),
            });
        }
        Ok(Self { mean, deviation })
    }

    /// The mean and the population standard deviation of each column of `training`.
    ///
    /// A constant column gets deviation 1, so it becomes 0 everywhere. Sums are taken in `f64`, the
    /// deviation around the mean (two passes).
    ///
    /// # Errors
    ///
    /// [`Error::ScalingEmpty`] if there are no examples.
    pub fn fit(training: &Dataset) -> Result<Self, Error> {
        if training.is_empty() {
            return Err(Error::ScalingEmpty);
        }
        let columns = training.schema().shape().size();
        let count = training.len() as f64;
        let rows = || training.features().chunks_exact(columns);

        let mut mean = vec![0.0_f64; columns];
        for row in rows() {
            for (mean, &value) in mean.iter_mut().zip(row) {
                *mean += f64::from(value) / count;
            }
        }
        let mut variance = vec![0.0_f64; columns];
        for row in rows() {
            for ((variance, mean), &value) in variance.iter_mut().zip(&mean).zip(row) {
                *variance += (f64::from(value) - mean).powi(2) / count;
            }
        }
        let first = training.row(0);
        let constant = |column: usize| rows().all(|row| row[column] == first[column]);
        let deviation = variance.iter().enumerate().map(|(column, variance)| {
            let deviation = narrow(variance.sqrt());
            if deviation == 0.0 || constant(column) {
                1.0
            } else {
                deviation
            }
        });
        Self::new(
            mean.iter().copied().map(narrow).collect(),
            deviation.collect(),
        )
    }

    /// Returns the mean of each column, `[columns]`.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Returns the standard deviation of each column, `[columns]`, positive.
    pub fn deviation(&self) -> &[f32] {
        &self.deviation
    }

    /// Takes the mean off every feature of `data` and divides by the deviation.
    ///
    /// # Errors
    ///
    /// [`Error::ScalingShape`] if `data` has another number of columns, [`Error::Feature`] if a
    /// result is too large for `f32`.
    pub fn apply(&self, data: Dataset) -> Result<Dataset, Error> {
        let shape = data.schema().shape();
        if shape.size() != self.mean.len() {
            return Err(Error::ScalingShape {
                scaling: self.mean.len(),
                shape,
            });
        }
        let (schema, mut features, labels) = data.into_parts();
        for row in features.chunks_exact_mut(shape.size()) {
            for ((value, &mean), &deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation)
            {
                let centred = f64::from(*value) - f64::from(mean);
                *value = narrow(centred / f64::from(deviation));
            }
        }
        Dataset::new(schema, features, labels)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds; what overflows is rejected after"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedScaling {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl TryFrom<UncheckedScaling> for Scaling {
    type Error = Error;

    fn try_from(UncheckedScaling { mean, deviation }: UncheckedScaling) -> Result<Self, Error> {
        Self::new(mean, deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Schema, Shape};

    fn table(columns: usize, features: Vec<f32>) -> Dataset {
        let classes = vec!["no".to_owned(), "yes".to_owned()];
        let schema = Schema::new(Shape::Table { columns }, vec![], classes).unwrap();
        let labels = vec![0; features.len() / columns];
        Dataset::new(schema, features, labels).unwrap()
    }

    #[test]
    fn scaled_training_data_has_mean_zero_and_deviation_one() {
        let data = table(2, vec![1.0, 100.0, 2.0, 300.0, 3.0, 200.0, 6.0, 400.0]);
        let scaling = Scaling::fit(&data).unwrap();
        assert_eq!(scaling.mean(), [3.0, 250.0]);
        assert_eq!(scaling.deviation()[0], 3.5_f32.sqrt());
        let again = Scaling::fit(&scaling.apply(data).unwrap()).unwrap();
        for column in 0..2 {
            assert!(again.mean()[column].abs() < 1e-6);
            assert!((again.deviation()[column] - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn test_data_is_scaled_by_the_training_data() {
        let scaling = Scaling::fit(&table(1, vec![0.0, 2.0])).unwrap();
        assert_eq!(
            scaling.apply(table(1, vec![5.0])).unwrap().features(),
            [4.0]
        );
    }

    #[test]
    fn a_constant_column_becomes_zero() {
        // 0.1 has no exact sum: a naive variance would be tiny but not zero.
        let data = table(1, vec![0.1; 7]);
        let scaling = Scaling::fit(&data).unwrap();
        assert_eq!(scaling.deviation(), [1.0]);
        assert_eq!(scaling.apply(data).unwrap().features(), [0.0; 7]);
    }

    #[test]
    fn extreme_columns_stay_finite_or_are_an_error() {
        let data = table(1, vec![f32::MAX, f32::MIN, f32::MAX]);
        assert!(Scaling::fit(&data).unwrap().apply(data).is_ok());
        let narrow = Scaling::new(vec![0.0], vec![f32::MIN_POSITIVE]).unwrap();
        assert!(matches!(
            narrow.apply(table(1, vec![0.0, 1e30])),
            Err(Error::Feature {
                example: 1,
                feature: 0,
                ..
            })
        ));
    }

    #[test]
    fn rejects_other_columns_and_no_examples() {
        let scaling = Scaling::new(vec![0.0; 2], vec![1.0; 2]).unwrap();
        let other = scaling.apply(table(3, vec![0.0; 3]));
        assert!(matches!(other, Err(Error::ScalingShape { scaling: 2, .. })));
        assert!(matches!(
            Scaling::fit(&table(1, vec![])),
            Err(Error::ScalingEmpty)
        ));
    }

    #[test]
    fn survives_json_and_is_checked_on_the_way_in() {
        let scaling = Scaling::new(vec![1.5, -2.0], vec![0.5, 3.0]).unwrap();
        let json = serde_json::to_string(&scaling).unwrap();
        assert_eq!(json, r#"{"mean":[1.5,-2.0],"deviation":[0.5,3.0]}"#);
        assert_eq!(serde_json::from_str::<Scaling>(&json).unwrap(), scaling);
        for bad in [
            r#"{"mean":[1.5],"deviation":[0.0]}"#,
            r#"{"mean":[1.5],"deviation":[-1.0]}"#,
            r#"{"mean":[1e39],"deviation":[1.0]}"#,
            r#"{"mean":[1.5],"deviation":[1.0,1.0]}"#,
            r#"{"mean":[1.5],"deviation":[1.0],"more":1}"#,
        ] {
            assert!(serde_json::from_str::<Scaling>(bad).is_err(), "{bad}");
        }
    }
}
