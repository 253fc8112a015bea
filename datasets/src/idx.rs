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

/// Bytes of the longest header that is read.
pub(crate) const MAX_HEADER: u64 = 16;

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

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
    let ([count, height, width], pixels) = parse(path, bytes, IMAGES)?;
    Ok(Images {
        count,
        height,
        width,
        pixels,
    })
}

/// Reads a file of one dimension: a label an example.
pub(crate) fn labels<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
    let ([_], labels) = parse(path, bytes, LABELS)?;
    Ok(labels)
}

/// Returns the bytes that a file of images has if its header, with which `beginning` begins, tells
/// the truth.
pub(crate) fn images_length(path: &Path, beginning: &[u8]) -> Result<u64, Error> {
    length::<3>(path, beginning, IMAGES)
}

/// Returns the same of a file of labels.
pub(crate) fn labels_length(path: &Path, beginning: &[u8]) -> Result<u64, Error> {
    length::<1>(path, beginning, LABELS)
}

fn length<const D: usize>(path: &Path, beginning: &[u8], expected: u32) -> Result<u64, Error> {
    let (dimensions, _) = header::<D>(path, beginning, expected)?;
    let length = header_length(D) as u128 + product(&dimensions);
    Ok(u64::try_from(length).unwrap_or(u64::MAX))
}

/// The dimensions after the magic number `expected`, and as many bytes as they say. Allocates
/// nothing.
fn parse<'a, const D: usize>(
    path: &Path,
    bytes: &'a [u8],
    expected: u32,
) -> Result<([usize; D], &'a [u8]), Error> {
    let (dimensions, data) = header(path, bytes, expected)?;
    let expected = product(&dimensions);
    if data.len() as u128 != expected {
        return Err(Error::IdxLength {
            path: path.into(),
            expected,
            found: data.len(),
        });
    }
    Ok((dimensions, data))
}

fn product(dimensions: &[usize]) -> u128 {
    dimensions.iter().fold(1, |product: u128, &dimension| {
        product.saturating_mul(dimension as u128)
    })
}

/// Returns the bytes of a header of so many dimensions.
fn header_length(dimensions: usize) -> usize {
    4 + 4 * dimensions
}

/// The dimensions after the magic number `expected`, and what follows them.
fn header<'a, const D: usize>(
    path: &Path,
    bytes: &'a [u8],
    expected: u32,
) -> Result<([usize; D], &'a [u8]), Error> {
    let header_length = || Error::IdxHeader {
        path: path.into(),
        expected: header_length(D),
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
    Ok((dimensions, data))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(magic: u32, dimensions: &[u32], data: &[u8]) -> Vec<u8> {
        let words = [&[magic], dimensions].concat();
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        [header.as_slice(), data].concat()
    }

    #[test]
    fn reads_images_and_labels() {
        let bytes = file(0x0803, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let read = images(Path::new("images"), &bytes).unwrap();
        assert_eq!((read.count, read.height, read.width), (2, 1, 3));
        assert_eq!(read.pixels, [1, 2, 3, 4, 5, 6]);
        let bytes = file(0x0801, &[3], &[7, 0, 9]);
        assert_eq!(labels(Path::new("labels"), &bytes).unwrap(), [7, 0, 9]);
    }

    #[test]
    fn swapped_files_have_the_wrong_magic_number() {
        let bytes = file(0x0801, &[3], &[7, 0, 9]);
        assert!(matches!(
            images(Path::new("images"), &bytes),
            Err(Error::IdxMagic {
                expected: 0x0803,
                found: 0x0801,
                ..
            })
        ));
        let page = images(Path::new("images"), b"<html>404</html>");
        assert!(matches!(page, Err(Error::IdxMagic { .. })));
    }

    #[test]
    fn a_cut_header_is_an_error() {
        let bytes = file(0x0803, &[2, 1, 3], &[]);
        for length in 0..bytes.len() {
            assert!(matches!(
                images(Path::new("images"), &bytes[..length]),
                Err(Error::IdxHeader { expected: 16, found, .. }) if found == length
            ));
        }
    }

    #[test]
    fn data_must_be_as_long_as_the_header_says() {
        for data in [&[1, 2, 3, 4, 5][..], &[1, 2, 3, 4, 5, 6, 7]] {
            assert!(matches!(
                images(Path::new("images"), &file(0x0803, &[2, 1, 3], data)),
                Err(Error::IdxLength { expected: 6, found, .. }) if found == data.len()
            ));
        }
        let huge = file(0x0803, &[u32::MAX; 3], &[0; 16]);
        assert!(matches!(
            images(Path::new("images"), &huge),
            Err(Error::IdxLength { expected, .. }) if expected == u128::from(u32::MAX).pow(3)
        ));
    }

    #[test]
    fn the_header_says_how_long_a_file_is() {
        let path = Path::new("images");
        let bytes = file(0x0803, &[2, 1, 3], &[0; 6]);
        assert_eq!(images_length(path, &bytes[..16]).unwrap(), 22);
        let bytes = file(0x0801, &[7], &[0; 7]);
        assert_eq!(labels_length(path, &bytes).unwrap(), 15);
        let huge = file(0x0803, &[u32::MAX; 3], &[]);
        assert_eq!(images_length(path, &huge).unwrap(), u64::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_rejected(bytes: Vec<u8>) {
            let _ = images(Path::new("images"), &bytes);
            let _ = labels(Path::new("labels"), &bytes);
        }

        #[test]
        fn dimensions_are_read_only_if_they_fit(
            dimensions in prop::array::uniform3(prop_oneof![0_u32..5, any::<u32>()]),
            data in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let product: u128 = dimensions.iter().map(|&dimension| u128::from(dimension)).product();
            let bytes = file(0x0803, &dimensions, &data);
            let read = images(Path::new("images"), &bytes);
            prop_assert_eq!(read.is_ok(), product == data.len() as u128);
        }
    }
}
