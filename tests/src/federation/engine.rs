//! An engine that remembers what it was asked to do.

use std::sync::{Arc, Mutex, PoisonError};

use fl_shaders::{Ring, cpu};
use fl_sharing::{
    Blinding, CpuEngine, DeviceError, Engine, EngineError, EpochKey, Input, Mask, MaskKey, Masked,
    RoundingKey, Sign, masked_len,
};

/// One call of the engine by a node.
#[derive(Clone, Debug)]
pub struct Masking {
    /// Keys that were added or taken away.
    pub masks: Vec<([u8; 32], Sign)>,
    /// Key of the stochastic rounding.
    pub rounding: [u8; 32],
    /// The masked sum: what the node uploads.
    pub masked: Vec<u8>,
}

/// Keys of masks, and the sum of those masks: what a holder of a committee reveals.
pub type Revealed = (Vec<[u8; 32]>, Vec<u8>);

/// The CPU engine, with a record of every call.
#[derive(Clone, Debug, Default)]
pub struct RecordingEngine {
    masked: Arc<Mutex<Vec<Masking>>>,
    revealed: Arc<Mutex<Vec<Revealed>>>,
}

impl RecordingEngine {
    /// The calls so far that masked something.
    pub fn calls(&self) -> Vec<Masking> {
        let calls = self.masked.lock();
        calls.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The calls so far that summed up masks.
    pub fn revealed(&self) -> Vec<Revealed> {
        let calls = self.revealed.lock();
        calls.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Engine for RecordingEngine {
    fn mask(
        &self,
        input: &Input<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let done = CpuEngine.mask(input, blinding, masked)?;
        let call = Masking {
            masks: blinding
                .masks
                .iter()
                .map(|mask| (*mask.key.expose(), mask.sign))
                .collect(),
            rounding: *blinding.rounding.expose(),
            masked: masked.to_vec(),
        };
        let mut calls = self.masked.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
        Ok(done)
    }

    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), DeviceError> {
        CpuEngine.sum(ring, keys, sum)?;
        let keys = keys.iter().map(|key| *key.expose()).collect();
        let mut calls = self.revealed.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push((keys, sum.to_vec()));
        Ok(())
    }
}

/// An input, masked by the CPU engine with fresh keys for all else.
///
/// # Errors
///
/// The engine's, or if the system gives no random bytes.
pub fn masked(input: &Input<'_>, masks: &[Mask]) -> anyhow::Result<Vec<u8>> {
    let elements = input.format.header_words() + input.update.len();
    let tag_key = EpochKey::generate()?.tag_key(&[0; 32], elements);
    let blinding = Blinding {
        rounding: &RoundingKey::generate()?,
        masks,
        coefficients: tag_key.coefficients(),
    };
    let mut masked = vec![0; masked_len(input.format, input.update.len())];
    CpuEngine.mask(input, &blinding, &mut masked)?;
    Ok(masked)
}

/// Adds the mask of a key to words of ring u32, or takes it away, as the plain kernels make it.
pub fn add_mask(vector: &mut [u8], key: &[u8; 32], sign: Sign) {
    let words = vector.as_chunks_mut::<4>().0.iter_mut();
    for (word, mask) in words.zip(cpu::chacha20::words(key, 0)) {
        let value = u32::from_le_bytes(*word);
        *word = match sign {
            Sign::Plus => value.wrapping_add(mask).to_le_bytes(),
            Sign::Minus => value.wrapping_sub(mask).to_le_bytes(),
        };
    }
}
