//! A file of entries, each chained to those before it, that only grows and must forget nothing.
//!
//! ```text
//! beginning, 32 bytes
//! LE32(length) ‖ LE32(!length) ‖ entry ‖ SHA-256(the 32 bytes before this entry ‖ entry)
//! …
//! ```
//!
//! An entry is on the disk before what it permits is done. So one that the file ends within was
//! never acted upon, and is cut off: a crash left it. Nothing else is guessed at. The length stands
//! there twice so that a flipped bit in it does not pass for such an end.

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fl_protocol::digest::Digest;
use fl_protocol::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::folder::damaged;
use crate::files::{self, FileError};

const BEGINNING: usize = 32;
const LENGTHS: usize = 8;
const LINK: usize = 32;

/// Such a file, which this process has for itself.
#[derive(Debug)]
pub(super) struct ChainFile {
    path: PathBuf,
    file: File,
    /// The last 32 bytes of the whole entries.
    link: Digest,
    /// Where the whole entries end: 0 as long as there is nothing, not even the beginning.
    length: u64,
    /// Whether something may stand behind them.
    torn: bool,
}

impl ChainFile {
    /// Takes up the file at `path`, which is made if need be. Returns its entries as well.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if it has another beginning, or is not as it was written;
    /// [`StoreError::Locked`] if another process has it; [`StoreError::File`].
    pub(super) fn open<E: DeserializeOwned>(
        path: &Path,
        beginning: Digest,
    ) -> Result<(Self, Vec<E>), StoreError> {
        let file = files::open_private(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Locked(path.to_owned()),
            TryLockError::Error(source) => FileError::write(path, source).into(),
        })?;
        let mut chain = Self {
            path: path.to_owned(),
            file,
            link: beginning,
            length: 0,
            torn: false,
        };
        let entries = chain.read(beginning)?;
        if chain.torn {
            chain.cut_off()?;
        }
        Ok((chain, entries))
    }

    /// Returns the beginning and the first entry of the file at `path`, which may be another
    /// process's, or `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::File`].
    pub(super) fn first<E: DeserializeOwned>(
        path: &Path,
    ) -> Result<Option<(Digest, E)>, StoreError> {
        let mut reader = Entries::new(path, files::open(path)?);
        let beginning = reader.take(BEGINNING)?;
        let Some(beginning) = beginning.as_array().map(|bytes| Digest(*bytes)) else {
            return Ok(None);
        };
        let entry = reader.next(beginning)?;
        let decoded = entry.map(|(encoded, _)| reader.decode(&encoded));
        Ok(decoded.transpose()?.map(|entry| (beginning, entry)))
    }

    /// Returns whether nothing was ever appended.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Makes these entries durable, all or none.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`]; the file is then as it was.
    pub(super) fn append<E: Serialize>(&mut self, entries: &[E]) -> Result<(), StoreError> {
        let (mut link, mut bytes) = (self.link, Vec::new());
        if self.is_empty() {
            bytes.extend(link.as_bytes());
        }
        for entry in entries {
            let encode = |error: &dyn std::fmt::Display| StoreError::Encode(error.to_string());
            let encoded = wire::encode(entry).map_err(|error| encode(&error))?;
            let length = u32::try_from(encoded.len()).map_err(|error| encode(&error))?;
            link = next(link, &encoded);
            bytes.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
            bytes.extend(&encoded);
            bytes.extend(link.as_bytes());
        }
        if self.torn {
            self.cut_off()?;
        }
        self.torn = true;
        let written = self.write(&bytes);
        written.map_err(|source| FileError::write(&self.path, source))?;
        self.torn = false;
        self.length += bytes.len() as u64;
        self.link = link;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(bytes)?;
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

    fn read<E: DeserializeOwned>(&mut self, beginning: Digest) -> Result<Vec<E>, StoreError> {
        let mut reader = Entries::new(&self.path, &self.file);
        let found = reader.take(BEGINNING)?;
        if !beginning.as_bytes().starts_with(&found) {
            let reason = "it is not the record of this node in this consortium";
            return Err(damaged(&self.path, reason.to_owned()));
        }
        let mut entries = Vec::new();
        if found.len() == BEGINNING {
            self.length = BEGINNING as u64;
            while let Some((encoded, link)) = reader.next(self.link)? {
                entries.push(reader.decode(&encoded)?);
                self.link = link;
                self.length += (LENGTHS + encoded.len() + LINK) as u64;
            }
        }
        // The first entry comes with the beginning.
        if entries.is_empty() {
            self.length = 0;
        }
        self.torn = reader.torn || (entries.is_empty() && !found.is_empty());
        Ok(entries)
    }
}

/// The entries of a file, as they are read.
struct Entries<'a, R> {
    path: &'a Path,
    reader: BufReader<R>,
    /// Whether the file ends within an entry.
    torn: bool,
}

impl<'a, R: Read> Entries<'a, R> {
    fn new(path: &'a Path, file: R) -> Self {
        Self {
            path,
            reader: BufReader::new(file),
            torn: false,
        }
    }

