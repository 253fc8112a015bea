//! Every source file is part of a crate: a test in a file that nobody declares would not run.

use std::fs;
use std::path::{Path, PathBuf};

use fl_tests::workspace::{root, sources};

/// Folders of a package in which cargo finds crates by itself, or is told about each file.
const CRATES: [&str; 5] = ["benches", "examples", "fuzz_targets", "src/bin", "tests"];

/// Whether a file is the root of a crate.
fn is_root(file: &Path) -> bool {
    if ["lib.rs", "main.rs", "build.rs"]
        .iter()
        .any(|name| file.ends_with(name))
    {
        return true;
    }
    let package = file
        .ancestors()
        .find(|folder| folder.join("Cargo.toml").is_file());
    package.is_some_and(|package| {
        let mut folders = CRATES.iter().map(|folder| package.join(folder));
        folders.any(|folder| file.parent() == Some(&folder))
    })
}

/// Whether the file that a file's place makes its parent declares it as a module.
fn is_declared(file: &Path) -> Option<bool> {
    // What a mod.rs holds is the module that its folder is named for.
    let module = match file.ends_with("mod.rs") {
        true => file.parent()?.to_owned(),
        false => file.with_extension(""),
    };
    let (folder, name) = (module.parent()?, module.file_name()?.to_str()?);
    let parents = ["mod.rs", "lib.rs", "main.rs"].map(|parent| folder.join(parent));
    let parents = parents.into_iter().chain([folder.with_extension("rs")]);
    let declaration = format!("mod {name};");
    let declares = |parent: PathBuf| {
        let text = fs::read_to_string(parent).unwrap_or_default();
        let mut lines = text.lines().map(str::trim_start);
        lines.any(|line| !line.starts_with("//") && line.ends_with(&declaration))
    };
    Some(parents.into_iter().any(declares))
}

/// The files of a folder that are neither crates nor modules of one.
fn orphans(folder: &Path) -> Vec<PathBuf> {
    let mut files = sources(folder).unwrap();
    files.retain(|file| !is_root(file) && is_declared(file) != Some(true));
    files
}

#[test]
fn every_source_file_is_compiled() {
    assert_eq!(orphans(root()), [""; 0].map(PathBuf::from));
}

/// Negative control.
#[test]
fn a_file_that_nobody_declares_is_found() {
    let package = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = package.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    file("Cargo.toml", "");
    file("src/lib.rs", "pub mod a;\n// mod lost;\n");
    file("src/a.rs", "mod b;\nmod c;\n");
    file("src/a/b.rs", "");
    file("src/a/c/mod.rs", "mod d;\n");
    file("src/a/c/d.rs", "");
    file("tests/it/main.rs", "mod e;\n");
    file("tests/it/e.rs", "");
    file("tests/other.rs", "");
    let lost = [
        file("src/lost.rs", ""),
        file("src/a/lost/mod.rs", ""),
        file("tests/it/lost.rs", ""),
    ];
    let mut found = orphans(package.path());
    found.sort();
    let mut lost = lost.to_vec();
    lost.sort();
    assert_eq!(found, lost);
}
