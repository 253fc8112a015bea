//! The rounds that a relay has completed, as its operator was told of them: its log has who took
//! part and what came of it, but not the sums of the counters, which are in the bodies.
//!
//! Nothing rests on this file but what the operator is shown. So a line that cannot be read is left
//! out, and nothing waits for the disk.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::folder::read_existing;
use super::{RelayStore, StoreError};
use crate::files::{self, FileError, write_private};
use crate::report_text::RoundLine;

/// Rounds that are kept.
pub(crate) const ROUNDS_MAX: usize = 1000;
/// Lines of the file at which all but the last [`ROUNDS_MAX`] are taken off.
const LINES_MAX: usize = 2 * ROUNDS_MAX;
/// Greatest length of a line.
const LINE_BYTES: usize = 4 << 10;

/// A relay's completed rounds on its disk, one JSON object a line. A line takes the place of those
/// before it that have its round or a later one: such a round was taken back.
#[derive(Debug)]
pub struct RoundHistory {
    path: PathBuf,
    file: File,
    /// Lines of the file.
    lines: usize,
    /// Whether a failed append may have left a part of a line at the end.
    torn: bool,
}

impl RoundHistory {
    /// Opens the history beside the state of a relay. Returns the last rounds in it as well, the
    /// oldest first, no more than a thousand.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`].
    pub fn open(store: &RelayStore) -> Result<(Self, VecDeque<RoundLine>), StoreError> {
        let path = store.rounds_path();
        let (lines, rounds) = read(&path)?;
        let mut history = Self {
            file: open_to_append(&path)?,
            path,
            lines,
            torn: false,
        };
        if history.lines != rounds.len() {
            history.rewrite(&rounds)?;
        }
        Ok((history, rounds))
    }

    /// Appends a round.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`], on a full disk for instance.
    pub fn append(&mut self, round: &RoundLine) -> Result<(), StoreError> {
        let mut line = line_of(round)?;
        if std::mem::replace(&mut self.torn, true) {
            line.insert(0, b'\n');
        }
        let failed = |source| FileError::write(&self.path, source);
        self.file.write_all(&line).map_err(failed)?;
        self.torn = false;
        self.lines += 1;
        if self.lines >= LINES_MAX {
            let (_, rounds) = read(&self.path)?;
            self.rewrite(&rounds)?;
        }
        Ok(())
    }

    /// Puts these rounds in the place of all.
    fn rewrite(&mut self, rounds: &VecDeque<RoundLine>) -> Result<(), StoreError> {
        let lines = rounds.iter().map(line_of).collect::<Result<Vec<_>, _>>()?;
        write_private(&self.path, &lines.concat())?;
        self.file = open_to_append(&self.path)?;
        self.lines = rounds.len();
        Ok(())
    }
}

