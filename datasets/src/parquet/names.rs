//! Which files are Parquet, by their names.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns whether this is how a Parquet file is called.
pub(crate) fn is_parquet(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("parquet")
}

/// Returns whether a folder has Parquet files, or its folder `data` has.
pub(crate) fn is_in(folder: &Path) -> bool {
    !files(folder).is_empty()
}

/// Returns the Parquet files in a folder, or else those in its folder `data`, by their names.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let files = files_of(folder);
    match files.is_empty() {
        true => files_of(&folder.join("data")),
        false => files,
    }
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut files: Vec<_> = paths
        .filter(|path| is_parquet(path) && !is_hidden(path) && !path.is_dir())
        .collect();
    files.sort_by(|a, b| {
        let [a, b] = [a, b].map(|path| path.as_os_str().as_encoded_bytes());
        a.cmp(b)
    });
    files
}

/// What Spark leaves there while it writes.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") || name.starts_with(b"_")
}
