//! The kernels in plain Rust, one module each. They define the result; nothing here is fast on
//! purpose.
//!
//! All arithmetic is on integers: 32-bit operations, 32 × 32 → 64-bit products, and shifts. A
//! kernel on a GPU without 64-bit integers or exact floating point can therefore reproduce every
//! word.

pub mod chacha20;
mod dequantize;
mod mask;
mod quantize;
mod split;
mod sum;
mod tag;

pub use dequantize::dequantize;
pub use mask::mask;
pub use quantize::{Quantized, quantize};
pub use split::split;
pub use sum::sum;
pub use tag::tag;
