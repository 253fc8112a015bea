//! A vector in pieces, several under way at once: while the device works on one, the host fills the
//! next and empties the one before.

use std::ops::Range;

use wgpu::{Buffer, BufferUsages, CommandEncoder, SubmissionIndex};

use super::fault;
use super::transfer::{Readback, Upload};
use super::uniforms::Uniforms;
use crate::engine::DeviceError;

/// Pieces under way at once.
const SLOTS: usize = 3;
/// Length of what the kernel that encodes reports.
const MET_BYTES: usize = 8;

/// A part of the work, small enough for one binding.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Its number.
    pub(super) index: usize,
    /// The bytes that it takes of the host's input.
    pub(super) input: Range<usize>,
    /// The bytes that it makes of the output.
    pub(super) output: Range<usize>,
    /// Number of bytes of partial tags that it gives.
    pub(super) partials: usize,
}

/// What the device made of a piece.
pub(super) struct PieceOutput<'a> {
    /// The bytes of the output.
    pub(super) output: &'a [u8],
    /// The two words that the kernel that encodes reported.
    pub(super) met: [u32; 2],
    /// The partial tags.
    pub(super) partials: &'a [u8],
}

/// What happens to each piece.
pub(super) trait Job {
    /// Returns the host's input. Empty if the input is on the device already.
    fn input(&self) -> &[u8];

    /// Records what makes a piece's output.
    fn record(
        &self,
        piece: &Piece,
        uniforms: &Uniforms,
        buffers: &StreamBuffers,
        encoder: &mut CommandEncoder,
    );

    /// Takes a piece that is made, in order.
    fn take(&mut self, piece: &Piece, made: &PieceOutput<'_>);
}

/// The device's buffers for one piece.
#[derive(Debug)]
pub(super) struct StreamBuffers {
    /// The piece of the host's input, if any.
    pub(super) input: Buffer,
    /// The piece of the output.
    pub(super) output: Buffer,
    /// Two words for the kernel that encodes to report in.
    pub(super) met: Buffer,
    /// The partial tags of the piece, if any.
    pub(super) partials: Buffer,
}

/// Buffers for the pieces under way. They are reused from call to call.
#[derive(Debug)]
pub(super) struct Stream {
    sizes: Sizes,
    slots: Vec<Slot>,
}

/// Sizes in bytes of the largest piece, and the number of pieces under way.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    input: u64,
    output: u64,
    partials: u64,
    slots: usize,
}

#[derive(Debug)]
struct Slot {
    upload: Upload,
    buffers: StreamBuffers,
    download: Readback,
    under_way: Option<(Piece, SubmissionIndex)>,
}

impl Stream {
    /// Buffers for `pieces`.
    pub(super) fn new(device: &wgpu::Device, pieces: &[Piece]) -> Self {
        let sizes = Sizes::of(pieces);
        let slots = (0..sizes.slots).map(|_| Slot::new(device, sizes)).collect();
        Self { sizes, slots }
    }

    /// Returns whether `pieces` fit.
    pub(super) fn holds(&self, pieces: &[Piece]) -> bool {
        let (own, needed) = (self.sizes, Sizes::of(pieces));
        needed.input <= own.input
            && needed.output <= own.output
            && needed.partials <= own.partials
            && needed.slots <= own.slots
    }

    /// Sends every piece to the device, and takes those that are in the way of the next.
    pub(super) fn send(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        pieces: &[Piece],
        uniforms: &Uniforms,
        job: &mut impl Job,
    ) -> Result<(), DeviceError> {
        let count = self.slots.len();
        for piece in pieces {
            let slot = &mut self.slots[piece.index % count];
            slot.settle(device, job)?;
            slot.submit(device, queue, piece, uniforms, job)?;
        }
        self.slots.rotate_left(pieces.len() % count);
        Ok(())
    }

    /// Takes the last pieces.
    pub(super) fn settle(
        &mut self,
        device: &wgpu::Device,
        job: &mut impl Job,
    ) -> Result<(), DeviceError> {
        self.slots
            .iter_mut()
            .try_for_each(|slot| slot.settle(device, job))
    }
}

impl Sizes {
    fn of(pieces: &[Piece]) -> Self {
        let largest = |len: fn(&Piece) -> usize| pieces.iter().map(len).max().unwrap_or(0);
        Self {
            // No buffer is empty.
            input: largest(|piece| piece.input.len()).max(MET_BYTES) as u64,
            // Kernels work on whole blocks of ChaCha20.
            output: largest(|piece| piece.output.len()).next_multiple_of(64) as u64,
            partials: largest(|piece| piece.partials).max(MET_BYTES) as u64,
            slots: pieces.len().min(SLOTS),
        }
    }
}

impl Slot {
    fn new(device: &wgpu::Device, sizes: Sizes) -> Self {
        let buffer = |label, size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | usage,
                mapped_at_creation: false,
            })
        };
        Self {
            upload: Upload::new(device, "input, upload", sizes.input),
            buffers: StreamBuffers {
                input: buffer("input", sizes.input, BufferUsages::empty()),
                output: buffer("output", sizes.output, BufferUsages::COPY_SRC),
                met: buffer("met", MET_BYTES as u64, BufferUsages::COPY_SRC),
                partials: buffer("partials", sizes.partials, BufferUsages::COPY_SRC),
            },
            download: Readback::new(
                device,
                "output, download",
                sizes.output + MET_BYTES as u64 + sizes.partials,
            ),
            under_way: None,
        }
    }

    /// Uploads a piece, starts work on it, and asks for the result.
    fn submit(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        piece: &Piece,
        uniforms: &Uniforms,
        job: &impl Job,
    ) -> Result<(), DeviceError> {
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let StreamBuffers {
            input,
            output,
            met,
            partials,
        } = &self.buffers;
        let uploaded = &job.input()[piece.input.clone()];
        if !uploaded.is_empty() {
            let upload = self.upload.write(uploaded)?;
            encoder.copy_buffer_to_buffer(upload, 0, input, 0, uploaded.len() as u64);
        }
        encoder.clear_buffer(met, 0, None);
        job.record(piece, uniforms, &self.buffers, &mut encoder);
        let download = self.download.buffer();
        let mut end = 0;
        for (source, len) in [
            (output, piece.output.len()),
            (met, MET_BYTES),
            (partials, piece.partials),
        ] {
            let len = len as u64;
            encoder.copy_buffer_to_buffer(source, 0, download, end, len);
            end += len;
        }

        let submission = queue.submit([encoder.finish()]);
        if !uploaded.is_empty() {
            self.upload.map();
        }
        self.download.map(0..end);
        self.under_way = Some((piece.clone(), submission));
        Ok(())
    }

    /// Waits for the piece under way, if any, and hands it over.
    fn settle(&mut self, device: &wgpu::Device, job: &mut impl Job) -> Result<(), DeviceError> {
        let Some((piece, submission)) = self.under_way.take() else {
            return Ok(());
        };
        fault::wait(device, submission)?;
        let partials = piece.output.len() + MET_BYTES;
        let end = (partials + piece.partials) as u64;
        self.download.read(0..end, |bytes| {
            let (bytes, partials) = bytes.split_at(partials);
            let (output, met) = bytes.split_at(piece.output.len());
            let met = [0, 4].map(|i| u32::from_le_bytes(std::array::from_fn(|b| met[i + b])));
            let made = PieceOutput {
                output,
                met,
                partials,
            };
            job.take(&piece, &made);
        })
    }
}

/// Returns a count within a piece, which is far smaller than 2^32 bytes.
pub(super) fn count(count: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "within a piece")]
    let count = count as u32;
    count
}
