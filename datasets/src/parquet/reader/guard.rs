//! Keeping a file from taking more memory than it warrants.
//!
//! The reader believes what headers say of sizes, and a few bytes may say gigabytes. So each header
//! is looked at before the reader sees it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::{Thrift, kind};
use crate::file::{ALWAYS_DECOMPRESSED, MAX_RATIO};

/// The most groups of columns. The reader goes into each within the one before.
const MAX_GROUPS: usize = 256;

/// Encodings whose counts the reader believes: the lengths of texts, or what they have in common
/// with the text before, as differences. Only writers that are told so use them.
const DELTAS: [(i64, &str); 2] = [(6, "DELTA_LENGTH_BYTE_ARRAY"), (7, "DELTA_BYTE_ARRAY")];

/// Checks what the end of a file says of its columns.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn check_footer(bytes: &[u8]) -> std::result::Result<(), String> {
    let mut groups = 0;
    let footer = footer(bytes).ok_or("it does not begin and end as Parquet")?;
    let mut thrift = Thrift::new(footer);
    let read = thrift.fields(|id, found, thrift| {
        if (id, found) != (2, kind::LIST) {
            return Some(false);
        }
        let (count, found) = thrift.list()?;
        for _ in 0..count {
            if found != kind::STRUCT {
                return None;
            }
            thrift.fields(|id, found, thrift| match (id, found) {
                (5, kind::INT) => {
                    groups += usize::from(thrift.int()? > 0);
                    Some(true)
                }
                _ => Some(false),
            })?;
        }
        Some(true)
    });
    match read {
        None => Err("its footer makes no sense".to_owned()),
        Some(()) if groups > MAX_GROUPS => Err(format!(
            "its columns are in {groups} groups, more than {MAX_GROUPS}"
        )),
        Some(()) => Ok(()),
    }
}

/// The description at the end of a file, without its length and the mark behind it.
fn footer(bytes: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"PAR1";
    let body = bytes.strip_prefix(MARK)?.strip_suffix(MARK)?;
    let (body, length) = body.split_last_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    body.get(body.len().checked_sub(length)?..)
}

/// The bytes of a file, of which no more pages are read than it warrants.
pub(super) struct Guarded {
    bytes: Bytes,
    claimed: Arc<Mutex<Claimed>>,
}

/// What pages have claimed so far.
#[derive(Default)]
struct Claimed {
    /// Bytes of all of them.
    bytes: u64,
    /// Where the bodies of those begin that are still to be read.
    bodies: HashMap<u64, Page>,
}

/// What the header of a page claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Page {
    /// Bytes of the header itself.
    header: u64,
    /// 2 is a dictionary.
    kind: i64,
    /// Bytes that it decompresses to.
    uncompressed: u64,
    /// Bytes before what is compressed.
    levels: u64,
    values: u64,
    encoding: i64,
}

impl Page {
    /// Reads the header at the beginning of these bytes.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut thrift = Thrift::new(bytes);
        let mut page = Self::default();
        thrift.fields(|id, found, thrift| match (id, found) {
            (1, kind::INT) => {
                page.kind = thrift.int()?;
                Some(true)
            }
            (2, kind::INT) => {
                page.uncompressed = thrift.int()?.try_into().ok()?;
                Some(true)
            }
            // Of data, of a dictionary, and of data in the second version.
            (5 | 7 | 8, kind::STRUCT) => {
                let is_second = id == 8;
                thrift.fields(|id, found, thrift| {
                    if found != kind::INT {
                        return Some(false);
                    }
                    let number = thrift.int()?;
                    match (id, is_second) {
                        (1, _) => page.values = number.try_into().ok()?,
                        (2, false) | (4, true) => page.encoding = number,
                        (5 | 6, true) => page.levels += u64::try_from(number).ok()?,
                        _ => {}
                    }
                    Some(true)
                })?;
                Some(true)
            }
            _ => Some(false),
        })?;
        page.header = (bytes.len() - thrift.left()) as u64;
        Some(page)
    }
}

impl Guarded {
    pub(super) fn new(bytes: Bytes) -> Self {
        let claimed = Arc::default();
        Self { bytes, claimed }
    }

    /// Takes down what the header at `start` claims, if it may.
    fn claim(&self, start: u64) -> std::result::Result<(), String> {
        let bytes = usize::try_from(start)
            .ok()
            .and_then(|start| self.bytes.get(start..));
        let page = bytes.and_then(Page::of).ok_or("a page makes no sense")?;
        if page.kind == 2 && page.values > page.uncompressed {
            return Err(format!(
                "a dictionary of {} bytes would have {} values",
                page.uncompressed, page.values
            ));
        }
        if let Some((_, name)) = DELTAS.iter().find(|(delta, _)| *delta == page.encoding) {
            return Err(format!(
                "its texts are encoded as {name}; write it with the usual encodings"
            ));
        }
        let ratio = (self.bytes.len() as u64).saturating_mul(MAX_RATIO);
        let allowed = ratio.max(ALWAYS_DECOMPRESSED);
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.bytes = claimed.bytes.saturating_add(page.uncompressed);
        if claimed.bytes > allowed {
            return Err(format!("it decompresses to more than {allowed} bytes"));
        }
        claimed.bodies.insert(start + page.header, page);
        Ok(())
    }

