//! Where data comes from.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::file::DataFile;
use crate::records::Records;
use crate::{
    Dataset, Error, ImageSize, Notice, Schema, Split, arrays, embedded, mnist, parquet, pictures,
    table,
};

/// Where data comes from.
///
/// Written `digits`, `breast-cancer`, or as a path (`./digits` for a folder of that name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The embedded digits: 1,797 images of 1×8×8, classes `0` to `9`.
    Digits,
    /// The embedded tumours: 569 patients, 30 columns, classes `benign` and `malignant`.
    BreastCancer,
    /// A folder of PNG and JPEG pictures in a subfolder for each class, or of such folders called
    /// `train` and `test`; a folder of IDX files in the layout of MNIST, or of Parquet files; a
    /// `.safetensors` with `features` and `labels`; a `.csv`, a `.csv.gz` or a `.parquet`.
    Path(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "digits" => Self::Digits,
            "breast-cancer" => Self::BreastCancer,
            path => Self::Path(path.into()),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => write!(f, "digits"),
            Self::BreastCancer => write!(f, "breast-cancer"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How to read a source.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The name of a table's label column. By default it is the one that the schema names, or the
    /// last.
    pub label: Option<String>,
    /// The schema that the data must fit. By default it is discovered: columns are what their cells
    /// are, and classes are the labels, sorted as numbers if all are numbers and as text otherwise.
    pub schema: Option<Schema>,
    /// Whether the labels of a table are values of a quantity, if there is no schema. By default
    /// they are if they are numbers that differ too much to be classes.
    pub quantity: bool,
    /// The name of a table's column that says which rows belong together, if there is no schema.
    pub group: Option<String>,
    /// Columns of a table that are not used, by their names, or by their places from 1 on.
    pub leave_out: Vec<String>,
    /// Whether the first row of a CSV file holds the columns' names. By default it is found out.
    pub header: Option<bool>,
    /// The size of the images that the rows of a table are, a column a pixel, or that pictures are
    /// brought to. By default rows are measurements, and pictures must be alike.
    pub image: Option<ImageSize>,
}

impl LoadOptions {
    /// Returns something that has no meaning for data of a format, if it is there.
    fn meaningless(&self, format: Format) -> Option<&'static str> {
        if format == Format::Unknown {
            return None;
        }
        let is_table = matches!(format, Format::Text | Format::Parquet);
        let options = [
            (self.label.is_some(), is_table, "a label's column"),
            (self.quantity, is_table, "a quantity"),
            (self.group.is_some(), is_table, "a column to group rows by"),
            (
                !self.leave_out.is_empty(),
                is_table,
                "a column to leave out",
            ),
            (self.header.is_some(), format == Format::Text, "a header"),
            (
                self.image.is_some(),
                is_table || format == Format::Pictures,
                "an image's size",
            ),
        ];
        let mut options = options.into_iter();
        let found = options.find(|(is_said, has_meaning, _)| *is_said && !has_meaning);
        found.map(|(.., option)| option)
    }
}

/// How the data at a path is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A table as text.
    Text,
    Parquet,
    Safetensors,
    /// A folder in the layout of MNIST.
    Idx,
    /// A folder of pictures.
    Pictures,
    /// A file that is none of these.
    Unknown,
}

impl Format {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_lowercase();
        match path.is_dir() {
            true if mnist::is_in(path) => Self::Idx,
            true if parquet::is_in(path) => Self::Parquet,
            true => Self::Pictures,
            false if parquet::is_parquet(path) => Self::Parquet,
            false if name.ends_with(".safetensors") => Self::Safetensors,
            false if name.ends_with(".csv") || name.ends_with(".csv.gz") => Self::Text,
            false => Self::Unknown,
        }
    }
}

/// What a source holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// All examples, or those for training if the source has test examples.
    pub train: Dataset,
    /// The source's own test examples, of the same schema.
    pub test: Option<Dataset>,
    /// What the owner of the data should know of how it was understood.
    pub notices: Vec<Notice>,
}

