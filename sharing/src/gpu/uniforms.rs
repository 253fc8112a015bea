//! The uniforms of one call: keys, and where each dispatch works; with them, because they are
//! secret too, the coefficients of a tag. Uploaded once, and erased when the call ends.

use wgpu::{Buffer, BufferBinding, BufferSize, BufferUsages, SubmissionIndex};
use zeroize::Zeroizing;

use super::fault;
use super::transfer::Upload;
use crate::engine::DeviceError;

const WORD_BYTES: usize = 4;

/// Uniforms being put together, in memory that is erased on drop.
pub(super) struct UniformLayout {
    words: Zeroizing<Vec<u32>>,
    /// Distance, in words, to which a device aligns what is bound.
    alignment: usize,
}

/// Where a uniform lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct UniformPlace {
    offset: u64,
    size: u64,
}

/// The uniforms on the device.
#[derive(Debug)]
pub(super) struct Uniforms {
    upload: Upload,
    buffer: Buffer,
}

impl UniformLayout {
    /// Room for uniforms of the given sizes in bytes. Fixed, because a vector that grows leaves
    /// keys behind.
    pub(super) fn new(device: &wgpu::Device, sizes: impl IntoIterator<Item = u64>) -> Self {
        let limits = device.limits();
        let alignment = limits
            .min_uniform_buffer_offset_alignment
            .max(limits.min_storage_buffer_offset_alignment);
        let alignment = alignment as usize / WORD_BYTES;
        let words = sizes
            .into_iter()
            .map(|bytes| words(bytes).next_multiple_of(alignment))
            .sum();
        Self {
            words: Zeroizing::new(Vec::with_capacity(words)),
            alignment,
        }
    }

    /// Adds a uniform of `bytes` bytes that `write` fills in.
    pub(super) fn push(&mut self, bytes: u64, write: impl FnOnce(&mut [u32])) -> UniformPlace {
        let start = self.words.len();
        let end = start + words(bytes).next_multiple_of(self.alignment);
        debug_assert!(end <= self.words.capacity(), "announced to `Layout::new`");
        self.words.resize(end, 0);
        write(&mut self.words[start..][..words(bytes)]);
        UniformPlace {
            offset: (start * WORD_BYTES) as u64,
            size: bytes,
        }
    }

    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words)
    }
}

impl Uniforms {
    /// Uniforms that hold at least `layout`.
    pub(super) fn new(device: &wgpu::Device, layout: &UniformLayout) -> Self {
        let size = layout.bytes().len() as u64;
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("uniforms"),
            size,
            usage: BufferUsages::UNIFORM | BufferUsages::STORAGE | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self {
            upload: Upload::new(device, "uniforms, upload", size),
            buffer,
        }
    }

    /// Returns whether `layout` fits.
    pub(super) fn hold(&self, layout: &UniformLayout) -> bool {
        layout.bytes().len() as u64 <= self.buffer.size()
    }

    /// Uploads `layout`.
    pub(super) fn upload(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        layout: &UniformLayout,
    ) -> Result<(), DeviceError> {
        let bytes = layout.bytes();
        let upload = self.upload.write(bytes)?;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(upload, 0, &self.buffer, 0, bytes.len() as u64);
        queue.submit([encoder.finish()]);
        Ok(())
    }

    /// The binding of one uniform.
    pub(super) fn at(&self, place: UniformPlace) -> BufferBinding<'_> {
        BufferBinding {
            buffer: &self.buffer,
            offset: place.offset,
            size: BufferSize::new(place.size),
        }
    }

    /// Erases the uniforms on the device, after all that was submitted before.
    pub(super) fn clear(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> SubmissionIndex {
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&self.buffer, 0, None);
        let cleared = queue.submit([encoder.finish()]);
        self.upload.map();
        cleared
    }

    /// Waits for [`Uniforms::clear`], and erases what was uploaded.
    pub(super) fn erase(
        &mut self,
        device: &wgpu::Device,
        cleared: SubmissionIndex,
    ) -> Result<(), DeviceError> {
        fault::wait(device, cleared)?;
        self.upload.erase()
    }
}

/// Returns the number of words in so many bytes.
fn words(bytes: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "little more than 1 MiB")]
    let bytes = bytes as usize;
    bytes.div_ceil(WORD_BYTES)
}
