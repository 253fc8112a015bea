//! A party's log in memory.

use crate::audit::format::{self, Next, Reader};
use crate::audit::{Entry, Party, Record, Transcript};
use crate::digest::Digest;
use crate::round::Chain;
use crate::wire;

/// The bytes that a party's driver would have on its disk.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    sid: Digest,
    party: Party,
    bytes: Vec<u8>,
    previous: Digest,
    transcript: Transcript,
}

impl MemoryLog {
    /// An empty log of a party of the consortium `sid`.
    pub fn new(sid: Digest, party: Party) -> Self {
        Self {
            sid,
            party,
            bytes: Vec::new(),
            previous: format::start(sid),
            transcript: Transcript::default(),
        }
    }

    /// Logs that the party's process starts at `chain`, after it has taken off what a crash had cut short.
    pub fn start(&mut self, chain: Chain, unix_s: u64) {
        self.transcript = Transcript::default();
        let mut reader = Reader::new(&self.bytes[..], self.sid);
        let dropped = loop {
            match reader.next().unwrap() {
                Next::Record(record) => reader.pass(&record),
                Next::End => break 0,
                Next::Incomplete(bytes) => break bytes,
                Next::Altered(what) => panic!("{}", reader.flaw(what)),
            }
        };
        let length = self.bytes.len() - usize::try_from(dropped).unwrap();
        self.bytes.truncate(length);
        let entry = Entry::Started {
            sid: self.sid,
            party: self.party,
            chain,
            dropped,
        };
        self.append(entry, unix_s);
    }

    /// Appends an entry, unless the log says that already.
    pub fn append(&mut self, entry: Entry, unix_s: u64) {
        let record = Record { unix_s, entry };
        if let Some(statement) = self.transcript.lacks(&record.entry).unwrap() {
            self.append_raw(&record);
            self.transcript.add(statement);
        }
    }

    /// Appends a record, whatever the log says already.
    pub fn append_raw(&mut self, record: &Record) {
        let (bytes, digest) = format::append(self.previous, record).unwrap();
        self.bytes.extend(bytes);
        self.previous = digest;
    }

    /// Leaves the beginning of a record at the end, as a crash does.
    pub fn cut_short(&mut self, beginning: &[u8]) {
        self.bytes.extend_from_slice(beginning);
    }

    /// The whole log.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records, first to last.
    pub fn records(&self) -> Vec<Record> {
        let mut reader = Reader::new(&self.bytes[..], self.sid);
        let mut records = Vec::new();
        while let Next::Record(link) = reader.next().unwrap() {
            records.push(wire::decode(&link.payload).unwrap());
            reader.pass(&link);
        }
        records
    }
}