fn line_of(round: &RoundLine) -> Result<Vec<u8>, StoreError> {
    let mut line =
        serde_json::to_vec(round).map_err(|error| StoreError::Encode(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

fn open_to_append(path: &Path) -> Result<File, FileError> {
    // It is made for its owner alone.
    drop(files::open_private(path)?);
    let opened = OpenOptions::new().append(true).open(path);
    opened.map_err(|source| FileError::write(path, source))
}

/// Returns how many lines are there, whole or not, and the last rounds in them.
fn read(path: &Path) -> Result<(usize, VecDeque<RoundLine>), FileError> {
    let bytes = match read_existing(path, LINES_MAX * LINE_BYTES) {
        Err(FileError::TooLarge { path, limit }) => {
            let path = path.display();
            warn!("{path} has more than {limit} bytes: the rounds before are not shown");
            // Not the number of any lines that are taken, so it is written anew.
            return Ok((usize::MAX, VecDeque::new()));
        }
        found => found?.unwrap_or_default(),
    };
    let (mut lines, mut rounds) = (0, VecDeque::<RoundLine>::new());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        lines += 1;
        match serde_json::from_slice::<RoundLine>(line) {
            Ok(round) if line.ends_with(b"\n") => {
                while rounds
                    .pop_back_if(|last| last.round >= round.round)
                    .is_some()
                {}
                if rounds.len() == ROUNDS_MAX {
                    rounds.pop_front();
                }
                rounds.push_back(round);
            }
            // Whole but for its end, or cut short by a crash.
            Ok(_) => {}
            Err(error) if line.ends_with(b"\n") => {
                let path = path.display();
                warn!("{path}, line {lines} is no round, and is taken off: {error}");
            }
            Err(_) => {}
        }
    }
    Ok((lines, rounds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fl_protocol::sim::Consortium;

    fn round(round: u64, examples: u64) -> RoundLine {
        let line = format!(
            r#"{{"round":{round},"attempts":1,"nodes":3,"examples":{examples},"test_examples":5,
                "before":{{"loss":0.25,"accuracy":0.9}},"clipped":0,"seconds":1.5,
                "model":"00ab"}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    fn open(folder: &Path) -> (RoundHistory, Vec<RoundLine>) {
        let store = RelayStore::open(folder, &Consortium::new(3).manifest).unwrap();
        let (history, rounds) = RoundHistory::open(&store).unwrap();
        (history, rounds.into())
    }

    #[test]
    fn rounds_come_back_and_those_that_were_taken_back_once() {
        let folder = tempfile::tempdir().unwrap();
        let (mut history, none) = open(folder.path());
        assert_eq!(none, []);
        for line in [round(1, 10), round(2, 10), round(3, 10), round(2, 20)] {
            history.append(&line).unwrap();
        }
        let (mut history, rounds) = open(folder.path());
        assert_eq!(rounds, [round(1, 10), round(2, 20)]);
        history.append(&round(3, 30)).unwrap();
        let (_, rounds) = open(folder.path());
        assert_eq!(rounds, [round(1, 10), round(2, 20), round(3, 30)]);
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_the_rest_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rounds.jsonl");
        let (mut history, _) = open(folder.path());
        history.append(&round(1, 10)).unwrap();
        let one = std::fs::read(&path).unwrap();
        history.append(&round(2, 10)).unwrap();
        let two = std::fs::read(&path).unwrap();
        for kept in one.len()..two.len() {
            std::fs::write(&path, &two[..kept]).unwrap();
            let (mut history, rounds) = open(folder.path());
            assert_eq!(rounds, [round(1, 10)]);
            history.append(&round(2, 10)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), two, "nothing is left of it");
        }
        let odd = [b"\xff\0{}\n", b"[1,2]\n\n".as_slice(), &two].concat();
        std::fs::write(&path, odd).unwrap();
        assert_eq!(open(folder.path()).1, [round(1, 10), round(2, 10)]);
        assert_eq!(std::fs::read(&path).unwrap(), two);

        let long = vec![b'\n'; LINES_MAX * LINE_BYTES + 1];
        std::fs::write(&path, long).unwrap();
        assert_eq!(open(folder.path()).1, []);
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn what_a_full_disk_took_of_a_line_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rounds.jsonl");
        let (mut history, _) = open(folder.path());
        history.append(&round(1, 10)).unwrap();
        let full = std::mem::replace(&mut history.file, File::open(&path).unwrap());
        let failed = history.append(&round(2, 10)).unwrap_err();
        assert!(failed.to_string().contains("rounds.jsonl"), "{failed}");
        history.file = full;
        history.file.write_all(b"{\"round\":2,").unwrap();
        history.append(&round(3, 10)).unwrap();
        assert_eq!(open(folder.path()).1, [round(1, 10), round(3, 10)]);
    }

    #[test]
    fn the_file_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rounds.jsonl");
        let (mut history, _) = open(folder.path());
        let all = LINES_MAX as u64 + 500;
        for number in 1..=all {
            history.append(&round(number, 10)).unwrap();
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(lines, ROUNDS_MAX + 500);
        let (_, rounds) = open(folder.path());
        let first = all + 1 - ROUNDS_MAX as u64;
        assert!(rounds.iter().map(|line| line.round).eq(first..=all));
    }
}
