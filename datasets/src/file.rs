//! Reading a file whole, compressed or not.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::Error;

/// The content of the file at `path`.
///
/// Gzip is recognised by its first two bytes, whatever the file is called.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        gunzip(path, &bytes)
    } else {
        Ok(bytes)
    }
}

/// The content of the gzip file `bytes`, called `path` in errors.
pub(crate) fn gunzip(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes)
        .read_to_end(&mut content)
        .map_err(|source| Error::Gzip {
            path: path.into(),
            source,
        })?;
    Ok(content)
}
