//! Which pictures a folder holds, and of which classes.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use super::PictureError;
use crate::{Error, Schema};

/// Folders that are for testing where there is one called `train`.
const TESTS: [&str; 4] = ["test", "val", "valid", "validation"];

/// The pictures for training, or for testing.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    /// By their names.
    pub(super) classes: Vec<Class>,
}

/// The pictures of a class.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The names of the files, in their order. There is at least one.
    pub(super) files: Vec<OsString>,
}

/// Returns the pictures for training and those for testing.
pub(super) fn parts(folder: &Path) -> Result<(Part, Option<Part>), Error> {
    let (folders, files) = entries(folder)?;
    refuse_strays(folder, &files)?;
    if folders.is_empty() {
        let folder = folder.into();
        return Err(PictureError::Layout { folder }.into());
    }
    let train = folder.join("train");
    // A class may be called `train` too: then it holds pictures.
    if !folders.iter().any(|name| name == "train") || entries(&train)?.0.is_empty() {
        return Ok((Part::list(folder, &folders)?, None));
    }
    let mut tests = vec![];
    for name in folders.iter().filter(|name| *name != "train") {
        match TESTS.iter().find(|test| name == *test) {
            Some(test) => tests.push(*test),
            None => {
                let path = folder.join(name);
                return Err(PictureError::BesideTrain { path }.into());
            }
        }
    }
    let test = match *tests {
        [] => None,
        [test] => Some(Part::open(folder.join(test))?),
        [first, second, ..] => {
            return Err(PictureError::TwoTestSets {
                folder: folder.into(),
                first: first.to_owned(),
                second: second.to_owned(),
            }
            .into());
        }
    };
    Ok((Part::open(train)?, test))
}

impl Part {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let (folders, files) = entries(&path)?;
        refuse_strays(&path, &files)?;
        Self::list(&path, &folders)
    }

    /// The part at `path`, of these folders.
    fn list(path: &Path, folders: &[OsString]) -> Result<Self, Error> {
        let mut classes = vec![];
        for name in folders {
            let folder = path.join(name);
            let (nested, files) = entries(&folder)?;
            if let Some(nested) = nested.first() {
                let path = folder.join(nested);
                return Err(PictureError::Nested { path }.into());
            }
            let (files, strays): (Vec<_>, Vec<_>) = files.into_iter().partition(is_picture);
            refuse_strays(&folder, &strays)?;
            let name = name.to_str().ok_or_else(|| PictureError::ClassName {
                path: folder.clone(),
            })?;
            classes.push(Class {
                name: name.to_owned(),
                path: folder,
                files,
            });
        }
        classes.retain(|class| !class.files.is_empty());
        match classes.is_empty() {
            true => Err(Error::Empty { path: path.into() }),
            false => Ok(Self {
                path: path.into(),
                classes,
            }),
        }
    }

    /// Returns all pictures, in the order of their classes' names and then of their own.
    pub(super) fn pictures(&self) -> Vec<PathBuf> {
        let classes = self.classes.iter();
        let files = classes.flat_map(|class| class.files.iter().map(|name| class.path.join(name)));
        files.collect()
    }

    /// Checks that each class is one of the schema's.
    pub(super) fn check_classes(&self, schema: &Schema) -> Result<(), Error> {
        let known: HashSet<_> = schema.classes().iter().collect();
        match self
            .classes
            .iter()
            .find(|class| !known.contains(&class.name))
        {
            None => Ok(()),
            Some(class) => Err(PictureError::UnknownClass {
                path: class.path.clone(),
                classes: schema.target_in_words(),
            }
            .into()),
        }
    }
}

/// The names of the folders and of the files in a folder, sorted by their bytes. What the system
/// puts there unasked is left out.
fn entries(folder: &Path) -> Result<(Vec<OsString>, Vec<OsString>), Error> {
    let unreadable = |source| Error::Read {
        path: folder.into(),
        source,
    };
    let (mut folders, mut files) = (vec![], vec![]);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(unreadable)?);
        if is_hidden(&name) {
            continue;
        }
        match kind.is_dir() {
            true => folders.push(name),
            false => {
                check_kind(entry.path(), kind)?;
                files.push(name);
            }
        }
    }
    for names in [&mut folders, &mut files] {
        names.sort_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    }
    Ok((folders, files))
}

fn is_hidden(name: &OsString) -> bool {
    const SYSTEM: [&str; 3] = ["thumbs.db", "desktop.ini", "__macosx"];
    name.as_encoded_bytes().starts_with(b".")
        || SYSTEM
            .iter()
            .any(|system| name.eq_ignore_ascii_case(system))
}

fn check_kind(path: PathBuf, kind: FileType) -> Result<(), Error> {
    if kind.is_symlink() {
        return Err(PictureError::Link { path }.into());
    }
    match kind.is_file() {
        true => Ok(()),
        false => Err(Error::NotAFile { path }),
    }
}

fn is_picture(name: &OsString) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    ["png", "jpg", "jpeg"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

fn refuse_strays(folder: &Path, names: &[OsString]) -> Result<(), Error> {
    match names {
        [] => Ok(()),
        [first, more @ ..] => Err(PictureError::Stray {
            path: folder.join(first),
            more: more.len(),
        }
        .into()),
    }
}
