//! A party's log as its driver writes it: what the machine says to log, once, and before the act
//! that it permits.
//!
//! A node does nothing that its log does not have, but that it goes by proofs of others' lies: see
//! [`NodeJournal`]. The relay goes on without its log, since the others' rounds must not hang on
//! its disk; what it could not write it writes later, in order.

use std::collections::VecDeque;
use std::path::Path;

use fl_protocol::audit::{Entry, LoggedSums, Party, Record, Transcript};
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::peer::Proof;
use fl_protocol::round::{Head, SentSum};
use fl_protocol::wire;
use tracing::{error, info, warn};

use super::log::{Log, LogError};
use crate::files::FileError;

/// Records that the relay keeps in memory while its log cannot be written.
const MAX_UNWRITTEN: usize = 1 << 16;

/// What a log tells of former runs, to the party whose it is.
#[derive(Debug, Default)]
pub struct Logged {
    /// What proves that nodes have lied.
    pub proofs: Vec<Proof>,
    /// The sums that the party has sent, if it is a node.
    pub sums: Vec<SentSum>,
}

/// A log in which nothing is said twice about a round.
struct Journal {
    log: Log,
    transcript: Transcript,
}

impl Journal {
    /// Opens the log at `path` of a party that stands at `head`, and logs that it has started.
    /// Returns what the log tells as well.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the party then does not begin.
    fn open(
        path: &Path,
        manifest: &Manifest,
        party: Party,
        head: Head,
        unix_s: u64,
    ) -> Result<(Self, Logged), LogError> {
        let consortium_id = manifest.consortium_id();
        if head.round > 0 && !path.exists() {
            let (path, round) = (path.display(), head.round);
            warn!("{path} is not there: the log begins anew, after round {round}");
        }
        let (mut proofs, mut sums, mut keeper) = (Vec::new(), LoggedSums::default(), None);
        let each = |payload: &[u8]| {
            let Ok(Record { entry, .. }) = wire::decode(payload) else {
                return;
            };
            sums.take(&entry);
            match entry {
                Entry::Started { party, .. } => keeper = keeper.or(Some(party)),
                Entry::Convicted(proof) => proofs.push(proof),
                _ => {}
            }
        };
        let (log, dropped) = Log::open_and_read(path, consortium_id, each)?;
        if keeper.is_some_and(|keeper| keeper != party) {
            return Err(LogError::OtherParty(path.to_owned()));
        }
        if dropped > 0 {
            let path = path.display();
            warn!("{path}: the last {dropped} bytes, which a crash had cut short, are taken off");
        }
        let mut journal = Self {
            log,
            transcript: Transcript::default(),
        };
        let entry = Entry::Started {
            consortium_id,
            party,
            head,
            dropped,
        };
        journal.append(&Record { unix_s, entry })?;
        let sums = sums.into_sums();
        Ok((journal, Logged { proofs, sums }))
    }

    /// Appends a record, unless the log says that already.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the log is then as it was.
    fn append(&mut self, record: &Record) -> Result<(), LogError> {
        if let Some(statement) = self.transcript.lacks(&record.entry)? {
            self.log.append(record)?;
            self.transcript.add(statement);
        }
        Ok(())
    }

    /// See [`Log::sync`].
    fn sync(&self) -> impl Fn() -> Result<(), FileError> + Send + Sync + use<> {
        self.log.sync()
    }
}

/// A node's log. The node does nothing that the log does not have, with one exception: it goes by a
/// proof that somebody has lied even if the disk does not take it. What is logged later may rest on
/// that, so the log has the proof before anything else then.
pub struct NodeJournal {
    journal: Journal,
    /// Proofs that the disk has not taken, in order.
    unwritten: VecDeque<Record>,
}

impl NodeJournal {
    /// Opens the log at `path` of the node `id`, which stands at `head`, and logs that it has
    /// started. Returns what the log tells as well.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the node then does not begin.
    pub fn open(
        path: &Path,
        manifest: &Manifest,
        id: NodeId,
        head: Head,
        unix_s: u64,
    ) -> Result<(Self, Logged), LogError> {
        let (journal, logged) = Journal::open(path, manifest, Party::Node(id), head, unix_s)?;
        let journal = Self {
            journal,
            unwritten: VecDeque::new(),
        };
        Ok((journal, logged))
    }

    /// Appends a record, unless the log says that already.
    ///
    /// # Errors
    ///
    /// [`LogError`]; what the record permits must then not be done.
    pub fn append(&mut self, record: Record) -> Result<(), LogError> {
        self.unwritten.push_back(record);
        while let Some(record) = self.unwritten.front() {
            if let Err(error) = self.journal.append(record) {
                let is_proof = |record: &Record| matches!(record.entry, Entry::Convicted(_));
                self.unwritten.retain(is_proof);
                return Err(error);
            }
            self.unwritten.pop_front();
        }
        Ok(())
    }

    /// See [`Log::sync`].
    pub fn sync(&self) -> impl Fn() -> Result<(), FileError> + Send + Sync + use<> {
        self.journal.sync()
    }
}

/// The relay's log, which catches up with what a full disk did not take.
pub struct RelayJournal {
    journal: Journal,
    unwritten: VecDeque<Record>,
    /// Whether it was reported that the disk does not take it.
    reported: bool,
}

impl RelayJournal {
    /// Opens the log at `path` of a relay that stands at `head`. Returns what the log proves of
    /// nodes as well.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the relay then does not begin.
    pub fn open(
        path: &Path,
        manifest: &Manifest,
        head: Head,
        unix_s: u64,
    ) -> Result<(Self, Vec<Proof>), LogError> {
        let (journal, logged) = Journal::open(path, manifest, Party::Relay, head, unix_s)?;
        let journal = Self {
            journal,
            unwritten: VecDeque::new(),
            reported: false,
        };
        Ok((journal, logged.proofs))
    }

