//! What was understood of a source that is not an error, but that its owner should know.

use std::fmt;

use crate::Counted;

/// Something about data that its owner should know. It stays on the owner's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The first row holds the columns' names, although there are numbers in it.
    NumericHeader,
    /// The table has no header, so that its columns are taken in the agreed order.
    NoHeader,
    /// Cells are not set apart by commas, or numbers not written with points.
    Dialect {
        /// What stands between cells.
        delimiter: char,
        /// What stands before the fraction of a number.
        decimal: char,
    },
    /// The text is UTF-16.
    Utf16,
    /// Rows without a label are left out.
    NoLabel {
        /// How many.
        rows: u64,
        /// The line or the row of the first one.
        first: u64,
        /// Which of them it is.
        counted: Counted,
    },
    /// Columns that nobody agreed on are not used.
    Ignored {
        /// The first names, joined by commas.
        columns: String,
    },
    /// A column has another spelling than agreed.
    Spelling {
        /// As agreed.
        agreed: String,
        /// As found.
        found: String,
    },
    /// A column is not used, since it tells rows apart and nothing else.
    Id {
        /// Its name, or its place.
        column: String,
    },
    /// A column is not used, since it says whose a row is.
    Owner {
        /// Its name, or its place.
        column: String,
    },
    /// A column is not used, since it is empty.
    Empty {
        /// Its name, or its place.
        column: String,
    },
    /// A column has the same value in all rows.
    Constant {
        /// Its name, or its place.
        column: String,
    },
    /// A column has cells without a value, for which the mean stands in.
    Gaps {
        /// Its name, or its place.
        column: String,
        /// How many.
        cells: u64,
    },
    /// Cells have a value that is none of the agreed categories.
    OtherValues {
        /// The column's name, or its place.
        column: String,
        /// The first such value.
        found: String,
        /// How many cells.
        cells: u64,
    },
    /// The labels are taken for values of a quantity.
    Quantity {
        /// The column's name, or its place.
        label: String,
    },
    /// Pixels are not in `[0, 1]`, and are scaled to it.
    Scaled {
        /// What they are divided by.
        most: u16,
        /// The largest one, as text.
        largest: String,
    },
    /// Two classes differ in case only.
    LikeClasses {
        /// One.
        one: String,
        /// The other.
        other: String,
    },
    /// The numbers of a column are far from those that were agreed on.
    OtherUnits {
        /// The column's name, or its place.
        column: String,
        /// The mean of these numbers, as text.
        mean: String,
        /// The agreed mean and deviation, as text.
        agreed: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { column } => write!(
                f,
                "column {column} is not used: by its name, it says whose a row is; --group keeps the \
                 rows of one together where some are held back"
            ),
            Self::Quantity { label } => write!(
                f,
                "column {label} is taken for a quantity, which a model predicts as a number; if its numbers stand for classes, \
                 write them as words"
            ),
            Self::NumericHeader => write!(
                f,
                "the first row is taken for the columns' names, although there are numbers in it; \
                 if it is an example, put a row of names above it"
            ),
            Self::NoHeader => write!(
                f,
                "there is no row of names, so the columns are taken in the agreed order"
            ),
            Self::Dialect { delimiter, decimal } => write!(
                f,
                "cells are set apart by {delimiter:?}, and numbers are written with {decimal:?}"
            ),
            Self::Utf16 => write!(f, "the text is UTF-16"),
            Self::NoLabel {
                rows,
                first,
                counted,
            } => {
                let first = counted.place(*first);
                write!(
                    f,
                    "{rows} rows without a label are left out, the first: {first}"
                )
            }
            Self::Ignored { columns } => write!(f, "these columns are not used: {columns}"),
            Self::Spelling { agreed, found } => {
                write!(f, "column `{found}` is taken for the agreed `{agreed}`")
            }
            Self::Id { column } => write!(
                f,
                "column {column} is not used: it tells rows apart, and tells nothing of new ones"
            ),
            Self::Empty { column } => write!(f, "column {column} is not used: it is empty"),
            Self::Constant { column } => write!(
                f,
                "column {column} has the same value in all rows; its values will not be scaled"
            ),
            Self::Gaps { column, cells } => write!(
                f,
                "column {column} has {cells} cells without a value; its mean stands in for them"
            ),
            Self::OtherValues {
                column,
                found,
                cells,
            } => write!(
                f,
                "column {column} has {cells} cells of other values than agreed, such as `{found}`"
            ),
            Self::Scaled { most, largest } => {
                write!(
                    f,
                    "pixels are divided by {most}, the largest being {largest}"
                )
            }
            Self::LikeClasses { one, other } => write!(
                f,
                "the classes `{one}` and `{other}` differ in case only; spell them alike if they \
                 are one"
            ),
            Self::OtherUnits {
                column,
                mean,
                agreed,
            } => write!(
                f,
                "column {column} has a mean of {mean} where {agreed} was agreed; is it in another \
                 unit?"
            ),
        }
    }
}
