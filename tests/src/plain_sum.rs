//! What a sum tells everyone who is sent it.

use fl_protocol::manifest::Manifest;
use fl_protocol::ring_bytes;
use fl_shaders::cpu::dequantize;
use fl_shaders::{Addends, Counters, MeanScale, Word};

/// The sum of some nodes' inputs.
#[derive(Clone, Debug)]
pub struct PlainSum {
    /// Training examples of all.
    pub examples: u64,
    /// The sum of their updates, each times its number of examples, in the order of the layout.
    pub weighted: Vec<f64>,
}

impl PlainSum {
    /// Reads the little-endian words of a sound sum of these inputs.
    ///
    /// # Panics
    ///
    /// If it is not sound, or the ring is not the narrow one, which `provision` takes.
    pub fn read(manifest: &Manifest, addends: Addends, sum: &[u8]) -> Self {
        let plan = manifest.fixed_point();
        assert_eq!(plan.ring(), u32::RING, "the narrow ring");
        let mut words = vec![0_u32; sum.len() / u32::BYTES];
        ring_bytes::read(sum, &mut words);
        let (header, words) = words.split_at(plan.header_words());
        let Counters { examples, .. } = Counters::from_header(header, plan, addends).unwrap();
        let mut mean = vec![0.0; words.len()];
        dequantize(words, MeanScale::new(plan, examples).unwrap(), &mut mean);
        let weighted = mean.iter().map(|mean| f64::from(*mean) * examples as f64);
        Self {
            examples,
            weighted: weighted.collect(),
        }
    }
}
