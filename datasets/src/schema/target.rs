//! What is to be told of an example.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::Error;

/// What is to be told of an example.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// To which of these classes it belongs.
    Classes(Vec<String>),
    /// How much there is of something.
    Quantity(Quantity),
}

impl From<Vec<String>> for Target {
    fn from(classes: Vec<String>) -> Self {
        Self::Classes(classes)
    }
}

/// A quantity that is predicted as a number. Deserialising checks what [`new`](Self::new) checks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedQuantity", into = "UncheckedQuantity")]
pub struct Quantity {
    unit: Option<String>,
    range: Option<RangeInclusive<f64>>,
}

impl Quantity {
    /// Returns a quantity in this `unit`, which is for people, and of which what is outside `range`
    /// is an error.
    ///
    /// # Errors
    ///
    /// [`Error::QuantityRange`] if the range is empty or not finite.
    pub fn new(unit: Option<String>, range: Option<RangeInclusive<f64>>) -> Result<Self, Error> {
        let is_sound = |range: &RangeInclusive<f64>| {
            range.start().is_finite() && range.end().is_finite() && !range.is_empty()
        };
        match range.as_ref().is_none_or(is_sound) {
            true => Ok(Self { unit, range }),
            false => Err(Error::QuantityRange),
        }
    }

    /// Returns the unit, for people.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// Returns what is plausible, in the unit.
    pub fn range(&self) -> Option<&RangeInclusive<f64>> {
        self.range.as_ref()
    }
}

/// A quantity as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedQuantity {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<[f64; 2]>,
}

impl TryFrom<UncheckedQuantity> for Quantity {
    type Error = Error;

    fn try_from(quantity: UncheckedQuantity) -> Result<Self, Error> {
        let range = quantity.range.map(|[start, end]| start..=end);
        Self::new(quantity.unit, range)
    }
}

impl From<Quantity> for UncheckedQuantity {
    fn from(quantity: Quantity) -> Self {
        Self {
            unit: quantity.unit,
            range: quantity.range.map(|range| [*range.start(), *range.end()]),
        }
    }
}
