//! The rows of Parquet files as those of a table.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::ParquetError;
use super::cell::writer;
use super::file::ParquetFile;
use crate::table::{Counted, Decimal, Header, Table, TakeRow, is_left_out};
use crate::{Error, LoadOptions, Notice};
use arrow_array::Array as _;

/// The longest texts that are read, by all cells together, for each cell that a file may have.
const ALWAYS_TEXT: u64 = 1 << 30;
const TEXT_A_BYTE: u64 = 10_000;

/// The columns of a table, of which some are read.
pub(super) struct Columns {
    header: Header,
    /// Places of those that are.
    read: Vec<usize>,
}

impl Columns {
    /// Finds out which columns of a file are read: those that are agreed on, or all that are not
    /// left out.
    ///
    /// # Errors
    ///
    /// One of them has cells that are no features.
    pub(super) fn of(file: &ParquetFile, options: &LoadOptions) -> Result<Self, Error> {
        let mut names = file.names();
        // What pandas calls the index of a frame, which it puts behind the columns.
        while names
            .last()
            .is_some_and(|name| name.starts_with("__index_level_"))
        {
            names.pop();
        }
        let header = Header::named(file.path(), names)?;
        let label = |schema: &crate::Schema| {
            let label = options.label.as_deref().or(schema.label());
            label.and_then(|label| header.find(label))
        };
        let agreed = options.schema.as_ref().filter(|schema| schema.has_names());
        let agreed: Option<Vec<_>> = agreed.map(|schema| {
            let columns = schema.columns().iter().map(crate::Column::name);
            let places = columns.filter_map(|name| header.find(name));
            places.chain(label(schema)).collect()
        });
        let is_left = |at: usize| {
            let mut names = options.leave_out.iter();
            names.any(|name| is_left_out(&header, at, name))
        };
        let mut read = vec![];
        for (at, field) in file.fields().iter().take(header.width).enumerate() {
            if is_left(at) || agreed.as_ref().is_some_and(|agreed| !agreed.contains(&at)) {
                continue;
            }
            if writer(field.data_type()).is_none() {
                return Err(ParquetError::Type {
                    path: file.path().into(),
                    column: crate::error::excerpt(field.name()),
                    found: kind(field.data_type()),
                }
                .into());
            }
            read.push(at);
        }
        Ok(Self { header, read })
    }
}

/// Returns how a type is called, without the types in it.
pub(super) fn kind(of: &arrow_schema::DataType) -> String {
    let text = of.to_string();
    let end = text.find(['(', '<']).unwrap_or(text.len());
    text[..end].to_owned()
}

/// The rows of some files.
pub(super) struct Rows<'a> {
    /// What was asked for.
    path: &'a Path,
    columns: &'a Columns,
    /// One that is open already.
    open: &'a ParquetFile,
    files: &'a [PathBuf],
    /// The rows of those that were read so far.
    counts: RefCell<Vec<u64>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        path: &'a Path,
        columns: &'a Columns,
        open: &'a ParquetFile,
        files: &'a [PathBuf],
    ) -> Self {
        Self {
            path,
            columns,
            open,
            files,
            counts: RefCell::default(),
        }
    }

    /// Returns an error as it was found in these rows, with the places where they are.
    pub(super) fn located(&self, mut error: Error) -> Error {
        if let Error::Cells { faults, .. } = &mut error {
            for fault in faults {
                (fault.counted, fault.row) = self.place(fault.row);
            }
        }
        error
    }

    /// Takes over what was noted of these rows, with the places where they are, unless it was
    /// noted already.
    pub(super) fn noted(&self, found: Vec<Notice>, notices: &mut Vec<Notice>) {
        for mut notice in found {
            if let Notice::NoLabel { first, counted, .. } = &mut notice {
                (*counted, *first) = self.place(*first);
            }
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
    }

    fn place(&self, row: u64) -> (Counted, u64) {
        place(self.path, self.files, &self.counts.borrow(), row)
    }

    fn each_of(&self, file: &ParquetFile, before: u64, take: TakeRow<'_>) -> Result<u64, Error> {
        file.check_columns_of(self.open)?;
        let (width, read) = (self.columns.header.width, &self.columns.read);
        let max = file.length().saturating_mul(TEXT_A_BYTE).max(ALWAYS_TEXT);
        let mut text = 0;
        // The cells of a row, one behind the other, and where each ends.
        let (mut row, mut ends) = (String::new(), vec![0; width]);
        file.each(read, |first, batch| {
            let mut cells = vec![];
            for (&place, column) in read.iter().zip(batch.columns()) {
                let write = writer(column.data_type()).ok_or_else(|| ParquetError::Type {
                    path: file.path().into(),
                    column: self.columns.header.called(place),
                    found: kind(column.data_type()),
                })?;
                cells.push((place, column, write));
            }
            for at in 0..batch.num_rows() {
                row.clear();
                let mut places = 0;
                for (place, column, write) in &cells {
                    ends[places..*place].fill(row.len());
                    if column.is_valid(at) {
                        write(column.as_ref(), at, &mut row);
                    }
                    ends[*place] = row.len();
                    places = place + 1;
                }
                ends[places..].fill(row.len());
                text += row.len() as u64;
                if text > max {
                    let what = "bytes of text";
                    let path = file.path().into();
                    return Err(ParquetError::Bloated { path, what, max }.into());
                }
                let mut start = 0;
                let cells = ends.iter().map(|&end| {
                    let cell = &row[start..end];
                    start = end;
                    cell
                });
                take(before + first + at as u64, &cells.collect::<Vec<_>>())?;
            }
            Ok(())
        })?;
        Ok(file.rows())
    }
}

/// Returns the file that a row is in, and its number there. `counts` has the rows of those files
/// that are read already.
pub(super) fn place(path: &Path, files: &[PathBuf], counts: &[u64], row: u64) -> (Counted, u64) {
    let mut before = 0;
    let at = counts.iter().position(|count| {
        let is_in = row <= before + count;
        before += if is_in { 0 } else { *count };
        is_in
    });
    let file = &files[at.unwrap_or(counts.len()).min(files.len() - 1)];
    let name = file.strip_prefix(path).unwrap_or(file);
    let counted = match file == path {
        true => Counted::Rows,
        false => Counted::RowsOf(name.into()),
    };
    (counted, row - before)
}

impl Table for Rows<'_> {
    fn path(&self) -> &Path {
        self.path
    }

    fn header(&self) -> &Header {
        &self.columns.header
    }

    fn decimal(&self) -> Decimal {
        Decimal::Point
    }

    fn each(&self, take: TakeRow<'_>) -> Result<(), Error> {
        self.counts.borrow_mut().clear();
        let mut before = 0;
        for path in self.files {
            let rows = match path == self.open.path() {
                true => self.each_of(self.open, before, take)?,
                false => self.each_of(&ParquetFile::open(path)?, before, take)?,
            };
            self.counts.borrow_mut().push(rows);
            before += rows;
        }
        Ok(())
    }
}
