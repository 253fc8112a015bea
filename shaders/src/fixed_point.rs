//! The fixed-point format of a consortium, and the bit budget that keeps a sum from wrapping.
//!
//! A node encodes `round(clamp(u, −C, C) · (n_i / n_max) · 2^f)` (the protocol, section 3). Every
//! number that the format depends on is checked once, when a [`FixedPoint`] is made; holding one is
//! the proof that no honest sum wraps.

use crate::Ring;

/// Largest f. Beyond it `2^−f` and the shifts of the kernels would leave the range of `f32` and of
/// 64-bit words.
const FRACTION_BITS_MAX: u32 = 63;
/// Most tallies: with them, the header stays in the first chunk of a sum.
const TALLIES_MAX: u32 = 8_192;
/// The digits of a sum of reals ([`DIGIT_BITS`](crate::DIGIT_BITS) each) are counters like others.
const DIGIT_MAX: u64 = (1 << crate::DIGIT_BITS) - 1;
/// Exclusive bound on B, so that a 56-bit product of mantissas always has fraction bits left to
/// round.
const BOUND_LIMIT: u64 = 1 << 48;
/// Exclusive bound on `N_max · B` in [`Ring::U64`], so that a sum is unique modulo the tags' prime
/// 2^61 − 1.
const VERIFIABLE_LIMIT: u64 = 1 << 59;

/// The numbers of a [`FixedPoint`], not yet checked against each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// Ring Z_{2^w} of the shares.
    pub ring: Ring,
    /// C: a coordinate of an update is clipped to [−C, C]. Finite, > 0.
    pub clip: f32,
    /// f: the resolution of a coordinate is 2^−f. At most 63.
    pub fraction_bits: u32,
    /// N_max: the most nodes in one sum. At least 1.
    pub nodes_max: u32,
    /// n_max: the most training examples of one node; its update travels at full scale. At least 1.
    pub examples_max: u32,
    /// T: the header ends with so many [`tallies`](crate::Counters::tallies). At most 8,192.
    pub tallies: u32,
}

/// A fixed-point format whose sums provably cannot wrap.
///
/// `N_max · B` with `B = ⌈C · 2^f⌉` is at most 2^31 − 1 in Z_{2^32}, and 2^59 − 1 in Z_{2^64},
/// where tags have to tell sums apart. The same holds for every counter of the header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedPoint {
    parameters: Parameters,
    bound: u64,
    counter_max: u64,
}

/// Why a set of [`Parameters`] is not a [`FixedPoint`], and what to change.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// C is NaN, infinite, zero or negative.
    #[error("clip is {clip}; it must be a finite number above 0")]
    Clip {
        /// C as given.
        clip: f32,
    },
    /// f is out of range.
    #[error("fraction_bits is {fraction_bits}; lower it to at most {FRACTION_BITS_MAX}")]
    FractionBits {
        /// f as given.
        fraction_bits: u32,
    },
    /// There are too many tallies.
    #[error("{tallies} tallies; there may be {TALLIES_MAX}")]
    Tallies {
        /// T as given.
        tallies: u32,
    },
    /// A sum of `N_max` digits could wrap.
    #[error(
        "{nodes_max} nodes are more than can add up tallies in the ring {ring}; \
         lower nodes_max to {limit}, or take a wider ring"
    )]
    TalliesWrap {
        /// Ring as given.
        ring: Ring,
        /// N_max as given.
        nodes_max: u32,
        /// The largest N_max that is allowed.
        limit: u64,
    },
    /// N_max is zero.
    #[error("nodes_max is 0; it must be at least the number of nodes")]
    NoNodes,
    /// n_max is zero.
    #[error("examples_max is 0; it must be at least the largest example count of a node")]
    NoExamples,
    /// One encoded coordinate is too large for the kernels' arithmetic.
    #[error(
        "clip {clip} with {fraction_bits} fraction bits does not stay below 2^48; \
         lower clip or fraction_bits"
    )]
    BoundTooLarge {
        /// C as given.
        clip: f32,
        /// f as given.
        fraction_bits: u32,
    },
    /// A sum of `N_max` coordinates could wrap.
    #[error(
        "{nodes_max} nodes with coordinates up to {bound} exceed {limit} in the ring {ring}: \
         the sum could wrap; lower fraction_bits by {excess_bits}, or lower clip or nodes_max, \
         or take a wider ring"
    )]
    SumWraps {
        /// Ring as given.
        ring: Ring,
        /// N_max as given.
        nodes_max: u32,
        /// B = ⌈C · 2^f⌉.
        bound: u64,
        /// The largest sum that is allowed.
        limit: u64,
        /// How many fraction bits fewer are sure to fit.
        excess_bits: u32,
    },
    /// A sum of `N_max` counters of `n_max` could wrap.
    #[error(
        "examples_max {examples_max} exceeds {counter_max}, the largest counter that {nodes_max} nodes \
         can add up in the ring {ring}; lower nodes_max or examples_max, or take a wider ring"
    )]
    ExamplesExceedCounter {
        /// Ring as given.
        ring: Ring,
        /// n_max as given.
        examples_max: u32,
        /// N_max as given.
        nodes_max: u32,
        /// The most that a sum can be, divided by N_max.
        counter_max: u64,
    },
}

