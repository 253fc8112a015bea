//! The file of a log.
//!
//! A crash in mid-append leaves a last record that the file ends before. [`Log::open`] cuts it off,
//! and refuses to go on with a log that is wrong anywhere else.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fl_protocol::audit::format::{self, Next, Reader};
use fl_protocol::audit::{Flaw, Record};
use fl_protocol::digest::Digest;
use fl_protocol::error::WireError;

use crate::files::{self, FileError};

/// A log that cannot be written, or gone on with.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The log is not as it was written.
    #[error(
        "{path} is not as it was written: {flaw}; keep it for whoever looks into that, under another name, \
         and start again for a new log"
    )]
    Altered {
        /// File.
        path: PathBuf,
        /// Where, and what does not hold.
        flaw: Box<Flaw>,
    },
    /// The log is another party's.
    #[error(
        "{0} is the log of another party: this is its state, not that of this kit; give each its own --state"
    )]
    OtherParty(PathBuf),
    /// A record cannot be encoded.
    #[error(transparent)]
    Encode(#[from] WireError),
}

/// A log that is appended to.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Arc<File>,
    /// Digest of the last record.
    previous: Digest,
    /// Length of the whole records.
    length: u64,
    /// Whether a failed append may have left something behind them.
    torn: bool,
}

impl Log {
    /// Opens the log at `path`, which is made if need be. Returns the number of bytes of an
    /// incomplete last record, which are cut off.
    ///
    /// # Errors
    ///
    /// [`LogError::Altered`] if the chain of digests is broken, [`LogError::File`].
    pub fn open(path: &Path, consortium_id: Digest) -> Result<(Self, u64), LogError> {
        Self::open_and_read(path, consortium_id, |_| ())
    }

    /// [`Log::open`]; `each` is told the payloads of the whole records.
    ///
    /// # Errors
    ///
    /// [`LogError::Altered`] if the chain of digests is broken, [`LogError::File`].
    pub(super) fn open_and_read(
        path: &Path,
        consortium_id: Digest,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(Self, u64), LogError> {
        let file = files::open_private(path)?;
        let failed = |source| FileError::read(path, source);
        let mut reader = Reader::new(BufReader::new(&file), consortium_id);
        let dropped = loop {
            match reader.next().map_err(failed)? {
                Next::Record(record) => {
                    each(&record.payload);
                    reader.pass(&record);
                }
                Next::End => break 0,
                Next::Incomplete(bytes) => break bytes,
                Next::Altered(what) => {
                    let (path, flaw) = (path.to_owned(), Box::new(reader.flaw(what)));
                    return Err(LogError::Altered { path, flaw });
                }
            }
        };
        let (previous, length) = (reader.previous, reader.offset);
        let log = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            previous,
            length,
            torn: dropped > 0,
        };
        Ok((log, dropped))
    }

    /// Appends a record, whole or not at all. It survives the end of the process; a loss of power
    /// only after [`Log::sync`].
    ///
    /// # Errors
    ///
    /// [`LogError::File`], on a full disk for instance; the log is then as it was.
    pub fn append(&mut self, record: &Record) -> Result<(), LogError> {
        let (bytes, digest) = format::append(self.previous, record)?;
        self.write(&bytes)
            .map_err(|source| FileError::write(&self.path, source))?;
        self.previous = digest;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = &*self.file;
        if self.torn {
            file.set_len(self.length)?;
        }
        self.torn = true;
        file.seek(SeekFrom::Start(self.length))?;
        file.write_all(bytes)?;
        self.torn = false;
        Ok(())
    }

    /// Returns what makes all that was appended survive a loss of power: to be called where it may
    /// block.
    pub fn sync(&self) -> impl Fn() -> Result<(), FileError> + Send + Sync + use<> {
        let (file, path) = (self.file.clone(), self.path.clone());
        move || {
            file.sync_data()
                .map_err(|source| FileError::write(&path, source))
        }
    }
}

#[cfg(test)]
impl Log {
    /// Takes another file handle, one that fails for instance. Returns the former.
    pub(super) fn exchange(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fl_protocol::audit::{Entry, Party};
    use fl_protocol::round::Head;

    fn record(dropped: u64) -> Record {
        let consortium_id = Digest([1; 32]);
        let head = Head {
            round: 0,
            previous: consortium_id,
            model: consortium_id,
        };
        let party = Party::Relay;
        let entry = Entry::Started {
            consortium_id,
            party,
            head,
            dropped,
        };
        Record { unix_s: 9, entry }
    }

    #[test]
    fn a_log_is_gone_on_with_after_a_crash_and_not_after_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let consortium_id = Digest([1; 32]);
        let (mut log, dropped) = Log::open(&path, consortium_id).unwrap();
        assert_eq!(dropped, 0);
        log.append(&record(1)).unwrap();
        log.sync()().unwrap();
        let one = std::fs::read(&path).unwrap();
        log.append(&record(2)).unwrap();
        drop(log);
        let two = std::fs::read(&path).unwrap();
        assert_eq!(two.len(), 2 * one.len());

        for kept in one.len()..two.len() {
            std::fs::write(&path, &two[..kept]).unwrap();
            let (mut log, dropped) = Log::open(&path, consortium_id).unwrap();
            assert_eq!(dropped, (kept - one.len()) as u64);
            log.append(&record(2)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), two);
        }
        let mut changed = two.clone();
        changed[one.len() + 10] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let error = Log::open(&path, consortium_id).unwrap_err();
        assert!(
            matches!(&error, LogError::Altered { flaw, .. } if flaw.record == 2),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), changed, "it is evidence");
        assert!(Log::open(&path, Digest([2; 32])).is_err());
    }

    #[test]
    fn what_cannot_be_written_leaves_the_log_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, _) = Log::open(&path, Digest([1; 32])).unwrap();
        log.append(&record(1)).unwrap();
        let writable = log.exchange(Arc::new(File::open(&path).unwrap()));
        let one = std::fs::read(&path).unwrap();
        assert!(matches!(log.append(&record(2)), Err(LogError::File(_))));
        assert_eq!(std::fs::read(&path).unwrap(), one);
        // A part of it may be there all the same.
        let left = [&one[..], &[7; 500]].concat();
        std::fs::write(&path, left).unwrap();
        log.exchange(writable);
        log.append(&record(2)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), 2 * one.len());
        assert!(Log::open(&path, Digest([1; 32])).is_ok());
    }
}
