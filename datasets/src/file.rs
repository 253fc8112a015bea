//! Reading a file whole, compressed or not, without being held up or filled by what it pretends to
//! be.

use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::Error;

/// The most that a compressed file may hold. A plain file at least says how large it is.
const MAX_DECOMPRESSED: u64 = 1 << 30;
/// A compressed file may hold this many times its own size. Gzip makes a thousandth of zeros, but a
/// tenth of numbers as people have them.
pub(crate) const MAX_RATIO: u64 = 100;
/// A compressed file may hold this much however small it is.
pub(crate) const ALWAYS_DECOMPRESSED: u64 = 64 << 20;

/// A file of data, of which gzip is recognised by its first two bytes, whatever it is called.
#[derive(Debug)]
pub(crate) struct DataFile<F> {
    /// For errors.
    path: PathBuf,
    file: F,
    /// Bytes of the file itself.
    length: u64,
    gzip: bool,
}

impl DataFile<File> {
    /// Opens the file at `path`. A pipe or a device is an error at once.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read {
            path: path.into(),
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true);
        // Of a pipe the system would wait for the other end.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
        );
        let file = options.open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(Error::NotAFile { path: path.into() });
        }
        Self::new(path, file, found.len())
    }
}

impl<'a> DataFile<Cursor<&'a [u8]>> {
    /// The file with these bytes, called `path` in errors.
    pub(crate) fn of_bytes(path: &Path, bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new(path, Cursor::new(bytes), bytes.len() as u64)
    }
}

impl<F: Read + Seek> DataFile<F> {
    fn new(path: &Path, file: F, length: u64) -> Result<Self, Error> {
        let mut opened = Self {
            path: path.to_owned(),
            file,
            length,
            gzip: false,
        };
        opened.gzip = opened.beginning(2)? == [0x1f, 0x8b];
        Ok(opened)
    }

    /// Returns the first `count` bytes of the content, or all if it has fewer.
    pub(crate) fn beginning(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let content = self.content()?;
        let read = content.take(count).read_to_end(&mut bytes);
        read.map_err(|source| self.unreadable(source))?;
        Ok(bytes)
    }

    /// Returns the content, or its first `most` + 1 bytes if it has more.
    ///
    /// What is compressed is decompressed twice: once to see in constant memory how much it is.
    pub(crate) fn read(&mut self, most: u64) -> Result<Vec<u8>, Error> {
        let length = match self.gzip {
            true => self.decompressed_length(most)?,
            false => self.length,
        };
        let length = length.min(most.saturating_add(1));
        let mut bytes = Vec::new();
        usize::try_from(length)
            .ok()
            .and_then(|length| bytes.try_reserve_exact(length).ok())
            .ok_or_else(|| self.unreadable(io::ErrorKind::OutOfMemory.into()))?;
        let content = self.content()?;
        let read = content.take(length).read_to_end(&mut bytes);
        read.map_err(|source| self.unreadable(source))?;
        Ok(bytes)
    }

    /// Returns the length of what is compressed, if it is within `most`, and more than that if it
    /// is not.
    fn decompressed_length(&mut self, most: u64) -> Result<u64, Error> {
        let ratio = self.length.saturating_mul(MAX_RATIO);
        let allowed = ratio.clamp(ALWAYS_DECOMPRESSED, MAX_DECOMPRESSED);
        let content = self.content()?;
        let counted = io::copy(
            &mut content.take(allowed.min(most).saturating_add(1)),
            &mut io::sink(),
        );
        let counted = counted.map_err(|source| self.unreadable(source))?;
        match counted > allowed {
            true => Err(Error::GzipTooLarge {
                path: self.path.clone(),
                most: allowed,
            }),
            false => Ok(counted),
        }
    }

    /// Returns the content from its beginning.
    fn content(&mut self) -> Result<Box<dyn Read + '_>, Error> {
        let rewound = self.file.rewind();
        rewound.map_err(|source| self.unreadable(source))?;
        Ok(match self.gzip {
            true => Box::new(MultiGzDecoder::new(&mut self.file)),
            false => Box::new(&mut self.file),
        })
    }

    fn unreadable(&self, source: io::Error) -> Error {
        let path = self.path.clone();
        // The decompressor says so of what it cannot make out, and the system of nothing.
        let damaged = matches!(
            source.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        );
        match self.gzip && damaged {
            true => Error::Gzip { path, source },
            false => Error::Read { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(path: &Path) -> Result<Vec<u8>, Error> {
        DataFile::open(path)?.read(u64::MAX)
    }

    fn gunzip(bytes: &[u8], most: u64) -> Result<Vec<u8>, Error> {
        DataFile::of_bytes(Path::new("data.gz"), bytes)?.read(most)
    }

    #[test]
    fn reads_plain_and_compressed_files_whatever_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        for content in [&b"1,2"[..], b"1", b"", b"\x1f"] {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path).unwrap(), content);
            fs::write(&path, gzip(content)).unwrap();
            assert_eq!(read(&path).unwrap(), content);
            let mut file = DataFile::open(&path).unwrap();
            assert_eq!(file.beginning(1).unwrap(), content[..content.len().min(1)]);
            assert_eq!(file.read(1).unwrap(), content[..content.len().min(2)]);
        }
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
    #[cfg(target_os = "linux")]
    fn pipes_devices_and_folders_are_errors_at_once() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.csv");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            let found = read(path);
            assert!(matches!(found, Err(Error::NotAFile { .. })), "{found:?}");
        }
    }

    /// Small, and so large when it is decompressed: 4 GiB.
    fn bomb() -> Vec<u8> {
        gzip(&vec![0; 64 << 20]).repeat(64)
    }

    #[test]
    fn what_decompresses_to_too_much_is_an_error() {
        let bomb = bomb();
        assert!(bomb.len() < 6 << 20, "{} bytes", bomb.len());
        let allowed = bomb.len() as u64 * MAX_RATIO;
        assert!(allowed < MAX_DECOMPRESSED);
        let found = gunzip(&bomb, u64::MAX);
        assert!(matches!(found, Err(Error::GzipTooLarge { most, .. }) if most == allowed));
        // The limit is on the content, and not on a part of the file.
        let member = &bomb[..bomb.len() / 64];
        assert_eq!(gunzip(member, u64::MAX).unwrap().len(), 64 << 20);
        let with_another = [member, &gzip(&[0])].concat();
        let found = gunzip(&with_another, u64::MAX);
        assert!(
            matches!(found, Err(Error::GzipTooLarge { most, .. }) if most == ALWAYS_DECOMPRESSED)
        );
    }

    #[test]
    fn no_more_is_read_than_is_asked_for() {
        let bomb = bomb();
        assert_eq!(gunzip(&bomb, 1000).unwrap(), [0; 1001]);
        let mut bomb = DataFile::of_bytes(Path::new("zeros.gz"), &bomb).unwrap();
        assert_eq!(bomb.beginning(16).unwrap(), [0; 16]);
    }

    #[test]
    fn gzip_cut_anywhere_or_damaged_is_an_error() {
        let whole = gzip(b"5.1,3.5,setosa");
        for length in 2..whole.len() {
            let cut = gunzip(&whole[..length], u64::MAX);
            assert!(matches!(cut, Err(Error::Gzip { .. })), "{length} bytes");
        }
        let mut damaged = whole;
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert!(matches!(
            gunzip(&damaged, u64::MAX),
            Err(Error::Gzip { .. })
        ));
    }
}
