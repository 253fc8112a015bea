//! The ways of averaging that are compared.

use std::fmt;
use std::sync::Arc;

use fl_sharing::{CpuEngine, Engine};

use crate::plain::Unmasked;

/// How a federation of the bench averages.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Mode {
    /// The protocol, as in a deployment.
    Secure,
    /// The same relay and protocol, the updates in clear
    Plain,
    /// Means of plain vectors over the same transport, and nothing else
    Bare,
}

impl Mode {
    /// All, in the order in which they take turns.
    pub(crate) const ALL: [Self; 3] = [Self::Secure, Self::Plain, Self::Bare];

    /// What masks updates, if the protocol runs at all.
    pub(crate) fn engine(self) -> Option<Arc<dyn Engine>> {
        match self {
            Self::Secure => Some(Arc::new(CpuEngine)),
            Self::Plain => Some(Arc::new(Unmasked)),
            Self::Bare => None,
        }
    }

    /// Name of the folder in a kit's in which a party of this federation keeps its state.
    pub(crate) fn state(self) -> String {
        format!("{self}-state")
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secure => "secure",
            Self::Plain => "plain",
            Self::Bare => "bare",
        })
    }
}
