//! What `cargo deny check` would say about licences, sources and known advisories, without a
//! network and without cargo-deny: `deny.toml` against the packages that are built here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter::Peekable;

use anyhow::{Context, Result, bail, ensure};
use fl_tests::workspace::{cargo, root};
use serde_json::Value;

/// Advisories that say "unmaintained" of packages which this workspace has had.
const UNMAINTAINED: [(&str, &str); 2] = [
    ("bincode", "RUSTSEC-2025-0141"),
    ("paste", "RUSTSEC-2024-0436"),
];

fn deny() -> Result<toml::Table> {
    Ok(fs::read_to_string(root().join("deny.toml"))?.parse()?)
}

/// The packages that are built on this machine from the workspace with all its features.
///
/// The metadata alone has more: optional packages of others that no feature turns on.
fn packages() -> Result<Vec<Value>> {
    let version = cargo(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("cargo names no host")?;
    let tree = ["tree", "--workspace", "--all-features", "--prefix", "none"];
    let tree = cargo(&[&tree[..], &["--format", "{p}"]].concat())?;
    let built = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?.strip_prefix('v')?))
    });
    let built: BTreeSet<_> = built.collect();
    let metadata = ["metadata", "--format-version", "1", "--all-features"];
    let metadata = cargo(&[&metadata[..], &["--filter-platform", host]].concat())?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let is_built = |package: &&Value| {
        let (name, version) = (package["name"].as_str(), package["version"].as_str());
        name.zip(version).is_some_and(|name| built.contains(&name))
    };
    let packages: Vec<_> = packages.iter().filter(is_built).cloned().collect();
    ensure!(packages.len() == built.len(), "packages without metadata");
    Ok(packages)
}

/// Returns whether the SPDX licence expression can be met with the licences in `allow`. An id with
/// an exception (`WITH`) is one licence; `/`, which old manifests have, is `OR`.
///
/// # Errors
///
/// If it is no such expression.
fn is_allowed(expression: &str, allow: &BTreeSet<&str>) -> Result<bool> {
    let spaced = ["(", ")", "/"]
        .iter()
        .fold(expression.to_owned(), |text, sign| {
            text.replace(sign, &format!(" {sign} "))
        });
    let mut tokens = spaced.split_whitespace().peekable();
    let allowed = any(&mut tokens, allow)?;
    ensure!(tokens.next().is_none(), "a rest in {expression:?}");
    Ok(allowed)
}

/// `all (OR all)*`. Every part is read, so that a mistake behind the one that decides is found too.
fn any<'a>(
    tokens: &mut Peekable<impl Iterator<Item = &'a str>>,
    allow: &BTreeSet<&str>,
) -> Result<bool> {
    let mut allowed = all(tokens, allow)?;
    while tokens
        .next_if(|token| matches!(*token, "OR" | "/"))
        .is_some()
    {
        allowed |= all(tokens, allow)?;
    }
    Ok(allowed)
}

/// `one (AND one)*`
fn all<'a>(
    tokens: &mut Peekable<impl Iterator<Item = &'a str>>,
    allow: &BTreeSet<&str>,
) -> Result<bool> {
    let mut allowed = one(tokens, allow)?;
    while tokens.next_if_eq(&"AND").is_some() {
        allowed &= one(tokens, allow)?;
    }
    Ok(allowed)
}

/// `( any )`, or `id`, or `id WITH id`.
fn one<'a>(
    tokens: &mut Peekable<impl Iterator<Item = &'a str>>,
    allow: &BTreeSet<&str>,
) -> Result<bool> {
    if tokens.next_if_eq(&"(").is_some() {
        let allowed = any(tokens, allow)?;
        ensure!(tokens.next() == Some(")"), "a parenthesis stays open");
        return Ok(allowed);
    }
    let id = id(tokens.next())?;
    Ok(match tokens.next_if_eq(&"WITH") {
        Some(_) => {
            let exception = self::id(tokens.next())?;
            allow.contains(&*format!("{id} WITH {exception}"))
        }
        None => allow.contains(id),
    })
}

fn id(token: Option<&str>) -> Result<&str> {
    match token {
        None | Some("(" | ")" | "/" | "OR" | "AND" | "WITH") => {
            bail!("{token:?} where a licence should be")
        }
        Some(id) => Ok(id),
    }
}

#[test]
fn every_package_has_a_licence_that_is_allowed() -> Result<()> {
    let deny = deny()?;
    let allow = deny["licenses"]["allow"].as_array().context("allow")?;
    let allow: BTreeSet<_> = allow.iter().filter_map(toml::Value::as_str).collect();
    let packages = packages()?;
    assert!(packages.len() > 300, "{}", packages.len());
    for package in packages {
        let name = &package["name"];
        let licence = package["license"].as_str();
        let licence = licence.with_context(|| format!("{name} names no licence"))?;
        let allowed = is_allowed(licence, &allow).with_context(|| format!("{name}"))?;
        assert!(allowed, "{name}: {licence}");
    }
    Ok(())
}

