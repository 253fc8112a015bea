//! Standardisation of a quantity that is predicted.

use serde::{Deserialize, Serialize};

use crate::{Dataset, Error};

/// Mean and standard deviation of a quantity, in its own unit: a model predicts how many deviations
/// above the mean it is. Belongs to the model. Deserialising checks what [`new`](Self::new) checks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedScaling")]
pub struct QuantityScaling {
    mean: f64,
    deviation: f64,
}

impl QuantityScaling {
    /// Returns a scaling by a finite mean and a finite deviation above 0.
    ///
    /// # Errors
    ///
    /// [`Error::QuantityScaling`] if they are not.
    pub fn new(mean: f64, deviation: f64) -> Result<Self, Error> {
        match mean.is_finite() && deviation.is_finite() && deviation > 0.0 {
            true => Ok(Self { mean, deviation }),
            false => Err(Error::QuantityScaling),
        }
    }

    /// Returns the mean and the population standard deviation of the quantities of `training`. A
    /// constant has deviation 1.
    ///
    /// # Errors
    ///
    /// [`Error::ScalingEmpty`] if there are none.
    pub fn fit(training: &Dataset) -> Result<Self, Error> {
        let values = || training.quantities().iter().copied().map(f64::from);
        let count = values().len() as f64;
        if count == 0.0 {
            return Err(Error::ScalingEmpty);
        }
        let mean = values().sum::<f64>() / count;
        let squares: f64 = values().map(|value| (value - mean).powi(2)).sum();
        match (squares / count).sqrt() {
            0.0 => Self::new(mean, 1.0),
            deviation => Self::new(mean, deviation),
        }
    }

    /// Returns the mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Returns the standard deviation, above 0.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }

    /// Returns how many deviations above the mean a value is.
    pub fn apply(&self, value: f32) -> f32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is too large is infinite"
        )]
        let scaled = ((f64::from(value) - self.mean) / self.deviation) as f32;
        scaled
    }

    /// Returns the value that is so many deviations above the mean.
    pub fn restore(&self, scaled: f32) -> f32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is too large is infinite"
        )]
        let value = (f64::from(scaled) * self.deviation + self.mean) as f32;
        value
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedScaling {
    mean: f64,
    deviation: f64,
}

impl TryFrom<UncheckedScaling> for QuantityScaling {
    type Error = Error;

    fn try_from(UncheckedScaling { mean, deviation }: UncheckedScaling) -> Result<Self, Error> {
        Self::new(mean, deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Quantity, Schema, Target};

    fn fit(values: &[f32]) -> Result<QuantityScaling, Error> {
        let columns = vec![Column::number("age".to_owned())];
        let schema = Schema::table(columns, None, Target::Quantity(Quantity::default())).unwrap();
        let features = vec![0.0; values.len()];
        QuantityScaling::fit(&Dataset::of_quantity(schema, features, values.to_vec()).unwrap())
    }

    #[test]
    fn a_quantity_is_standardised_and_restored() {
        let scaling = fit(&[1.0, 2.0, 3.0, 6.0]).unwrap();
        assert_eq!((scaling.mean(), scaling.deviation()), (3.0, 3.5_f64.sqrt()));
        assert_eq!(scaling.apply(3.0), 0.0);
        for value in [-4.0, 0.25, 6.0] {
            assert!((scaling.restore(scaling.apply(value)) - value).abs() < 1e-5);
        }
        assert_eq!(fit(&[5.0, 5.0]).unwrap().deviation(), 1.0);
        assert!(matches!(fit(&[]), Err(Error::ScalingEmpty)));
    }

    #[test]
    fn is_checked_on_the_way_in() {
        let read = |text| serde_json::from_str::<QuantityScaling>(text);
        assert!(read(r#"{"mean":1.5,"deviation":2.0}"#).is_ok());
        assert!(read(r#"{"mean":1.5,"deviation":0.0}"#).is_err());
        assert!(read(r#"{"mean":1.5,"deviation":2.0,"more":1}"#).is_err());
    }
}
