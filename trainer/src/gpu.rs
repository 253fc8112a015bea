//! A GPU on which Burn trains and the engine masks, so that an update never leaves it in clear.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, Tensor};
use burn_wgpu::{AutoCompiler, CubeTensor, Wgpu};
use cubecl_wgpu::WgpuServer;
use fl_shaders::{Counters, FixedPoint};
use fl_sharing::gpu::{AdapterError, AdapterSummary, OpenAdapter, Selector, open};
use fl_sharing::{Blinding, DeviceError, EngineError, GpuEngine, Masked};

use crate::{Layout, TrainError, Update, state};

/// A GPU that is ready for training and masking. Clones share it.
#[derive(Clone)]
pub struct Gpu {
    device: Device,
    engine: Arc<GpuEngine>,
    adapter: AdapterSummary,
}

impl Gpu {
    /// Opens the adapter that `selector` takes. It stays open until the process ends.
    ///
    /// # Errors
    ///
    /// An [`AdapterError`] that says what to install or to name.
    pub fn open(selector: &Selector) -> Result<Self, AdapterError> {
        let OpenAdapter {
            summary,
            instance,
            adapter,
            device,
            queue,
        } = open(selector)?;
        let engine = GpuEngine::from_device(device.clone(), queue.clone())?;
        let setup = WgpuSetup {
            backend: summary.backend,
            instance,
            adapter,
            device,
            queue,
        };
        let device = Device::wgpu_options().setup(setup).init();
        let device = device.map_err(|error| AdapterError::Open {
            name: summary.name.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            device,
            engine: Arc::new(engine),
            adapter: summary,
        })
    }

    /// Returns what is known of the adapter.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.adapter
    }

    /// Returns the device that Burn trains on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the engine, on the same device.
    pub fn engine(&self) -> &Arc<GpuEngine> {
        &self.engine
    }

    /// Runs `work`, in which Burn may panic when the device fails it.
    pub(crate) fn run<T>(
        &self,
        work: impl FnOnce() -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let error = match panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(Err(error @ TrainError::Device { .. })) => error,
            Ok(done) => return done,
            Err(_) => TrainError::Panicked,
        };
        // Burn does not say which failures are for good; the device does.
        self.engine.probe()?;
        Err(error)
    }

    /// Keeps a trained update on the device. Whether it is finite is all that the host learns.
    pub(crate) fn update(&self, update: Tensor<1>, layout: &Layout) -> Result<Update, TrainError> {
        let finite = update.clone().is_finite().all();
        let finite = finite
            .try_into_scalar::<bool>()
            .map_err(state::failed("the update"))?;
        if !finite {
            layout.check_finite(&state::read(update.clone())?)?;
        }
        let tensor = update.clone().try_into_primitive::<Wgpu>();
        match tensor {
            Ok(tensor) if tensor.is_contiguous() => Ok(Resident {
                tensor,
                gpu: self.clone(),
            }
            .into()),
            // A task that computes on some other device: its update is masked from the host.
            _ => Ok(state::read(update)?.into()),
        }
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gpu").field(&self.adapter.name).finish()
    }
}

/// An update on a GPU: a contiguous tensor of `f32`.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    tensor: CubeTensor,
    gpu: Gpu,
}

impl Resident {
    pub(crate) fn len(&self) -> usize {
        self.tensor.meta.num_elements()
    }

    pub(crate) fn to_vec(&self) -> Result<Vec<f32>, TrainError> {
        let tensor = Tensor::<1>::from_primitive::<Wgpu>(self.tensor.clone());
        self.gpu.run(|| state::read(tensor))
    }

    /// See [`Update::shorten`]. The norm is all that leaves the GPU.
    pub(crate) fn shorten(&mut self, longest: f64) -> Result<Option<f64>, TrainError> {
        let tensor = Tensor::<1>::from_primitive::<Wgpu>(self.tensor.clone());
        let gpu = self.gpu.clone();
        let shortened = gpu.run(|| {
            // The largest coordinate goes first, so that no square is out of range.
            let read = |scalar: Tensor<1>| {
                let scalar = scalar.try_into_scalar::<f32>();
                scalar.map(f64::from).map_err(state::failed("the update"))
            };
            let largest = read(tensor.clone().abs().max())?;
            if largest == 0.0 {
                return Ok(None);
            }
            let scaled = tensor.clone().div_scalar(largest);
            let norm = largest * read(scaled.powi_scalar(2).sum())?.sqrt();
            if norm <= longest {
                return Ok(None);
            }
            let shorter = tensor
                .mul_scalar(longest / norm)
                .try_into_primitive::<Wgpu>();
            let shorter = shorter.map_err(|_| TrainError::Panicked)?;
            Ok(Some((norm, shorter)))
        })?;
        Ok(shortened.map(|(norm, shorter)| {
            self.tensor = shorter;
            norm
        }))
    }

    pub(crate) fn mask(
        &self,
        (format, counters): (&FixedPoint, &Counters),
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let CubeTensor { client, handle, .. } = &self.tensor;
        let engine = &self.gpu.engine;
        let find = || client.get_resource::<WgpuServer<AutoCompiler>>(handle.clone());
        let found = match panic::catch_unwind(AssertUnwindSafe(find)) {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err("Burn does not answer".to_owned()),
        };
        // Held until the engine is done, so that Burn gives the memory to nobody else.
        let resource = match found {
            Ok(resource) => resource,
            Err(reason) => {
                engine.probe()?;
                return Err(DeviceError::Refused { reason }.into());
            }
        };
        let place = resource.resource();
        let bytes = (self.len() * size_of::<f32>()) as u64;
        let update = place.buffer.slice(place.offset..place.offset + bytes);
        engine.mask_on_device(format, counters, update, blinding, masked)
    }
}
