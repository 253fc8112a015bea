//! What an organisation remembers of the sums that it has given, over all its consortia.
//!
//! The record lies in a folder of its own, outside kits and states: whoever replaces a kit, empties
//! a state or puts an older one in its place does not make the organisation forget. For each node
//! and consortium it has a file `NODE-CONSORTIUM.log`, which only grows, with
//!
//! 1. who takes part in the consortium, once a sum was given there;
//! 2. the digest of the data, and another one when it changes;
//! 3. each sum.
//!
//! What it is for: a sum that differs from former ones by one participant gives that one away. So
//! within a consortium the difference rule holds, and a node's data stays the same. And before a
//! node gives the first sum in another consortium, it looks at whom that leaves out.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fl_protocol::digest::Digest;
use fl_protocol::histories::{Roster, Site, regrouped, set_apart};
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::{Manifest, Organisation};
use fl_protocol::round::{SentSum, SentSums};
use fl_protocol::wire;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::chain::ChainFile;
use super::folder::damaged;
use crate::files::{self, FileError};

const SUFFIX: &str = ".log";
/// Not what a state has, for both may be in one folder.
const LOCK: &str = "record.lock";
/// How often a node tries to get it, which others hold for as long as a write takes.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// An entry of the record.
#[derive(Debug, Serialize, Deserialize)]
enum SentEntry {
    /// The first: where the sums are given.
    Joined(Membership),
    /// The data of the sums that follow.
    Data(Digest),
    /// A sum.
    Sum(SentSum),
}

/// A node's place in a consortium.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Membership {
    consortium_id: Digest,
    node: NodeId,
    /// The consortium's name, for people.
    consortium: String,
    /// Who runs the node.
    organisation: Organisation,
    roster: Roster,
}

/// What a node would give away that it has not given away before.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// Its data has changed since its last sum in this consortium.
    #[error(
        "this node's data is not what it has given sums of in this consortium. The difference of a sum before and \
         one after tells what has changed, down to a single row. Go on with the former data and change it when the \
         next consortium is founded, or give it away with --accept-differences"
    )]
    Data,
    /// The sums of former consortia and those of this one can be told apart by these members.
    #[error(
        "this organisation has given sums in {}, and not the same nodes take part together here: the difference tells of \
         {}. Found the consortium with all who took part together, and with others in a cohort of their own \
         (--participation cohorts:…); or give it away with --accept-differences, once whoever it concerns agrees",
        .consortia.join(" and "),
        .members.join(", "),
    )]
    Members {
        /// Names of the former consortia.
        consortia: Vec<String>,
        /// Who comes, goes or is set apart: nodes with their organisations.
        members: Vec<String>,
    },
}

/// What came of a comparison of the record with the node's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Sums that only the log had: they are on record again.
    pub rebuilt: usize,
    /// Sums that only the record has: the state was emptied, or is an older one.
    pub missing: usize,
}

/// The record of one node in one consortium, beside those of its organisation's other ones.
#[derive(Debug)]
pub struct SentRecord {
    folder: PathBuf,
    chain: ChainFile,
    membership: Membership,
    /// The node, as it is told from others in all consortia.
    site: Site,
    /// The data that the node has now.
    data: Digest,
    accepts_differences: bool,
    /// The data of the last sum.
    recorded_data: Option<Digest>,
    sums: SentSums,
    /// A digest of each of them.
    known: BTreeSet<Digest>,
    /// That of the newest.
    last: Option<Digest>,
}