    /// Appends a record as soon as the disk takes it.
    pub fn append(&mut self, record: Record) {
        self.unwritten.push_back(record);
        while let Some(record) = self.unwritten.front() {
            if let Err(error) = self.journal.append(record) {
                if !std::mem::replace(&mut self.reported, true) {
                    error!(%error, "the log is not on disk, and will be written later");
                }
                // A log with a hole in it is found not to be sound, whatever is left out.
                self.unwritten.truncate(MAX_UNWRITTEN);
                return;
            }
            self.unwritten.pop_front();
        }
        if std::mem::take(&mut self.reported) {
            info!("the log is on disk again");
        }
    }

    /// See [`Log::sync`].
    pub fn sync(&self) -> impl Fn() -> Result<(), FileError> + Send + Sync + use<> {
        self.journal.sync()
    }
}

#[cfg(test)]
mod tests {
    use crate::opener::OPENER;
    use std::fs::File;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use fl_protocol::audit::{MAX_REFUSALS, verify};
    use fl_protocol::manifest::ParticipationMode;
    use fl_protocol::round::Refusal;
    use fl_protocol::sim::{Consortium, MemoryLog, Network, OPEN_BOXES};

    /// Two rounds of five nodes, of which the second seals a share that does not open.
    fn with_a_liar() -> Network {
        let consortium = Consortium::with(5, |file| {
            file.participation = ParticipationMode::All;
            file.accepts_differences = false;
        });
        let mut network = Network::of(consortium, 2, 12);
        network.is_dishonest = true;
        network.members[1].host.secrets.wrong_boxes = 1;
        assert!(network.run(Duration::from_secs(3600), |network| network.seen.finished));
        network
    }

    #[test]
    fn a_proof_that_the_disk_does_not_take_is_logged_before_what_rests_on_it() {
        let network = with_a_liar();
        let manifest = &network.consortium.manifest;
        let node = &network.members[0].host;
        let flaw = |log: &[u8]| verify(manifest, OPEN_BOXES, log).unwrap().flaw;
        let records = node.log.records();
        let is_proof = |record: &Record| matches!(record.entry, Entry::Convicted(_));
        assert_eq!(records.iter().filter(|record| is_proof(record)).count(), 1);

        let (folder, head) = (tempfile::tempdir().unwrap(), Head::start(manifest));
        let path = folder.path().join("log");
        let (mut journal, _) = NodeJournal::open(&path, manifest, node.id(), head, 9).unwrap();
        let full = Arc::new(File::open(&path).unwrap());
        for record in &records {
            if is_proof(record) {
                let writable = journal.journal.log.exchange(full.clone());
                assert!(journal.append(record.clone()).is_err());
                let (by, to) = (Party::Relay, Party::Node(node.id()));
                let refusal = Refusal::Voted;
                let entry = Entry::Refused { by, to, refusal };
                assert!(journal.append(Record { unix_s: 9, entry }).is_err());
                journal.journal.log.exchange(writable);
            } else {
                journal.append(record.clone()).unwrap();
            }
        }
        let logged = std::fs::read(&path).unwrap();
        assert!(flaw(&logged).is_none(), "{:?}", flaw(&logged));
        let again = NodeJournal::open(&path, manifest, node.id(), node.disk.head, 9);
        assert_eq!(again.unwrap().1.proofs.len(), 1);

        // Negative control: without the proof, what the node did next does not hold.
        let mut without = MemoryLog::new(manifest.consortium_id(), Party::Node(node.id()));
        let others = records.iter().filter(|record| !is_proof(record));
        others.for_each(|record| without.append_raw(record));
        assert!(flaw(without.bytes()).is_some());
    }

    #[test]
    fn what_the_relay_cannot_log_it_logs_later_and_of_refusals_no_more_than_enough() {
        let consortium = Consortium::new(3);
        let manifest = &consortium.manifest;
        let head = Head::start(manifest);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut journal, _) = RelayJournal::open(&path, manifest, head, 9).unwrap();
        let node = Party::Node(consortium.identities[0].node_id());
        let refuse = |journal: &mut RelayJournal, round: u64| {
            let (attempt, done, joined) = (1, 0, 0);
            let refusal = Refusal::NotNext {
                round,
                attempt,
                done,
                joined,
            };
            let (by, to) = (Party::Relay, node);
            let entry = Entry::Refused { by, to, refusal };
            journal.append(Record { unix_s: 9, entry });
        };
        let logged = || {
            let verdict = verify(manifest, OPENER, File::open(&path).unwrap()).unwrap();
            assert!(verdict.flaw.is_none());
            let refusals = verdict
                .summary
                .rounds
                .into_iter()
                .flat_map(|round| round.refusals);
            let rounds = refusals.map(|(by, to, refusal)| match refusal {
                Refusal::NotNext { round, .. } => {
                    assert_eq!((by, to), (Party::Relay, node));
                    round
                }
                other => panic!("{other}"),
            });
            rounds.collect::<Vec<_>>()
        };
        refuse(&mut journal, 1);
        let full = Arc::new(File::open(&path).unwrap());
        let writable = journal.journal.log.exchange(full);
        refuse(&mut journal, 2);
        refuse(&mut journal, 3);
        assert_eq!(logged(), [1]);
        journal.journal.log.exchange(writable);
        refuse(&mut journal, 4);
        refuse(&mut journal, 4);
        assert_eq!(logged(), [1, 2, 3, 4], "in order, and once");

        (5..1000).for_each(|round| refuse(&mut journal, round));
        assert_eq!(logged().len(), MAX_REFUSALS);
    }
}
