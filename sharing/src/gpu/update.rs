//! An update, on the host or on the device, and the runs of it that pieces encode.

use std::ops::Range;

use fl_shaders::Word;
use wgpu::{BufferBinding, BufferSize};

use super::masking::{TAG_BYTES, tagging};
use super::stream::Piece;
use crate::engine::DeviceError;

const COORDINATE_BYTES: usize = size_of::<f32>();

/// Where an update is.
#[derive(Clone, Copy, Debug)]
pub(super) enum DeviceUpdate<'a> {
    /// In the memory of the host.
    Host(&'a [f32]),
    /// On the device, as `f32`.
    Device(wgpu::BufferSlice<'a>),
}

impl<'a> DeviceUpdate<'a> {
    /// Returns the number of coordinates.
    pub(super) fn coordinates(&self) -> usize {
        match self {
            Self::Host(update) => update.len(),
            #[expect(clippy::cast_possible_truncation, reason = "it is in memory")]
            Self::Device(slice) => slice.size() as usize / COORDINATE_BYTES,
        }
    }

    /// Refuses a slice that holds no whole number of coordinates.
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        let unit = COORDINATE_BYTES as u64;
        match self {
            Self::Device(slice)
                if !slice.offset().is_multiple_of(unit) || !slice.size().is_multiple_of(unit) =>
            {
                let reason = "an update begins and ends at multiples of four bytes".into();
                Err(DeviceError::Refused { reason })
            }
            _ => Ok(()),
        }
    }

    /// Returns the bytes to upload.
    pub(super) fn host_bytes(&self) -> &'a [u8] {
        match self {
            Self::Host(update) => bytemuck::cast_slice(update),
            Self::Device(_) => &[],
        }
    }

    /// The pieces of the vector that this update gives behind `header_words`, each of at most
    /// `piece_bytes`, a multiple of a block.
    pub(super) fn pieces<W: Word>(&self, header_words: usize, piece_bytes: usize) -> Vec<Piece> {
        let len = (header_words + self.coordinates()) * W::BYTES;
        let starts = (0..len).step_by(piece_bytes);
        let piece = |(index, start): (usize, usize)| {
            let output = start..len.min(start + piece_bytes);
            let UpdateRun { first, count, .. } = UpdateRun::of::<W>(header_words, &output);
            let input = match self {
                Self::Host(_) => first * COORDINATE_BYTES..(first + count) * COORDINATE_BYTES,
                Self::Device(_) => 0..0,
            };
            Piece {
                index,
                input,
                partials: tagging::<W>(&output).runs() as usize * TAG_BYTES,
                output,
            }
        };
        starts.enumerate().map(piece).collect()
    }

    /// Returns where the binding of a run begins, in bytes, and the index of the first coordinate
    /// in it.
    pub(super) fn start(&self, device: &wgpu::Device, run: &UpdateRun) -> (u64, u32) {
        let Self::Device(slice) = self else {
            return (0, 0);
        };
        let start = slice.offset() + (run.first * COORDINATE_BYTES) as u64;
        let surplus = start % u64::from(device.limits().min_storage_buffer_offset_alignment);
        #[expect(clippy::cast_possible_truncation, reason = "below the alignment")]
        let index = (surplus as usize / COORDINATE_BYTES) as u32;
        (start - surplus, index)
    }

    /// The binding of a run.
    pub(super) fn binding<'b>(
        &self,
        device: &wgpu::Device,
        run: &UpdateRun,
        input: &'b wgpu::Buffer,
    ) -> BufferBinding<'b>
    where
        'a: 'b,
    {
        let (offset, index) = self.start(device, run);
        BufferBinding {
            buffer: match self {
                Self::Host(_) => input,
                Self::Device(slice) => slice.buffer(),
            },
            offset,
            size: BufferSize::new(((index as usize + run.count) * COORDINATE_BYTES) as u64),
        }
    }
}

/// The coordinates of a piece.
pub(super) struct UpdateRun {
    /// Number of header words before them.
    pub(super) header: usize,
    /// The first.
    pub(super) first: usize,
    /// How many there are.
    pub(super) count: usize,
}

impl UpdateRun {
    /// Those that the bytes `output` of a vector with a header of `header_words` encode.
    pub(super) fn of<W: Word>(header_words: usize, output: &Range<usize>) -> Self {
        let (element, words) = (output.start / W::BYTES, output.len() / W::BYTES);
        let header = header_words.saturating_sub(element).min(words);
        Self {
            header,
            first: (element + header).saturating_sub(header_words),
            count: words - header,
        }
    }
}