impl SentRecord {
    /// Takes up the record of `node` in `folder`, which is made if need be. `data` is a digest of
    /// the data that it has now. Returns what the node gives away as well, if the operator
    /// `accepts_differences`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Difference`] if the operator does not; [`StoreError::Stranger`] if `node` is
    /// not in the manifest; [`StoreError::Damaged`], [`StoreError::Locked`], [`StoreError::File`].
    pub fn open(
        folder: &Path,
        manifest: &Manifest,
        node: NodeId,
        data: Digest,
        accepts_differences: bool,
    ) -> Result<(Self, Option<Difference>), StoreError> {
        fs::create_dir_all(folder).map_err(|source| FileError::write(folder, source))?;
        let member = manifest.member(node)?;
        let membership = Membership {
            consortium_id: manifest.consortium_id(),
            node,
            consortium: manifest.name().to_owned(),
            organisation: member.organisation.clone(),
            roster: Roster::new(manifest, &BTreeSet::new()),
        };
        let (name, id) = (&member.name, membership.consortium_id.to_hex());
        let path = folder.join(format!("{name}-{id}{SUFFIX}"));
        let (chain, entries) = ChainFile::open::<SentEntry>(&path, membership.beginning())?;
        let mut record = Self {
            folder: folder.to_owned(),
            chain,
            membership,
            site: Site::from(member),
            data,
            accepts_differences,
            recorded_data: None,
            sums: SentSums::default(),
            known: BTreeSet::new(),
            last: None,
        };
        for entry in entries {
            match entry {
                SentEntry::Joined(_) => {}
                SentEntry::Data(data) => record.recorded_data = Some(data),
                SentEntry::Sum(sum) => record.add(&sum)?,
            }
        }
        match record.check() {
            Err(StoreError::Difference(difference)) if accepts_differences => {
                Ok((record, Some(difference)))
            }
            checked => checked.map(|()| (record, None)),
        }
    }

    /// Returns the sums that have been given.
    pub(super) fn sums(&self) -> &SentSums {
        &self.sums
    }

    /// Makes `sum` durable, unless it is there already.
    ///
    /// # Errors
    ///
    /// [`StoreError::Difference`] if other sums were given since the record was opened;
    /// [`StoreError::Locked`] if another process keeps the record's lock; [`StoreError::File`]. The
    /// record is then as it was.
    pub(super) fn append(&mut self, sum: &SentSum) -> Result<(), StoreError> {
        if self.sums.has_last(sum) {
            return Ok(());
        }
        let (mut entries, mut lock) = (Vec::new(), None);
        if self.chain.is_empty() {
            lock = Some(self.lock()?);
            if !self.accepts_differences {
                self.check()?;
            }
            entries.push(SentEntry::Joined(self.membership.clone()));
        }
        if self.recorded_data != Some(self.data) {
            entries.push(SentEntry::Data(self.data));
        }
        entries.push(SentEntry::Sum(sum.clone()));
        self.chain.append(&entries)?;
        drop(lock);
        self.recorded_data = Some(self.data);
        self.add(sum)
    }

