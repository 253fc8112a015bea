//! The record of the sums that a node has sent. It only grows, and must forget nothing.
//!
//! ```text
//! SHA-256("smpcfl/2 sent sums" ‖ consortium id)
//! LE32(length) ‖ LE32(!length) ‖ sum ‖ SHA-256(the 32 bytes before this entry ‖ sum)
//! …
//! ```
//!
//! An entry is on the disk before its sum leaves. So one that the file ends within was never acted
//! upon, and is cut off: a crash left it. Nothing else is guessed at. The length stands there twice
//! so that a flipped bit in it does not pass for such an end.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fl_protocol::digest::Digest;
use fl_protocol::round::{SentSum, SentSums};
use fl_protocol::wire;

use super::StoreError;
use super::folder::damaged;
use crate::files::{self, FileError};

const LENGTHS: usize = 8;

/// The record of one node, as its process has it.
#[derive(Debug)]
pub(super) struct SentLog {
    path: PathBuf,
    file: File,
    /// What the whole entries say.
    sums: SentSums,
    /// The last 32 bytes of the whole entries.
    link: Digest,
    /// Where the whole entries end.
    length: u64,
    /// Whether something may stand behind them.
    torn: bool,
}

impl SentLog {
    /// Makes an empty record at `path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`].
    pub(super) fn create(path: &Path, consortium_id: Digest) -> Result<(), StoreError> {
        Ok(files::write_private(
            path,
            beginning(consortium_id).as_bytes(),
        )?)
    }

    /// Takes up the record at `path`, which must be there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub(super) fn open(path: &Path, consortium_id: Digest) -> Result<Self, StoreError> {
        let file = files::open_private(path)?;
        let link = beginning(consortium_id);
        let mut log = Self {
            path: path.to_owned(),
            file,
            sums: SentSums::default(),
            link,
            length: 0,
            torn: false,
        };
        log.read(link)?;
        if log.torn {
            log.cut_off()?;
        }
        Ok(log)
    }

    /// Returns the sums that have been sent.
    pub(super) fn sums(&self) -> &SentSums {
        &self.sums
    }

    /// Makes `sum` durable, unless it is there already.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`]; the record is then as it was.
    pub(super) fn append(&mut self, sum: &SentSum) -> Result<(), StoreError> {
        if self.sums.has_last(sum) {
            return Ok(());
        }
        let encoded = wire::encode(sum).map_err(|error| StoreError::Encode(error.to_string()))?;
        let length = u32::try_from(encoded.len());
        let length = length.map_err(|error| StoreError::Encode(error.to_string()))?;
        let link = next(self.link, &encoded);
        let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
        let entry = [&lengths[..], &encoded, link.as_bytes()].concat();
        if self.torn {
            self.cut_off()?;
        }
        self.torn = true;
        let written = self.write(&entry);
        written.map_err(|source| FileError::write(&self.path, source))?;
        self.torn = false;
        self.length += entry.len() as u64;
        self.link = link;
        self.sums.add(sum);
        Ok(())
    }

    fn write(&mut self, entry: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(entry)?;
        self.file.sync_data()
    }

    /// Takes off what stands behind the whole entries.
    fn cut_off(&mut self) -> Result<(), FileError> {
        let cut = self.file.set_len(self.length);
        let cut = cut.and_then(|()| self.file.sync_data());
        cut.map_err(|source| FileError::write(&self.path, source))?;
        self.torn = false;
        Ok(())
    }

    fn read(&mut self, beginning: Digest) -> Result<(), StoreError> {
        let path = self.path.clone();
        let refuse = |reason: &str| damaged(&path, reason.to_owned());
        let mut reader = BufReader::new(&self.file);
        let mut read = |most: usize| {
            let mut bytes = Vec::new();
            let read = reader.by_ref().take(most as u64).read_to_end(&mut bytes);
            read.map(|_| bytes)
                .map_err(|source| FileError::read(&path, source))
        };
        if read(32)? != beginning.as_bytes() {
            return Err(refuse("it is not the record of this consortium"));
        }
        self.length = 32;
        loop {
            let lengths = read(LENGTHS)?;
            let Some(&[a, b, c, d, e, f, g, h]) = lengths.as_array::<LENGTHS>() else {
                self.torn = !lengths.is_empty();
                return Ok(());
            };
            let length = u32::from_le_bytes([a, b, c, d]);
            if length != !u32::from_le_bytes([e, f, g, h])
                || length as usize > wire::MAX_MESSAGE_BYTES
            {
                return Err(refuse("the length of an entry is not what it was"));
            }
            let entry = read(length as usize + 32)?;
            let Some((encoded, link)) = entry
                .split_at_checked(length as usize)
                .filter(|(_, link)| link.len() == 32)
            else {
                self.torn = true;
                return Ok(());
            };
            let expected = next(self.link, encoded);
            if link != expected.as_bytes() {
                return Err(refuse("an entry is not what it was"));
            }
            let sum = wire::decode(encoded).map_err(|error| damaged(&path, error.to_string()))?;
            self.sums.add(&sum);
            self.link = expected;
            self.length += (LENGTHS + entry.len()) as u64;
        }
    }
}

