//! An engine that remembers what it was asked to do.

use std::sync::{Arc, Mutex, PoisonError};

use fl_sharing::{CpuEngine, Engine, EngineError, Input, Mask, Masked, RoundingKey, Sign};

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

/// The CPU engine, with a record of every call.
#[derive(Clone, Debug, Default)]
pub struct RecordingEngine(Arc<Mutex<Vec<Masking>>>);

impl RecordingEngine {
    /// The calls so far.
    pub fn calls(&self) -> Vec<Masking> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Engine for RecordingEngine {
    fn mask(
        &self,
        input: &Input<'_>,
        rounding: &RoundingKey,
        masks: &[Mask],
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let done = CpuEngine.mask(input, rounding, masks, masked)?;
        let call = Masking {
            masks: masks
                .iter()
                .map(|mask| (*mask.key.expose(), mask.sign))
                .collect(),
            rounding: *rounding.expose(),
            masked: masked.to_vec(),
        };
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
        Ok(done)
    }
}