    /// Keeps other processes from giving their first sum in some consortium, until it is dropped:
    /// each of two might see that the other has not begun, and begin.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.folder.join(LOCK);
        let lock = files::open_private(&path)?;
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => {
                    return Err(FileError::write(&path, source).into());
                }
            }
        }
        Err(StoreError::Locked(path))
    }

    /// Compares the record with the sums that the node's log tells of, and takes up what it lacks.
    ///
    /// The record may have a last sum more: the log is not synced before a sum leaves.
    ///
    /// # Errors
    ///
    /// Those of [`SentRecord::append`].
    pub(super) fn reconcile(&mut self, logged: &[SentSum]) -> Result<Reconciled, StoreError> {
        let mut reconciled = Reconciled::default();
        let mut told = BTreeSet::new();
        for sum in logged {
            let digest = digest(sum)?;
            if told.insert(digest) && !self.known.contains(&digest) {
                self.append(sum)?;
                reconciled.rebuilt += 1;
            }
        }
        let missing: Vec<_> = self.known.difference(&told).collect();
        if missing != self.last.iter().collect::<Vec<_>>() {
            reconciled.missing = missing.len();
        }
        Ok(reconciled)
    }

    fn add(&mut self, sum: &SentSum) -> Result<(), StoreError> {
        self.sums.add(sum);
        let digest = digest(sum)?;
        if self.known.insert(digest) {
            self.last = Some(digest);
        }
        Ok(())
    }

    /// Checks that a sum of the present data gives nothing away here that was not given before.
    fn check(&self) -> Result<(), StoreError> {
        if self.recorded_data.is_some_and(|data| data != self.data) {
            return Err(StoreError::Difference(Difference::Data));
        }
        // Who has given sums here was bound by them wherever it went since.
        if !self.chain.is_empty() {
            return Ok(());
        }
        let former = self.former()?;
        let rosters: Vec<_> = former.iter().map(|former| former.roster.clone()).collect();
        let next = &self.membership.roster;
        let members = &set_apart(&rosters, next) | &regrouped(&rosters, next, &self.site);
        if members.is_empty() {
            return Ok(());
        }
        let consortia: BTreeSet<_> = former.into_iter().map(|former| former.consortium).collect();
        Err(StoreError::Difference(Difference::Members {
            consortia: consortia.into_iter().collect(),
            members: members.iter().map(ToString::to_string).collect(),
        }))
    }

    /// Returns the other consortia in which this organisation has given sums.
    fn former(&self) -> Result<Vec<Membership>, StoreError> {
        let failed = |source| FileError::read(&self.folder, source);
        let mut former = Vec::new();
        let mut seen = BTreeSet::from([self.membership.consortium_id]);
        for file in fs::read_dir(&self.folder).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.ends_with(SUFFIX) {
                continue;
            }
            let Some((beginning, first)) = ChainFile::first(&path)? else {
                continue;
            };
            let membership = match first {
                SentEntry::Joined(joined) if joined.beginning() == beginning => joined,
                _ => {
                    let reason = "it does not begin with who takes part".to_owned();
                    return Err(damaged(&path, reason));
                }
            };
            let ours = membership.organisation == self.membership.organisation;
            if ours && seen.insert(membership.consortium_id) {
                former.push(membership);
            }
        }
        Ok(former)
    }
}

impl Membership {
    /// Returns what the file begins with.
    fn beginning(&self) -> Digest {
        Digest::sha256(&[
            b"smpcfl/2 record of",
            self.consortium_id.as_bytes(),
            self.node.as_bytes(),
        ])
    }
}

/// Returns a digest of the sum.
fn digest(sum: &SentSum) -> Result<Digest, StoreError> {
    let encoded = wire::encode(sum).map_err(|error| StoreError::Encode(error.to_string()))?;
    Ok(Digest::sha256(&[&encoded]))
}

#[cfg(test)]
mod tests {
    use fl_protocol::manifest::ParticipationMode;
    use fl_protocol::sim::Consortium;

    use super::*;

    const DATA: Digest = Digest([7; 32]);

    /// A consortium of nodes with these names, each of an organisation of its own.
    fn consortium(title: &str, names: &str) -> Consortium {
        let names: Vec<_> = names.split_whitespace().collect();
        Consortium::with(names.len(), |file| {
            file.name = title.to_owned();
            for (node, name) in file.nodes.iter_mut().zip(&names) {
                (node.name, node.organisation) = ((*name).to_owned(), name.to_uppercase());
            }
            (file.participation, file.accepts_differences) = (ParticipationMode::All, false);
        })
    }

    /// The first node's record.
    fn open(folder: &Path, consortium: &Consortium) -> Result<SentRecord, StoreError> {
        let (manifest, node) = (&consortium.manifest, consortium.id(0));
        SentRecord::open(folder, manifest, node, DATA, false).map(|(record, _)| record)
    }

    /// The sum of everyone on the model of this round.
    fn sum(consortium: &Consortium, round: u8) -> SentSum {
        let nodes = consortium.manifest.roster().keys().copied().collect();
        SentSum::new(Digest([round; 32]), nodes)
    }