impl FixedPoint {
    /// Checks `parameters` against each other.
    ///
    /// # Errors
    ///
    /// A [`PlanError`] for the first condition that fails.
    pub fn new(parameters: Parameters) -> Result<Self, PlanError> {
        let Parameters {
            ring,
            clip,
            fraction_bits,
            nodes_max,
            examples_max,
            tallies,
        } = parameters;
        if !(clip.is_finite() && clip > 0.0) {
            return Err(PlanError::Clip { clip });
        }
        if fraction_bits > FRACTION_BITS_MAX {
            return Err(PlanError::FractionBits { fraction_bits });
        }
        if tallies > TALLIES_MAX {
            return Err(PlanError::Tallies { tallies });
        }
        if nodes_max == 0 {
            return Err(PlanError::NoNodes);
        }
        if examples_max == 0 {
            return Err(PlanError::NoExamples);
        }
        let bound = bound(clip, fraction_bits).ok_or(PlanError::BoundTooLarge {
            clip,
            fraction_bits,
        })?;
        let limit = match ring {
            Ring::U32 => ring.signed_max(),
            Ring::U64 => VERIFIABLE_LIMIT - 1,
        };
        let largest = limit / u64::from(nodes_max);
        if bound > largest {
            let excess_bits = 64 - (bound / largest.max(1)).leading_zeros();
            return Err(PlanError::SumWraps {
                ring,
                nodes_max,
                bound,
                limit,
                excess_bits,
            });
        }
        let counter_max = limit / u64::from(nodes_max);
        if u64::from(examples_max) > counter_max {
            return Err(PlanError::ExamplesExceedCounter {
                ring,
                examples_max,
                nodes_max,
                counter_max,
            });
        }
        if tallies > 0 && counter_max < DIGIT_MAX {
            return Err(PlanError::TalliesWrap {
                ring,
                nodes_max,
                limit: limit / DIGIT_MAX,
            });
        }
        Ok(Self {
            parameters,
            bound,
            counter_max,
        })
    }

    /// Ring Z_{2^w} of the shares.
    pub fn ring(&self) -> Ring {
        self.parameters.ring
    }

    /// C, the clipping bound of one coordinate.
    pub fn clip(&self) -> f32 {
        self.parameters.clip
    }

    /// f, the number of fraction bits.
    pub fn fraction_bits(&self) -> u32 {
        self.parameters.fraction_bits
    }

    /// N_max, the most nodes in one sum.
    pub fn nodes_max(&self) -> u32 {
        self.parameters.nodes_max
    }

    /// n_max, the most training examples of one node.
    pub fn examples_max(&self) -> u32 {
        self.parameters.examples_max
    }

    /// T, the number of tallies at the end of the header.
    pub fn tallies(&self) -> usize {
        self.parameters.tallies as usize
    }

    /// Returns the number of words before the first coordinate: two, and the tallies.
    pub fn header_words(&self) -> usize {
        2 + self.tallies()
    }

    /// B = ⌈C · 2^f⌉: an encoded coordinate lies in [−B, B].
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// `⌊(2^31 − 1) / N_max⌋` in ring u32, `⌊(2^59 − 1) / N_max⌋` in ring u64: a counter of one
    /// node lies in [0, this].
    pub fn counter_max(&self) -> u64 {
        self.counter_max
    }

    /// Step of the mean, `2^−f · n_max / Σn`, in the unit of the update, for `total_examples` = Σn
    /// > 0.
    pub fn resolution(&self, total_examples: u64) -> f64 {
        f64::from(self.examples_max()) / total_examples as f64 / exp2(self.fraction_bits())
    }

    /// Root-mean-square error that rounding leaves in a coordinate of the mean of `nodes` updates:
    /// `√(N/6) · 2^−f · n_max / Σn`.
    pub fn rms_error(&self, nodes: u32, total_examples: u64) -> f64 {
        (f64::from(nodes) / 6.0).sqrt() * self.resolution(total_examples)
    }
}

/// ⌈clip · 2^fraction_bits⌉, if below [`BOUND_LIMIT`]. Exact: scaling by a power of two does not
/// round.
fn bound(clip: f32, fraction_bits: u32) -> Option<u64> {
    let bound = (f64::from(clip) * exp2(fraction_bits)).ceil();
    #[expect(clippy::cast_possible_truncation, reason = "below 2^48")]
    (bound < BOUND_LIMIT as f64).then_some(bound as u64)
}

