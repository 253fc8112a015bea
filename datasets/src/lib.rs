//! Labelled data for federated classification: where it comes from, and how it is divided.
//!
//! [`load`] turns a [`Source`] into one or two [`Dataset`]s, [`Loaded::split`] sets a test set
//! aside, [`Scaling`] standardises tables, and [`Partition`] deals examples out to the nodes of a
//! simulation.
//!
//! ```
//! use fl_datasets::{DEFAULT_TEST_FRACTION, LoadOptions, Partition, Source, load};
//!
//! let loaded = load(&Source::Digits, &LoadOptions::default())?;
//! let split = loaded.split(DEFAULT_TEST_FRACTION, 42)?;
//! let parts = "dirichlet:0.3".parse::<Partition>()?.parts(split.train.labels(), 3, 42)?;
//! let first_node = split.train.select(&parts[0]);
//! assert_eq!(first_node.schema().classes().len(), 10);
//! # Ok::<(), fl_datasets::Error>(())
//! ```
//!
//! # One schema for all nodes
//!
//! Nodes train one model, so they must agree on what an input is and which output stands for which
//! class. That agreement is a [`Schema`]: discovered once from some data, then given to every node
//! in [`LoadOptions::schema`]. Data that does not fit is a typed error that names the row.
//!
//! # Randomness
//!
//! Whatever is random takes a seed and draws from ChaCha12, a generator whose output is fixed for
//! ever, so the same seed gives the same result on every platform. The one caveat: a Dirichlet draw
//! goes through `ln` and `exp`, whose last bit is the platform's; it moves an example only where a
//! proportion falls on a rounding tie.
//!
//! # Embedded data
//!
//! Both data sets come from the UCI Machine Learning Repository under
//! [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/):
//!
//! * [`Source::Digits`]: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*,
//!   <https://doi.org/10.24432/C50P49>. The test part: 1,797 digits of 8×8 pixels.
//! * [`Source::BreastCancer`]: W. Wolberg, O. Mangasarian and W. Street, *Breast Cancer Wisconsin
//!   (Diagnostic)*, <https://doi.org/10.24432/C5DW2B>. 569 patients, 30 measurements each.

mod arrays;
mod dataset;
mod embedded;
mod error;
mod file;
mod idx;
mod mnist;
mod notice;
mod partition;
mod parts;
mod records;
mod scaling;
mod schema;
mod source;
mod split;
mod table;

pub use arrays::ArrayError;
pub use dataset::Dataset;
pub use error::Error;
pub use notice::Notice;
pub use partition::{Concentration, Partition};
pub use scaling::Scaling;
pub use schema::{Column, ColumnKind, Missing, Schema, Shape};
pub use source::{LoadOptions, Loaded, Source, load, load_unlabelled};
pub use split::{DEFAULT_TEST_FRACTION, Split};
pub use table::{CellFault, FaultKind};
