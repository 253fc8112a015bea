//! The kernels, compiled for a device.

use fl_shaders::Ring;
use fl_shaders::kernel::{self, Binding, Kernel};
use wgpu::{BindGroupLayout, BufferBinding, ComputePipeline};

/// Every kernel, for one ring.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub(super) quantize: Pipeline,
    pub(super) tag: Pipeline,
    pub(super) split: Pipeline,
    pub(super) sum: Pipeline,
    pub(super) mask: Pipeline,
    pub(super) dequantize: Pipeline,
}

/// A kernel, compiled.
#[derive(Debug)]
pub(super) struct Pipeline {
    device: wgpu::Device,
    layout: BindGroupLayout,
    compiled: ComputePipeline,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, ring: Ring) -> Self {
        let pipeline = |kernel| Pipeline::new(device, ring, kernel);
        Self {
            quantize: pipeline(&kernel::QUANTIZE),
            tag: pipeline(&kernel::TAG),
            split: pipeline(&kernel::SPLIT),
            sum: pipeline(&kernel::SUM),
            mask: pipeline(&kernel::MASK),
            dequantize: pipeline(&kernel::DEQUANTIZE),
        }
    }
}

impl Pipeline {
    fn new(device: &wgpu::Device, ring: Ring, kernel: &Kernel) -> Self {
        let label = Some(kernel.name);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
        });
        let entries: Vec<_> = (0..).zip(kernel.bindings).map(layout_entry).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let wide = f64::from(u8::from(ring == Ring::U64));
        let compiled = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.name),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[(kernel::WIDE, wide)],
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        Self {
            device: device.clone(),
            layout,
            compiled,
        }
    }

    /// Records a run of at least `threads` threads on `buffers`, one a binding.
    pub(super) fn dispatch(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        buffers: &[BufferBinding<'_>],
        threads: u32,
    ) {
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(buffer.clone()),
            })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.layout,
            entries: &entries,
        });
        let [x, y] = kernel::grid(threads);
        pass.set_pipeline(&self.compiled);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }
}

fn layout_entry((number, binding): (u32, &Binding)) -> wgpu::BindGroupLayoutEntry {
    let (ty, min_binding_size) = match *binding {
        Binding::Uniform { bytes } => (
            wgpu::BufferBindingType::Uniform,
            wgpu::BufferSize::new(bytes),
        ),
        Binding::Read => (wgpu::BufferBindingType::Storage { read_only: true }, None),
        Binding::ReadWrite => (wgpu::BufferBindingType::Storage { read_only: false }, None),
    };
    wgpu::BindGroupLayoutEntry {
        binding: number,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size,
        },
        count: None,
    }
}
