//! How a row is found again.

use std::path::PathBuf;

/// What the number of a row counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// Lines of the file from 1 on, the header included.
    #[default]
    Lines,
    /// Rows of the file from 1 on.
    Rows,
    /// Rows from 1 on of this file, which is one of several.
    RowsOf(PathBuf),
}

impl Counted {
    /// Returns where the row of this number is.
    pub(crate) fn place(&self, row: u64) -> String {
        match self {
            Self::Lines => format!("line {row}"),
            Self::Rows => format!("row {row}"),
            Self::RowsOf(file) => format!("row {row} of {}", file.display()),
        }
    }
}
