//! The arithmetic of secure aggregation: rings, fixed point, the input vector, and one module a
//! kernel.
//!
//! Everything here is defined on integers, so that every CPU and every GPU obtains the same words.
//! The modules of [`cpu`] are written plainly and *define* the result; faster code, on whatever
//! device, must equal them word for word. The modules of [`kernel`] are the same in WGSL, for GPUs;
//! this crate does not call one.

pub mod cpu;
mod fixed_point;
mod instructions;
pub mod kernel;
mod ring;
mod scale;
mod tag;
pub mod uniform;
mod vector;

pub use fixed_point::{FixedPoint, Parameters, PlanError};
pub use instructions::{Instructions, Work};
pub use ring::{Defaults, Ring, Word};
pub use scale::{InputScale, MeanScale, ScaleError};
pub use tag::{Beta, Coefficients, TAG_BLOCK, Tag};
pub use vector::{Addends, Counters, DIGIT_BITS, TotalsError};

/// Length of a chunk, in 32-bit keystream words: 256 KiB, or 4,096 ChaCha20 blocks (the protocol,
/// section 4).
///
/// A chunk holds 65,536 elements of [`Ring::U32`] or 32,768 of [`Ring::U64`], and starts on a block
/// boundary, so any chunk of a share can be made alone.
pub const CHUNK_WORDS: usize = 65_536;