    /// Returns the next bytes, so many or, at the end, fewer.
    fn take(&mut self, most: usize) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        let read = self
            .reader
            .by_ref()
            .take(most as u64)
            .read_to_end(&mut bytes);
        read.map_err(|source| FileError::read(self.path, source))?;
        Ok(bytes)
    }

    /// Returns the next entry, which stands behind `link`, and what stands behind it.
    fn next(&mut self, link: Digest) -> Result<Option<(Vec<u8>, Digest)>, StoreError> {
        let refuse = |reason: &str| damaged(self.path, reason.to_owned());
        let lengths = self.take(LENGTHS)?;
        let Some(&[a, b, c, d, e, f, g, h]) = lengths.as_array::<LENGTHS>() else {
            self.torn = !lengths.is_empty();
            return Ok(None);
        };
        let length = u32::from_le_bytes([a, b, c, d]);
        let repeated = !u32::from_le_bytes([e, f, g, h]);
        if length != repeated || length as usize > wire::MAX_MESSAGE_BYTES {
            return Err(refuse("the length of an entry is not what it was"));
        }
        let mut entry = self.take(length as usize + LINK)?;
        if entry.len() < length as usize + LINK {
            self.torn = true;
            return Ok(None);
        }
        let found = entry.split_off(length as usize);
        let expected = next(link, &entry);
        match found == expected.as_bytes() {
            true => Ok(Some((entry, expected))),
            false => Err(refuse("an entry is not what it was")),
        }
    }

    fn decode<E: DeserializeOwned>(&self, encoded: &[u8]) -> Result<E, StoreError> {
        wire::decode(encoded).map_err(|error| damaged(self.path, error.to_string()))
    }
}

/// What stands behind an entry, when this stands before it.
fn next(link: Digest, encoded: &[u8]) -> Digest {
    Digest::sha256(&[link.as_bytes(), encoded])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const BEGINS: Digest = Digest([1; 32]);

    type Entry = (u8, Vec<u8>);

    fn entry(k: u8) -> Entry {
        (k, vec![k; 40])
    }

    fn open(path: &Path) -> Result<(ChainFile, Vec<Entry>), StoreError> {
        ChainFile::open(path, BEGINS)
    }

    fn entries(count: u8) -> Vec<Entry> {
        (0..count).map(entry).collect()
    }

    /// A file of so many entries, and where each of its parts ends.
    fn chain(path: &Path, count: u8) -> Vec<usize> {
        let (mut chain, _) = open(path).unwrap();
        let mut ends = vec![BEGINNING];
        for k in 0..count {
            chain.append(&[entry(k)]).unwrap();
            ends.push(usize::try_from(chain.length).unwrap());
        }
        ends
    }

    #[test]
    fn what_was_appended_is_there_again_and_only_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain");
        let ends = chain(&path, 5);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(ends.last(), Some(&bytes.len()));
        let (mut chain, found) = open(&path).unwrap();
        assert_eq!(found, entries(5));
        let other = open(&path);
        assert!(matches!(other, Err(StoreError::Locked(_))), "one process");
        chain.append(&[entry(5), entry(6)]).unwrap();
        let more = fs::read(&path).unwrap();
        assert_eq!(&more[..bytes.len()], bytes);
        assert_eq!(more.len() - bytes.len(), 2 * (ends[2] - ends[1]));
        drop(chain);
        assert_eq!(open(&path).unwrap().1, entries(7));
        let first = ChainFile::first::<Entry>(&path).unwrap();
        assert_eq!(first, Some((BEGINS, entry(0))));
    }

    #[test]
    fn an_entry_that_a_crash_cut_short_is_cut_off_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain");
        let ends = chain(&path, 3);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let whole = ends.iter().rposition(|end| *end <= length).unwrap_or(0);
            let first = ChainFile::first::<Entry>(&path).unwrap();
            assert_eq!(first.is_some(), whole > 0, "{length}");
            let (mut chain, found) = open(&path).unwrap();
            assert_eq!(found, entries(u8::try_from(whole).unwrap()), "{length}");
            let kept = if whole == 0 { 0 } else { ends[whole] };
            assert_eq!(fs::read(&path).unwrap().len(), kept);
            for k in whole..3 {
                chain.append(&[entry(u8::try_from(k).unwrap())]).unwrap();
            }
            assert_eq!(fs::read(&path).unwrap(), bytes, "{length}");
        }
    }

    #[test]
    fn a_record_with_a_flipped_byte_is_refused_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain");
        let ends = chain(&path, 3);
        let bytes = fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let refused = matches!(open(&path), Err(StoreError::Damaged { .. }));
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
        let start = &bytes[..BEGINNING];
        assert!(refused(&[start, part(1, 3)].concat()));
        assert!(refused(&[start, part(1, 2), part(0, 1)].concat()));
        assert!(refused(&[&bytes[..], &[0; 8]].concat()));
        // The controls.
        assert!(!refused(&bytes));
        let other = ChainFile::open::<Entry>(&path, Digest([2; 32]));
        assert!(matches!(other, Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn what_could_not_be_written_is_not_recorded_and_may_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain");
        chain(&path, 1);
        let (mut chain, _) = open(&path).unwrap();
        let writable = std::mem::replace(&mut chain.file, File::open(&path).unwrap());
        let found = chain.append(&[entry(1)]);
        assert!(matches!(found, Err(StoreError::File(_))));
        chain.file = writable;
        // A part of it may have been.
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(&[7; 50])
            .unwrap();
        chain.append(&[entry(1)]).unwrap();
        drop(chain);
        assert_eq!(open(&path).unwrap().1, entries(2));
    }
}
