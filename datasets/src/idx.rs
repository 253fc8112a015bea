//! IDX, the format of the MNIST files.
//!
//! A file is a header and then numbers, both big-endian:
//!
//! | bytes | content |
//! | --- | --- |
//! | 2 | zero |
//! | 1 | the type of the numbers, below |
//! | 1 | the number of dimensions, `D` |
//! | 4 × D | the dimensions; the first is the number of examples |
//! | the product of the dimensions, times the size of a number | the data, row-major |
//!
//! The types are `0x08` (`u8`), `0x09` (`i8`), `0x0b` (`i16`), `0x0c` (`i32`), `0x0d` (`f32`) and
//! `0x0e` (`f64`).
//!
//! Source: Y. LeCun, C. Cortes and C. Burges, *The MNIST database of handwritten digits*.

use std::path::Path;

use crate::Error;
use crate::arrays::{Array, Element, Order};

/// Bytes of the longest header that is read.
pub(crate) const MAX_HEADER: u64 = 4 + 4 * 4;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Pictures: three or four dimensions.
    Images,
    /// A label an example: one dimension.
    Labels,
}

impl Content {
    /// Returns whether it has so many dimensions.
    fn has(self, dimensions: u8) -> bool {
        match self {
            Self::Images => matches!(dimensions, 3 | 4),
            Self::Labels => dimensions == 1,
        }
    }

    /// The magic number that it usually has.
    fn magic(self) -> u32 {
        match self {
            Self::Images => 0x0803,
            Self::Labels => 0x0801,
        }
    }
}

/// Reads a file. Allocates next to nothing.
pub(crate) fn array<'a>(
    path: &Path,
    bytes: &'a [u8],
    content: Content,
) -> Result<Array<'a>, Error> {
    let (element, dimensions, data) = header(path, bytes, content)?;
    let expected = data_length(element, &dimensions);
    if data.len() as u128 != expected {
        return Err(Error::IdxLength {
            path: path.into(),
            expected,
            found: data.len(),
        });
    }
    Ok(Array {
        element,
        order: Order::Big,
        dimensions,
        data,
    })
}

/// Returns the bytes that a file has if its header, with which `beginning` begins, tells the truth.
pub(crate) fn length(path: &Path, beginning: &[u8], content: Content) -> Result<u64, Error> {
    let (element, dimensions, _) = header(path, beginning, content)?;
    let header = header_length(dimensions.len()) as u128;
    let length = header.saturating_add(data_length(element, &dimensions));
    Ok(u64::try_from(length).unwrap_or(u64::MAX))
}

fn data_length(element: Element, dimensions: &[usize]) -> u128 {
    let sizes = dimensions.iter().map(|&dimension| dimension as u128);
    sizes.fold(element.size() as u128, u128::saturating_mul)
}

/// Returns the bytes of a header of so many dimensions.
fn header_length(dimensions: usize) -> usize {
    4 + 4 * dimensions
}

/// The type and the dimensions, and what follows them.
fn header<'a>(
    path: &Path,
    bytes: &'a [u8],
    content: Content,
) -> Result<(Element, Vec<usize>, &'a [u8]), Error> {
    let cut = |dimensions| Error::IdxHeader {
        path: path.into(),
        expected: header_length(dimensions),
        found: bytes.len(),
    };
    let usual = usize::from(content.magic().to_be_bytes()[3]);
    let (magic, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| cut(usual))?;
    let element = match *magic {
        [0, 0, code, dimensions] if content.has(dimensions) => element(code),
        _ => None,
    };
    let element = element.ok_or_else(|| Error::IdxMagic {
        path: path.into(),
        expected: content.magic(),
        found: u32::from_be_bytes(*magic),
    })?;
    let count = usize::from(magic[3]);
    let (sizes, data) = rest.split_at_checked(4 * count).ok_or_else(|| cut(count))?;
    let sizes = sizes.as_chunks().0.iter();
    let dimensions = sizes
        .map(|size| u32::from_be_bytes(*size) as usize)
        .collect();
    Ok((element, dimensions, data))
}

