//! What a round of local training changed.

use std::fmt;
use std::sync::Arc;

use fl_shaders::{Counters, FixedPoint};
use fl_sharing::{Blinding, Engine, EngineError, Input, Masked};
use zeroize::Zeroize as _;

use crate::TrainError;
#[cfg(feature = "gpu")]
use crate::gpu::Resident;
use crate::length::length;

/// Local parameters minus global parameters, in the order of the [`Layout`](crate::Layout).
///
/// A trainer on the host makes one of a vector, and copies of it share that vector. What
/// [`BurnTrainer`](crate::BurnTrainer) trains on a GPU stays there. The vector is erased when the
/// last copy is dropped; it does not print.
#[derive(Clone, Debug)]
pub struct Update(Place);

#[derive(Clone, Debug)]
enum Place {
    Host(Arc<Values>),
    #[cfg(feature = "gpu")]
    Gpu(Box<Resident>),
}

/// Values that are erased on drop.
struct Values(Vec<f32>);

impl Drop for Values {
    fn drop(&mut self) {
        // Of the slice and not of the vector, which would be gone through twice.
        self.0.as_mut_slice().zeroize();
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.0.len())
    }
}

impl Update {
    /// Returns the number of coordinates.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an update of a model is never empty"
    )]
    pub fn len(&self) -> usize {
        match &self.0 {
            Place::Host(values) => values.0.len(),
            #[cfg(feature = "gpu")]
            Place::Gpu(resident) => resident.len(),
        }
    }

    /// Returns the values. From a GPU this copies all of them, which neither training nor masking
    /// needs.
    ///
    /// # Errors
    ///
    /// The GPU fails.
    pub fn to_vec(&self) -> Result<Vec<f32>, TrainError> {
        match &self.0 {
            Place::Host(values) => Ok(values.0.clone()),
            #[cfg(feature = "gpu")]
            Place::Gpu(resident) => resident.to_vec(),
        }
    }

    /// Shortens the update to the L2 norm `longest`, where it lies, if it is longer. Returns its
    /// norm then.
    ///
    /// # Errors
    ///
    /// The GPU fails.
    pub fn shorten(&mut self, longest: f64) -> Result<Option<f64>, TrainError> {
        match &mut self.0 {
            Place::Host(values) => {
                let norm = length(&values.0);
                if norm <= longest {
                    return Ok(None);
                }
                let factor = longest / norm;
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it is shorter than the f32 that it was"
                )]
                let shorten = |value: &f32| (f64::from(*value) * factor) as f32;
                let shorter = values.0.iter().map(shorten);
                *values = Arc::new(Values(shorter.collect()));
                Ok(Some(norm))
            }
            #[cfg(feature = "gpu")]
            Place::Gpu(resident) => resident.shorten(longest),
        }
    }

    /// Masks the update like [`Engine::mask`]: with `engine` if it is on the host, and where it is
    /// otherwise. All engines write the same bytes.
    ///
    /// # Errors
    ///
    /// An [`EngineError`]; `masked` is then all zeros.
    pub fn mask(
        &self,
        engine: &dyn Engine,
        (format, counters): (&FixedPoint, &Counters),
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        match &self.0 {
            Place::Host(update) => {
                let input = Input {
                    format,
                    counters,
                    update: &update.0,
                };
                engine.mask(&input, blinding, masked)
            }
            #[cfg(feature = "gpu")]
            Place::Gpu(resident) => resident.mask((format, counters), blinding, masked),
        }
    }
}

impl From<Vec<f32>> for Update {
    fn from(values: Vec<f32>) -> Self {
        Self(Place::Host(Arc::new(Values(values))))
    }
}

#[cfg(feature = "gpu")]
impl From<Resident> for Update {
    fn from(resident: Resident) -> Self {
        Self(Place::Gpu(Box::new(resident)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_shortened_if_it_is_longer_and_keeps_its_direction() {
        let mut update = Update::from(vec![3.0, 0.0, -4.0]);
        assert_eq!(update.shorten(5.0).unwrap(), None);
        assert_eq!(update.to_vec().unwrap(), [3.0, 0.0, -4.0]);
        let copy = update.clone();
        assert_eq!(update.shorten(1.0).unwrap(), Some(5.0));
        assert_eq!(update.to_vec().unwrap(), [0.6, 0.0, -0.8]);
        assert_eq!(copy.to_vec().unwrap(), [3.0, 0.0, -4.0]);
        // Squares beyond the range of f32.
        let mut long = Update::from(vec![f32::MAX; 2]);
        assert!(long.shorten(1.0).unwrap().is_some());
        assert!(
            long.to_vec()
                .unwrap()
                .iter()
                .all(|value| (0.70..0.71).contains(value))
        );
    }

    #[test]
    fn an_update_does_not_print() {
        let update = Update::from(vec![1234.5, 6789.0]);
        let text = format!("{update:?}");
        assert!(text.contains("2 values"), "{text}");
        assert!(!text.contains("1234") && !text.contains("6789"), "{text}");
    }
}
