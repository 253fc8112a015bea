//! A single Parquet file.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;

use super::ParquetError;
use super::guard::{Guarded, check_footer};
use crate::Error;
use crate::error::list;
use crate::file::DataFile;

/// Bytes of the largest file: 4 GiB.
const MAX_FILE: u64 = 1 << 32;

/// A file may have this many cells however small it is, and else so many for each of its bytes:
/// a thousand that are alike are a few bytes.
const ALWAYS_CELLS: u64 = 1 << 24;
const CELLS_A_BYTE: u64 = 1000;

/// Cells and rows that are decoded at once.
const BATCH_CELLS: usize = 1 << 18;
const BATCH_ROWS: usize = 1024;

/// Bytes of the longest number of a fixed length, a decimal.
const MAX_FIXED: i32 = 32;

/// A file in memory, of which the columns are known.
pub(super) struct ParquetFile {
    path: PathBuf,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

impl ParquetFile {
    /// Reads a file, and which columns it has.
    ///
    /// # Errors
    ///
    /// It cannot be read, is too large, or is not Parquet.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let bytes = DataFile::open(path)?.read(MAX_FILE)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(ParquetError::FileTooLarge {
                path: path.into(),
                max: MAX_FILE,
            }
            .into());
        }
        check_footer(&bytes).map_err(|said| broken(path, said))?;
        let bytes = Bytes::from(bytes);
        let metadata = caught(path, || {
            // What Parquet itself says of types is enough, and may be trusted to fit the data.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let found = ArrowReaderMetadata::load(&bytes, options)?;
            let fields: Vec<_> = found.schema().fields().iter().map(viewed).collect();
            let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
            ArrowReaderMetadata::try_new(found.metadata().clone(), options)
        })?;
        Ok(Self {
            path: path.into(),
            bytes,
            metadata,
        })
    }

    /// Returns the path that it was read from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns its columns.
    pub(super) fn fields(&self) -> &Fields {
        self.metadata.schema().fields()
    }

    /// Returns the names of its columns.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.fields().iter().map(|field| field.name().clone());
        names.collect()
    }

    /// Returns the number of rows that it says it has.
    pub(super) fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or_default()
    }

    /// Returns a text that the writer of the file has left there.
    pub(super) fn note(&self, key: &str) -> Option<&str> {
        let notes = self.metadata.metadata().file_metadata();
        let mut notes = notes.key_value_metadata()?.iter();
        notes.find(|note| note.key == key)?.value.as_deref()
    }

    /// Checks that it has the columns of the first of several files.
    ///
    /// # Errors
    ///
    /// [`ParquetError::Columns`] if it has not.
    pub(super) fn check_columns_of(&self, first: &Self) -> Result<(), Error> {
        match self.names() == first.names() {
            true => Ok(()),
            false => Err(ParquetError::Columns {
                path: self.path.clone(),
                found: list(self.names()),
                first: first.path.clone(),
                expected: list(first.names()),
            }
            .into()),
        }
    }

    /// Hands over the cells of these columns, in the order of the file, some rows at a time, each
    /// time with the number of the first one, from 1 on.
    ///
    /// # Errors
    ///
    /// The file is damaged or more than it warrants, or `take` fails.
    pub(super) fn each(
        &self,
        columns: &[usize],
        mut take: impl FnMut(u64, &RecordBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.rows() == 0 {
            return Ok(());
        }
        self.check_columns(columns)?;
        let width = columns.len().max(1);
        let ratio = self.length().saturating_mul(CELLS_A_BYTE);
        let max = ratio.max(ALWAYS_CELLS);
        let bloated = || ParquetError::Bloated {
            path: self.path.clone(),
            what: "cells",
            max,
        };
        let is_more = |rows: u64| rows.saturating_mul(width as u64) > max;
        if is_more(self.rows()) {
            return Err(bloated().into());
        }
        let mut reader = caught(&self.path, || {
            let schema = self.metadata.parquet_schema();
            let columns = ProjectionMask::roots(schema, columns.iter().copied());
            let bytes = Guarded::new(self.bytes.clone());
            let metadata = self.metadata.clone();
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
                .with_projection(columns)
                .with_batch_size((BATCH_CELLS / width).clamp(1, BATCH_ROWS))
                .build()
        })?;
        let mut before = 0;
        while let Some(batch) = caught(&self.path, || reader.next().transpose())? {
            // What the end of the file says of its rows need not be so.
            let rows = before + batch.num_rows() as u64;
            if is_more(rows) {
                return Err(bloated().into());
            }
            take(before + 1, &batch)?;
            before = rows;
        }
        match before == self.rows() {
            true => Ok(()),
            false => Err(broken(
                &self.path,
                format!("it has {before} rows instead of {}", self.rows()),
            )),
        }
    }

    /// Checks that these columns are stored so that they can be read.
    fn check_columns(&self, columns: &[usize]) -> Result<(), Error> {
        let schema = self.metadata.parquet_schema();
        let is_wanted = |leaf: usize| columns.contains(&schema.get_column_root_idx(leaf));
        let wanted: Vec<_> = (0..schema.num_columns())
            .filter(|&leaf| is_wanted(leaf))
            .collect();
        for group in self.metadata.metadata().row_groups() {
            for &leaf in &wanted {
                if let Some(chunk) = group.columns().get(leaf) {
                    self.check_chunk(chunk)?;
                }
            }
        }
        Ok(())
    }

    fn check_chunk(&self, chunk: &ColumnChunkMetaData) -> Result<(), Error> {
        if chunk.column_descr().type_length() > MAX_FIXED {
            let said = format!("numbers of {} bytes", chunk.column_descr().type_length());
            return Err(broken(&self.path, said));
        }
        match chunk.compression() {
            Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::GZIP(_)
            | Compression::ZSTD(_) => Ok(()),
            other => {
                let codec = other.to_string();
                let (name, _level) = codec.split_once('(').unwrap_or((&codec, ""));
                Err(ParquetError::Codec {
                    path: self.path.clone(),
                    codec: name.to_owned(),
                }
                .into())
            }
        }
    }
}

/// The column with texts that are not copied for each cell that has them, of which there may be
/// many.
fn viewed(field: &FieldRef) -> FieldRef {
    let of = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect()),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), of, field.is_nullable()))
}

/// Calls the reader, which may well panic on a damaged file.
fn caught<T, E: Display>(path: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(broken(path, error)),
        Err(_) => Err(broken(path, "the reader gave up")),
    }
}

fn broken(path: &Path, said: impl Display) -> Error {
    const MAX_CHARS: usize = 160;
    let said = said.to_string();
    let said = said.trim_start_matches("Parquet argument error: ");
    let said = said.trim_start_matches("Parquet error: ");
    ParquetError::Broken {
        path: path.into(),
        said: said.chars().take(MAX_CHARS).collect(),
    }
    .into()
}
