//! Parquet files: tables, and pictures as Hugging Face stores them.
//!
//! * Columns go by their names, and files in a folder are parts of one table; see
//!   `reader/shards.rs`.
//! * Numbers, decimals, texts, truths and days are read as the same cells would be in CSV. What is
//!   null or NaN is missing. Cells of other kinds, such as lists, are an error that names the
//!   column, unless it is left out or is none of those that are agreed on.
//! * Decompressed by Snappy, Zstandard or gzip.
//! * A file has no more memory than it warrants, by its size, and a panic of the reader is an
//!   error: the reader trusts files, and this crate does not.

#[cfg(not(feature = "parquet"))]
mod absent;
mod error;
mod names;
#[cfg(feature = "parquet")]
mod reader;

#[cfg(not(feature = "parquet"))]
pub(crate) use absent::{load, load_unlabelled};
pub use error::ParquetError;
pub(crate) use names::{is_in, is_parquet};
#[cfg(feature = "parquet")]
pub(crate) use reader::{load, load_unlabelled};