#[test]
fn an_expression_is_met_as_spdx_has_it() -> Result<()> {
    let allow = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].into();
    for expression in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "Apache-2.0 / MIT",
        "MIT AND ISC",
        "Apache-2.0 WITH LLVM-exception",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        // AND binds more tightly than OR.
        "MIT OR ISC AND GPL-3.0",
        "GPL-3.0 AND ISC OR MIT",
        "(GPL-3.0 OR MIT) AND ISC",
        "((MIT))",
    ] {
        assert!(is_allowed(expression, &allow)?, "{expression}");
    }
    // Negative controls.
    for expression in [
        "GPL-3.0",
        "mit",
        "MIT+",
        "Apache-2.0",
        "LLVM-exception",
        "MIT WITH LLVM-exception",
        "MIT AND GPL-3.0",
        "GPL-3.0 AND (MIT OR ISC)",
        "(GPL-3.0 OR MIT) AND Apache-2.0",
        "Apache-2.0/GPL-3.0",
    ] {
        assert!(!is_allowed(expression, &allow)?, "{expression}");
    }
    for expression in [
        "",
        "OR",
        "MIT OR",
        "MIT ISC",
        "AND MIT",
        "(MIT",
        "MIT)",
        "MIT WITH",
        "MIT or ISC",
        "MIT//ISC",
        "()",
    ] {
        assert!(is_allowed(expression, &allow).is_err(), "{expression}");
    }
    Ok(())
}

/// What is wrong with where a package comes from and with the versions that it asks for.
fn faults(package: &Value) -> Vec<String> {
    let name = &package["name"];
    let mut faults = Vec::new();
    // A package of this workspace has no source.
    let source = package["source"].as_str();
    let known = |source: &str| {
        source.starts_with("registry+") && source.ends_with("/rust-lang/crates.io-index")
    };
    if source.is_some_and(|source| !known(source)) {
        faults.push(format!("{name} comes from {source:?}"));
    }
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        // `allow-wildcard-paths`: a package of this workspace is what lies beside it.
        if dependency["req"] == "*" && dependency["path"].is_null() {
            faults.push(format!("{name} takes any {}", dependency["name"]));
        }
    }
    faults
}

#[test]
fn packages_come_from_one_registry_in_versions_that_are_bounded() -> Result<()> {
    let deny = deny()?;
    assert_eq!(deny["bans"]["wildcards"].as_str(), Some("deny"));
    for source in ["unknown-git", "unknown-registry"] {
        assert_eq!(deny["sources"][source].as_str(), Some("deny"));
    }
    let faults: Vec<_> = packages()?.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{faults:?}");
    Ok(())
}

/// Negative control.
#[test]
fn another_source_or_any_version_is_found() {
    let package = |source: &str, dependency: &str| {
        let dependency: Value = serde_json::from_str(dependency).unwrap();
        let text = serde_json::json!({"name": "a", "source": source, "dependencies": [dependency]});
        faults(&text).len()
    };
    let index = "registry+https://example.org/rust-lang/crates.io-index";
    let bounded = r#"{"name": "b", "req": "^1.2"}"#;
    assert_eq!(package(index, bounded), 0);
    let beside = r#"{"name": "b", "req": "*", "path": "../b"}"#;
    assert_eq!(package(index, beside), 0);
    assert_eq!(package(index, r#"{"name": "b", "req": "*"}"#), 1);
    let git = "git+https://example.org/rust-lang/crates.io-index";
    let other = "registry+https://example.org/index";
    for source in [git, other] {
        assert_eq!(package(source, bounded), 1, "{source}");
    }
}

#[test]
fn each_unmaintained_package_is_an_exception_with_a_reason_and_nothing_else_is() -> Result<()> {
    let deny = deny()?;
    let ignore = deny["advisories"]["ignore"].as_array().context("ignore")?;
    let ignored = ignore.iter().map(|entry| {
        let field = |name: &str| entry.get(name).and_then(toml::Value::as_str);
        field("id")
            .zip(field("reason"))
            .context("an id and a reason")
    });
    let ignored: BTreeMap<_, _> = ignored.collect::<Result<_>>()?;
    let packages = packages()?;
    let is_built = |name: &str| packages.iter().any(|package| package["name"] == name);
    let due = UNMAINTAINED.iter().filter(|(name, _)| is_built(name));
    let due: BTreeSet<_> = due.map(|(_, advisory)| *advisory).collect();
    assert_eq!(ignored.keys().copied().collect::<BTreeSet<_>>(), due);
    for (id, reason) in ignored {
        assert!(reason.split_whitespace().count() > 5, "{id}: {reason:?}");
    }
    Ok(())
}
