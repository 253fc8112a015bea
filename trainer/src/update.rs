//! What a round of local training changed.

use std::sync::Arc;

use fl_shaders::{Counters, FixedPoint};
use fl_sharing::{Blinding, Engine, EngineError, Input, Masked};

use crate::TrainError;
#[cfg(feature = "gpu")]
use crate::gpu::Resident;

/// Local parameters minus global parameters, in the order of the [`Layout`](crate::Layout).
///
/// A trainer on the host makes one of a vector, and copies of it share that vector. What
/// [`BurnTrainer`](crate::BurnTrainer) trains on a GPU stays there.
#[derive(Clone, Debug)]
pub struct Update(Place);

#[derive(Clone, Debug)]
enum Place {
    Host(Arc<Vec<f32>>),
    #[cfg(feature = "gpu")]
    Gpu(Box<Resident>),
}

impl Update {
    /// Returns the number of coordinates.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an update of a model is never empty"
    )]
    pub fn len(&self) -> usize {
        match &self.0 {
            Place::Host(values) => values.len(),
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
            Place::Host(values) => Ok(values.to_vec()),
            #[cfg(feature = "gpu")]
            Place::Gpu(resident) => resident.to_vec(),
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
        (format, counters): (&FixedPoint, Counters),
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        match &self.0 {
            Place::Host(update) => {
                let input = Input {
                    format,
                    counters,
                    update,
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
        Self(Place::Host(Arc::new(values)))
    }
}

#[cfg(feature = "gpu")]
impl From<Resident> for Update {
    fn from(resident: Resident) -> Self {
        Self(Place::Gpu(Box::new(resident)))
    }
}
