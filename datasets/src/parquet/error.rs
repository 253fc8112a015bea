//! What can be wrong with Parquet files.

use std::path::PathBuf;

/// Why a Parquet file, or a folder of such files, was not read.
///
/// A `row` is counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum ParquetError {
    /// The program cannot read Parquet.
    #[error(
        "{path} is Parquet, which this program was built without; build it with the feature \
         parquet, or give a .csv"
    )]
    NotBuilt {
        /// The file or the folder.
        path: PathBuf,
    },
    /// Not Parquet, or damaged, or of a kind that is not read.
    #[error("{path} is no Parquet file, damaged or of an unusual kind ({said}); write it again")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        said: String,
    },
    /// A file is too large to be read.
    #[error("{path} is more than {max} bytes; divide it into several in one folder")]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are read at most.
        max: u64,
    },
    /// There is more in a file than its size warrants.
    #[error(
        "{path} has more than {max} {what}, which is more than a file of its size is expected to \
         have; if it is what you expect, give it as .csv"
    )]
    Bloated {
        /// The file.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// As much of it is read at most.
        max: u64,
    },
    /// A file is compressed in a way that is not read.
    #[error("{path} is compressed by {codec}; write it with Snappy, Zstandard, gzip or nothing")]
    Codec {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        codec: String,
    },
    /// The cells of a column are no numbers, texts, truths or days.
    #[error(
        "{path}: column `{column}` has cells of the type {found}, which are no features; turn them \
         into numbers or texts, or leave the column out"
    )]
    Type {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What its cells are.
        found: String,
    },
    /// The files of a folder do not have the same columns.
    #[error(
        "{path} has the columns {found} where {first} has {expected}; give files of the same \
         columns in the same order"
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// Its first columns, joined by commas.
        found: String,
        /// The first file.
        first: PathBuf,
        /// Its first columns.
        expected: String,
    },
    /// Some of the files in a folder are for training or for testing, and one is for neither.
    #[error(
        "{path} lies beside files for training or testing, but its name begins with neither train \
         nor test; move it elsewhere"
    )]
    Stray {
        /// The file.
        path: PathBuf,
    },
    /// There are files for testing alone.
    #[error("{folder} has files for testing, but none whose name begins with train; put it there")]
    NoTrain {
        /// The folder.
        folder: PathBuf,
    },
    /// There are two parts that may be the test set.
    #[error(
        "{folder} has files of {first} as well as of {second}, and there is one test set; move \
         those of one elsewhere"
    )]
    TwoTestSets {
        /// The folder.
        folder: PathBuf,
        /// How the names of some begin.
        first: String,
        /// How those of others do.
        second: String,
    },
    /// A part is divided into several files, and they are not all there.
    #[error("{folder} has {found} of the {expected} files of {part}; fetch the others as well")]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// How their names begin.
        part: String,
        /// Files that are there.
        found: usize,
        /// Files by their names.
        expected: usize,
    },

    // Pictures.
    /// Several columns have pictures.
    #[error("{path} has pictures in the columns {columns}; leave one of them, or leave others out")]
    TwoPictures {
        /// The file.
        path: PathBuf,
        /// The columns.
        columns: String,
    },
    /// There is no telling which column has the labels of pictures.
    #[error("{path} has pictures and the columns {columns}; name the one that holds the label")]
    NoLabel {
        /// The file.
        path: PathBuf,
        /// The first columns beside the pictures.
        columns: String,
    },
    /// A row has no picture.
    #[error("{path}, row {row}: the picture is not in the file, or missing; store its bytes there")]
    NoPicture {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
    },
    /// A label has no name among those that the file gives.
    #[error("{path}, row {row}: the label {label} is none of the {names} that the file names")]
    Unnamed {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The label.
        label: String,
        /// How many names there are.
        names: usize,
    },
    /// The pictures do not fit into memory.
    #[error(
        "{rows} pictures of {path} do not fit into memory; choose a smaller size, or give fewer"
    )]
    Memory {
        /// The file or the folder.
        path: PathBuf,
        /// Pictures.
        rows: u64,
    },
}
