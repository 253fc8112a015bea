//! Everything that can be wrong with data, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::{ArrayError, CellFault, ImageSize, ParquetError, PictureError, Shape};

/// Why data could not be loaded, checked, split or partitioned.
///
/// `path` is the file at fault, or the name of an embedded data set. A `row` is a line of the file
/// counted from 1, the header included; for Parquet files it is a row counted from 1, and for IDX
/// files an example. What a cell says may be told, since messages about data stay on its owner's
/// machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The file.
    /// The file cannot be opened or read.
    #[error("cannot read {path}; check that it exists and that you may read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file begins as gzip but does not decompress.
    #[error("{path} is a gzip file that is cut short or damaged; fetch or copy it again")]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The file is a pipe, a device or the like, which may never end or begin.
    #[error("{path} is no ordinary file but a pipe, a device or the like; give a file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The gzip file decompresses to more than is read. A file that does so may be small.
    #[error(
        "{path} decompresses to more than {most} bytes; if it is what you expect, decompress it \
         and give the plain file"
    )]
    GzipTooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are read at most.
        most: u64,
    },
    /// The path is neither a folder nor named as a format that is known.
    #[error(
        "{path} is no known format; give a folder of pictures, of IDX or of Parquet files, a .csv, \
         a .csv.gz, a .parquet or a .safetensors"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// There is not one example.
    #[error("{path} holds no examples; give a file with at least one")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It was said how to read data that is not of the kind for which this has a meaning.
    #[error("{path} is not a kind of data for which {option} has a meaning; leave it out")]
    TableOption {
        /// The source.
        path: PathBuf,
        /// What was said.
        option: &'static str,
    },

    // IDX.
    /// A file of the MNIST layout is not in the folder.
    #[error("{folder} has no {name}; put it there, plain or with .gz added")]
    IdxMissing {
        /// The folder.
        folder: PathBuf,
        /// The usual name of the file.
        name: String,
    },
    /// The first four bytes are not those of the wanted kind of IDX file.
    #[error(
        "{path} begins with {found:#010x} where IDX has {expected:#010x}; check that images and \
         labels are not swapped and that the file is what its name says"
    )]
    IdxMagic {
        /// The file.
        path: PathBuf,
        /// The magic number of unsigned bytes in the usual number of dimensions.
        expected: u32,
        /// The magic number in the file.
        found: u32,
    },
    /// The file ends inside its header.
    #[error("{path} is {found} bytes, shorter than its {expected}-byte header; fetch it again")]
    IdxHeader {
        /// The file.
        path: PathBuf,
        /// Bytes of header.
        expected: usize,
        /// Bytes of file.
        found: usize,
    },
    /// The file is shorter or longer than its header says.
    #[error("{path} has {found} bytes of data where its header says {expected}; fetch it again")]
    IdxLength {
        /// The file.
        path: PathBuf,
        /// The product of the dimensions in the header, times the size of a number.
        expected: u128,
        /// Bytes after the header; one more than expected stands for any number more.
        found: usize,
    },
    /// Images and labels differ in number.
    #[error("{path} has {images} images but {labels} labels; take both files from one data set")]
    IdxCounts {
        /// The file of images.
        path: PathBuf,
        /// Images in it.
        images: usize,
        /// Labels in the file beside it.
        labels: usize,
    },

    /// An array is at fault, of IDX or safetensors.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// A Parquet file is at fault, or a folder of such files.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// A folder of pictures is at fault, or a picture in it.
    #[error(transparent)]
    Picture(#[from] PictureError),

    // Tables.
    /// The text cannot be read as CSV.
    #[error("{path} is not CSV text; export it again as such")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What the CSV reader said.
        source: csv::Error,
    },
    /// The text is neither UTF-8 nor marked as UTF-16.
    #[error("{path}, line {row}: the text is not UTF-8; save the file as \"CSV UTF-8\"")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The line.
        row: u64,
    },
    /// A column that is to be left out is not there, or is the label's.
    #[error(
        "{path}: no column `{column}` can be left out; it is not there, or has the label, which is \
         in column {label}"
    )]
    LeftOut {
        /// The file.
        path: PathBuf,
        /// The column that was named.
        column: String,
        /// The label's column.
        label: String,
    },
    /// Two columns have one name.
    #[error("{path} has two columns of the name `{name}`; rename or delete one of them")]
    DoubleColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A column of a table with a header has no name.
    #[error("{path}: column {column} has no name; give it one, or leave the column out")]
    NamelessColumn {
        /// The file.
        path: PathBuf,
        /// The column, counted from 1.
        column: usize,
    },
    /// There is no column beside the label.
    #[error(
        "{path} has a single column; a table needs features and a label, in text split by commas"
    )]
    NoFeatures {
        /// The file.
        path: PathBuf,
    },
    /// The header does not have the named label column.
    #[error("{path} has no column `{label}`; its columns are {columns}")]
    LabelColumn {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        label: String,
        /// The first columns that exist, joined by commas.
        columns: String,
    },
    /// There is no header, which could have the named label column.
    #[error(
        "{path} has no header: there are numbers in its first row; put the columns' names above it, \
         and `{label}` above the label"
    )]
    NoHeader {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        label: String,
    },
    /// A row is shorter or longer than the first.
    #[error(
        "{path}, line {row}: {found} cells where the first row has {expected}; complete the row"
    )]
    RowLength {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// Cells in the first row.
        expected: usize,
        /// Cells in this row.
        found: usize,
    },
    /// Cells are not what was agreed, or make no features.
    #[error("{path}, {}", in_words(.faults))]
    Cells {
        /// The file.
        path: PathBuf,
        /// What is wrong, one for each column and kind of fault.
        faults: Vec<CellFault>,
    },
    /// There are more distinct labels than classes can be told apart.
    #[error(
        "{path}, row {row}: the labels up to here are more than {max} different ones; check which \
         column is the label",
        max = crate::Schema::MAX_CLASSES
    )]
    TooManyLabels {
        /// The file.
        path: PathBuf,
        /// The row that is one too many.
        row: u64,
    },
    /// The labels are too many for their rows to be classes.
    #[error(
        "{path}: column {label} has {found} different values in {rows} rows ({classes}), which look \
         like an id or a free text rather than classes; name the column of the label, or group its \
         values"
    )]
    NoClasses {
        /// The file.
        path: PathBuf,
        /// The column.
        label: String,
        /// The first values, joined by commas.
        classes: String,
        /// How many values there are.
        found: usize,
        /// Rows with a label.
        rows: u64,
    },
    /// There is not a column for each pixel of an image and one for the label.
    #[error(
        "{path} has {found} columns beside the label where {shape} take {}; leave out what is no \
         pixel, or give another size", .shape.size()
    )]
    PixelColumns {
        /// The file.
        path: PathBuf,
        /// Columns that are not left out, but for the label.
        found: usize,
        /// The shape of the images.
        shape: Shape,
    },
    /// Both the first and the last column beside pixels may hold the label.
    #[error(
        "{path}: the label may be in the first column as well as in the last; name its column, or \
         put a row of names above the table, with `label` above the label"
    )]
    WhichLabel {
        /// The file.
        path: PathBuf,
    },

    // Data against a schema.
    /// All examples have one label, and no schema says which other classes there are.
    #[error(
        "{path} has only the class `{class}`; give data of two or more classes, or check which \
         column is the label"
    )]
    OneClass {
        /// The file.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A label is none of the schema's classes.
    #[error("{path}, row {row}: the label is none of the classes {classes}; correct or drop it")]
    UnknownLabel {
        /// The file.
        path: PathBuf,
        /// The first row with this label.
        row: u64,
        /// The first classes, joined by commas.
        classes: String,
    },
    /// Examples are not of the schema's shape.
    #[error("{path} has examples of {found} where {expected} is wanted; give data of that shape")]
    ShapeMismatch {
        /// The file.
        path: PathBuf,
        /// The schema's shape.
        expected: Shape,
        /// The data's shape.
        found: Shape,
    },
    /// Columns that were agreed on are not there.
    #[error("{path} lacks the columns {missing}; its columns are {columns}")]
    MissingColumns {
        /// The file.
        path: PathBuf,
        /// The first names that are missing, joined by commas.
        missing: String,
        /// The first columns that exist, joined by commas.
        columns: String,
    },
    /// A table without names has more or fewer columns than agreed.
    #[error(
        "{path} has {found} columns beside the label where {expected} are agreed on; put a row of \
         names above the table, by which its columns can be told"
    )]
    ColumnCount {
        /// The file.
        path: PathBuf,
        /// As agreed.
        expected: usize,
        /// In the file.
        found: usize,
    },

    /// A pixel of an array is outside `[0, 1]`.
    #[error("{path}: pixel {pixel} of example {example} is {value}; scale pixels to 0..1")]
    Intensity {
        /// The file.
        path: PathBuf,
        /// The example, counted from 1.
        example: usize,
        /// The pixel, counted from 1.
        pixel: usize,
        /// Its value.
        value: f32,
    },

    // Values made by a program or read from a manifest.
    /// The text is no size of images.
    #[error(
        "`{0}` is no size of images; write height and width as 28x28, or channels before them as \
         3x32x32"
    )]
    ImageSize(String),
    /// The size of images is not the one that was agreed on.
    #[error("the size {size} is not that of the agreed {expected}; leave it out")]
    SizeMismatch {
        /// The size that was given.
        size: ImageSize,
        /// The agreed shape.
        expected: Shape,
    },
    /// A shape without features, or with too many.
    #[error("{0} is no shape of an example; it needs 1 to {max} numbers", max = Shape::MAX_SIZE)]
    Shape(Shape),
    /// There are column names, but not one for each column of a table.
    #[error("{names} column names do not fit {shape}; name each column of a table, or none")]
    ColumnNames {
        /// Names given.
        names: usize,
        /// The shape.
        shape: Shape,
    },
    /// What is agreed on a column does not hold.
    #[error("the column `{name}` cannot be as it is agreed: {fault}")]
    Column {
        /// The column.
        name: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// Two columns of a schema have one name.
    #[error("the schema has two columns of the name `{0}`; rename or delete one of them")]
    DoubleName(String),
    /// A schema has both pixels and columns.
    #[error("a schema has either an image or columns and a label; delete one of them")]
    ImageColumns,
    /// A schema has both classes and a quantity.
    #[error("a schema has either classes or a quantity; delete one of them")]
    TwoTargets,
    /// The range of a quantity has no inside.
    #[error("the range of the quantity is empty or has no end; correct it, or delete it")]
    QuantityRange,
    /// Labels are classes where the schema has a quantity, or the other way round.
    #[error("the labels are not of the kind that the schema has: classes, or a quantity")]
    OtherTarget,
    /// The classes are fewer than two, or one is empty or there twice.
    #[error("the classes [{0}] are not two or more distinct names; correct the list")]
    Classes(String),
    /// The classes are more than can be told apart.
    #[error("{0} classes are more than {max}; check which column is the label",
        max = crate::Schema::MAX_CLASSES)]
    TooManyClasses(usize),
    /// The number of features is not the number of labels times the size of the shape.
    #[error("{features} features are not {labels} examples of {shape}; the data is incomplete")]
    FeatureCount {
        /// Features given.
        features: usize,
        /// Labels given.
        labels: usize,
        /// The shape of an example.
        shape: Shape,
    },
    /// A feature is NaN or infinite.
    #[error("feature {feature} of example {example} is {value}; features must be finite")]
    Feature {
        /// The example, counted from 0.
        example: usize,
        /// The feature, counted from 0.
        feature: usize,
        /// Its value.
        value: f32,
    },
    /// The groups are not as many as the examples.
    #[error("{groups} numbers of groups for {examples} examples; give one for each")]
    GroupCount {
        /// Groups given.
        groups: usize,
        /// Examples.
        examples: usize,
    },
    /// All examples are of one group, which is not divided.
    #[error(
        "all examples are of one group, which is not divided between training and test data; give \
         test data of its own"
    )]
    OneGroup,
    /// There is no such column to group rows by.
    #[error("{path} has no column `{group}` to group its rows by; its columns are {columns}")]
    GroupColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        group: String,
        /// The first names, joined by commas.
        columns: String,
    },
    /// A quantity is NaN or infinite.
    #[error("the quantity of example {example} is {value}; correct it or drop the example")]
    QuantityValue {
        /// The example, counted from 0.
        example: usize,
        /// What it has.
        value: f32,
    },
    /// A label is not an index into the classes.
    #[error("label {label} of example {example} is not below the {classes} classes")]
    Label {
        /// The example, counted from 0.
        example: usize,
        /// Its label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// The scaling of a quantity is not a finite mean and a positive deviation.
    #[error("the scaling of the quantity is invalid; take it again from the training data")]
    QuantityScaling,
    /// A scaling is not one finite mean and one positive deviation for each column.
    #[error("the scaling of column {column} is invalid; take it again from the training data")]
    Scaling {
        /// The first column at fault, counted from 0.
        column: usize,
    },
    /// A scaling is for another number of columns.
    #[error("the scaling has {scaling} columns but the data is {shape}; use the model's own data")]
    ScalingShape {
        /// Columns of the scaling.
        scaling: usize,
        /// The data's shape.
        shape: Shape,
    },
    /// There is no data to compute from.
    #[error("a scaling cannot be fitted to no examples; give the training data")]
    ScalingEmpty,

    // Dividing.
    /// The fraction of test examples is not between 0 and 1.
    #[error("the test fraction {0} is not between 0 and 1, both excluded; 0.2 is usual")]
    TestFraction(f64),
    /// One example cannot be in both the training and the test set.
    #[error("{0} examples cannot be split in two; give at least 2")]
    TooFewToSplit(usize),
    /// The text names no partition.
    #[error("`{0}` is no partition; use iid, by-label, or dirichlet:ALPHA such as dirichlet:0.3")]
    Partition(String),
    /// The concentration of a Dirichlet partition is out of range.
    #[error("the Dirichlet concentration {0} is not within 0.001 and 1000000; 0.3 is usual")]
    Concentration(f64),
    /// Examples cannot be dealt out to no node.
    #[error("there are no nodes to partition the data for; give at least 1")]
    NoNodes,
    /// Some node would have no example.
    #[error(
        "{examples} examples are too few for {nodes} nodes, {needed} are needed; use fewer nodes"
    )]
    TooFewToPartition {
        /// Examples there are.
        examples: usize,
        /// Nodes asked for.
        nodes: usize,
        /// Examples that this partition needs for so many nodes.
        needed: usize,
    },
}

/// What is wrong with cells, one after the other.
fn in_words(faults: &[CellFault]) -> String {
    const MAX_FAULTS: usize = 10;
    let shown = faults.iter().take(MAX_FAULTS).map(CellFault::to_string);
    let shown = shown.collect::<Vec<_>>().join("; ");
    match faults.len().saturating_sub(MAX_FAULTS) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// The beginning of a name or a cell, short enough for an error message.
pub(crate) fn excerpt(name: &str) -> String {
    const MAX_CHARS: usize = 40;
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// The first of these names, short enough for an error message, and how many there are beside them.
pub(crate) fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    const MAX_NAMES: usize = 10;
    let mut names = names.into_iter();
    let first = names.by_ref().take(MAX_NAMES);
    let first: Vec<_> = first.map(|name| excerpt(name.as_ref())).collect();
    match names.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
