//! The file: records behind each other, each chained to the one before.
//!
//! ```text
//! record_k = LE32(length) ‖ payload ‖ digest_k
//! digest_0 = SHA-256("smpcfl/1 log of" ‖ sid)
//! digest_k = SHA-256("smpcfl/1 log" ‖ digest_{k−1} ‖ payload)
//! ```
//!
//! A crash in mid-append leaves a last record that the file ends before. [`Log::open`] cuts it off, and refuses to go on
//! with a log that is wrong anywhere else.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;

use super::history::Unsound;
use super::record::{Entry, Record};
use super::verify::Flaw;
use crate::digest::Digest;
use crate::error::WireError;
use crate::files::{self, FileError};
use crate::wire::{self, MAX_MESSAGE_BYTES};

/// Length of the two fields around a payload.
const FRAME_BYTES: u64 = 4 + DIGEST_BYTES as u64;
const DIGEST_BYTES: usize = 32;
const LINK: &[u8] = b"smpcfl/1 log";

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
    /// Opens the log at `path`, which is made if need be. Gives the number of bytes of an incomplete last record, which
    /// are cut off.
    ///
    /// # Errors
    /// [`LogError::Altered`] if the chain of digests is broken, [`LogError::File`].
    pub fn open(path: &Path, sid: Digest) -> Result<(Self, u64), LogError> {
        Self::open_and_read(path, sid, |_| ())
    }

    /// [`Log::open`]; `each` is told the payloads of the whole records.
    ///
    /// # Errors
    /// [`LogError::Altered`] if the chain of digests is broken, [`LogError::File`].
    pub(super) fn open_and_read(
        path: &Path,
        sid: Digest,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(Self, u64), LogError> {
        let file = files::open_private(path)?;
        let failed = |source| FileError::read(path, source);
        let mut reader = Reader::new(BufReader::new(&file), sid);
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

    /// Appends a record, whole or not at all. It survives the end of the process; a loss of power only after
    /// [`Log::sync`].
    ///
    /// # Errors
    /// [`LogError::File`], on a full disk for instance; the log is then as it was.
    pub fn append(&mut self, record: &Record) -> Result<(), LogError> {
        let payload = wire::encode(record)?;
        let digest = link(self.previous, &payload);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(digest.as_bytes());
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

    /// What makes all that was appended survive a loss of power: to be called where it may block.
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
    /// Takes another file handle, one that fails for instance. Gives the former.
    pub(super) fn exchange(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }
}

fn start(sid: Digest) -> Digest {
    Digest::sha256(&[b"smpcfl/1 log of", sid.as_bytes()])
}

fn link(previous: Digest, payload: &[u8]) -> Digest {
    Digest::sha256(&[LINK, previous.as_bytes(), payload])
}

/// Reads a log record by record, following its chain of digests.
pub(super) struct Reader<R> {
    input: R,
    /// Digest of the last record.
    pub(super) previous: Digest,
    /// Whole records so far.
    pub(super) records: u64,
    /// Their length in bytes.
    pub(super) offset: u64,
}

/// What comes next in a log.
pub(super) enum Next {
    /// A record whose digest follows. The reader stays before it until [`Reader::pass`].
    Record(Link),
    /// Nothing.
    End,
    /// So many bytes of a record whose append was cut short.
    Incomplete(u64),
    /// Something that was never written so.
    Altered(Unsound),
}

/// A payload with its digest.
pub(super) struct Link {
    pub(super) payload: Vec<u8>,
    digest: Digest,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R, sid: Digest) -> Self {
        Self {
            input,
            previous: start(sid),
            records: 0,
            offset: 0,
        }
    }

    /// Goes on behind a record.
    pub(super) fn pass(&mut self, record: &Link) {
        self.previous = record.digest;
        self.records += 1;
        self.offset += FRAME_BYTES + record.payload.len() as u64;
    }

    /// What is wrong with the record that comes next.
    pub(super) fn flaw(&self, what: Unsound) -> Flaw {
        Flaw {
            record: self.records + 1,
            offset: self.offset,
            what,
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        let head = self.take(4)?;
        let Ok(head) = <[u8; 4]>::try_from(head.as_slice()) else {
            return Ok(match head.len() {
                0 => Next::End,
                some => Next::Incomplete(some as u64),
            });
        };
        let length = u32::from_le_bytes(head) as usize;
        if length == 0 || length > MAX_MESSAGE_BYTES {
            return self.rest_without_length(length);
        }
        let mut payload = self.take(length + DIGEST_BYTES)?;
        if payload.len() < length + DIGEST_BYTES {
            return Ok(match self.holds_a_shorter_record(&payload) {
                true => Next::Altered(Unsound::Length),
                false => Next::Incomplete((head.len() + payload.len()) as u64),
            });
        }
        let found = payload.split_off(length);
        let digest = link(self.previous, &payload);
        if found != digest.as_bytes() {
            return Ok(Next::Altered(self.altered(&payload, &found)));
        }
        Ok(Next::Record(Link { payload, digest }))
    }

    fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut taken = Vec::new();
        self.input
            .by_ref()
            .take(bytes as u64)
            .read_to_end(&mut taken)?;
        Ok(taken)
    }

    /// No record has this length. File systems that lose power may leave a new end of zeros, in which nothing was
    /// written; all else was put there.
    fn rest_without_length(&mut self, length: usize) -> io::Result<Next> {
        let mut rest = 4;
        loop {
            let piece = self.take(MAX_MESSAGE_BYTES)?;
            if length > 0 || piece.iter().any(|byte| *byte != 0) {
                return Ok(Next::Altered(Unsound::Length));
            }
            if piece.is_empty() {
                return Ok(Next::Incomplete(rest));
            }
            rest += piece.len() as u64;
        }
    }

    /// Whether a record ends somewhere in `rest`, which is shorter than its length says: then the length was altered.
    /// What a crash leaves is the beginning of a record, and ends before its digest.
    fn holds_a_shorter_record(&self, rest: &[u8]) -> bool {
        let mut hash = sha2::Sha256::new();
        hash.update(LINK);
        hash.update(self.previous.as_bytes());
        rest.windows(DIGEST_BYTES).any(|digest| {
            let ends = hash.clone().finalize().as_slice() == digest;
            hash.update(&digest[..1]);
            ends
        })
    }

    /// Why a digest does not follow: the first record says whose log it is.
    fn altered(&self, payload: &[u8], digest: &[u8]) -> Unsound {
        if self.records == 0
            && let Ok(Record { entry, .. }) = wire::decode(payload)
            && let Entry::Started { sid, .. } = entry
            && link(start(sid), payload).as_bytes() == digest
        {
            return Unsound::OtherManifest(sid);
        }
        Unsound::Digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Party;
    use crate::round::Chain;

    fn record(dropped: u64) -> Record {
        let sid = Digest([1; 32]);
        let chain = Chain {
            round: 0,
            previous: sid,
            model: sid,
        };
        let party = Party::Relay;
        let entry = Entry::Started {
            sid,
            party,
            chain,
            dropped,
        };
        Record { unix_s: 9, entry }
    }

    #[test]
    fn a_log_is_gone_on_with_after_a_crash_and_not_after_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let sid = Digest([1; 32]);
        let (mut log, dropped) = Log::open(&path, sid).unwrap();
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
            let (mut log, dropped) = Log::open(&path, sid).unwrap();
            assert_eq!(dropped, (kept - one.len()) as u64);
            log.append(&record(2)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), two);
        }
        let mut changed = two.clone();
        changed[one.len() + 10] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let error = Log::open(&path, sid).unwrap_err();
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
