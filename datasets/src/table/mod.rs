//! Tables: a row an example, one column the label, the others features.
//!
//! [`Delimited`] text and the rows of other formats go the same way: each row comes as the texts of
//! its cells.

mod cell;
mod counted;
mod delimited;
mod encode;
mod header;
mod pixels;
mod profile;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

pub(crate) use cell::{Decimal, class, is_missing};
pub use counted::Counted;
use delimited::Delimited;
pub use encode::{CellFault, FaultKind};
use encode::{Encoding, Label};
pub(crate) use header::Header;
use profile::Profile;
pub(crate) use profile::is_left_out;

use crate::error::{excerpt, list};
use crate::{Dataset, Error, LoadOptions, Notice, Schema, Shape};

/// The rows of a table, which may be read again and again.
pub(crate) trait Table {
    /// Returns the file, for errors.
    fn path(&self) -> &Path;

    /// Returns its columns.
    fn header(&self) -> &Header;

    /// Returns how its numbers are written.
    fn decimal(&self) -> Decimal;

    /// Hands over the cells of each row, and the line or the number by which it is found again.
    ///
    /// # Errors
    ///
    /// The file cannot be read to its end, or `take` fails.
    fn each(&self, take: TakeRow<'_>) -> Result<(), Error>;
}

/// What is done with a row.
pub(crate) type TakeRow<'a> = &'a mut dyn FnMut(u64, &[&str]) -> Result<(), Error>;

/// Reads the text of a table, called `path` in errors, against the agreed schema or the one that
/// fits it.
///
/// # Errors
///
/// What is wrong with the file, by row and column.
pub(crate) fn load(
    path: &Path,
    bytes: &[u8],
    options: &LoadOptions,
    notices: &mut Vec<Notice>,
) -> Result<Dataset, Error> {
    let table = Delimited::new(path, bytes, options, notices)?;
    match &options.schema {
        Some(schema) => read(&table, schema, options, notices),
        None => {
            let schema = discover(&table, options, notices)?;
            read(&table, &schema, options, notices)
        }
    }
}

/// Reads the text of a table against a schema, whether its rows have labels or not: these are
/// ignored.
///
/// # Errors
///
/// What is wrong with the file, by row and column.
pub(crate) fn load_unlabelled(
    path: &Path,
    bytes: &[u8],
    schema: &Schema,
    notices: &mut Vec<Notice>,
) -> Result<Dataset, Error> {
    let table = Delimited::new(path, bytes, &against(schema), notices)?;
    read_unlabelled(&table, schema, notices)
}

/// Returns the schema that fits a table.
///
/// # Errors
///
/// What is wrong with the table, by row and column.
pub(crate) fn discover(
    table: &impl Table,
    options: &LoadOptions,
    notices: &mut Vec<Notice>,
) -> Result<Schema, Error> {
    if let Some(size) = options.image {
        return pixels::discover(table, size.shape(1), options, notices);
    }
    let (path, header) = (table.path(), table.header());
    let label = label(path, header, options.label.as_deref())?;
    check_left_out(path, header, label, &options.leave_out)?;
    if let Some(group) = &options.group
        && header.find(group).is_none_or(|at| at == label)
    {
        return Err(group_column(path, header, group));
    }
    let mut profile = Profile::new(path, header, label, table.decimal());
    table.each(&mut |line, row| profile.add(line, row))?;
    profile.schema(options, notices)
}

/// Reads a table against a schema.
///
/// # Errors
///
/// What is wrong with the table, by row and column.
pub(crate) fn read(
    table: &impl Table,
    schema: &Schema,
    options: &LoadOptions,
    notices: &mut Vec<Notice>,
) -> Result<Dataset, Error> {
    let header = table.header();
    let name = options.label.as_deref().or_else(|| schema.label());
    let name = name.filter(|_| header.names.is_some());
    let label = match schema.shape() {
        shape @ Shape::Image { .. } => pixels::label(table, shape, options)?,
        Shape::Table { .. } => label(table.path(), header, name)?,
    };
    encode(table, (schema, Label::Read(label)), options, notices)
}

/// Reads a table against a schema, whether its rows have labels or not.
///
/// # Errors
///
/// What is wrong with the table, by row and column.
pub(crate) fn read_unlabelled(
    table: &impl Table,
    schema: &Schema,
    notices: &mut Vec<Notice>,
) -> Result<Dataset, Error> {
    let header = table.header();
    let columns = schema.columns().len();
    let place = match (schema.shape(), &header.names) {
        (Shape::Image { .. }, _) => pixels::any_label(table, schema)?,
        (_, Some(_)) if schema.has_names() => schema.label().and_then(|name| header.find(name)),
        _ => (header.width == columns + 1).then_some(columns),
    };
    let options = against(schema);
    encode(table, (schema, Label::Ignored(place)), &options, notices)
}

fn encode(
    table: &impl Table,
    agreed: (&Schema, Label),
    options: &LoadOptions,
    notices: &mut Vec<Notice>,
) -> Result<Dataset, Error> {
    let (path, header, decimal) = (table.path(), table.header(), table.decimal());
    let mut encoding = Encoding::new(path, header, agreed, options, decimal, notices)?;
    table.each(&mut |line, row| encoding.add(line, row))?;
    encoding.finish(notices)
}

/// How to read a table against a schema, and nothing else said.
pub(crate) fn against(schema: &Schema) -> LoadOptions {
    LoadOptions {
        schema: Some(schema.clone()),
        ..LoadOptions::default()
    }
}

/// Returns the place of the label: of the column of this name, or the last one.
fn label(path: &Path, header: &Header, name: Option<&str>) -> Result<usize, Error> {
    match name {
        Some(name) => named_label(path, header, name),
        None => Ok(header.width - 1),
    }
}

/// Returns the place of the label in the column of this name.
fn named_label(path: &Path, header: &Header, name: &str) -> Result<usize, Error> {
    header.find(name).ok_or_else(|| Error::LabelColumn {
        path: path.into(),
        label: name.to_owned(),
        columns: list(header.names.iter().flatten()),
    })
}

fn group_column(path: &Path, header: &Header, group: &str) -> Error {
    Error::GroupColumn {
        path: path.into(),
        group: excerpt(group),
        columns: list(header.names.iter().flatten()),
    }
}

/// Checks that each of these names, or places, is a column that can be left out.
fn check_left_out(
    path: &Path,
    header: &Header,
    label: usize,
    leave_out: &[String],
) -> Result<(), Error> {
    let is_known = |name: &&String| {
        let mut features = (0..header.width).filter(|&at| at != label);
        features.any(|at| is_left_out(header, at, name))
    };
    match leave_out.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(Error::LeftOut {
            path: path.into(),
            column: excerpt(name),
            label: header.called(label),
        }),
    }
}

/// Checks that a row has so many cells, and no more but empty ones.
fn cells(path: &Path, row: u64, cells: &[&str], expected: usize) -> Result<(), Error> {
    let found = cells.len();
    let is_rest_empty = cells.iter().skip(expected).all(|cell| cell.is_empty());
    match found >= expected && is_rest_empty {
        true => Ok(()),
        false => Err(Error::RowLength {
            path: path.into(),
            row,
            expected,
            found,
        }),
    }
}