impl Loaded {
    /// The source's own test set or, if it has none, one of `fraction` of the examples, chosen as
    /// in [`Split::of`].
    ///
    /// # Errors
    ///
    /// Those of [`Split::of`], if the source has no test set.
    pub fn split(self, fraction: f64, seed: u64) -> Result<Split, Error> {
        match self.test {
            Some(test) => Ok(Split {
                train: self.train,
                test,
            }),
            None => Split::of(&self.train, fraction, seed),
        }
    }
}

/// Loads all of `source` into memory.
///
/// Pixels are scaled to `[0, 1]`. The columns of tables stay as they are; see
/// [`Scaling`](crate::Scaling).
///
/// With [`LoadOptions::schema`], the data must have its shape or columns, which are taken by their
/// names where both have names, and no other classes, though some may be missing. A table fits an
/// image schema if it has a column for each pixel: in `[0, 1]`, or of 8 or 16 bits.
/// Pictures in folders are brought to the schema's size, grey or in colour; without a schema they
/// must be alike.
///
/// # Errors
///
/// Whatever is wrong with the file or with its data, by row and column; see [`Error`].
pub fn load(source: &Source, options: &LoadOptions) -> Result<Loaded, Error> {
    let (path, format) = match source {
        // No option has a meaning for these, as for MNIST.
        Source::Digits => (Path::new("digits"), Format::Idx),
        Source::BreastCancer => (Path::new("breast-cancer"), Format::Idx),
        Source::Path(path) => (path.as_path(), Format::of(path)),
    };
    let schema = options.schema.as_ref();
    if let Some(option) = options.meaningless(format) {
        let path = path.into();
        return Err(Error::TableOption { path, option });
    }
    if let Some((size, schema)) = options.image.zip(schema) {
        size.check(schema)?;
    }
    match (source, format) {
        (Source::Digits, _) => whole(embedded::digits()?, schema),
        (Source::BreastCancer, _) => {
            let text = embedded::breast_cancer();
            rows(path, text.as_bytes(), options)
        }
        (_, Format::Idx) => mnist::load(path, schema),
        (_, Format::Parquet) => parquet::load(path, options),
        (_, Format::Pictures) => pictures::load(path, schema, options.image),
        (_, Format::Safetensors) => arrays::safetensors::load(path, schema),
        (_, Format::Unknown) if path.exists() => Err(Error::UnknownFormat { path: path.into() }),
        (_, Format::Text | Format::Unknown) => {
            let text = DataFile::open(path)?.read(u64::MAX)?;
            rows(path, &text, options)
        }
    }
}

/// Loads `source` against a schema, as [`load`] does, but for the labels of a table: it need not
/// have any, and those that it has are not read.
///
/// # Errors
///
/// Whatever is wrong with the file or with its data, by row and column; see [`Error`].
pub fn load_unlabelled(source: &Source, schema: &Schema) -> Result<Loaded, Error> {
    let format = match source {
        Source::Path(path) => Some((path, Format::of(path))),
        _ => None,
    };
    match format {
        Some((path, Format::Text)) => {
            let text = DataFile::open(path)?.read(u64::MAX)?;
            let mut notices = Vec::new();
            let train = table::load_unlabelled(path, &text, schema, &mut notices)?;
            Ok(Loaded {
                train,
                test: None,
                notices,
            })
        }
        Some((path, Format::Parquet)) => parquet::load_unlabelled(path, schema),
        _ => load(source, &table::against(schema)),
    }
}

/// Returns a table.
fn rows(path: &Path, text: &[u8], options: &LoadOptions) -> Result<Loaded, Error> {
    let mut notices = Vec::new();
    let train = table::load(path, text, options, &mut notices)?;
    Ok(Loaded {
        train,
        test: None,
        notices,
    })
}

