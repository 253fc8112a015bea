//! Reading a file whole, compressed or not.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::Error;

/// The most that a compressed file may hold: gzip makes a thousandth of zeros, and a plain file at
/// least says how large it is.
const MAX_DECOMPRESSED: u64 = 4 << 30;

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
    gunzip_up_to(MAX_DECOMPRESSED, path, bytes)
}

/// The same, of `most` bytes at most.
fn gunzip_up_to(most: u64, path: &Path, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    // One byte more tells a file that is too long from one that just is not.
    let read = MultiGzDecoder::new(bytes)
        .take(most.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|source| Error::Gzip {
            path: path.into(),
            source,
        })?;
    match read as u64 > most {
        true => Err(Error::GzipTooLarge {
            path: path.into(),
            most,
        }),
        false => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn reads_plain_and_compressed_files_whatever_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        fs::write(&path, b"1,2").unwrap();
        assert_eq!(read(&path).unwrap(), b"1,2");
        fs::write(&path, gzip(b"1,2")).unwrap();
        assert_eq!(read(&path).unwrap(), b"1,2");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            read(&folder.path().join("no.csv")),
            Err(Error::Read { .. })
        ));
    }

    #[test]
    fn what_decompresses_to_too_much_is_an_error() {
        let path = Path::new("zeros.gz");
        let zeros = gzip(&[0; 1000]);
        assert_eq!(gunzip_up_to(1000, path, &zeros).unwrap(), [0; 1000]);
        let members = [gzip(&[0; 500]), gzip(&[0; 500])].concat();
        for bytes in [zeros, members] {
            let found = gunzip_up_to(999, path, &bytes);
            assert!(matches!(found, Err(Error::GzipTooLarge { most: 999, .. })));
        }
    }

    #[test]
    fn gzip_cut_anywhere_or_damaged_is_an_error() {
        let whole = gzip(b"5.1,3.5,setosa");
        for length in 2..whole.len() {
            let cut = gunzip(Path::new("cut.gz"), &whole[..length]);
            assert!(matches!(cut, Err(Error::Gzip { .. })), "{length} bytes");
        }
        let mut damaged = whole;
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert!(matches!(
            gunzip(Path::new("damaged.gz"), &damaged),
            Err(Error::Gzip { .. })
        ));
    }
}
