//! The GPUs of this machine, and which of them is taken.

use std::fmt;

use wgpu::{Backend, Backends, DeviceType};

use crate::engine::DeviceError;

/// When this environment variable is set, and not to 0, a software adapter may be taken without
/// being named, and tests fail where there is no adapter at all.
pub const REQUIRE_GPU: &str = "FL_REQUIRE_GPU";

/// Which adapter to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// The fastest kind that there is; a software adapter only if [`REQUIRE_GPU`] is set.
    #[default]
    Fastest,
    /// The fastest kind whose name contains this, in any case. It may be a software adapter.
    Named(String),
}

/// What is known of an adapter before it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterSummary {
    /// Name of the device, as its driver tells it.
    pub name: String,
    /// Graphics interface through which it is used.
    pub backend: Backend,
    /// Discrete, integrated, virtual, or software.
    pub device_type: DeviceType,
    /// Driver, and its version.
    pub driver: String,
    /// Largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Largest part of a buffer that a kernel can reach at once, in bytes.
    pub max_binding_bytes: u64,
}

/// Why there is no adapter to work on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// There is no adapter, not even in software.
    #[error(
        "no GPU was found: install its vendor's Vulkan driver \
         (on Debian or Ubuntu nvidia-driver, or mesa-vulkan-drivers for AMD, Intel and a slow software GPU)"
    )]
    None,
    /// There are only software adapters, and none was asked for.
    #[error(
        "no GPU was found, only {}, which computes in software: install the GPU's Vulkan driver, \
         or ask for the software by its name or by setting {REQUIRE_GPU}=1", .names.join(", ")
    )]
    OnlySoftware {
        /// Names of the software adapters.
        names: Vec<String>,
    },
    /// No adapter has the name that was asked for.
    #[error("no GPU is named {name:?}; there is {}", .names.join(", "))]
    NotFound {
        /// The name that was asked for.
        name: String,
        /// Names of the adapters.
        names: Vec<String>,
    },
    /// The adapter could not be opened.
    #[error("the GPU {name} could not be opened: {reason}")]
    Open {
        /// Name of the adapter.
        name: String,
        /// In the words of the graphics library.
        reason: String,
    },
    /// The adapter was opened, and failed at once.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// An adapter that is ready for work: all that another library needs in order to work on the same
/// device.
#[derive(Clone, Debug)]
pub struct OpenAdapter {
    /// What is known of the adapter.
    pub summary: AdapterSummary,
    /// The graphics library.
    pub instance: wgpu::Instance,
    /// The adapter.
    pub adapter: wgpu::Adapter,
    /// The device, with all the features and limits of the adapter but the experimental ones.
    pub device: wgpu::Device,
    /// The queue of the device.
    pub queue: wgpu::Queue,
}

impl AdapterSummary {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        Self {
            name: info.name,
            backend: info.backend,
            device_type: info.device_type,
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
        }
    }

    /// Returns whether the adapter computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.device_type == DeviceType::Cpu
    }

    /// Place among the kinds of adapters; the fastest is 0.
    fn rank(&self) -> u8 {
        match self.device_type {
            DeviceType::DiscreteGpu => 0,
            DeviceType::IntegratedGpu => 1,
            DeviceType::VirtualGpu => 2,
            DeviceType::Other => 3,
            DeviceType::Cpu => 4,
        }
    }
}

impl fmt::Display for AdapterSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.device_type {
            DeviceType::DiscreteGpu => "discrete GPU",
            DeviceType::IntegratedGpu => "integrated GPU",
            DeviceType::VirtualGpu => "virtual GPU",
            DeviceType::Cpu => "software, slow",
            DeviceType::Other => "unknown kind",
        };
        write!(
            f,
            "{} ({}, {kind}; {}; buffers up to {} MiB, {} MiB at once)",
            self.name,
            self.backend,
            self.driver,
            self.max_buffer_bytes >> 20,
            self.max_binding_bytes >> 20,
        )
    }
}

/// The adapters of this machine, those of the fastest kind first.
pub fn adapters() -> Vec<AdapterSummary> {
    listed(&instance())
        .into_iter()
        .map(|(summary, _)| summary)
        .collect()
}

/// The one of `adapters`, as [`adapters()`] lists them, that `selector` takes.
///
/// # Errors
///
/// [`AdapterError::None`], [`AdapterError::OnlySoftware`] or [`AdapterError::NotFound`].
pub fn choose<'a>(
    adapters: &'a [AdapterSummary],
    selector: &Selector,
) -> Result<&'a AdapterSummary, AdapterError> {
    position(adapters, selector, is_required()).map(|index| &adapters[index])
}