fn beginning(consortium_id: Digest) -> Digest {
    Digest::sha256(&[b"smpcfl/2 sent sums", consortium_id.as_bytes()])
}

/// What stands behind an entry, when this stands before it.
fn next(link: Digest, encoded: &[u8]) -> Digest {
    Digest::sha256(&[link.as_bytes(), encoded])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use fl_protocol::identity::NodeId;

    use super::*;

    const SID: Digest = Digest([1; 32]);

    /// The sum that is sent in this round.
    fn sum(round: u8) -> SentSum {
        let nodes = (0..3).map(|node| NodeId(Digest([node; 32]))).collect();
        SentSum::new(Digest([round; 32]), nodes)
    }

    /// A record of so many rounds, and where each of its parts ends.
    fn record(path: &Path, rounds: u8) -> Vec<usize> {
        SentLog::create(path, SID).unwrap();
        let mut log = SentLog::open(path, SID).unwrap();
        let mut ends = vec![32];
        for round in 0..rounds {
            log.append(&sum(round)).unwrap();
            ends.push(usize::try_from(log.length).unwrap());
        }
        ends
    }

    fn of(rounds: u8) -> SentSums {
        let mut sums = SentSums::default();
        (0..rounds).for_each(|round| sums.add(&sum(round)));
        sums
    }

    #[test]
    fn what_was_appended_is_there_again_and_only_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent.log");
        let ends = record(&path, 5);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(ends.last(), Some(&bytes.len()));
        let mut log = SentLog::open(&path, SID).unwrap();
        assert_eq!(*log.sums(), of(5));
        // What is there already is not written again.
        log.append(&sum(4)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        log.append(&sum(5)).unwrap();
        let more = fs::read(&path).unwrap();
        assert_eq!(&more[..bytes.len()], bytes);
        // Every entry is as long as the others, however many there are.
        let lengths: Vec<_> = ends.windows(2).map(|ends| ends[1] - ends[0]).collect();
        assert!(
            lengths
                .iter()
                .all(|length| *length == more.len() - bytes.len())
        );
    }

    #[test]
    fn an_entry_that_a_crash_cut_short_is_cut_off_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent.log");
        let ends = record(&path, 3);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let Some(whole) = ends.iter().rposition(|end| *end <= length) else {
                // Not even the beginning, which is written whole or not at all.
                let found = SentLog::open(&path, SID);
                assert!(matches!(found, Err(StoreError::Damaged { .. })), "{length}");
                continue;
            };
            let mut log = SentLog::open(&path, SID).unwrap();
            let whole = u8::try_from(whole).unwrap();
            assert_eq!(*log.sums(), of(whole), "{length}");
            assert_eq!(fs::read(&path).unwrap().len(), ends[usize::from(whole)]);
            (whole..3).for_each(|round| log.append(&sum(round)).unwrap());
            assert_eq!(fs::read(&path).unwrap(), bytes, "{length}");
        }
    }

    #[test]
    fn a_record_with_a_flipped_byte_is_refused_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent.log");
        let ends = record(&path, 3);
        let bytes = fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let found = SentLog::open(&path, SID);
            let refused = matches!(found, Err(StoreError::Damaged { .. }));
            assert_eq!(fs::read(&path).unwrap(), bytes, "it is evidence");
            refused
        };
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut flipped = bytes.clone();
                flipped[at] ^= flip;
                assert!(refused(&flipped), "byte {at}");
            }
        }
        // An entry that is missing, two that have changed places, and zeros behind the last.
        let part = |from: usize, to: usize| &bytes[ends[from]..ends[to]];
        let start = &bytes[..32];
        assert!(refused(&[start, part(1, 3)].concat()));
        assert!(refused(&[start, part(1, 2), part(0, 1)].concat()));
        assert!(refused(&[&bytes[..], &[0; 8]].concat()));
        // The controls.
        assert!(!refused(&bytes));
        fs::write(&path, &bytes).unwrap();
        let other = SentLog::open(&path, Digest([2; 32]));
        assert!(matches!(other, Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn what_could_not_be_written_is_not_recorded_and_may_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent.log");
        record(&path, 1);
        let mut log = SentLog::open(&path, SID).unwrap();
        let writable = std::mem::replace(&mut log.file, File::open(&path).unwrap());
        assert!(matches!(log.append(&sum(1)), Err(StoreError::File(_))));
        assert_eq!(*log.sums(), of(1));
        log.file = writable;
        // A part of it may have been.
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(&[7; 50])
            .unwrap();
        log.append(&sum(1)).unwrap();
        drop(log);
        assert_eq!(*SentLog::open(&path, SID).unwrap().sums(), of(2));
    }
}
