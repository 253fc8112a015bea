//! Files that are there whole or not at all, and that hold nobody up who reads them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use fl_protocol::parameters;
use zeroize::Zeroizing;

/// A file or folder that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a pipe, a device or the like, which may never end or begin.
    #[error(
        "{path} is no ordinary file but a folder, a pipe, a device or the like; put a file there"
    )]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// It is larger than it can be.
    #[error("{path} has more than {limit} bytes, which is the most that it can have")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// It holds too few parameters.
    #[error("{path} holds {found} parameters instead of {count}")]
    Length {
        /// Which.
        path: PathBuf,
        /// Parameters found.
        found: usize,
        /// Parameters of the model.
        count: usize,
    },
}

impl FileError {
    /// Returns a failure to read `path`.
    pub fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    /// Returns a failure to write `path`.
    pub fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}

/// Opens a file to be read. What is no ordinary file is an error at once.
///
/// # Errors
///
/// [`FileError::Read`], [`FileError::NotAFile`].
pub fn open(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    let opened = without_waiting(options.read(true)).open(path);
    ordinary(
        path,
        opened.map_err(|source| FileError::read(path, source))?,
    )
}

/// Of a pipe the system would wait for the other end.
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    options
}

fn ordinary(path: &Path, file: File) -> Result<File, FileError> {
    let found = file.metadata();
    match found
        .map_err(|source| FileError::read(path, source))?
        .is_file()
    {
        true => Ok(file),
        false => Err(FileError::NotAFile {
            path: path.to_owned(),
        }),
    }
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
///
/// [`FileError::Read`], [`FileError::NotAFile`], [`FileError::TooLarge`].
pub fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    read_into(path, limit, &mut bytes)?;
    Ok(bytes)
}

/// Reads a secret of at most `limit` bytes, few enough to be held ready: a vector that grows leaves
/// it behind.
///
/// # Errors
///
/// [`FileError::Read`], [`FileError::NotAFile`], [`FileError::TooLarge`].
pub fn read_secret(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    read_into(path, limit, &mut bytes)?;
    Ok(bytes)
}

fn read_into(path: &Path, limit: usize, bytes: &mut Vec<u8>) -> Result<(), FileError> {
    open(path)?
        .take(limit as u64 + 1)
        .read_to_end(bytes)
        .map_err(|source| FileError::read(path, source))?;
    if bytes.len() > limit {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(())
}

/// Writes a file that anyone may read, replacing it whole.
///
/// # Errors
///
/// [`FileError::Write`]; the former file, if any, is then untouched.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let file = |new: &Path| create(new, 0o644);
    replace(path, file, &[bytes], Durability::Disk)
}

/// Writes a file that only its owner may read, replacing it whole.
///
/// # Errors
///
/// [`FileError::Write`]; the former file, if any, is then untouched.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, create_private, &[bytes], Durability::Disk)
}

/// Opens a file that only its owner may read, to be read and written in place. It is made if need
/// be.
///
/// # Errors
///
/// [`FileError::Write`], [`FileError::NotAFile`].
pub fn open_private(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = without_waiting(&mut options).open(path);
    let file = opened.map_err(|source| FileError::write(path, source))?;
    let file = ordinary(path, file)?;
    sync_folder(path)?;
    Ok(file)
}

/// Writes parameters as little-endian `f32`, for the owner only, replacing the file whole.
///
/// # Errors
///
/// [`FileError::Write`]; the former file, if any, is then untouched.
pub fn write_parameters(path: &Path, parameters: &[f32]) -> Result<(), FileError> {
    write_parts(path, &[&parameters::le_bytes(parameters)], Durability::Disk)
}

/// Reads a file of `count` parameters.
///
/// # Errors
///
/// [`FileError::Read`], [`FileError::NotAFile`], [`FileError::TooLarge`], [`FileError::Length`].
pub fn read_parameters(path: &Path, count: usize) -> Result<Vec<f32>, FileError> {
    let parameters = parameters::from_le_bytes(&read_limited(path, 4 * count)?);
    if parameters.len() != count {
        let (path, found) = (path.to_owned(), parameters.len());
        return Err(FileError::Length { path, found, count });
    }
    Ok(parameters)
}

/// What a written file survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, not necessarily a loss of power: nothing waits for the disk.
    Process,
    /// A loss of power.
    Disk,
}

/// Writes the concatenation of `parts`, for its owner only, replacing the file whole.
///
/// # Errors
///
/// [`FileError::Write`]; the former file, if any, is then untouched.
pub fn write_parts(path: &Path, parts: &[&[u8]], durability: Durability) -> Result<(), FileError> {
    replace(path, reopen, parts, durability)
}