    fn difference(opened: Result<SentRecord, StoreError>) -> Difference {
        match opened {
            Err(StoreError::Difference(difference)) => difference,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_record_of_sent_sums_outlives_kits_and_states() {
        let folder = tempfile::tempdir().unwrap();
        let consortium = consortium("one", "a b c");
        let mut record = open(folder.path(), &consortium).unwrap();
        assert_eq!(*record.sums(), SentSums::default());
        let mut sums = SentSums::default();
        for round in 0..3 {
            record.append(&sum(&consortium, round)).unwrap();
            sums.add(&sum(&consortium, round));
        }
        let again = open(folder.path(), &consortium);
        assert!(matches!(again, Err(StoreError::Locked(_))), "one process");
        drop(record);
        assert_eq!(*open(folder.path(), &consortium).unwrap().sums(), sums);
        // Another node's is another.
        let (manifest, other) = (&consortium.manifest, consortium.id(1));
        let other = SentRecord::open(folder.path(), manifest, other, DATA, false);
        assert_eq!(*other.unwrap().0.sums(), SentSums::default());
        let nobody = NodeId(Digest([0; 32]));
        let nobody = SentRecord::open(folder.path(), manifest, nobody, DATA, false);
        assert!(matches!(nobody, Err(StoreError::Stranger(_))));
    }

    #[test]
    fn other_data_waits_for_the_next_consortium_or_for_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let first = consortium("first", "a b c");
        let (manifest, node) = (&first.manifest, first.id(0));
        let open_with = |data, accepts| {
            SentRecord::open(folder.path(), manifest, node, Digest([data; 32]), accepts)
        };
        // As long as no sum was given, any data will do.
        drop(open_with(1, false).unwrap());
        let (mut record, _) = open_with(2, false).unwrap();
        record.append(&sum(&first, 0)).unwrap();
        drop(record);
        let refused = open_with(3, false).map(|(record, _)| record);
        assert_eq!(difference(refused), Difference::Data);
        assert!(open_with(2, false).is_ok(), "the control");
        // It is given away with the next sum, and not before.
        let (record, given_away) = open_with(3, true).unwrap();
        assert_eq!(given_away, Some(Difference::Data));
        drop(record);
        assert!(open_with(2, false).is_ok());
        let (mut record, _) = open_with(3, true).unwrap();
        record.append(&sum(&first, 1)).unwrap();
        drop(record);
        assert_eq!(open_with(3, false).unwrap().1, None);
        let former = open_with(2, false).map(|(record, _)| record);
        assert_eq!(difference(former), Difference::Data);
        // The next consortium of the same members begins with whatever it has.
        let next = consortium("next", "a b c");
        let (manifest, node, data) = (&next.manifest, next.id(0), Digest([4; 32]));
        let opened = SentRecord::open(folder.path(), manifest, node, data, false);
        assert_eq!(opened.unwrap().1, None);
    }

    #[test]
    fn a_consortium_without_one_that_sums_were_given_with_takes_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let former = consortium("former", "a b c d");
        let without = consortium("without", "a b c");
        // As long as no sum was given, nothing is to be subtracted.
        drop(open(folder.path(), &former).unwrap());
        drop(open(folder.path(), &without).unwrap());
        let mut ahead = open(folder.path(), &without).unwrap();
        let mut record = open(folder.path(), &former).unwrap();
        record.append(&sum(&former, 0)).unwrap();
        // Who has begun before is held to it as well.
        let found = ahead.append(&sum(&without, 0));
        assert!(matches!(found, Err(StoreError::Difference(_))));
        assert_eq!(*ahead.sums(), SentSums::default());
        drop((ahead, record));
        let found = difference(open(folder.path(), &without));
        let Difference::Members { consortia, members } = &found else {
            panic!("{found}")
        };
        assert_eq!(*consortia, [former.manifest.name()]);
        assert_eq!(*members, ["d of D"]);
        assert!(found.to_string().contains("--accept-differences"));
        let again = consortium("again", "a b c d");
        assert!(open(folder.path(), &again).is_ok());
        // Nobody is left over, and yet others may know of more.
        let more = difference(open(folder.path(), &consortium("more", "a b c d e f g")));
        assert!(
            more.to_string().contains("e of E, f of F, g of G"),
            "{more}"
        );
        assert!(open(folder.path(), &former).is_ok(), "and the former one");
        // With a word, once and for all.
        let (manifest, node) = (&without.manifest, without.id(0));
        let accepted = SentRecord::open(folder.path(), manifest, node, DATA, true);
        let (mut record, given_away) = accepted.unwrap();
        assert_eq!(given_away, Some(found));
        record.append(&sum(&without, 0)).unwrap();
        drop(record);
        assert!(open(folder.path(), &without).is_ok());
        assert!(open(folder.path(), &former).is_ok());
        // Another organisation with the same folder has given no sums.
        let (manifest, other) = (&without.manifest, without.id(1));
        let other = SentRecord::open(folder.path(), manifest, other, DATA, false);
        assert_eq!(other.unwrap().1, None);
    }

