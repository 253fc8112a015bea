//! CSV: a row an example, one column the label, the others numbers.

use std::path::{Path, PathBuf};

use csv::{Position, ReaderBuilder, StringRecord, Trim};

use crate::error::excerpt;
use crate::records::{Classes, Records};
use crate::{Error, Shape};

/// Reads the CSV text `bytes`, called `path` in errors.
///
/// With a `label`, the first row is a header and the label column is the one of that name. Without,
/// the last column is the label, and the first row is a header if no cell before it is a number.
pub(crate) fn parse(path: &Path, bytes: &[u8], label: Option<&str>) -> Result<Records, Error> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(bytes);
    let mut record = StringRecord::new();
    let mut read = |record: &mut StringRecord| {
        reader.read_record(record).map_err(|source| Error::Csv {
            path: path.into(),
            source,
        })
    };

    if !read(&mut record)? {
        return Err(Error::Empty { path: path.into() });
    }
    let header = label.is_some() || is_header(&record);
    let mut table = Table::new(path, &record, header, label)?;
    let mut more = if header { read(&mut record)? } else { true };
    while more {
        table.push(&record)?;
        more = read(&mut record)?;
    }
    table.finish()
}

fn is_header(first: &StringRecord) -> bool {
    first
        .iter()
        .take(first.len() - 1)
        .all(|cell| cell.parse::<f64>().is_err())
}

/// The records read so far.
struct Table {
    path: PathBuf,
    /// Names of the feature columns, or nothing.
    columns: Vec<String>,
    /// Cells in a row.
    width: usize,
    /// The label's cell.
    label: usize,
    features: Vec<f32>,
    classes: Classes,
    labels: Vec<u32>,
}

impl Table {
    fn new(
        path: &Path,
        first: &StringRecord,
        header: bool,
        label: Option<&str>,
    ) -> Result<Self, Error> {
        let path = path.to_owned();
        let width = first.len();
        if width < 2 {
            return Err(Error::NoFeatures { path });
        }
        let label = match label {
            None => width - 1,
            Some(label) => match first.iter().position(|name| name == label) {
                Some(at) => at,
                None => {
                    let columns = first.iter().map(excerpt).collect::<Vec<_>>().join(", ");
                    return Err(Error::LabelColumn {
                        path,
                        label: label.to_owned(),
                        columns,
                    });
                }
            },
        };
        let names = first
            .iter()
            .enumerate()
            .filter(|&(i, _)| header && i != label);
        let columns = names.map(|(_, name)| name.to_owned()).collect();
        let (features, classes, labels) = (vec![], Classes::default(), vec![]);
        Ok(Self {
            path,
            columns,
            width,
            label,
            features,
            classes,
            labels,
        })
    }

    fn push(&mut self, record: &StringRecord) -> Result<(), Error> {
        let path = || self.path.clone();
        let row = record.position().map_or(0, Position::line);
        if record.len() != self.width {
            let (expected, found) = (self.width, record.len());
            return Err(Error::Cells {
                path: path(),
                row,
                expected,
                found,
            });
        }
        for (i, cell) in record.iter().enumerate().filter(|&(i, _)| i != self.label) {
            match cell.parse::<f32>() {
                Ok(value) if value.is_finite() => self.features.push(value),
                parsed => {
                    let (path, column, cell) = (path(), i + 1, excerpt(cell));
                    return Err(match parsed {
                        Ok(_) => Error::NotFinite {
                            path,
                            row,
                            column,
                            cell,
                        },
                        Err(_) => Error::NotANumber {
                            path,
                            row,
                            column,
                            cell,
                        },
                    });
                }
            }
        }
        let label = &record[self.label];
        if label.is_empty() {
            return Err(Error::NoLabel { path: path(), row });
        }
        self.labels.push(self.classes.index(label, row));
        Ok(())
    }

    fn finish(self) -> Result<Records, Error> {
        let Self {
            path,
            columns,
            width,
            features,
            classes,
            labels,
            ..
        } = self;
        if labels.is_empty() {
            return Err(Error::Empty { path });
        }
        let (shape, classes) = (Shape::Table { columns: width - 1 }, classes.into_vec());
        Ok(Records {
            path,
            shape,
            columns,
            features,
            classes,
            labels,
        })
    }
}