    /// Checks that gzip does not decompress to more than was claimed, which the reader does not
    /// until it has.
    fn check_gzip(&self, start: u64, body: &[u8]) -> std::result::Result<(), String> {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(page) = claimed.bodies.remove(&start) else {
            return Ok(());
        };
        let levels = usize::try_from(page.levels).unwrap_or(usize::MAX);
        let compressed = body.get(levels..).unwrap_or_default();
        if !compressed.starts_with(&[0x1f, 0x8b]) {
            return Ok(());
        }
        let most = page.uncompressed.saturating_sub(page.levels);
        let mut content = MultiGzDecoder::new(compressed).take(most.saturating_add(1));
        // What is damaged the reader will find out itself.
        match io::copy(&mut content, &mut io::sink()) {
            Ok(length) if length > most => {
                Err(format!("a page decompresses to more than its {most} bytes"))
            }
            _ => Ok(()),
        }
    }
}

impl Length for Guarded {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl ChunkReader for Guarded {
    type T = bytes::buf::Reader<Bytes>;

    /// The reader asks in this way for the header of a page.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.claim(start).map_err(ParquetError::General)?;
        self.bytes.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.bytes.get_bytes(start, length)?;
        self.check_gzip(start, &bytes)
            .map_err(ParquetError::General)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// The header of a page of data: its size, 10 bytes of body, 3 values in this encoding.
    fn header(uncompressed: u8, encoding: u8) -> Vec<u8> {
        let data = [0x15, 6, 0x15, 2 * encoding, 0x15, 6, 0x15, 6, 0];
        [
            &[0x15, 0, 0x15, 2 * uncompressed, 0x15, 20, 0x2c],
            &data[..],
            &[0],
        ]
        .concat()
    }

    #[test]
    fn the_header_of_a_page_says_what_it_claims() {
        let bytes = [header(30, 8), vec![7; 10]].concat();
        let page = Page {
            header: 17,
            kind: 0,
            uncompressed: 30,
            levels: 0,
            values: 3,
            encoding: 8,
        };
        assert_eq!(Page::of(&bytes), Some(page));
        assert_eq!(Page::of(&bytes[..16]), None);
        assert_eq!(Page::of(&[7; 10]), None);
        let guarded = Guarded::new(bytes.into());
        assert!(guarded.get_read(0).is_ok());
        assert!(guarded.get_read(17).is_err());
        assert!(guarded.get_read(100).is_err());
    }

    #[test]
    fn counts_that_are_too_large_are_refused_before_the_reader_sees_them() {
        let said = |bytes: Vec<u8>| Guarded::new(bytes.into()).claim(0).unwrap_err();
        assert!(said(header(30, 7)).contains("DELTA_BYTE_ARRAY"));
        // 2³⁰ bytes.
        let large = [0x15, 0, 0x15, 0x80, 0x80, 0x80, 0x80, 0x08, 0x15, 20, 0];
        assert!(said(large.into()).contains("decompresses to more than 67108864 bytes"));
        let dictionary = [0x15, 4, 0x15, 20, 0x15, 20, 0x4c, 0x15, 22, 0x15, 0, 0, 0];
        assert!(said(dictionary.into()).contains("10 bytes would have 11 values"));
        // Pages that are small each, and too many.
        let page = [0x15, 0, 0x15, 0x80, 0x80, 0x80, 0x10, 0x15, 20, 0];
        let guarded = Guarded::new(Bytes::copy_from_slice(&page));
        let claims = (0..10).map(|_| guarded.claim(0).is_ok());
        assert_eq!(claims.filter(|&claimed| claimed).count(), 4);
    }

    #[test]
    fn gzip_does_not_decompress_to_more_than_its_page_claims() {
        let mut encoder = GzEncoder::new(vec![], Compression::default());
        encoder.write_all(&[0; 31]).unwrap();
        let body = encoder.finish().unwrap();
        for (uncompressed, fits) in [(30, false), (31, true)] {
            let bytes = [header(uncompressed, 0), body.clone()].concat();
            let guarded = Guarded::new(bytes.into());
            guarded.get_read(0).unwrap();
            assert_eq!(guarded.get_bytes(17, body.len()).is_ok(), fits);
        }
    }

    #[test]
    fn columns_in_many_groups_are_refused() {
        let element = |children: u8| [0x55, 2 * children, 0];
        let file = |groups: usize| {
            let elements = vec![element(1); groups].concat();
            let count = u8::try_from(groups - 128).unwrap() | 0x80;
            let footer = [
                &[0x15, 2, 0x19, 0xfc, count, 1 + u8::from(groups > 255)][..],
                &elements,
                &[0],
            ];
            let footer = footer.concat();
            let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
            [&b"PAR1"[..], &footer, &length, b"PAR1"].concat()
        };
        assert_eq!(check_footer(&file(200)), Ok(()));
        let said = check_footer(&file(MAX_GROUPS + 1)).unwrap_err();
        assert!(said.contains("257 groups"), "{said}");
        for bytes in [
            &b"PAR1PAR1"[..],
            b"PAR1\x09\0\0\0PAR1",
            b"PAR1\x00\0\0\0PAR1",
            b"a,b",
        ] {
            assert!(check_footer(bytes).is_err());
        }
    }
}
