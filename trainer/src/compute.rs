//! Where a node computes.

use std::fmt;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use fl_sharing::{CpuEngine, Engine};

#[cfg(feature = "gpu")]
use crate::Gpu;
use crate::{Layout, TrainError, Update};

/// Where a node trains, evaluates and masks its updates.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Compute {
    /// A device of Burn's, usually [`cpu`](crate::cpu). Updates come to the host, where the CPU
    /// masks them.
    Host(Device),
    /// A GPU. Updates stay on it, and only masked ones leave it.
    #[cfg(feature = "gpu")]
    Gpu(Gpu),
}

impl Compute {
    /// Returns the device that models and data are put on.
    pub fn device(&self) -> &Device {
        match self {
            Self::Host(device) => device,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.device(),
        }
    }

    /// Returns what masks updates.
    pub fn engine(&self) -> Arc<dyn Engine> {
        match self {
            Self::Host(_) => Arc::new(CpuEngine),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.engine().clone(),
        }
    }

    /// Most bytes of a tensor on the device.
    fn reach(&self) -> u64 {
        match self {
            Self::Host(_) => u64::MAX,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.adapter().max_binding_bytes,
        }
    }

    /// Fails if the device would refuse a tensor of so many values.
    pub(crate) fn check_reach(
        &self,
        what: impl fmt::Display,
        values: usize,
    ) -> Result<(), TrainError> {
        let (bytes, limit) = ((values * size_of::<f32>()) as u64, self.reach());
        if bytes <= limit {
            return Ok(());
        }
        Err(TrainError::OutOfReach {
            what: what.to_string(),
            bytes,
            limit,
        })
    }

    /// Runs `work` on the device. What a GPU fails with becomes an error that says so.
    pub(crate) fn run<T>(
        &self,
        work: impl FnOnce() -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        match self {
            Self::Host(_) => work(),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.run(work),
        }
    }

    /// Takes over a trained update, one value a coordinate of `layout`.
    ///
    /// # Errors
    ///
    /// A value is not finite, or the device fails.
    pub(crate) fn update(&self, update: Tensor<1>, layout: &Layout) -> Result<Update, TrainError> {
        match self {
            Self::Host(_) => {
                let update = crate::state::read(update)?;
                layout.check_finite(&update)?;
                Ok(update.into())
            }
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.update(update, layout),
        }
    }
}

impl From<Device> for Compute {
    fn from(device: Device) -> Self {
        Self::Host(device)
    }
}

#[cfg(feature = "gpu")]
impl From<Gpu> for Compute {
    fn from(gpu: Gpu) -> Self {
        Self::Gpu(gpu)
    }
}
