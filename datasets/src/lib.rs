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
//! # Tables
//!
//! * **CSV** (`.csv`, `.csv.gz`): delimiters, decimal commas, headers and what cells hold are found
//!   out.
//! * **Parquet** (`.parquet`, with the feature of that name, which is on by default): columns of
//!   numbers, texts, truths, days and times are read as the same cells in CSV would be, by their
//!   names. Files in a folder, or in its folder `data`, are parts of one table; those whose names
//!   begin with `test` or `val` are its test set, beside others that begin with `train`.
//!
//! A table whose rows are the pixels of images, as MNIST is in CSV, becomes images of the size in
//! [`LoadOptions::image`]: a column for each pixel and one for the label, the first, the last or
//! the one that is called so. Pixels are divided by 255, or by 65,535 if the largest is above 255,
//! or not at all if none is above 1.
//!
//! # Pictures and arrays
//!
//! * **Folders of pictures** have a subfolder of PNG and JPEG files for each class, or two such
//!   folders called `train` and `test` (or `val`). With a schema or a size, pictures are brought to
//!   it, grey or in colour, without regard to proportions; without one they must be alike.
//!   Transparent pixels, CMYK, symbolic links and files that are no pictures are errors; colour
//!   profiles and the orientation that cameras note are ignored.
//! * **Parquet files with pictures**, as Hugging Face stores them, have a column of `struct{bytes,
//!   path}` and one of labels: names, or numbers that the file has names for, all of which are
//!   classes then.
//! * **IDX files** hold `[n, height, width]`, or four dimensions of which the second *or* the last
//!   is 1, 3 or 4 channels.
//! * **Safetensors files** hold `features`, `[n, channels, height, width]`, `[n, height, width]` or
//!   `[n, columns]`, and `labels`, `[n]`; also `test_features` and `test_labels`, if there are any.
//!
//! Pixels that are integers are scaled by the range of their type, so that they are the same at all
//! nodes: 255 of 8 bits is 1. Floats must be in `[0, 1]`. Labels are integers or names of folders,
//! and classes are those that occur.
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
mod image_size;
mod mnist;
mod notice;
mod parquet;
mod partition;
mod parts;
mod pictures;
mod quantity_scaling;
mod records;
mod scaling;
mod schema;
mod source;
mod split;
mod table;
mod units;

pub use arrays::ArrayError;
pub use dataset::Dataset;
pub use error::Error;
pub use image_size::ImageSize;
pub use notice::Notice;
pub use parquet::ParquetError;
pub use partition::{Concentration, Partition};
pub use pictures::PictureError;
pub use quantity_scaling::QuantityScaling;
pub use scaling::Scaling;
pub use schema::{Column, ColumnKind, Missing, Quantity, Schema, Shape, Target};
pub use source::{LoadOptions, Loaded, Source, load, load_unlabelled};
pub use split::{DEFAULT_TEST_FRACTION, Split};
pub use table::{CellFault, Counted, FaultKind};
