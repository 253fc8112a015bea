//! The format of a log: records behind each other, each chained to the one before.
//!
//! ```text
//! record_k = LE32(length) ‖ payload ‖ digest_k
//! digest_0 = SHA-256("smpcfl/2 log of" ‖ sid)
//! digest_k = SHA-256("smpcfl/2 log" ‖ digest_{k−1} ‖ payload)
//! ```

use std::io::{self, Read};

use sha2::Digest as _;

use super::record::{Entry, Record};
use super::verify::Flaw;
use super::verify::Unsound;
use crate::digest::Digest;
use crate::error::WireError;
use crate::wire::{self, MAX_MESSAGE_BYTES};

/// Length of the two fields around a payload.
const FRAME_BYTES: u64 = 4 + DIGEST_BYTES as u64;
const DIGEST_BYTES: usize = 32;
const LINK: &[u8] = b"smpcfl/2 log";

/// The digest that the first record of a consortium's log is chained to.
pub fn start(consortium_id: Digest) -> Digest {
    Digest::sha256(&[b"smpcfl/2 log of", consortium_id.as_bytes()])
}

/// Returns the bytes of a record behind one with the digest `previous`, and its own digest.
///
/// # Errors
///
/// [`WireError`] if the record cannot be encoded.
pub fn append(previous: Digest, record: &Record) -> Result<(Vec<u8>, Digest), WireError> {
    let payload = wire::encode(record)?;
    let digest = link(previous, &payload);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&payload);
    bytes.extend_from_slice(digest.as_bytes());
    Ok((bytes, digest))
}

fn link(previous: Digest, payload: &[u8]) -> Digest {
    Digest::sha256(&[LINK, previous.as_bytes(), payload])
}

/// Reads a log record by record, following its chain of digests.
pub struct Reader<R> {
    input: R,
    /// Digest of the last record.
    pub previous: Digest,
    /// Whole records so far.
    pub records: u64,
    /// Their length in bytes.
    pub offset: u64,
}

/// What comes next in a log.
pub enum Next {
    /// A record whose digest follows. The reader stays before it until [`Reader::pass`].
    Record(LinkedRecord),
    /// Nothing.
    End,
    /// So many bytes of a record whose append was cut short.
    Incomplete(u64),
    /// Something that was never written so.
    Altered(Unsound),
}

/// A payload with its digest.
pub struct LinkedRecord {
    /// The encoded [`Record`].
    pub payload: Vec<u8>,
    digest: Digest,
}

impl<R: Read> Reader<R> {
    /// Returns a reader at the beginning of a log.
    pub fn new(input: R, consortium_id: Digest) -> Self {
        Self {
            input,
            previous: start(consortium_id),
            records: 0,
            offset: 0,
        }
    }

    /// Goes on behind a record.
    pub fn pass(&mut self, record: &LinkedRecord) {
        self.previous = record.digest;
        self.records += 1;
        self.offset += FRAME_BYTES + record.payload.len() as u64;
    }

    /// Returns what is wrong with the record that comes next.
    pub fn flaw(&self, what: Unsound) -> Flaw {
        Flaw {
            record: self.records + 1,
            offset: self.offset,
            what,
        }
    }

    /// Returns what comes next. Does not pass over it.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "fallible, and does not pass over what it returns"
    )]
    pub fn next(&mut self) -> io::Result<Next> {
        let prefix = self.take(4)?;
        let Ok(prefix) = <[u8; 4]>::try_from(prefix.as_slice()) else {
            return Ok(match prefix.len() {
                0 => Next::End,
                some => Next::Incomplete(some as u64),
            });
        };
        let length = u32::from_le_bytes(prefix) as usize;
        if length == 0 || length > MAX_MESSAGE_BYTES {
            return self.rest_without_length(length);
        }
        let mut payload = self.take(length + DIGEST_BYTES)?;
        if payload.len() < length + DIGEST_BYTES {
            return Ok(match self.holds_a_shorter_record(&payload) {
                true => Next::Altered(Unsound::Length),
                false => Next::Incomplete((prefix.len() + payload.len()) as u64),
            });
        }
        let found = payload.split_off(length);
        let digest = link(self.previous, &payload);
        if found != digest.as_bytes() {
            return Ok(Next::Altered(self.altered(&payload, &found)));
        }
        Ok(Next::Record(LinkedRecord { payload, digest }))
    }

    fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut taken = Vec::new();
        self.input
            .by_ref()
            .take(bytes as u64)
            .read_to_end(&mut taken)?;
        Ok(taken)
    }

    /// No record has this length. File systems that lose power may leave a new end of zeros, in
    /// which nothing was written; all else was put there.
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

    /// Returns whether a record ends somewhere in `rest`, which is shorter than its length says:
    /// then the length was altered. What a crash leaves is the beginning of a record, and ends
    /// before its digest.
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
            && let Entry::Started { consortium_id, .. } = entry
            && link(start(consortium_id), payload).as_bytes() == digest
        {
            return Unsound::OtherManifest(consortium_id);
        }
        Unsound::Digest
    }
}
