//! Pictures in a column, as Hugging Face stores them.
//!
//! A column of `struct{bytes, path}` has the PNG or JPEG of each row, of which `path` counts for
//! nothing. Beside it is the label: numbers, of which the file may say what they are called, or
//! names.

use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, BinaryViewArray, RecordBatch};
use arrow_schema::DataType;
use serde_json::Value;

use super::super::ParquetError;
use super::cell::writer;
use super::file::ParquetFile;
use super::rows::{kind, place};
use super::shards::Shards;
use crate::error::{excerpt, list};
use crate::pictures::{self, parallel};
use crate::records::{Classes, Records};
use crate::{Dataset, Error, LoadOptions, Loaded, Notice, Schema, Shape, parts, table};

/// The key under which the writer of a file says what its columns are.
const FEATURES: &str = "huggingface";

/// The name of the label's column, if nobody says another.
const LABEL: &str = "label";

/// The number of a label that is not told.
const UNTOLD: &str = "-1";

/// Whether rows could be taken.
type Taken = Result<(), Error>;

/// A table that has pictures.
pub(super) struct Pictures<'a> {
    shards: &'a Shards,
    open: &'a ParquetFile,
    /// The column of the pictures.
    pictures: usize,
}

/// The column of the label.
struct Label {
    place: usize,
    /// What its numbers are called, or nothing.
    names: Vec<String>,
}

/// What is known of the rows of some files.
struct Found {
    /// For each row, its class, if it has one.
    labels: Vec<Option<u32>>,
    classes: Classes,
    /// The shapes of those with a label.
    shapes: Vec<Shape>,
    /// Rows of each file.
    counts: Vec<u64>,
}

impl<'a> Pictures<'a> {
    /// Returns the pictures of a file that has a column of them.
    ///
    /// # Errors
    ///
    /// It has several.
    pub(super) fn of(
        shards: &'a Shards,
        open: &'a ParquetFile,
        leave_out: &[String],
    ) -> Result<Option<Self>, Error> {
        let is_left = |name: &String| leave_out.contains(name);
        let fields = open.fields().iter().enumerate();
        let found: Vec<_> = fields
            .filter(|(_, field)| has_pictures(field.data_type()) && !is_left(field.name()))
            .collect();
        match found[..] {
            [] => Ok(None),
            [(pictures, _)] => Ok(Some(Self {
                shards,
                open,
                pictures,
            })),
            _ => Err(ParquetError::TwoPictures {
                path: open.path().into(),
                columns: list(found.iter().map(|(_, field)| field.name())),
            }
            .into()),
        }
    }

    /// Loads them, against the agreed schema or the one that fits them.
    ///
    /// # Errors
    ///
    /// A picture cannot be read, or has no label that is a class.
    pub(super) fn load(&self, options: &LoadOptions) -> Result<Loaded, Error> {
        let label = self.label(options)?;
        let schema = options.schema.as_ref();
        let shards = self.shards;
        let train = self.find(&shards.train, Some(&label), schema)?;
        let test = match shards.test.is_empty() {
            true => None,
            false => Some(self.find(&shards.test, Some(&label), schema)?),
        };
        let shape = match schema {
            Some(schema) => self.wanted(schema)?,
            None => {
                let parts = [Some(&train), test.as_ref()].into_iter().flatten();
                let shapes: Vec<_> = parts.flat_map(|part| part.shapes.clone()).collect();
                pictures::common_shape(&shards.path, &shapes, options.image, |at| {
                    let in_test = at.checked_sub(train.shapes.len());
                    match test.as_ref().zip(in_test) {
                        Some((test, at)) => test.named(&shards.path, &shards.test, at),
                        None => train.named(&shards.path, &shards.train, at),
                    }
                })?
            }
        };
        let named = match schema {
            None if !label.names.is_empty() => {
                Some(Schema::new(shape, vec![], label.names.clone())?)
            }
            _ => None,
        };
        let mut notices = vec![];
        let mut records = |files: &[PathBuf], found: Found| -> Result<Records, Error> {
            let features = self.pixels(files, &found, shape)?;
            notices.extend(self.unlabelled(files, &found));
            Ok(Records {
                path: shards.path.clone(),
                shape,
                features,
                classes: found.classes.into_vec(),
                labels: found.labels.into_iter().flatten().collect(),
            })
        };
        let train = records(&shards.train, train)?;
        let test = test.map(|test| records(&shards.test, test)).transpose()?;
        let loaded = parts::loaded(train, test, schema.or(named.as_ref()))?;
        Ok(Loaded { notices, ..loaded })
    }