/// Opens the adapter that `selector` takes.
///
/// # Errors
///
/// Those of [`choose`], and [`AdapterError::Open`].
pub fn open(selector: &Selector) -> Result<OpenAdapter, AdapterError> {
    let instance = instance();
    let (mut summaries, mut found): (Vec<_>, Vec<_>) = listed(&instance).into_iter().unzip();
    let index = position(&summaries, selector, is_required())?;
    let (summary, adapter) = (summaries.swap_remove(index), found.swap_remove(index));
    let excluded =
        wgpu::Features::all_experimental_mask() | wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("fl-sharing"),
        required_features: adapter.features() - excluded,
        required_limits: adapter.limits(),
        ..wgpu::DeviceDescriptor::default()
    };
    let (device, queue) =
        pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
            AdapterError::Open {
                name: summary.name.clone(),
                reason: error.to_string(),
            }
        })?;
    Ok(OpenAdapter {
        summary,
        instance,
        adapter,
        device,
        queue,
    })
}

/// Returns whether [`REQUIRE_GPU`] is set.
pub fn is_required() -> bool {
    std::env::var_os(REQUIRE_GPU).is_some_and(|value| value != "0")
}

/// The graphics library, with the interfaces that have compute kernels on every platform.
fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: Backends::PRIMARY,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

fn listed(instance: &wgpu::Instance) -> Vec<(AdapterSummary, wgpu::Adapter)> {
    let found = pollster::block_on(instance.enumerate_adapters(Backends::PRIMARY));
    let mut listed: Vec<_> = found
        .into_iter()
        .map(|adapter| (AdapterSummary::of(&adapter), adapter))
        .collect();
    listed.sort_by_key(|(summary, _)| summary.rank());
    listed
}

/// Index of the adapter that `selector` takes; `software` allows a software adapter that is not
/// named.
fn position(
    adapters: &[AdapterSummary],
    selector: &Selector,
    software: bool,
) -> Result<usize, AdapterError> {
    let names = || {
        adapters
            .iter()
            .map(|adapter| adapter.name.clone())
            .collect()
    };
    if adapters.is_empty() {
        return Err(AdapterError::None);
    }
    match selector {
        Selector::Fastest => adapters
            .iter()
            .position(|adapter| software || !adapter.is_software())
            .ok_or_else(|| AdapterError::OnlySoftware { names: names() }),
        Selector::Named(name) => adapters
            .iter()
            .position(|adapter| adapter.name.to_lowercase().contains(&name.to_lowercase()))
            .ok_or_else(|| AdapterError::NotFound {
                name: name.clone(),
                names: names(),
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(name: &str, device_type: DeviceType) -> AdapterSummary {
        AdapterSummary {
            name: name.into(),
            backend: Backend::Vulkan,
            device_type,
            driver: "driver 1".into(),
            max_buffer_bytes: 1 << 30,
            max_binding_bytes: 128 << 20,
        }
    }

    #[test]
    fn software_is_taken_only_when_asked_for() {
        let software = [summary("llvmpipe", DeviceType::Cpu)];
        let error = AdapterError::OnlySoftware {
            names: vec!["llvmpipe".into()],
        };
        assert_eq!(position(&software, &Selector::Fastest, false), Err(error));
        assert_eq!(position(&software, &Selector::Fastest, true), Ok(0));
        let named = Selector::Named("LLVM".into());
        assert_eq!(position(&software, &named, false), Ok(0));
    }

    #[test]
    fn a_gpu_is_preferred_and_a_name_decides() {
        let both = [
            summary("NVIDIA H100", DeviceType::DiscreteGpu),
            summary("llvmpipe", DeviceType::Cpu),
        ];
        assert_eq!(position(&both, &Selector::Fastest, true), Ok(0));
        let named = |name: &str| position(&both, &Selector::Named(name.into()), false);
        assert_eq!(named("h100"), Ok(0));
        assert_eq!(named("llvm"), Ok(1));
        let error = AdapterError::NotFound {
            name: "radeon".into(),
            names: vec!["NVIDIA H100".into(), "llvmpipe".into()],
        };
        assert_eq!(named("radeon"), Err(error));
    }

    #[test]
    fn without_an_adapter_the_error_names_what_to_install() {
        let error = position(&[], &Selector::Fastest, true).unwrap_err();
        assert_eq!(error, AdapterError::None);
        assert!(error.to_string().contains("mesa-vulkan-drivers"));
    }

    #[test]
    fn a_summary_explains_itself() {
        assert_eq!(
            summary("llvmpipe", DeviceType::Cpu).to_string(),
            "llvmpipe (vulkan, software, slow; driver 1; buffers up to 1024 MiB, 128 MiB at once)"
        );
    }
}
