//! The one operation that touches every coordinate: encode, split and sum in a single pass.
//!
//! Engines differ in speed only. For the same input and keys all of them write the same bytes, which the kernels of
//! [`fl_shaders::cpu`] define.

use fl_shaders::{Counters, FixedPoint, HEADER_WORDS, InputScale, ScaleError, Word};

use crate::seed::{MaskKey, RoundingKey};
use crate::words::{read_word, write_word};

/// A node's contribution to a round, in clear.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The consortium's fixed-point format.
    pub format: &'a FixedPoint,
    /// The counters of the header; the engine fills in `clipped`.
    pub counters: Counters,
    /// Local model minus global model, flattened in the manifest's order.
    pub update: &'a [f32],
}

/// An expanded share and what to do with it.
#[derive(Debug)]
pub struct Mask {
    /// Key of the share.
    pub key: MaskKey,
    /// Whether the share is taken away or added.
    pub sign: Sign,
}

/// What a mask does to the vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The share came from another node: add it.
    Plus,
    /// The share goes to another node: subtract it.
    Minus,
}

/// What an engine met while masking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masked {
    /// Number of coordinates that were clipped to ±C.
    pub clipped: u64,
}

/// Why a vector could not be masked. The output is then all zeros.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The node has no examples, or more than the format allows.
    #[error(transparent)]
    Examples(#[from] ScaleError),
    /// The output buffer has the wrong length.
    #[error("the masked vector takes {expected} bytes, but the buffer has {given}")]
    Length {
        /// [`masked_len`] of the input.
        expected: usize,
        /// Length of the buffer.
        given: usize,
    },
    /// A coordinate of the update is NaN or infinite.
    #[error("coordinate {coordinate} of the update is not finite")]
    NonFinite {
        /// Index of the first such coordinate.
        coordinate: u64,
    },
    /// The device that computes failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// How the device of an engine failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The device is gone: unplugged, reset by its driver, or destroyed. Only a new engine can go on.
    #[error("the GPU was lost; restart, or run without it")]
    Lost,
    /// The device has no memory left. A later call may succeed.
    #[error("the GPU is out of memory; free some, or run without it")]
    OutOfMemory,
    /// The driver or the device refused an operation. A later call may succeed.
    #[error("the GPU refused an operation: {reason}")]
    Refused {
        /// In the words of the graphics library.
        reason: String,
    },
}

/// Masks input vectors. Implementations must agree byte for byte.
pub trait Engine: Send + Sync {
    /// Writes `P = x ± Σ PRG(key)` over `masks`, as little-endian words: the header, then the coordinates.
    ///
    /// Element e of the vector, header included, takes element e of each share; coordinate e is rounded with keystream
    /// word e of `rounding`.
    ///
    /// # Errors
    ///
    /// An [`EngineError`]; `masked` is then all zeros.
    fn mask(
        &self,
        input: &Input<'_>,
        rounding: &RoundingKey,
        masks: &[Mask],
        masked: &mut [u8],
    ) -> Result<Masked, EngineError>;
}

/// The scale of an input, once every length and count is found to fit.
pub(crate) fn checked(
    format: &FixedPoint,
    counters: &Counters,
    coordinates: usize,
    given: usize,
) -> Result<InputScale, EngineError> {
    let expected = masked_len(format, coordinates);
    if given != expected {
        return Err(EngineError::Length { expected, given });
    }
    Ok(InputScale::new(format, counters.examples)?)
}

/// Adds the header to a vector that was masked as if its header were zeros.
///
/// Masking is addition, so the header can come last, when the number of clipped coordinates is known.
pub(crate) fn add_header<W: Word>(
    format: &FixedPoint,
    counters: Counters,
    clipped: u64,
    masked: &mut [u8],
) {
    let header = Counters {
        clipped,
        ..counters
    }
    .to_header::<W>(format);
    for (bytes, counter) in masked.chunks_exact_mut(W::BYTES).zip(header) {
        write_word(bytes, read_word::<W>(bytes).wrapping_add(counter));
    }
}

/// Length in bytes of a masked vector with `coordinates` coordinates.
pub fn masked_len(format: &FixedPoint, coordinates: usize) -> usize {
    (HEADER_WORDS + coordinates) * format.ring().word_bytes()
}