    /// Loads them against a schema, whether they have labels or not.
    ///
    /// # Errors
    ///
    /// A picture cannot be read.
    pub(super) fn load_unlabelled(&self, schema: &Schema) -> Result<Loaded, Error> {
        let shape = self.wanted(schema)?;
        let part = |files: &[PathBuf]| {
            let found = self.find(files, None, Some(schema))?;
            let features = self.pixels(files, &found, shape)?;
            Dataset::unlabelled(schema.clone(), features)
        };
        Ok(Loaded {
            train: part(&self.shards.train)?,
            test: match self.shards.test.is_empty() {
                true => None,
                false => Some(part(&self.shards.test)?),
            },
            notices: vec![],
        })
    }

    fn wanted(&self, schema: &Schema) -> Result<Shape, Error> {
        pictures::wanted(&self.shards.path, schema, || None)
    }

    /// The column of the label: the one that is named, or whose numbers the file has names for, or
    /// that is called so, or the only other one.
    fn label(&self, options: &LoadOptions) -> Result<Label, Error> {
        let names = self.open.names();
        let features = features(self.open);
        let has_names = |at: &usize| !class_names(&features, &names[*at]).is_empty();
        let others: Vec<_> = (0..names.len()).filter(|&at| at != self.pictures).collect();
        let found = match &options.label {
            Some(label) => {
                let found = others.iter().find(|&&at| names[at] == *label);
                let found = found.ok_or_else(|| Error::LabelColumn {
                    path: self.open.path().into(),
                    label: label.clone(),
                    columns: list(&names),
                })?;
                Some(*found)
            }
            None => {
                let named: Vec<_> = others.iter().copied().filter(has_names).collect();
                let called = others.iter().find(|&&at| names[at] == LABEL);
                match (&named[..], called, &others[..]) {
                    (&[one], ..) | (_, Some(&one), _) | (_, _, &[one]) => Some(one),
                    _ => None,
                }
            }
        };
        let place = found.ok_or_else(|| ParquetError::NoLabel {
            path: self.open.path().into(),
            columns: list(others.iter().map(|&at| &names[at])),
        })?;
        let of = self.open.fields()[place].data_type();
        match writer(of) {
            Some(_) => Ok(Label {
                place,
                names: class_names(&features, &names[place]),
            }),
            None => Err(ParquetError::Type {
                path: self.open.path().into(),
                column: excerpt(&names[place]),
                found: kind(of),
            }
            .into()),
        }
    }

    /// Finds the labels, and the shapes if no schema has one.
    fn find(
        &self,
        files: &[PathBuf],
        label: Option<&Label>,
        schema: Option<&Schema>,
    ) -> Result<Found, Error> {
        let mut found = Found {
            labels: vec![],
            classes: Classes::default(),
            shapes: vec![],
            counts: vec![],
        };
        let places = label.map(|label| label.place);
        let counts = self.each(files, places, |file, first, pictures, batch| {
            for (at, row) in (0..batch.num_rows()).zip(first..) {
                let class = match label {
                    // All are read.
                    None => Some(0),
                    Some(label) => {
                        let at = (batch, at);
                        self.class(&mut found, (file, row), at, label)?
                    }
                };
                found.labels.push(class);
                if class.is_some() && schema.is_none() {
                    let (path, bytes) = picture(file, row, pictures, at)?;
                    found.shapes.push(pictures::shape_of(&path, bytes)?);
                }
            }
            Ok(())
        })?;
        found.counts = counts;
        match found.labels.iter().any(Option::is_some) {
            true => Ok(found),
            false => Err(Error::Empty {
                path: self.shards.path.clone(),
            }),
        }
    }

    /// The class of a row, if it has one.
    fn class(
        &self,
        found: &mut Found,
        (file, row): (&ParquetFile, u64),
        (batch, at): (&RecordBatch, usize),
        label: &Label,
    ) -> Result<Option<u32>, Error> {
        let column = batch.column(usize::from(label.place > self.pictures));
        let mut text = String::new();
        if let Some(write) = writer(column.data_type()).filter(|_| column.is_valid(at)) {
            write(column.as_ref(), at, &mut text);
        }
        let has_names = !label.names.is_empty() && !column.data_type().is_string();
        let name = match text.as_str() {
            text if table::is_missing(text) || has_names && text == UNTOLD => return Ok(None),
            text if has_names => {
                let place: Option<usize> = text.parse().ok();
                let name = place.and_then(|place| label.names.get(place));
                name.cloned().ok_or_else(|| ParquetError::Unnamed {
                    path: file.path().into(),
                    row,
                    label: excerpt(text),
                    names: label.names.len(),
                })?
            }
            text => table::class(text, table::Decimal::Point),
        };
        let row = found.labels.len() as u64 + 1;
        let class = found.classes.index(&self.shards.path, &name, row)?;
        Ok(Some(class))
    }