    #[test]
    fn the_record_and_the_log_are_compared_and_the_record_takes_up_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let consortium = consortium("one", "a b c");
        let logged = |rounds: u8| (0..rounds).map(|round| sum(&consortium, round));
        let logged = |rounds| logged(rounds).collect::<Vec<_>>();
        let mut record = open(folder.path(), &consortium).unwrap();
        let compared = |rebuilt, missing| Reconciled { rebuilt, missing };
        assert_eq!(record.reconcile(&[]).unwrap(), compared(0, 0));
        // The record is gone, or an older one.
        assert_eq!(record.reconcile(&logged(2)).unwrap(), compared(2, 0));
        assert_eq!(record.reconcile(&logged(2)).unwrap(), compared(0, 0));
        assert_eq!(record.reconcile(&logged(4)).unwrap(), compared(2, 0));
        drop(record);
        let mut record = open(folder.path(), &consortium).unwrap();
        assert!(record.sums().has_last(&sum(&consortium, 3)));
        // The last may have been sent before the log was synced, but no other.
        assert_eq!(record.reconcile(&logged(3)).unwrap(), compared(0, 0));
        assert_eq!(record.reconcile(&logged(2)).unwrap(), compared(0, 2));
        assert_eq!(record.reconcile(&[]).unwrap(), compared(0, 4));
        // Both were exchanged for others.
        let other = [sum(&consortium, 9)];
        assert_eq!(record.reconcile(&other).unwrap(), compared(1, 4));
    }

    #[test]
    fn of_two_that_begin_at_once_in_consortia_that_differ_one_gives_its_sum() {
        let (former, without) = (
            consortium("former", "a b c d"),
            consortium("without", "a b c"),
        );
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let begun = [&former, &without].map(|consortium| {
                let record = open(folder.path(), consortium).unwrap();
                (record, sum(consortium, 0))
            });
            let given = std::thread::scope(|scope| {
                let begin = |(mut record, sum): (SentRecord, SentSum)| {
                    scope.spawn(move || record.append(&sum).is_ok())
                };
                let begun = begun.map(begin);
                begun.map(|begun| usize::from(begun.join().unwrap()))
            });
            assert_eq!(given.iter().sum::<usize>(), 1);
        }
    }

    #[test]
    fn a_damaged_record_of_another_consortium_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let former = consortium("former", "a b c d");
        let next = consortium("next", "a b c d");
        let mut record = open(folder.path(), &former).unwrap();
        record.append(&sum(&former, 0)).unwrap();
        drop(record);
        let files = fs::read_dir(folder.path()).unwrap();
        let mut paths = files.map(|file| file.unwrap().path());
        let path = paths.find(|path| path.extension().is_some_and(|extension| extension == "log"));
        let path = path.unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(open(folder.path(), &next).is_ok(), "the control");
        for at in [0, 31, 33, 45, 80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            let found = open(folder.path(), &next);
            assert!(matches!(found, Err(StoreError::Damaged { .. })), "{at}");
        }
        // Nothing was acted upon that a crash cut short.
        fs::write(&path, &bytes[..60]).unwrap();
        assert!(open(folder.path(), &next).is_ok());
    }
}