/// Returns a source without a test set of its own.
fn whole(records: Records, schema: Option<&Schema>) -> Result<Loaded, Error> {
    let train = match schema {
        Some(schema) => records.conform(schema)?,
        None => {
            let schema = records.schema()?;
            records.conform(&schema)?
        }
    };
    Ok(Loaded {
        train,
        test: None,
        notices: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{DEFAULT_TEST_FRACTION, Shape};

    #[test]
    fn sources_are_written_as_they_are_parsed() {
        for text in [
            "digits",
            "breast-cancer",
            "./digits",
            "some folder/data.csv.gz",
        ] {
            let Ok(source) = text.parse::<Source>();
            assert_eq!(source.to_string(), text);
        }
        assert_eq!("digits".parse(), Ok(Source::Digits));
        assert_eq!("./digits".parse(), Ok(Source::Path("./digits".into())));
    }

    #[test]
    fn embedded_sources_load_and_split() {
        for (source, len) in [(Source::Digits, 1797), (Source::BreastCancer, 569)] {
            let loaded = load(&source, &LoadOptions::default()).unwrap();
            let split = loaded.split(DEFAULT_TEST_FRACTION, 1).unwrap();
            assert_eq!(split.train.len() + split.test.len(), len);
        }
    }

    #[test]
    fn a_file_of_another_node_takes_the_schema_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ward.CSV");
        fs::write(&path, "ill,age\nyes,41\nyes,70\n").unwrap();
        let source = Source::Path(path);
        let label = Some("ill".to_owned());
        let alone = LoadOptions {
            label: label.clone(),
            ..LoadOptions::default()
        };
        assert!(matches!(load(&source, &alone), Err(Error::OneClass { .. })));

        let classes = vec!["no".to_owned(), "yes".to_owned()];
        let shape = Shape::Table { columns: 1 };
        let schema = Schema::new(shape, vec!["age".to_owned()], classes).unwrap();
        let shared = LoadOptions {
            label,
            schema: Some(schema.clone()),
            ..LoadOptions::default()
        };
        let loaded = load(&source, &shared).unwrap();
        assert_eq!(loaded.train.schema(), &schema);
        assert_eq!(loaded.train.labels(), [1, 1]);
        assert_eq!(loaded.train.features(), [41.0, 70.0]);
    }

    #[test]
    fn embedded_data_must_fit_a_given_schema() {
        let digits = load(&Source::Digits, &LoadOptions::default()).unwrap();
        let schema = Some(digits.train.schema().clone());
        let options = LoadOptions {
            schema,
            ..LoadOptions::default()
        };
        assert_eq!(load(&Source::Digits, &options).unwrap(), digits);
        let other = load(&Source::BreastCancer, &options);
        assert!(matches!(other, Err(Error::PixelColumns { found: 30, .. })));
    }

    #[test]
    fn unknown_formats_missing_files_and_needless_labels_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.xlsx");
        let source = Source::Path(path.clone());
        let options = LoadOptions::default();
        assert!(matches!(load(&source, &options), Err(Error::Read { .. })));
        fs::write(&path, "PK").unwrap();
        for label in [None, Some("ill".to_owned())] {
            let options = LoadOptions {
                label,
                ..LoadOptions::default()
            };
            assert!(matches!(
                load(&source, &options),
                Err(Error::UnknownFormat { .. })
            ));
        }
        let label = LoadOptions {
            label: Some("digit".to_owned()),
            ..LoadOptions::default()
        };
        assert!(matches!(
            load(&Source::Digits, &label),
            Err(Error::TableOption { .. })
        ));
        let folder = Source::Path(folder.path().into());
        assert!(matches!(
            load(&folder, &label),
            Err(Error::TableOption { .. })
        ));
        let image = LoadOptions {
            image: Some("8x8".parse().unwrap()),
            ..LoadOptions::default()
        };
        assert!(matches!(
            load(&Source::Digits, &image),
            Err(Error::TableOption {
                option: "an image's size",
                ..
            })
        ));
    }
}
