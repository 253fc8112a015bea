//! Folders of which one file at a time is replaced.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::Seed;

/// A folder of this process, as `write` fills it.
pub(crate) fn folder(write: fn(&Path)) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path());
    folder
}

/// Does `work` while the file at `path` has these contents.
pub(crate) fn with_contents(path: &Path, contents: &[u8], work: impl FnOnce()) {
    let former = fs::read(path).expect("a file of our own");
    fs::write(path, contents).expect("a file of our own");
    work();
    fs::write(path, former).expect("a file of our own");
}

/// What the target makes of the files as they are: the index of each among `names`, and its
/// contents.
pub(crate) fn seeds(folder: &Path, names: &[&str]) -> Vec<Seed> {
    let seed = |(which, name): (u8, &&str)| {
        let contents = fs::read(folder.join(name)).expect("a file of our own");
        ((*name).to_owned(), [&[which], &contents[..]].concat())
    };
    (0..).zip(names).map(seed).collect()
}
