//! Chooses the fixed-point format of a consortium, and says what it costs in precision.

use std::fmt;

use fl_shaders::{Defaults, FixedPoint, Parameters, PlanError, Ring};

/// The fewest nodes whose sum a participant cannot take apart (the protocol, section 1).
const NODES_MIN: u32 = 3;

/// A format, and the consortium that it was chosen for. Its `Display` explains it to a person.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The format.
    pub format: FixedPoint,
    /// Number of nodes in the consortium.
    pub nodes: u32,
}

/// Why no format fits, and what to change.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PlannerError {
    /// In a consortium this small, the sum gives one node's input away to the other.
    #[error("{nodes} nodes; a sum hides its parts only from {NODES_MIN} nodes on")]
    TooFewNodes {
        /// Number of nodes.
        nodes: u32,
    },
    /// The consortium is larger than any sum may be.
    #[error("{nodes} nodes are more than words of the ring can add up")]
    TooManyNodes {
        /// Number of nodes.
        nodes: u32,
    },
    /// The numbers do not fit each other.
    #[error(transparent)]
    Format(#[from] PlanError),
}

impl Plan {
    /// Chooses the format for `nodes` nodes, with at most `examples_max` training examples each:
    /// n_max, and `tallies` tallies in the header. The closer n_max is, the finer the resolution.
    ///
    /// The format is the ring's default one; for more nodes than that adds up, each doubling costs
    /// one fraction bit.
    ///
    /// # Errors
    ///
    /// A [`PlannerError`] that says what to change.
    pub fn new(
        ring: Ring,
        nodes: u32,
        examples_max: u32,
        tallies: u32,
    ) -> Result<Self, PlannerError> {
        if nodes < NODES_MIN {
            return Err(PlannerError::TooFewNodes { nodes });
        }
        let Defaults {
            clip,
            fraction_bits,
            nodes_max,
        } = ring.defaults();
        let times = u64::from(nodes.div_ceil(nodes_max)).next_power_of_two();
        let fraction_bits = fraction_bits.checked_sub(times.ilog2());
        let nodes_max = u32::try_from(u64::from(nodes_max) * times);
        let (Some(fraction_bits), Ok(nodes_max)) = (fraction_bits, nodes_max) else {
            return Err(PlannerError::TooManyNodes { nodes });
        };
        let format = FixedPoint::new(Parameters {
            ring,
            clip,
            fraction_bits,
            nodes_max,
            examples_max,
            tallies,
        })?;
        Ok(Self { format, nodes })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, nodes } = self;
        let examples_max = u64::from(format.examples_max());
        let all = examples_max * u64::from(*nodes);
        writeln!(
            f,
            "ring {}: clip ±{}, {} fraction bits, sums of up to {} nodes, \
             up to {examples_max} examples a node",
            format.ring(),
            format.clip(),
            format.fraction_bits(),
            format.nodes_max(),
        )?;
        writeln!(
            f,
            "if each of {nodes} nodes has {examples_max} examples: \
             the mean has steps of {:.2e}, RMS error {:.2e}",
            format.resolution(all),
            format.rms_error(*nodes, all),
        )?;
        write!(
            f,
            "if each has a hundredth of that: steps of {:.2e}, RMS error {:.2e}",
            100.0 * format.resolution(all),
            100.0 * format.rms_error(*nodes, all),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_both_rings_are_plans() {
        for ring in [Ring::U32, Ring::U64] {
            let plan = Plan::new(ring, 3, 10_000, 0).unwrap();
            assert_eq!(plan.format.nodes_max(), ring.defaults().nodes_max);
        }
    }

    #[test]
    fn a_plan_explains_itself() {
        let plan = Plan::new(Ring::U32, 3, 1_000, 0).unwrap();
        assert_eq!(
            plan.to_string(),
            "ring u32: clip ±1, 23 fraction bits, sums of up to 128 nodes, \
             up to 1000 examples a node\n\
             if each of 3 nodes has 1000 examples: \
             the mean has steps of 3.97e-8, RMS error 2.81e-8\n\
             if each has a hundredth of that: steps of 3.97e-6, RMS error 2.81e-6"
        );
    }

    #[test]
    fn node_and_example_counts_out_of_range_are_refused() {
        for nodes in 0..3 {
            let error = Plan::new(Ring::U32, nodes, 10, 0).unwrap_err();
            assert_eq!(error, PlannerError::TooFewNodes { nodes });
        }
        assert_eq!(
            Plan::new(Ring::U32, u32::MAX, 10, 0).unwrap_err(),
            PlannerError::TooManyNodes { nodes: u32::MAX }
        );
        let error = Plan::new(Ring::U32, 3, 16_777_216, 0).unwrap_err();
        assert!(matches!(
            error,
            PlannerError::Format(PlanError::ExamplesExceedCounter { .. })
        ));
    }

    #[test]
    fn room_for_more_nodes_costs_fraction_bits() {
        for (ring, nodes, fraction_bits, nodes_max) in [
            (Ring::U32, 128, 23, 128),
            (Ring::U32, 129, 22, 256),
            (Ring::U32, 256, 22, 256),
            (Ring::U32, 257, 21, 512),
            (Ring::U32, 4_000, 18, 4_096),
            (Ring::U64, 65_537, 31, 131_072),
        ] {
            let format = Plan::new(ring, nodes, 1_000, 0).unwrap().format;
            assert_eq!(format.fraction_bits(), fraction_bits, "{nodes}");
            assert_eq!(format.nodes_max(), nodes_max, "{nodes}");
        }
    }
}
