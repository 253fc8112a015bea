//! Checking a log again, offline, in one pass.

mod attempts;
mod committee;
mod history;
mod peer;
mod schemes;
mod unsound;

use std::fmt;
use std::io::{self, Read};

use super::format::{Next, Reader};
use super::record::{Entry, Party, Record};
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::round::Head;
use crate::round::peer::BoxOpener;
use crate::wire;
use history::History;

pub use history::{Round, Taken};
pub use unsound::Unsound;

/// The first thing in a log that does not hold. Nothing behind it is believed.
#[derive(Debug)]
pub struct Flaw {
    /// Number of the record, from 1.
    pub record: u64,
    /// Where it begins, in bytes from the beginning of the log.
    pub offset: u64,
    /// What does not hold.
    pub what: Unsound,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            record,
            offset,
            what,
        } = self;
        write!(f, "record {record}, at byte {offset}: {what}")
    }
}

/// What the records say that hold.
#[derive(Debug)]
pub struct Summary {
    /// Whose log it is; nobody's if there is no record.
    pub party: Option<Party>,
    /// Where the party stood when the log begins.
    pub begins: Option<Head>,
    /// Where it stands at the end.
    pub stands: Option<Head>,
    /// The rounds, in order; the last one may be under way.
    pub rounds: Vec<Round>,
    /// Records that hold.
    pub records: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Digest of the last one. Who notes it can tell later whether the log was cut off before it,
    /// or written anew.
    pub last_digest: Digest,
    /// Bytes behind them of a record that a crash has cut short.
    pub incomplete: u64,
    /// Bytes of such records that the party has taken off when it was started again.
    pub dropped: u64,
}

/// The result of [`verify`].
#[derive(Debug)]
pub struct Verdict {
    /// What holds.
    pub summary: Summary,
    /// What does not. None: the log is sound.
    pub flaw: Option<Flaw>,
}

/// Checks a log against the manifest: the chain of digests, and whatever the protocol demands of
/// its contents. `opener` opens boxes with published round keys.
///
/// # Errors
///
/// If `log` cannot be read.
pub fn verify(manifest: &Manifest, opener: BoxOpener, log: impl Read) -> io::Result<Verdict> {
    let mut reader = Reader::new(log, manifest.consortium_id());
    let mut history = History::new(manifest, opener);
    let (mut incomplete, mut dropped) = (0, 0);
    let flaw = loop {
        match reader.next()? {
            Next::Record(link) => {
                let record = wire::decode::<Record>(&link.payload).map_err(Unsound::Undecodable);
                if let Ok(Entry::Started { dropped: bytes, .. }) =
                    record.as_ref().map(|record| &record.entry)
                {
                    dropped = u64::saturating_add(dropped, *bytes);
                }
                if let Err(what) = record.and_then(|record| history.take(record)) {
                    break Some(reader.flaw(what));
                }
                reader.pass(&link);
            }
            Next::End => break None,
            Next::Incomplete(bytes) => {
                incomplete = bytes;
                break None;
            }
            Next::Altered(what) => break Some(reader.flaw(what)),
        }
    };
    let flaw = flaw.or_else(|| (reader.records == 0).then(|| reader.flaw(Unsound::NotBegun)));
    let (party, begins, stands, rounds) = history.told();
    let summary = Summary {
        party,
        begins,
        stands,
        rounds,
        records: reader.records,
        bytes: reader.offset,
        last_digest: reader.previous,
        incomplete,
        dropped,
    };
    Ok(Verdict { summary, flaw })
}
