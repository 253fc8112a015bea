//! Which files of a folder are for training, and which for testing.
//!
//! ```text
//! data/train-00000-of-00002.parquet          part-00000.parquet
//! data/train-00001-of-00002.parquet    or    part-00001.parquet
//! data/test-00000-of-00001.parquet
//! ```
//!
//! The folder may be the one that has `data`, or `data` itself. Names begin with `train` and with
//! `test`, `val`, `valid` or `validation`. If no name does, all files are for training. Files that
//! are not Parquet are not looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::ParquetError;
use super::names;
use crate::Error;

const TRAIN: &str = "train";
const TESTS: [&str; 4] = ["test", "val", "valid", "validation"];

/// The files of a table, each a part of its rows, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shards {
    /// What was asked for: the folder, or the one file.
    pub(super) path: PathBuf,
    pub(super) train: Vec<PathBuf>,
    /// Nothing if there is no test set.
    pub(super) test: Vec<PathBuf>,
}

impl Shards {
    /// The files at a path: itself, or those in a folder.
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            return Ok(Self {
                path: path.into(),
                train: vec![path.into()],
                test: vec![],
            });
        }
        let files = names::files(path);
        let parts: BTreeSet<_> = files.iter().filter_map(|file| part(file)).collect();
        if parts.is_empty() {
            return Ok(Self {
                path: path.into(),
                train: files,
                test: vec![],
            });
        }
        let tests: Vec<_> = parts.iter().filter(|&&part| part != TRAIN).collect();
        if let [first, second, ..] = tests[..] {
            return Err(ParquetError::TwoTestSets {
                folder: path.into(),
                first: (*first).to_owned(),
                second: (*second).to_owned(),
            }
            .into());
        }
        if let Some(stray) = files.iter().find(|file| part(file).is_none()) {
            let path = stray.clone();
            return Err(ParquetError::Stray { path }.into());
        }
        for part in &parts {
            check_complete(path, part, &files)?;
        }
        let (train, test): (Vec<_>, _) = files
            .into_iter()
            .partition(|file| part(file) == Some(TRAIN));
        if train.is_empty() {
            let folder = path.into();
            return Err(ParquetError::NoTrain { folder }.into());
        }
        let path = path.into();
        Ok(Self { path, train, test })
    }

    /// Returns all files, those for training first.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        [&self.train[..], &self.test].concat()
    }
}

/// Which part a file is of, by the beginning of its name.
fn part(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let first = name.split(['-', '_', '.']).next()?;
    let mut parts = std::iter::once(TRAIN).chain(TESTS);
    parts.find(|part| *part == first)
}

/// Checks that all files of a part are there, if their names say how many there are.
fn check_complete(folder: &Path, name: &str, files: &[PathBuf]) -> Result<(), Error> {
    let of_part = || files.iter().filter(|file| part(file) == Some(name));
    let numbers: BTreeSet<_> = of_part().filter_map(|file| numbers(file)).collect();
    let Some(expected) = numbers.iter().map(|(_, count)| *count).max() else {
        return Ok(());
    };
    let found = of_part().count();
    let are_all = numbers.iter().map(|(at, _)| *at).eq(0..expected);
    match are_all && found == expected {
        true => Ok(()),
        false => Err(ParquetError::Incomplete {
            folder: folder.into(),
            part: name.to_owned(),
            found,
            expected,
        }
        .into()),
    }
}

/// The numbers in a name such as `train-00000-of-00002.parquet`.
fn numbers(path: &Path) -> Option<(usize, usize)> {
    let name = path.file_stem()?.to_str()?;
    let words: Vec<_> = name.split('-').collect();
    let mut triples = words.windows(3);
    triples.find_map(|triple| match triple {
        [at, "of", count] => Some((at.parse().ok()?, count.parse().ok()?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::parquet::is_in;

    fn shards(names: &[&str]) -> Result<(usize, usize), ParquetError> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert!(is_in(folder.path()));
        match Shards::of(folder.path()) {
            Ok(shards) => Ok((shards.train.len(), shards.test.len())),
            Err(Error::Parquet(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn parts_are_told_by_the_beginnings_of_names() {
        for (names, expected) in [
            (
                &[
                    "train-00000-of-00002.parquet",
                    "train-00001-of-00002.parquet",
                ][..],
                (2, 0),
            ),
            (
                &[
                    "data/train-00000-of-00001-b42a7.parquet",
                    "data/test-00000-of-00001-0f.parquet",
                ],
                (1, 1),
            ),
            (
                &["README.md", "train.parquet", "validation.PARQUET"],
                (1, 1),
            ),
            (
                &[
                    "part-0.snappy.parquet",
                    "part-1.snappy.parquet",
                    "_SUCCESS",
                    "_x.parquet",
                ],
                (2, 0),
            ),
        ] {
            assert_eq!(shards(names).unwrap(), expected, "{names:?}");
        }
    }

    #[test]
    fn folders_that_are_not_whole_or_not_clear_are_errors() {
        let found = shards(&["train-00000-of-00002.parquet"]);
        assert!(matches!(
            found,
            Err(ParquetError::Incomplete {
                found: 1,
                expected: 2,
                ..
            })
        ));
        let found = shards(&["train.parquet", "other.parquet"]);
        assert!(
            matches!(found, Err(ParquetError::Stray { path }) if path.ends_with("other.parquet"))
        );
        let found = shards(&["train.parquet", "test.parquet", "val.parquet"]);
        assert!(matches!(found, Err(ParquetError::TwoTestSets { .. })));
        let found = shards(&["test.parquet"]);
        assert!(matches!(found, Err(ParquetError::NoTrain { .. })));
    }
}