    /// The pixels of the pictures with a label, brought to `shape`.
    fn pixels(&self, files: &[PathBuf], found: &Found, shape: Shape) -> Result<Vec<f32>, Error> {
        let count = found.labels.iter().flatten().count();
        let mut pixels = pictures::pixels(&self.shards.path, count, shape)?;
        let mut places = pixels.chunks_exact_mut(shape.size());
        let mut labels = found.labels.iter();
        self.each(files, None, |file, first, pictures, batch| {
            let rows = (0..batch.num_rows()).zip(first..).zip(labels.by_ref());
            let labelled: Vec<_> = rows
                .filter(|(_, label)| label.is_some())
                .map(|(place, _)| place)
                .zip(places.by_ref())
                .collect();
            parallel::for_each(labelled.into_iter(), |((at, row), pixels)| {
                let (path, bytes) = picture(file, row, pictures, at)?;
                pictures::write(&path, bytes, shape, pixels)
            })
        })?;
        Ok(pixels)
    }

    /// Hands over the pictures of some rows at a time, and the label beside them. Returns how many
    /// rows each file has.
    fn each(
        &self,
        files: &[PathBuf],
        label: Option<usize>,
        mut take: impl FnMut(&ParquetFile, u64, &BinaryViewArray, &RecordBatch) -> Taken,
    ) -> Result<Vec<u64>, Error> {
        let columns: Vec<_> = label.into_iter().chain([self.pictures]).collect();
        let place = usize::from(label.is_some_and(|label| label < self.pictures));
        let mut each = |file: &ParquetFile| -> Result<u64, Error> {
            file.check_columns_of(self.open)?;
            file.each(&columns, |first, batch| {
                let pictures = batch.column(place).as_struct_opt();
                let bytes = pictures.and_then(|pictures| pictures.column_by_name("bytes"));
                let bytes = bytes.and_then(|bytes| bytes.as_binary_view_opt());
                let bytes = bytes.ok_or_else(|| ParquetError::NoPicture {
                    path: file.path().into(),
                    row: first,
                })?;
                take(file, first, bytes, batch)
            })?;
            Ok(file.rows())
        };
        let files = files.iter().map(|path| match path == self.open.path() {
            true => each(self.open),
            false => each(&ParquetFile::open(path)?),
        });
        files.collect()
    }

    /// What is to be told of rows without a label.
    fn unlabelled(&self, files: &[PathBuf], found: &Found) -> Option<Notice> {
        let first = found.labels.iter().position(Option::is_none)? as u64 + 1;
        let rows = found.labels.iter().filter(|label| label.is_none()).count() as u64;
        let (counted, first) = place(&self.shards.path, files, &found.counts, first);
        Some(Notice::NoLabel {
            rows,
            first,
            counted,
        })
    }
}

impl Found {
    /// Returns how a picture is called: that with a label which comes after so many others.
    fn named(&self, path: &Path, files: &[PathBuf], others: usize) -> PathBuf {
        let labelled = (1..).zip(&self.labels).filter(|(_, label)| label.is_some());
        let row = labelled.map(|(row, _)| row).nth(others).unwrap_or_default();
        let (counted, row) = place(path, files, &self.counts, row);
        format!("{}, {}", path.display(), counted.place(row)).into()
    }
}

/// Whether a column is one of pictures.
fn has_pictures(of: &DataType) -> bool {
    let DataType::Struct(fields) = of else {
        return false;
    };
    let mut fields = fields.iter();
    fields.any(|field| field.name() == "bytes" && *field.data_type() == DataType::BinaryView)
}

/// The bytes of a picture, and how it is called in errors.
fn picture<'a>(
    file: &ParquetFile,
    row: u64,
    pictures: &'a BinaryViewArray,
    at: usize,
) -> Result<(PathBuf, &'a [u8]), Error> {
    match pictures.is_valid(at) {
        true => {
            let path = format!("{}, row {row}", file.path().display());
            Ok((path.into(), pictures.value(at)))
        }
        false => Err(ParquetError::NoPicture {
            path: file.path().into(),
            row,
        }
        .into()),
    }
}

/// What the writer of a file says of its columns.
fn features(file: &ParquetFile) -> Value {
    let note = file.note(FEATURES).unwrap_or_default();
    let note: Value = serde_json::from_str(note).unwrap_or_default();
    note["info"]["features"].clone()
}

/// What the numbers of a column are called.
fn class_names(features: &Value, column: &str) -> Vec<String> {
    let names = features[column]["names"].as_array();
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}