/// Takes a file that may be missing out of use, and leaves its place on the disk to the next one
/// that is written under the name `next` with [`write_parts`] or [`write_parameters`]: overwriting
/// costs half of what a new file does, and needs no space anew.
///
/// # Errors
///
/// [`FileError::Write`].
pub fn retire(path: &Path, next: &Path) -> Result<(), FileError> {
    match fs::rename(path, unfinished(next)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::write(path, error)),
        _ => Ok(()),
    }
}

/// Removes a file that may be missing.
///
/// # Errors
///
/// [`FileError::Write`].
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::write(path, error)),
        _ => Ok(()),
    }
}

/// A new file beside the target takes its name only when all of it is written.
fn replace(
    path: &Path,
    open: impl FnOnce(&Path) -> io::Result<File>,
    parts: &[&[u8]],
    durability: Durability,
) -> Result<(), FileError> {
    let new = unfinished(path);
    let written = open(&new).and_then(|mut file| {
        parts.iter().try_for_each(|part| file.write_all(part))?;
        // Of a longer file that was there before.
        let written = file.stream_position()?;
        if file.metadata()?.len() != written {
            file.set_len(written)?;
        }
        match durability {
            Durability::Process => Ok(()),
            Durability::Disk => file.sync_data(),
        }
    });
    let renamed = written.and_then(|()| fs::rename(&new, path));
    renamed.map_err(|source| {
        // What is left of it is of no use to anyone.
        let _ = fs::remove_file(&new);
        FileError::write(path, source)
    })?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Disk => sync_folder(path),
    }
}

/// Returns where a file is written before it takes its name.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Fsyncs the parent folder, so that a rename or removal survives power loss.
///
/// # Errors
///
/// [`FileError::Write`].
#[cfg(unix)]
pub(crate) fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| FileError::write(folder, source))
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_path: &Path) -> Result<(), FileError> {
    Ok(())
}

/// Returns what was retired under this name, to be overwritten, or a new file, for its owner only.
fn reopen(path: &Path) -> io::Result<File> {
    match is_retired(path) {
        true => OpenOptions::new().write(true).open(path),
        false => create_private(path),
    }
}

/// Returns whether an ordinary private file is there.
fn is_retired(path: &Path) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // Nor must it have a second name.
        found.is_file() && found.mode() & 0o7777 == 0o600 && found.nlink() == 1
    }
    #[cfg(not(unix))]
    found.is_file()
}

/// Returns a new file that only its owner may read, in place of any that is there. Neither it nor
/// its name is made durable.
///
/// # Errors
///
/// Of the operating system.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    create(path, 0o600)
}

#[cfg_attr(not(unix), expect(unused_variables))]
fn create(path: &Path, mode: u32) -> io::Result<File> {
    // What an interrupted run left may have another mode, or lead elsewhere.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn pipes_devices_and_folders_are_refused_at_once() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("key.pem");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            let found = read_limited(path, 9);
            assert!(
                matches!(found, Err(FileError::NotAFile { .. })),
                "{found:?}"
            );
            let found = read_secret(path, 9);
            assert!(
                matches!(found, Err(FileError::NotAFile { .. })),
                "{found:?}"
            );
        }
        for path in [&pipe, Path::new("/dev/zero")] {
            let found = open_private(path);
            assert!(
                matches!(found, Err(FileError::NotAFile { .. })),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_private_ones_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_private(&path, b"one").unwrap();
        write_parts(&path, &[b"t", b"wo"], Durability::Process).unwrap();
        assert_eq!(read_limited(&path, 3).unwrap(), b"two");
        assert!(matches!(
            read_limited(&path, 2),
            Err(FileError::TooLarge { .. })
        ));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing left beside it"
        );
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(matches!(
            read_limited(&path, 2),
            Err(FileError::Read { .. })
        ));
        write_parts(&path, &[b"a longer one"], Durability::Process).unwrap();
        retire(&path, &path).unwrap();
        assert!(!path.exists());
        write_parts(&path, &[b"short"], Durability::Disk).unwrap();
        assert_eq!(read_limited(&path, 99).unwrap(), b"short");
        retire(&path, &path).unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(read_limited(&path, 99).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        retire(&path, &path).unwrap();

        let nowhere = folder.path().join("no/such/folder");
        assert!(matches!(
            write_public(&nowhere, b""),
            Err(FileError::Write { .. })
        ));
    }
}
