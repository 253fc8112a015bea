//! The one operation that touches every coordinate: encode, split and sum in a single pass.
//!
//! Engines differ in speed only. For the same input and keys all of them write the same bytes,
//! which the kernels of [`fl_shaders::cpu`] define.

use fl_shaders::{
    Coefficients, Counters, FixedPoint, InputScale, Ring, ScaleError, TAG_BLOCK, Tag, Word, cpu,
};

use crate::seed::{MaskKey, RoundingKey};

/// A node's contribution to a round, in clear.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The consortium's fixed-point format.
    pub format: &'a FixedPoint,
    /// The counters of the header; the engine fills in `clipped`.
    pub counters: &'a Counters,
    /// Local model minus global model, flattened in the manifest's order.
    pub update: &'a [f32],
}

/// The secrets with which an input is masked.
#[derive(Clone, Copy)]
pub struct Blinding<'a> {
    /// Rounds the update. Of this node alone, and used once.
    pub rounding: &'a RoundingKey,
    /// Shares that this node gave away or was given.
    pub masks: &'a [Mask],
    /// What the input's tag is made with: see
    /// [`TagKey::coefficients`](crate::TagKey::coefficients).
    pub coefficients: Coefficients<'a>,
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
    /// The linear part of the tag of the vector *before* it was masked, header included. It tells
    /// something about the input, so it is masked itself before it leaves.
    pub tag: Tag,
}

/// Why a vector could not be masked. The output is then all zeros.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The node has no examples, or more than the format allows.
    #[error(transparent)]
    Examples(#[from] ScaleError),
    /// There are other tallies than the format has.
    #[error("{given} tallies; the format has {expected}")]
    Tallies {
        /// [`FixedPoint::tallies`].
        expected: usize,
        /// Number of tallies.
        given: usize,
    },
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
    /// The coefficients of the tag were made for a shorter vector.
    #[error("the coefficients of the tag do not reach to the end of the vector")]
    Coefficients,
    /// The device that computes failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// How the device of an engine failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The device is gone: unplugged, reset by its driver, or destroyed. Only a new engine can go
    /// on.
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
    /// Writes `P = x ± Σ PRG(key)` over the masks, as little-endian words: the header, then the
    /// coordinates.
    ///
    /// Element e of the vector, header included, takes element e of each share; coordinate e is
    /// rounded with keystream word e of the rounding key.
    ///
    /// # Errors
    ///
    /// An [`EngineError`]; `masked` is then all zeros.
    fn mask(
        &self,
        input: &Input<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError>;

    /// Writes `Σ PRG(key)` over `keys`, as little-endian words of `ring`.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`]; `sum` is then all zeros.
    ///
    /// # Panics
    ///
    /// If `sum` is not made of whole words.
    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), DeviceError>;
}

/// The scale of an input, once every length and count is found to fit.
pub(crate) fn checked(
    format: &FixedPoint,
    counters: &Counters,
    coordinates: usize,
    coefficients: Coefficients<'_>,
    given: usize,
) -> Result<InputScale, EngineError> {
    let expected = masked_len(format, coordinates);
    if given != expected {
        return Err(EngineError::Length { expected, given });
    }
    let (expected, tallies) = (format.tallies(), counters.tallies.len());
    if tallies != expected {
        return Err(EngineError::Tallies {
            expected,
            given: tallies,
        });
    }
    let elements = format.header_words() + coordinates;
    let Coefficients { alpha, beta } = coefficients;
    if alpha.len() < elements.div_ceil(TAG_BLOCK) || beta.len() < elements.min(TAG_BLOCK) {
        return Err(EngineError::Coefficients);
    }
    Ok(InputScale::new(format, counters.examples)?)
}

/// Adds the header to a vector that was masked as if its header were zeros. Returns what it adds to
/// the vector's tag.
///
/// Masking is addition, so the header can come last, when the number of clipped coordinates is
/// known.
pub(crate) fn add_header<W: Word>(
    format: &FixedPoint,
    counters: &Counters,
    clipped: u64,
    coefficients: Coefficients<'_>,
    masked: &mut [u8],
) -> Tag {
    let counters = Counters {
        clipped,
        ..counters.clone()
    };
    let header = counters.to_header::<W>(format);
    for (bytes, counter) in masked.chunks_exact_mut(W::BYTES).zip(&header) {
        W::read(bytes).wrapping_add(*counter).write(bytes);
    }
    cpu::tag(&header, 0, coefficients)
}

/// Length in bytes of a masked vector with `coordinates` coordinates.
pub fn masked_len(format: &FixedPoint, coordinates: usize) -> usize {
    (format.header_words() + coordinates) * format.ring().word_bytes()
}
