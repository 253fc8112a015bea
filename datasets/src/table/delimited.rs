//! A table as text, its cells set apart by commas or the like.

use std::path::Path;

use super::header::Header;
use super::text::Text;
use super::{Decimal, Table, TakeRow};
use crate::{Error, LoadOptions, Notice};

/// Text, and the header that was found in it.
pub(super) struct Delimited<'a> {
    path: &'a Path,
    text: Text<'a>,
    header: Header,
}

impl<'a> Delimited<'a> {
    /// Finds out how a file is written, and what its columns are called.
    ///
    /// # Errors
    ///
    /// It is no text, or has no columns; see [`Header::of`].
    pub(super) fn new(
        path: &'a Path,
        bytes: &'a [u8],
        options: &LoadOptions,
        notices: &mut Vec<Notice>,
    ) -> Result<Self, Error> {
        let text = Text::new(path, bytes, notices)?;
        let header = Header::of(path, &text, options, notices)?;
        Ok(Self { path, text, header })
    }
}

impl Table for Delimited<'_> {
    fn path(&self) -> &Path {
        self.path
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn decimal(&self) -> Decimal {
        self.text.decimal()
    }

    fn each(&self, take: TakeRow<'_>) -> Result<(), Error> {
        let mut rows = self.text.rows();
        if self.header.names.is_some() {
            rows.next(self.path)?;
        }
        while let Some((line, row)) = rows.next(self.path)? {
            take(line, &row)?;
        }
        Ok(())
    }
}
