//! IDX, the format of the MNIST files.
//!
//! A file is a big-endian header and then unsigned bytes:
//!
//! | bytes | content |
//! | --- | --- |
//! | 2 | zero |
//! | 1 | `0x08`, the type of unsigned bytes |
//! | 1 | the number of dimensions, `D` |
//! | 4 × D | the dimensions; the first is the number of examples |
//! | product of the dimensions | the data, row-major |
//!
//! Source: Y. LeCun, C. Cortes and C. Burges, *The MNIST database of handwritten digits*.

use std::path::Path;

use crate::Error;

/// Grey images, borrowed from the bytes of their file.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    pub(crate) count: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// `[count, height, width]`.
    pub(crate) pixels: &'a [u8],
}

/// Reads a file of three dimensions.
pub(crate) fn images<'a>(path: &Path, bytes: &'a [u8]) -> Result<Images<'a>, Error> {
    let ([count, height, width], pixels) = parse(path, bytes, 0x0803)?;
    Ok(Images {
        count,
        height,
        width,
        pixels,
    })
}

/// Reads a file of one dimension: a label an example.
pub(crate) fn labels<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
    let ([_], labels) = parse(path, bytes, 0x0801)?;
    Ok(labels)
}

/// The dimensions after the magic number `expected`, and as many bytes as they say. Allocates
/// nothing.
fn parse<'a, const D: usize>(
    path: &Path,
    bytes: &'a [u8],
    expected: u32,
) -> Result<([usize; D], &'a [u8]), Error> {
    let header_length = || Error::IdxHeader {
        path: path.into(),
        expected: 4 + 4 * D,
        found: bytes.len(),
    };
    let (magic, rest) = bytes.split_first_chunk::<4>().ok_or_else(header_length)?;
    let found = u32::from_be_bytes(*magic);
    if found != expected {
        return Err(Error::IdxMagic {
            path: path.into(),
            expected,
            found,
        });
    }
    let (sizes, data) = rest.split_at_checked(4 * D).ok_or_else(header_length)?;
    let mut dimensions = [0; D];
    for (dimension, size) in dimensions.iter_mut().zip(sizes.as_chunks().0) {
        *dimension = u32::from_be_bytes(*size) as usize;
    }
    let expected = dimensions
        .iter()
        .map(|&dimension| dimension as u128)
        .product();
    if data.len() as u128 != expected {
        return Err(Error::IdxLength {
            path: path.into(),
            expected,
            found: data.len(),
        });
    }
    Ok((dimensions, data))
}
