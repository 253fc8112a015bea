//! A party's log in memory.

use crate::audit::format::{self, Next, Reader};
use crate::audit::{Entry, LoggedSums, Party, Record, Transcript};
use crate::digest::Digest;
use crate::round::peer::Proof;
use crate::round::{Head, SentSums};
use crate::wire;

/// The bytes that a party's driver would have on its disk.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    consortium_id: Digest,
    party: Party,
    bytes: Vec<u8>,
    previous: Digest,
    transcript: Transcript,
}

impl MemoryLog {
    /// Returns an empty log of a party of the consortium `consortium_id`.
    pub fn new(consortium_id: Digest, party: Party) -> Self {
        Self {
            consortium_id,
            party,
            bytes: Vec::new(),
            previous: format::start(consortium_id),
            transcript: Transcript::default(),
        }
    }

    /// Logs that the party's process starts at `head`, after it has taken off what a crash had cut
    /// short.
    pub fn start(&mut self, head: Head, unix_s: u64) {
        self.transcript = Transcript::default();
        let mut reader = Reader::new(&self.bytes[..], self.consortium_id);
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
            consortium_id: self.consortium_id,
            party: self.party,
            head,
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

    /// Returns the whole log.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns what proves that nodes have lied.
    pub fn convictions(&self) -> Vec<Proof> {
        let entries = self.records().into_iter().map(|record| record.entry);
        let proofs = entries.filter_map(|entry| match entry {
            Entry::Convicted(proof) => Some(proof),
            _ => None,
        });
        proofs.collect()
    }

    /// Returns the sums that the log says to have been sent.
    pub fn sums(&self) -> SentSums {
        let mut logged = LoggedSums::default();
        for record in self.records() {
            logged.take(&record.entry);
        }
        let mut sums = SentSums::default();
        for sum in logged.into_sums() {
            sums.add(&sum);
        }
        sums
    }

    /// Returns the records, first to last.
    pub fn records(&self) -> Vec<Record> {
        let mut reader = Reader::new(&self.bytes[..], self.consortium_id);
        let mut records = Vec::new();
        while let Next::Record(link) = reader.next().unwrap() {
            records.push(wire::decode(&link.payload).unwrap());
            reader.pass(&link);
        }
        records
    }
}
