//! What each crate may depend on, and how the repository is laid out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fl_tests::workspace::{cargo, root, sources};
use serde_json::Value;

/// What cargo says of this workspace's own packages.
fn metadata() -> Result<Value> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"])?;
    Ok(serde_json::from_str(&metadata)?)
}

/// The packages that `package` alone is built from, itself included, with the features that
/// `features` sets.
fn closure(package: &str, features: &[&str]) -> Result<BTreeSet<String>> {
    let tree = ["tree", "--package", package, "--edges", "normal,build"];
    let format = ["--prefix", "none", "--format", "{p}"];
    let tree = cargo(&[&tree[..], &format, features].concat())?;
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

/// Those of `packages` whose name is one of `names`, or begins with one that ends in `*`.
fn found(packages: &BTreeSet<String>, names: &[&str]) -> Vec<String> {
    let is = |package: &str, name: &str| match name.strip_suffix('*') {
        Some(prefix) => package.starts_with(prefix),
        None => package == name,
    };
    let named = |package: &&String| names.iter().any(|name| is(package, name));
    packages.iter().filter(named).cloned().collect()
}

const ASYNC: [&str; 3] = ["tokio*", "quinn*", "mio"];
const LEARNING: [&str; 4] = ["burn", "burn-*", "cubecl*", "fl-trainer"];
const GPU: [&str; 4] = ["wgpu*", "naga", "ash", "cubecl*"];

fn assert_free_of(package: &str, names: &[&str]) -> Result<()> {
    let packages = closure(package, &[])?;
    ensure!(
        packages.contains(package),
        "{package} is in its own closure"
    );
    let found = found(&packages, names);
    assert!(found.is_empty(), "{package} depends on {found:?}");
    Ok(())
}

#[test]
fn sharing_knows_neither_sockets_nor_models() -> Result<()> {
    assert_free_of("fl-sharing", &ASYNC)?;
    assert_free_of("fl-sharing", &LEARNING)?;
    // Whatever features it has.
    let all = closure("fl-sharing", &["--all-features"])?;
    assert_eq!(found(&all, &ASYNC), [""; 0]);
    assert_eq!(
        found(&all, &["burn", "burn-*", "fl-*"]),
        ["fl-shaders", "fl-sharing"]
    );
    Ok(())
}

/// What performs I/O, reads a clock, draws randomness or parses a command line.
const OUTSIDE_WORLD: [&str; 8] = [
    "clap*",
    "fl-network",
    "getrandom",
    "hyper*",
    "rustls*",
    "socket2",
    "tracing*",
    "anyhow",
];

/// What seals and opens.
const CIPHERS: [&str; 6] = ["fl-sharing", "hkdf", "hpke", "ml-kem", "x-wing", "x25519*"];

#[test]
fn the_protocol_is_pure() -> Result<()> {
    assert_free_of("fl-protocol", &ASYNC)?;
    assert_free_of("fl-protocol", &OUTSIDE_WORLD)?;
    assert_free_of("fl-protocol", &CIPHERS)?;
    // Nor does it ask the standard library.
    let protocol = root().join("network/protocol/src");
    let clocks = ["SystemTime", "Instant::now", "std::net", "std::thread"];
    for clock in clocks {
        assert!(mentions(&protocol, clock)?.is_empty(), "{clock}");
    }
    let network = root().join("network/src");
    assert!(!mentions(&network, "SystemTime")?.is_empty());
    Ok(())
}

#[test]
fn the_relay_opens_boxes_in_one_place_only() -> Result<()> {
    assert_free_of("fl-protocol", &CIPHERS)?;
    let mentioning = mentions(&root().join("network/src"), "fl_sharing")?;
    let names = mentioning.iter().filter_map(|path| path.file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["opener.rs"]);
    assert_free_of("fl-network", &LEARNING)?;
    assert_free_of("fl-network", &GPU)
}

#[test]
fn only_a_build_without_default_features_knows_no_gpu() -> Result<()> {
    let without = closure("fl-trainer", &["--no-default-features"])?;
    assert!(without.contains("burn"), "{without:?}");
    // Burn shares a few small crates with its GPU backends, which call no graphics library.
    let graphics = [
        "wgpu*",
        "naga",
        "ash",
        "cubecl-wgpu",
        "cubecl-runtime",
        "libloading",
    ];
    assert_eq!(found(&without, &graphics), [""; 0]);
    let with = closure("fl-trainer", &[])?;
    assert!(found(&with, &graphics).len() >= 5, "{with:?}");
    // One version, for Burn and the engine share a device.
    let versions = [
        "tree",
        "--package",
        "fl-trainer",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let versions = cargo(&versions)?;
    let versions: BTreeSet<_> = versions
        .lines()
        .filter(|line| line.starts_with("wgpu v"))
        .collect();
    let versions = versions
        .into_iter()
        .map(|line| line.trim_end_matches(" (*)"));
    assert_eq!(versions.collect::<BTreeSet<_>>().len(), 1);
    Ok(())
}

/// The crates of this workspace that `cargo build` builds with the feature `testing`, or would with
/// these arguments.
fn built_for_tests(arguments: &[&str]) -> Result<BTreeSet<String>> {
    let tree = ["tree", "--edges", "normal,build"];
    let format = ["--prefix", "none", "--format", "{p}|{f}|"];
    let tree = cargo(&[&tree[..], &format, arguments].concat())?;
    let crates = tree.lines().filter_map(|line| {
        let (package, features) = line.split_once('|')?;
        let (features, _) = features.split_once('|')?;
        let name = package.split(' ').next()?;
        let is_for_tests = features.split(',').any(|feature| feature == "testing");
        (is_for_tests && name.starts_with("fl-")).then(|| name.to_owned())
    });
    Ok(crates.collect())
}

#[test]
fn no_program_that_is_shipped_is_built_for_tests() -> Result<()> {
    assert_eq!(built_for_tests(&[])?, BTreeSet::new());
    // The control.
    let with_tests = built_for_tests(&["--workspace"])?;
    assert_eq!(
        with_tests,
        ["fl-network", "fl-protocol"].map(str::to_owned).into()
    );
    Ok(())
}

#[test]
fn shaders_are_text_and_arithmetic() -> Result<()> {
    let packages = closure("fl-shaders", &[])?;
    let known = [
        "fl-shaders",
        "thiserror",
        "thiserror-impl",
        "zeroize",
        "zeroize_derive",
        // What a derive macro takes.
        "proc-macro2",
        "quote",
        "syn",
        "unicode-ident",
    ];
    let known: BTreeSet<_> = known.map(str::to_owned).into();
    assert_eq!(packages, known);
    Ok(())
}

#[test]
fn datasets_are_read_without_a_runtime_or_a_model() -> Result<()> {
    assert_free_of("fl-datasets", &ASYNC)?;
    assert_free_of("fl-datasets", &LEARNING)?;
    assert_free_of("fl-datasets", &["fl-network", "fl-sharing", "fl-shaders"])
}

/// The packages of this workspace: those that a plain `cargo build` builds, from which all is taken
/// that is shipped, and the rest.
fn shipped_and_not() -> Result<(Vec<Value>, Vec<Value>)> {
    let metadata = metadata()?;
    let members = metadata["workspace_default_members"].as_array();
    let shipped = members.context("default members")?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let packages = packages.iter().cloned();
    Ok(packages.partition(|package| shipped.contains(&package["id"])))
}

/// The programs that these packages have.
fn programs(packages: &[Value]) -> BTreeSet<&str> {
    let targets = packages.iter().filter_map(|p| p["targets"].as_array());
    let programs = targets
        .flatten()
        .filter(|target| target["kind"][0] == "bin");
    programs
        .filter_map(|program| program["name"].as_str())
        .collect()
}

#[test]
fn two_programs_are_shipped_and_none_that_measures() -> Result<()> {
    let (shipped, rest) = shipped_and_not()?;
    assert_eq!(programs(&shipped), ["fl-node", "fl-relay"].into());
    assert_eq!(programs(&rest), ["bench-round"].into());
    Ok(())
}

/// Where an `Engine` is implemented in the sources of a package: the file and the type.
///
/// Nodes mask with nothing else, so an engine that masks nothing would be among them. It could only
/// hide in a macro.
fn engines(package: &Value) -> Result<BTreeSet<(PathBuf, String)>> {
    let is_engine = |word: &str| word.rsplit([':', '{', '(']).next() == Some("Engine");
    let manifest = package["manifest_path"].as_str().context("a manifest")?;
    let mut found = BTreeSet::new();
    for path in sources(&Path::new(manifest).with_file_name("src"))? {
        let text = fs::read_to_string(&path)?;
        let path = path.strip_prefix(root())?;
        let lines = text.lines().map(str::trim_start);
        let code = lines.filter(|line| !line.starts_with("//"));
        let words: Vec<_> = code.flat_map(str::split_whitespace).collect();
        for words in words.windows(3) {
            match *words {
                [name, "for", of] if is_engine(name) => {
                    found.insert((path.to_owned(), of.to_owned()));
                }
                [name, "as", new] if is_engine(name) => {
                    bail!("{} calls the engine {new}", path.display());
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

#[test]
fn every_engine_that_is_shipped_masks() -> Result<()> {
    let masking = [
        ("sharing/src/cpu.rs", "CpuEngine"),
        ("sharing/src/cpu.rs", "Instructions"),
        ("sharing/src/gpu.rs", "GpuEngine"),
    ];
    let place = |(path, of): (&str, &str)| (PathBuf::from(path), of.to_owned());
    let (shipped, rest) = shipped_and_not()?;
    let all = |packages: &[Value]| -> Result<BTreeSet<_>> {
        let engines: Result<Vec<_>> = packages.iter().map(engines).collect();
        Ok(engines?.into_iter().flatten().collect())
    };
    assert_eq!(all(&shipped)?, masking.map(place).into());
    // The control: the same search finds the one that masks nothing, where it belongs.
    let plain = place(("tests/src/bin/bench-round/plain.rs", "Unmasked"));
    assert!(all(&rest)?.contains(&plain));
    Ok(())
}

/// What the assertions above would say if they had something to say.
#[test]
fn the_search_finds_what_is_there() -> Result<()> {
    let network = closure("fl-network", &[])?;
    assert!(found(&network, &ASYNC).len() >= 3, "{network:?}");
    assert!(assert_found("fl-network", &["tokio"]));
    assert!(assert_found("fl-network", &OUTSIDE_WORLD));
    assert!(assert_found("fl-sharing", &["hpke"]));
    assert!(assert_found("fl-trainer", &LEARNING));
    assert!(!assert_found("fl-shaders", &["tokio"]));
    assert!(closure("fl-no-such-package", &[]).is_err());
    Ok(())
}

fn assert_found(package: &str, names: &[&str]) -> bool {
    std::panic::catch_unwind(|| assert_free_of(package, names).unwrap()).is_err()
}

/// Sources in which `needle` occurs outside comments.
fn mentions(folder: &Path, needle: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in sources(folder)? {
        let text = fs::read_to_string(&path)?;
        let mut code = text.lines().map(|line| line.trim_start());
        if code.any(|line| !line.starts_with("//") && line.contains(needle)) {
            found.push(path.strip_prefix(root())?.to_owned());
        }
    }
    Ok(found)
}

#[test]
fn bincode_is_known_to_one_module() -> Result<()> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let depends = |package: &&Value| {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        dependencies
            .into_iter()
            .any(|dependency| dependency["name"] == "bincode")
    };
    let direct: Vec<_> = packages
        .iter()
        .filter(depends)
        .map(|p| &p["name"])
        .collect();
    assert_eq!(direct, ["fl-protocol"]);

    let codec = Path::new("network/protocol/src/wire/codec.rs");
    assert_eq!(mentions(&root().join("network"), "bincode::")?, [codec]);
    // The control: the same search finds what is used in many places.
    assert!(mentions(&root().join("network"), "tokio::")?.len() > 3);
    Ok(())
}

#[test]
fn the_layout_is_the_agreed_one() -> Result<()> {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml"))?.parse()?;
    let members = manifest["workspace"]["members"].as_array();
    let members: BTreeSet<_> = members
        .context("members")?
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let agreed = [
        "datasets",
        "network",
        "network/protocol",
        "shaders",
        "sharing",
        "tests",
        "trainer",
    ];
    assert_eq!(members, agreed.into());
    for member in agreed {
        let name = member.rsplit('/').next().unwrap_or(member);
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml"))?;
        let manifest: toml::Table = manifest.parse()?;
        assert_eq!(
            manifest["package"]["name"].as_str(),
            Some(format!("fl-{name}").as_str())
        );
        assert!(root().join(member).join("src/lib.rs").is_file(), "{member}");
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true));
    }
    // Nothing else stands beside them but documents and settings, and what the programs make.
    let ignored = fs::read_to_string(root().join(".gitignore"))?;
    let ignored: Vec<_> = ignored.lines().collect();
    for entry in fs::read_dir(root())? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let folder = entry.file_type()?.is_dir() && !name.starts_with('.');
        let known =
            name == "docs" || agreed.contains(&&*name) || ignored.contains(&&*format!("/{name}"));
        assert!(!folder || known, "{name}");
    }
    Ok(())
}
