//! The engine of the GPU, on whatever wgpu drives: Vulkan, Metal, DirectX 12.
//!
//! The vector goes through the device in pieces. Of each, only the finished words come back; an
//! update that is on the device already ([`GpuEngine::mask_on_device`]) never leaves it. Uploads
//! and downloads of some pieces overlap with the work on others. The keys of a call, and the
//! coefficients of its tag, lie in one buffer that is erased, on the device and on the host, when
//! the call ends.

mod adapter;
mod combining;
mod decoding;
mod fault;
mod masking;
mod pipelines;
mod stream;
mod summing;
#[cfg(test)]
mod tests;
mod transfer;
mod uniforms;
mod update;

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fl_shaders::uniform::Shares;
use fl_shaders::{Counters, FixedPoint, MeanScale, Ring, Word};
use wgpu::{CommandEncoderDescriptor, DeviceType};

use crate::engine::{self, Blinding, DeviceError, Engine, EngineError, Input, Masked};
use crate::seed::MaskKey;
pub use adapter::{
    AdapterError, AdapterSummary, OpenAdapter, REQUIRE_GPU, Selector, adapters, choose,
    is_required, open,
};
use decoding::GpuAveraging;
use masking::{GpuMasking, KernelReport, Program};
use pipelines::Pipelines;
use stream::{Job, Piece, Stream};
use summing::Summing;
use transfer::Readback;
use uniforms::{UniformLayout, Uniforms};
use update::DeviceUpdate;
/// The version of wgpu whose devices and buffers this engine takes.
pub use wgpu;

/// Most bytes in a piece: enough to keep a device busy, and little enough to overlap.
const PIECE_BYTES: u64 = 16 << 20;
/// Pieces are multiples of this: whole blocks of ChaCha20, and whole units of every buffer
/// alignment.
const PIECE_UNIT: u64 = 256;

/// Masks on a GPU.
///
/// A call takes up to some 100 MiB of the device's memory and as much of the host's, which the next
/// call reuses. After [`DeviceError::OutOfMemory`] or [`DeviceError::Refused`] the engine starts
/// over with fresh buffers; after [`DeviceError::Lost`] a new engine is needed.
pub struct GpuEngine {
    device: wgpu::Device,
    queue: wgpu::Queue,
    narrow: Pipelines,
    wide: Pipelines,
    /// Most bytes in a piece.
    piece_bytes: usize,
    /// What a call left for the next.
    reserve: Mutex<Reserve>,
}

/// Buffers to reuse.
#[derive(Default)]
struct Reserve {
    stream: Option<Stream>,
    uniforms: Option<Uniforms>,
}

impl GpuEngine {
    /// Returns an engine on the adapter that `selector` takes.
    ///
    /// # Errors
    ///
    /// An [`AdapterError`] that says what to install or to name.
    pub fn new(selector: &Selector) -> Result<Self, AdapterError> {
        let OpenAdapter { device, queue, .. } = open(selector)?;
        Ok(Self::from_device(device, queue)?)
    }

