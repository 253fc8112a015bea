//! The shape of one example.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The shape of one example, as a model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shape {
    /// Pixels in `[0, 1]`, in the order `[channels, height, width]`.
    Image {
        /// Colour channels.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
    },
    /// Measurements, each in its own unit.
    Table {
        /// Numbers that a row becomes, without the label.
        columns: usize,
    },
}

impl Shape {
    /// The most features an example may have: 2²⁴.
    pub const MAX_SIZE: usize = 1 << 24;

    /// Features in one example.
    pub fn size(&self) -> usize {
        match *self {
            Self::Image {
                channels,
                height,
                width,
            } => channels.saturating_mul(height).saturating_mul(width),
            Self::Table { columns } => columns,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image {
                channels,
                height,
                width,
            } => {
                write!(f, "{channels}×{height}×{width} pixels")
            }
            Self::Table { columns: 1 } => write!(f, "1 column"),
            Self::Table { columns } => write!(f, "{columns} columns"),
        }
    }
}
