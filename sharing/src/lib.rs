//! Additive secret sharing of model updates: fixed point, seeds, sealing, and the engine that masks
//! a vector.
//!
//! A node's input vector is split into additive shares. All shares but one are seeds of 32 bytes,
//! which [`seal`] encrypts to their receivers; the last is the vector minus the expanded seeds. An
//! [`Engine`] does the split and the sum of what the others sent in one pass, so no expanded share
//! is ever in memory.
//!
//! ```
//! use fl_shaders::{Counters, Ring};
//! use fl_sharing::{Blinding, CpuEngine, Engine, EpochKey, Input, Mask, Plan, RoundingKey, Seed,
//! Sign, masked_len};
//!
//! let format = Plan::new(Ring::U32, 3, 1_000, 0)?.format;
//! let update = vec![0.25; 1_000];
//! let counters = Counters { examples: 800, ..Counters::default() };
//! let input = Input { format: &format, counters: &counters, update: &update };
//!
//! let ctx = [7; 32];
//! let (to_peer, from_peer) = (Seed::generate()?, Seed::generate()?);
//! let masks = [
//!     Mask { key: to_peer.expand(&ctx), sign: Sign::Minus },
//!     Mask { key: from_peer.expand(&ctx), sign: Sign::Plus },
//! ];
//! let tag_key = EpochKey::generate()?.tag_key(&ctx, format.header_words() + update.len());
//! let rounding = RoundingKey::generate()?;
//! let blinding = Blinding { rounding: &rounding, masks: &masks, coefficients:
//! tag_key.coefficients() };
//! let mut masked = vec![0; masked_len(&format, update.len())];
//! CpuEngine.mask(&input, &blinding, &mut masked)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cpu;
mod engine;
#[cfg(feature = "gpu")]
pub mod gpu;
mod planner;
mod seal;
mod seed;
mod tag;
mod x25519;

pub use cpu::CpuEngine;
pub use engine::{
    Blinding, DeviceError, Engine, EngineError, Input, Mask, Masked, Sign, masked_len,
};
#[cfg(feature = "gpu")]
pub use gpu::GpuEngine;
pub use planner::{Plan, PlannerError};
pub use seal::{
    PUBLIC_KEY_BYTES, RoundKey, SEALED_BYTES, SealError, is_public_key, seal, seal_all,
    sealed_bytes,
};
pub use seed::{MaskKey, RandomnessError, RoundingKey, Seed, random_bytes};
pub use tag::{EpochKey, TagKey, Verification};
