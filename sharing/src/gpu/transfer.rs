//! Buffers through which bytes go to the device and come back. Between uses each is mapped or about
//! to be.

use std::ops::Range;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rayon::prelude::*;
use wgpu::{Buffer, BufferAsyncError, BufferUsages, MapMode};

use crate::engine::DeviceError;

/// Bytes that one task copies.
const COPY_BYTES: usize = 1 << 20;
/// A callback that takes longer than this never comes: the device is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A buffer that the host writes and the device copies from. Mapped while the device does not need
/// it.
#[derive(Debug)]
pub(super) struct Upload {
    buffer: Buffer,
    mapping: Option<Receiver<Result<(), BufferAsyncError>>>,
}

/// A buffer that the device copies to and the host reads. Mapped while the host reads.
#[derive(Debug)]
pub(super) struct Readback {
    buffer: Buffer,
    mapping: Option<Receiver<Result<(), BufferAsyncError>>>,
}

impl Upload {
    pub(super) fn new(device: &wgpu::Device, label: &str, bytes: u64) -> Self {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        Self {
            buffer,
            mapping: None,
        }
    }

    /// Writes `bytes`, on the current rayon pool, and unmaps, so that the device may copy them.
    /// What maps the buffer again must be complete.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<&Buffer, DeviceError> {
        complete(self.mapping.take())?;
        let buffer = &self.buffer;
        bytes
            .par_chunks(COPY_BYTES)
            .enumerate()
            .try_for_each(|(index, part)| {
                let start = (index * COPY_BYTES) as u64;
                buffer
                    .get_mapped_range_mut(start..start + part.len() as u64)
                    .map(|mut view| view.copy_from_slice(part))
            })
            .map_err(|_| DeviceError::Lost)?;
        self.buffer.unmap();
        Ok(&self.buffer)
    }

    /// Asks for the buffer back once the device is done with it.
    pub(super) fn map(&mut self) {
        self.mapping = Some(map(&self.buffer, MapMode::Write, 0..self.buffer.size()));
    }

    /// Overwrites the buffer with zeros. What maps it again must be complete.
    pub(super) fn erase(&mut self) -> Result<(), DeviceError> {
        complete(self.mapping.take())?;
        self.buffer
            .get_mapped_range_mut(..)
            .map_err(|_| DeviceError::Lost)?
            .slice(..)
            .fill(0);
        Ok(())
    }
}

impl Readback {
    pub(super) fn new(device: &wgpu::Device, label: &str, bytes: u64) -> Self {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self {
            buffer,
            mapping: None,
        }
    }

    /// Returns what the device copies to.
    pub(super) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Asks for `range` once the device is done with it.
    pub(super) fn map(&mut self, range: Range<u64>) {
        self.mapping = Some(map(&self.buffer, MapMode::Read, range));
    }

    /// Shows what was asked for to `reader`, and unmaps. The mapping must be complete.
    pub(super) fn read<T>(
        &mut self,
        range: Range<u64>,
        reader: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, DeviceError> {
        complete(self.mapping.take())?;
        let view = self
            .buffer
            .get_mapped_range(range)
            .map_err(|_| DeviceError::Lost)?;
        let read = reader(&view);
        drop(view);
        self.buffer.unmap();
        Ok(read)
    }
}

/// Copies on the current rayon pool.
pub(super) fn copy_to(source: &[u8], target: &mut [u8]) {
    target
        .par_chunks_mut(COPY_BYTES)
        .zip(source.par_chunks(COPY_BYTES))
        .for_each(|(target, source)| target.copy_from_slice(source));
}

fn map(
    buffer: &Buffer,
    mode: MapMode,
    range: Range<u64>,
) -> Receiver<Result<(), BufferAsyncError>> {
    let (sender, mapped) = mpsc::sync_channel(1);
    // The receiver is gone only if the call that waits for it failed.
    buffer.map_async(mode, range, move |outcome| drop(sender.send(outcome)));
    mapped
}

/// Takes a mapping that is complete. Another thread may have been told first, and be about to tell.
fn complete(mapping: Option<Receiver<Result<(), BufferAsyncError>>>) -> Result<(), DeviceError> {
    match mapping.map(|mapped| mapped.recv_timeout(PATIENCE)) {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(_) => Err(DeviceError::Lost),
    }
}
