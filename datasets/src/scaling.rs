//! Standardisation of tables.

use serde::{Deserialize, Serialize};

use crate::error::excerpt;
use crate::{Dataset, Error, Notice};

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

    /// The mean and the population standard deviation of each measurement of `training`.
    ///
    /// What is missing does not count. A constant column gets deviation 1, so it becomes 0
    /// everywhere; so does one without a value. What is 0 or 1 by nature, such as a category, stays
    /// as it is: its mean is 0 and its deviation 1. Sums are taken in `f64`, the deviation around
    /// the mean (two passes).
    ///
    /// # Errors
    ///
    /// [`Error::ScalingEmpty`] if there are no examples.
    pub fn fit(training: &Dataset) -> Result<Self, Error> {
        if training.is_empty() {
            return Err(Error::ScalingEmpty);
        }
        let columns = training.schema().shape().size();
        let rows = || training.features().chunks_exact(columns);

        let mut fits = vec![Fit::default(); columns];
        for row in rows() {
            for (fit, &value) in fits.iter_mut().zip(row) {
                fit.count(value);
            }
        }
        for row in rows() {
            for (fit, &value) in fits.iter_mut().zip(row) {
                fit.add(value);
            }
        }
        for row in rows() {
            for (fit, &value) in fits.iter_mut().zip(row) {
                fit.deviate(value);
            }
        }
        let scaled = training
            .schema()
            .measured()
            .map(|feature| feature.is_scaled);
        // Pixels have no columns.
        let scaled = scaled.chain(std::iter::repeat(true));
        let pairs = fits
            .iter()
            .zip(scaled)
            .map(|(fit, is_scaled)| match is_scaled {
                true => fit.mean_and_deviation(),
                false => (0.0, 1.0),
            });
        let (mean, deviation) = pairs.unzip();
        Self::new(mean, deviation)
    }

    /// Returns the mean of each column, `[columns]`.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Returns the standard deviation of each column, `[columns]`, positive.
    pub fn deviation(&self) -> &[f32] {
        &self.deviation
    }

    /// Takes the mean off every feature of `data` and divides by the deviation. What is missing
    /// becomes 0, which is the mean.
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
        data.change(|features| {
            for row in features.chunks_exact_mut(shape.size()) {
                let scaling = self.mean.iter().zip(&self.deviation);
                for (value, (&mean, &deviation)) in row.iter_mut().zip(scaling) {
                    let centred = f64::from(*value) - f64::from(mean);
                    *value = match value.is_nan() {
                        true => 0.0,
                        false => narrow(centred / f64::from(deviation)),
                    };
                }
            }
        })
    }

    /// Returns a notice for each measurement of `data` that is far from what this scaling was
    /// fitted to: by more than three deviations in its mean, or by five times in its deviation. So
    /// it may be in another unit.
    pub fn other_units(&self, data: &Dataset) -> Vec<Notice> {
        let Ok(found) = Self::fit(data) else {
            return Vec::new();
        };
        let mut notices = Vec::new();
        let mut feature = 0;
        for (place, column) in data.schema().columns().iter().enumerate() {
            let at = feature;
            feature += column.width();
            let size = data.schema().shape().size();
            let mut values = data.features().iter().skip(at).step_by(size);
            if !column.is_measured() || values.all(|value| value.is_nan()) {
                continue;
            }
            let (mean, deviation) = (f64::from(self.mean[at]), f64::from(self.deviation[at]));
            let (own, spread) = (f64::from(found.mean[at]), f64::from(found.deviation[at]));
            let is_far = (own - mean).abs() > FAR * deviation;
            let is_wide = spread > WIDE * deviation || spread < deviation / WIDE;
            // A deviation of 1 is also that of a constant.
            let is_constant = self.deviation[at] == 1.0 || found.deviation[at] == 1.0;
            if is_far || is_wide && !is_constant && data.len() >= MANY {
                notices.push(Notice::OtherUnits {
                    column: match column.name() {
                        "" => (place + 1).to_string(),
                        name => format!("`{}`", excerpt(name)),
                    },
                    mean: format!("{own:.4} ± {spread:.4}"),
                    agreed: format!("{mean:.4} ± {deviation:.4}"),
                });
            }
        }
        notices
    }
}

/// Deviations by which a mean is far from the agreed one.
const FAR: f64 = 3.0;

/// Times by which a deviation is another than the agreed one.
const WIDE: f64 = 5.0;

/// Rows from which on a deviation says something.
const MANY: usize = 10;

/// The values of a column so far.
#[derive(Clone, Default)]
struct Fit {
    count: f64,
    mean: f64,
    variance: f64,
    first: Option<f32>,
    varies: bool,
}

impl Fit {
    fn count(&mut self, value: f32) {
        if !value.is_nan() {
            self.count += 1.0;
            self.varies |= *self.first.get_or_insert(value) != value;
        }
    }

    fn add(&mut self, value: f32) {
        if !value.is_nan() {
            self.mean += f64::from(value) / self.count;
        }
    }

    fn deviate(&mut self, value: f32) {
        if !value.is_nan() {
            self.variance += (f64::from(value) - self.mean).powi(2) / self.count;
        }
    }

    fn mean_and_deviation(&self) -> (f32, f32) {
        let deviation = narrow(self.variance.sqrt());
        let is_constant = deviation == 0.0 || !self.varies;
        (narrow(self.mean), if is_constant { 1.0 } else { deviation })
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
    fn measurements_in_other_units_are_noticed() {
        let agreed = table(2, vec![4.0, 7.0, 6.0, 9.0, 5.0, 8.0, 5.5, 8.5]);
        let scaling = Scaling::fit(&agreed).unwrap();
        assert_eq!(scaling.other_units(&agreed), []);
        // Milligrams in place of millimoles.
        let other = table(2, vec![4.0, 126.0, 6.0, 162.0]);
        let notices = scaling.other_units(&other);
        let [Notice::OtherUnits { column, mean, .. }] = &notices[..] else {
            panic!("{notices:?}");
        };
        assert_eq!(
            (column.as_str(), mean.as_str()),
            ("2", "144.0000 ± 18.0000")
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