fn element(code: u8) -> Option<Element> {
    Some(match code {
        0x08 => Element::U8,
        0x09 => Element::I8,
        0x0b => Element::I16,
        0x0c => Element::I32,
        0x0d => Element::F32,
        0x0e => Element::F64,
        _ => return None,
    })
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

    fn images(bytes: &[u8]) -> Result<Array<'_>, Error> {
        array(Path::new("images"), bytes, Content::Images)
    }

    fn labels(bytes: &[u8]) -> Result<Array<'_>, Error> {
        array(Path::new("labels"), bytes, Content::Labels)
    }

    #[test]
    fn reads_images_and_labels_of_every_type() {
        for (code, element, size) in [
            (0x08, Element::U8, 1),
            (0x09, Element::I8, 1),
            (0x0b, Element::I16, 2),
            (0x0c, Element::I32, 4),
            (0x0d, Element::F32, 4),
            (0x0e, Element::F64, 8),
        ] {
            let bytes = file(code << 8 | 3, &[2, 1, 3], &vec![7; 6 * size]);
            let read = images(&bytes).unwrap();
            assert_eq!(
                (read.element, &read.dimensions[..]),
                (element, &[2, 1, 3][..])
            );
            assert_eq!(read.data, vec![7; 6 * size]);
            let bytes = file(code << 8 | 4, &[2, 1, 3, 1], &vec![7; 6 * size]);
            assert_eq!(images(&bytes).unwrap().dimensions, [2, 1, 3, 1]);
            let bytes = file(code << 8 | 1, &[3], &vec![7; 3 * size]);
            assert_eq!(labels(&bytes).unwrap().dimensions, [3]);
        }
    }

    #[test]
    fn swapped_files_and_other_types_have_the_wrong_magic_number() {
        let bytes = file(0x0801, &[3], &[7, 0, 9]);
        assert!(matches!(
            images(&bytes),
            Err(Error::IdxMagic {
                expected: 0x0803,
                found: 0x0801,
                ..
            })
        ));
        let bytes = file(0x0803, &[1, 1, 1], &[7]);
        assert!(matches!(labels(&bytes), Err(Error::IdxMagic { .. })));
        for other in [0x0a03, 0x0f03, 0x0805, 0x0802, 0x0001_0803] {
            let bytes = file(other, &[1; 5], &[7]);
            assert!(matches!(images(&bytes), Err(Error::IdxMagic { found, .. }) if found == other));
        }
        let page = images(b"<html>404</html>");
        assert!(matches!(page, Err(Error::IdxMagic { .. })));
    }

    #[test]
    fn a_cut_header_is_an_error() {
        for dimensions in [3_u32, 4] {
            let sizes = vec![1; dimensions as usize];
            let bytes = file(0x0800 | dimensions, &sizes, &[]);
            for length in 0..bytes.len() {
                assert!(matches!(
                    images(&bytes[..length]),
                    Err(Error::IdxHeader { found, .. }) if found == length
                ));
            }
        }
    }

    #[test]
    fn data_must_be_as_long_as_the_header_says() {
        for data in [&[1, 2, 3, 4, 5][..], &[1, 2, 3, 4, 5, 6, 7]] {
            assert!(matches!(
                images(&file(0x0803, &[2, 1, 3], data)),
                Err(Error::IdxLength { expected: 6, found, .. }) if found == data.len()
            ));
        }
        let words = images(&file(0x0b03, &[2, 1, 3], &[0; 6])).unwrap_err();
        assert!(matches!(words, Error::IdxLength { expected: 12, .. }));
        let huge = file(0x0803, &[u32::MAX; 3], &[0; 16]);
        assert!(matches!(
            images(&huge),
            Err(Error::IdxLength { expected, .. }) if expected == u128::from(u32::MAX).pow(3)
        ));
    }

    #[test]
    fn the_header_says_how_long_a_file_is() {
        let path = Path::new("images");
        let said = |bytes: &[u8], content| length(path, bytes, content).unwrap();
        let bytes = file(0x0803, &[2, 1, 3], &[0; 6]);
        assert_eq!(said(&bytes[..16], Content::Images), 22);
        let bytes = file(0x0e04, &[2, 3, 1, 3], &[]);
        assert_eq!(said(&bytes, Content::Images), 20 + 18 * 8);
        let bytes = file(0x0b01, &[7], &[0; 14]);
        assert_eq!(said(&bytes, Content::Labels), 8 + 14);
        let huge = file(0x0e04, &[u32::MAX; 4], &[]);
        assert_eq!(said(&huge, Content::Images), u64::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_rejected(bytes: Vec<u8>) {
            let _ = images(&bytes);
            let _ = labels(&bytes);
        }

        #[test]
        fn dimensions_are_read_only_if_they_fit(
            dimensions in prop::array::uniform4(prop_oneof![0_u32..4, any::<u32>()]),
            data in prop::collection::vec(any::<u8>(), 0..128),
        ) {
            let product = dimensions.iter().fold(2_u128, |product, &dimension| {
                product.saturating_mul(u128::from(dimension))
            });
            let bytes = file(0x0b04, &dimensions, &data);
            prop_assert_eq!(images(&bytes).is_ok(), product == data.len() as u128);
        }
    }
}
