//! The engine of the plain federation: encodes, rounds and tags as [`CpuEngine`] does, and adds no
//! masks.
//!
//! Everything else is as in the secure federation: keys are agreed on, seeds sealed, hashes, tags
//! and signatures checked, and the same files written. What the secure round takes longer is the
//! price of the masks. It is a bench and no way to run a federation: the relay could read every
//! update.

use fl_shaders::Ring;
use fl_sharing::{Blinding, CpuEngine, DeviceError, Engine, EngineError, Input, MaskKey, Masked};

/// Masks nothing.
pub(crate) struct Unmasked;

impl Engine for Unmasked {
    fn mask(
        &self,
        input: &Input<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let masks = &[];
        CpuEngine.mask(input, &Blinding { masks, ..*blinding }, masked)
    }

    fn sum(&self, _: Ring, _: &[MaskKey], sum: &mut [u8]) -> Result<(), DeviceError> {
        sum.fill(0);
        Ok(())
    }
}