/// 2^bits for `bits` ≤ 63.
fn exp2(bits: u32) -> f64 {
    (1_u64 << bits) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(ring: Ring) -> Parameters {
        let defaults = ring.defaults();
        Parameters {
            ring,
            clip: defaults.clip,
            fraction_bits: defaults.fraction_bits,
            nodes_max: defaults.nodes_max,
            examples_max: 1_000,
            tallies: 0,
        }
    }

    #[test]
    fn the_defaults_hold() {
        let format = FixedPoint::new(defaults(Ring::U32)).unwrap();
        assert_eq!(
            (format.bound(), format.counter_max()),
            (1 << 23, (1 << 24) - 1)
        );
        let format = FixedPoint::new(defaults(Ring::U64)).unwrap();
        assert_eq!(
            (format.bound(), format.counter_max()),
            (1 << 39, (1 << 43) - 1)
        );
    }

    #[test]
    fn the_bound_is_rounded_up() {
        let parameters = Parameters {
            clip: 0.3,
            fraction_bits: 1,
            ..defaults(Ring::U32)
        };
        assert_eq!(FixedPoint::new(parameters).unwrap().bound(), 1);
        let clip = f32::from_bits(1);
        let parameters = Parameters {
            clip,
            fraction_bits: 63,
            ..defaults(Ring::U32)
        };
        assert_eq!(FixedPoint::new(parameters).unwrap().bound(), 1);
    }

    #[test]
    fn each_number_is_refused_by_its_own_error() {
        let refuse = |parameters| FixedPoint::new(parameters).unwrap_err();
        let u32s = defaults(Ring::U32);
        for clip in [0.0, -1.0, f32::INFINITY] {
            assert_eq!(
                refuse(Parameters { clip, ..u32s }),
                PlanError::Clip { clip }
            );
        }
        let error = refuse(Parameters {
            clip: f32::NAN,
            ..u32s
        });
        assert!(matches!(error, PlanError::Clip { .. }));
        let error = refuse(Parameters {
            fraction_bits: 64,
            ..u32s
        });
        assert_eq!(error, PlanError::FractionBits { fraction_bits: 64 });
        let error = refuse(Parameters {
            tallies: 8_193,
            ..u32s
        });
        assert_eq!(error, PlanError::Tallies { tallies: 8_193 });
        let many = Parameters {
            fraction_bits: 10,
            nodes_max: 32_769,
            tallies: 4,
            ..u32s
        };
        let error = refuse(many);
        let PlanError::TalliesWrap { limit, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(limit, 32_768);
        assert!(
            FixedPoint::new(Parameters {
                nodes_max: 32_768,
                ..many
            })
            .is_ok()
        );
        assert!(FixedPoint::new(Parameters { tallies: 0, ..many }).is_ok());
        assert_eq!(
            refuse(Parameters {
                nodes_max: 0,
                ..u32s
            }),
            PlanError::NoNodes
        );
        assert_eq!(
            refuse(Parameters {
                examples_max: 0,
                ..u32s
            }),
            PlanError::NoExamples
        );
        let error = refuse(Parameters {
            clip: f32::MAX,
            ..u32s
        });
        assert_eq!(
            error,
            PlanError::BoundTooLarge {
                clip: f32::MAX,
                fraction_bits: 23
            }
        );
    }

    #[test]
    fn sums_stop_just_short_of_wrapping() {
        let fits = |ring, bound: f32, nodes_max| {
            let parameters = Parameters {
                clip: bound,
                fraction_bits: 0,
                nodes_max,
                ..defaults(ring)
            };
            match FixedPoint::new(parameters) {
                Ok(_) => true,
                Err(PlanError::SumWraps { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(fits(Ring::U32, 1.0, i32::MAX.unsigned_abs() / 1_000));
        assert!(!fits(Ring::U32, 8_388_608.0, 256));
        assert!(fits(Ring::U32, 8_388_608.0, 255));
        assert!(!fits(Ring::U64, 2_f32.powi(47), 4_096));
        assert!(fits(Ring::U64, 2_f32.powi(47), 4_095));
    }

    #[test]
    fn the_advice_of_a_wrapping_sum_works() {
        for nodes_max in [129, 1_000, 100_000] {
            let parameters = Parameters {
                nodes_max,
                clip: 0.9,
                ..defaults(Ring::U32)
            };
            let excess = match FixedPoint::new(parameters) {
                Err(PlanError::SumWraps { excess_bits, .. }) => excess_bits,
                Ok(_) => 0,
                Err(error) => panic!("{error}"),
            };
            let fraction_bits = parameters.fraction_bits - excess;
            FixedPoint::new(Parameters {
                fraction_bits,
                ..parameters
            })
            .unwrap();
        }
    }

    #[test]
    fn example_counts_stop_just_short_of_wrapping() {
        let largest = (1 << 24) - 1;
        let u32s = defaults(Ring::U32);
        FixedPoint::new(Parameters {
            examples_max: largest,
            ..u32s
        })
        .unwrap();
        let error = FixedPoint::new(Parameters {
            examples_max: largest + 1,
            ..u32s
        })
        .unwrap_err();
        assert!(matches!(
            error,
            PlanError::ExamplesExceedCounter {
                counter_max: 16_777_215,
                ..
            }
        ));
        assert!(error.to_string().contains("16777216 exceeds 16777215"));
    }

    #[test]
    fn precision_follows_the_formulas() {
        let format = FixedPoint::new(defaults(Ring::U32)).unwrap();
        assert_eq!(format.resolution(1_000), 2_f64.powi(-23));
        assert_eq!(format.resolution(4_000), 2_f64.powi(-25));
        assert_eq!(format.rms_error(6, 1_000), 2_f64.powi(-23));
    }
}