    /// Returns an engine on a device that is open already, and may be shared with another library.
    /// It must bind 1 MiB of storage at once, as every device does unless it was asked for less.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`] if the device does not compile the kernels.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self, DeviceError> {
        let [narrow, wide] = fault::guarded(&device, || {
            Ok::<_, DeviceError>([Ring::U32, Ring::U64].map(|ring| Pipelines::new(&device, ring)))
        })?;
        let limits = device.limits();
        // A binding may begin up to one alignment early, and what a kernel reports follows a piece.
        let binding = limits.max_storage_buffer_binding_size - PIECE_UNIT;
        let buffer = limits.max_buffer_size - PIECE_UNIT;
        let bytes = PIECE_BYTES.min(binding).min(buffer);
        #[expect(clippy::cast_possible_truncation, reason = "at most PIECE_BYTES")]
        let piece_bytes = (bytes / PIECE_UNIT * PIECE_UNIT) as usize;
        Ok(Self {
            device,
            queue,
            narrow,
            wide,
            piece_bytes,
            reserve: Mutex::default(),
        })
    }

    /// Returns the device, for buffers that [`GpuEngine::mask_on_device`] takes.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Returns the queue of the device.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Masks like [`Engine::mask`] an update that is on the device: the `f32`s of `update`, one a
    /// coordinate.
    ///
    /// What writes the update must have been submitted to [`GpuEngine::queue`]. The buffer needs
    /// [`BufferUsages::STORAGE`](wgpu::BufferUsages::STORAGE), and the slice begins and ends at
    /// multiples of four bytes.
    ///
    /// # Errors
    ///
    /// An [`EngineError`]; `masked` is then all zeros.
    pub fn mask_on_device(
        &self,
        format: &FixedPoint,
        counters: &Counters,
        update: wgpu::BufferSlice<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        self.mask_update(
            format,
            counters,
            DeviceUpdate::Device(update),
            blinding,
            masked,
        )
    }

    /// Decodes a sum of encoded updates, in little-endian words without header, to the mean update.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`]; `mean` is then all zeros.
    ///
    /// # Panics
    ///
    /// If `sum` and `mean` differ in length.
    pub fn dequantize(
        &self,
        ring: Ring,
        sum: &[u8],
        scale: MeanScale,
        mean: &mut [f32],
    ) -> Result<(), DeviceError> {
        assert_eq!(
            sum.len(),
            mean.len() * ring.word_bytes(),
            "one mean a coordinate"
        );
        let pieces = decoding::pieces(ring, sum.len(), self.piece_bytes);
        let (layout, places) = decoding::layout(&self.device, &pieces, scale);
        let mut averaging = GpuAveraging {
            pipelines: self.pipelines(ring),
            places: &places,
            sum,
            mean: bytemuck::cast_slice_mut(mean),
        };
        self.run(&pieces, &layout, &mut averaging)
            .inspect_err(|_| mean.fill(0.0))
    }

    /// Fetches a few bytes from the device, to see whether it still answers.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Lost`] if it does not, [`DeviceError::OutOfMemory`] if it cannot for now.
    pub fn probe(&self) -> Result<(), DeviceError> {
        let (device, queue) = (&self.device, &self.queue);
        fault::guarded(device, || {
            let mut download = Readback::new(device, "probe", PIECE_UNIT);
            let mut encoder = device.create_command_encoder(&CommandEncoderDescriptor::default());
            encoder.clear_buffer(download.buffer(), 0, None);
            let submission = queue.submit([encoder.finish()]);
            download.map(0..PIECE_UNIT);
            fault::wait(device, submission)?;
            download.read(0..PIECE_UNIT, |_| ())
        })
        .map_err(|error| match error {
            DeviceError::OutOfMemory => error,
            // There is nothing here that a device could refuse, if it is there.
            DeviceError::Lost | DeviceError::Refused { .. } => DeviceError::Lost,
        })
    }

    fn mask_update(
        &self,
        format: &FixedPoint,
        counters: &Counters,
        update: DeviceUpdate<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let outcome = match format.ring() {
            Ring::U32 => self.mask_words::<u32>(format, counters, update, blinding, masked),
            Ring::U64 => self.mask_words::<u64>(format, counters, update, blinding, masked),
        };
        outcome.inspect_err(|_| masked.fill(0))
    }

    fn mask_words<W: Word>(
        &self,
        format: &FixedPoint,
        counters: &Counters,
        update: DeviceUpdate<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let coefficients = blinding.coefficients;
        let scale = engine::checked(
            format,
            counters,
            update.coordinates(),
            coefficients,
            masked.len(),
        )?;
        update.check()?;
        let header_words = format.header_words();
        let pieces = update.pieces::<W>(header_words, self.piece_bytes);
        let batch = self.shares_at_once(&pieces);
        let program = Program::new::<W>(
            &self.device,
            header_words,
            &update,
            &pieces,
            scale,
            blinding,
            batch,
        );
        let mut masking = GpuMasking::<W> {
            device: &self.device,
            pipelines: self.pipelines(W::RING),
            program: &program,
            header_words,
            update,
            coefficients,
            masked,
            met: KernelReport::default(),
            word: PhantomData,
        };
        self.run(&pieces, &program.layout, &mut masking)?;
        let KernelReport {
            clipped,
            non_finite,
            tag,
        } = masking.met;
        if let Some(coordinate) = non_finite {
            return Err(EngineError::NonFinite { coordinate });
        }
        let header = engine::add_header::<W>(format, counters, clipped, coefficients, masked);
        Ok(Masked {
            clipped,
            tag: tag + header,
        })
    }

    /// Returns the number of shares in a dispatch, so that none runs longer than about 100 ms.
    fn shares_at_once(&self, pieces: &[Piece]) -> usize {
        // Bytes of keystream: some 10 GB/s are little for a GPU, 0.1 GB/s for a core of a CPU.
        let work: usize = match self.device.adapter_info().device_type {
            DeviceType::Cpu => 64 << 20,
            _ => 1 << 30,
        };
        let largest = pieces.iter().map(|piece| piece.output.len()).max();
        (work / largest.unwrap_or(1)).clamp(1, Shares::MAX)
    }

    fn pipelines(&self, ring: Ring) -> &Pipelines {
        match ring {
            Ring::U32 => &self.narrow,
            Ring::U64 => &self.wide,
        }
    }

    /// Sends `pieces` through the device with the uniforms of `layout`, which are erased
    /// afterwards.
    fn run(
        &self,
        pieces: &[Piece],
        layout: &UniformLayout,
        job: &mut impl Job,
    ) -> Result<(), DeviceError> {
        if pieces.is_empty() {
            return Ok(());
        }
        let (device, queue) = (&self.device, &self.queue);
        // Not locked meanwhile: calls that run at once have buffers of their own.
        let Reserve { stream, uniforms } = mem::take(&mut *self.reserve());
        let reserve = fault::guarded(device, || {
            let mut stream = stream
                .filter(|stream| stream.holds(pieces))
                .unwrap_or_else(|| Stream::new(device, pieces));
            let mut uniforms = uniforms
                .filter(|uniforms| uniforms.hold(layout))
                .unwrap_or_else(|| Uniforms::new(device, layout));
            uniforms.upload(device, queue, layout)?;
            let sent = stream.send(device, queue, pieces, &uniforms, job);
            // Whatever became of the pieces, the keys are erased.
            let cleared = uniforms.clear(device, queue);
            let settled = sent.and_then(|()| stream.settle(device, job));
            let erased = uniforms.erase(device, cleared);
            settled.and(erased)?;
            Ok::<_, DeviceError>(Reserve {
                stream: Some(stream),
                uniforms: Some(uniforms),
            })
        });
        // What a lost device reports may read like a refusal.
        let reserve = reserve.or_else(|error| self.probe().and(Err(error)))?;
        *self.reserve() = reserve;
        Ok(())
    }

    /// Returns the reserve, which is whole whatever happened to who held it.
    fn reserve(&self) -> MutexGuard<'_, Reserve> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for GpuEngine {
    fn mask(
        &self,
        input: &Input<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let update = DeviceUpdate::Host(input.update);
        self.mask_update(input.format, input.counters, update, blinding, masked)
    }

    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), DeviceError> {
        assert!(sum.len().is_multiple_of(ring.word_bytes()), "whole words");
        let pieces = summing::pieces(sum.len(), self.piece_bytes);
        let batch = self.shares_at_once(&pieces);
        let (layout, combination) = summing::program(&self.device, &pieces, keys, batch);
        let mut summing = Summing {
            pipelines: self.pipelines(ring),
            combination: &combination,
            sum,
        };
        let outcome = self.run(&pieces, &layout, &mut summing);
        outcome.inspect_err(|_| sum.fill(0))
    }
}

impl fmt::Debug for GpuEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuEngine")
            .field("adapter", &self.device.adapter_info().name)
            .finish_non_exhaustive()
    }
}
