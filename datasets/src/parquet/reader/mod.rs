//! Reading Parquet files.

mod cell;
mod file;
mod guard;
mod pictures;
mod rows;
mod shards;
#[cfg(test)]
mod tests;
mod thrift;

use std::path::{Path, PathBuf};

use self::file::ParquetFile;
use self::pictures::Pictures;
use self::rows::{Columns, Rows};
use self::shards::Shards;
use super::{ParquetError, names};
use crate::{Dataset, Error, LoadOptions, Loaded, Notice, Schema, table};

/// Loads a file, or a folder of files, against the agreed schema or the one that fits it.
///
/// # Errors
///
/// What is wrong with the file, by row and column.
pub(crate) fn load(path: &Path, options: &LoadOptions) -> Result<Loaded, Error> {
    let shards = Shards::of(path)?;
    let first = ParquetFile::open(&shards.train[0])?;
    if let Some(pictures) = Pictures::of(&shards, &first, &options.leave_out)? {
        return pictures.load(options);
    }
    let columns = Columns::of(&first, options)?;
    let all = shards.all();
    let rows = |files| Rows::new(path, &columns, &first, files);
    let mut notices = vec![];
    let discovered;
    let schema = match &options.schema {
        Some(schema) => schema,
        None => {
            let all = rows(&all);
            let mut found = vec![];
            let schema = table::discover(&all, options, &mut found);
            discovered = schema.map_err(|error| all.located(error))?;
            all.noted(found, &mut notices);
            &discovered
        }
    };
    loaded(&shards, notices, rows, |rows, notices| {
        table::read(rows, schema, options, notices)
    })
}

/// Loads a file against a schema, whether its rows have labels or not: these are ignored. Of a
/// folder with a test set, both parts are loaded.
///
/// # Errors
///
/// What is wrong with the file, by row and column.
pub(crate) fn load_unlabelled(path: &Path, schema: &Schema) -> Result<Loaded, Error> {
    let shards = Shards::of(path)?;
    let first = ParquetFile::open(&shards.train[0])?;
    if let Some(pictures) = Pictures::of(&shards, &first, &[])? {
        return pictures.load_unlabelled(schema);
    }
    let columns = Columns::of(&first, &table::against(schema))?;
    let rows = |files| Rows::new(path, &columns, &first, files);
    loaded(&shards, vec![], rows, |rows, notices| {
        table::read_unlabelled(rows, schema, notices)
    })
}

/// Reads both parts.
fn loaded<'a>(
    shards: &'a Shards,
    mut notices: Vec<Notice>,
    rows: impl Fn(&'a [PathBuf]) -> Rows<'a>,
    read: impl Fn(&Rows<'a>, &mut Vec<Notice>) -> Result<Dataset, Error>,
) -> Result<Loaded, Error> {
    let mut part = |files| -> Result<Dataset, Error> {
        let rows = rows(files);
        let mut found = vec![];
        let data = read(&rows, &mut found).map_err(|error| rows.located(error))?;
        rows.noted(found, &mut notices);
        Ok(data)
    };
    let train = part(&shards.train)?;
    let test = match shards.test.is_empty() {
        true => None,
        false => Some(part(&shards.test)?),
    };
    Ok(Loaded {
        train,
        test,
        notices,
    })
}
