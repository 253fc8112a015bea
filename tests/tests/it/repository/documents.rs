//! The documents name a test for every claim and every invariant, and every test and file that they
//! name exists.

use std::fs;

use fl_tests::workspace::{root, sources};

/// All sources, one after the other.
fn text_of_sources() -> String {
    let texts = sources(root()).unwrap().into_iter();
    texts
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// Whether `sources` has a test of this name, be it a property test, that runs.
fn is_test(sources: &str, name: &str) -> bool {
    let declaration = format!("fn {name}(");
    sources
        .split(&declaration)
        .zip(sources.split(&declaration).skip(1))
        .any(|(before, _)| {
            let before = before.trim_end().trim_end_matches("async").trim_end();
            let lines = before.lines().rev().map(str::trim);
            let attributes: Vec<_> = lines.take_while(|line| line.starts_with('#')).collect();
            let has = |start: &str| attributes.iter().any(|line| line.starts_with(start));
            (has("#[test]") || has("#[tokio::test")) && !has("#[ignore")
        })
}

/// The rows of the tables whose last column is headed "test", cells and all.
fn claims(text: &str) -> Vec<Vec<&str>> {
    let mut claims = Vec::new();
    let mut counts = false;
    for line in text.lines() {
        if !line.starts_with('|') {
            counts = false;
            continue;
        }
        let row: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        match row.last() {
            Some(&"test") => counts = true,
            Some(cell) if counts && !cell.starts_with("---") => claims.push(row),
            _ => {}
        }
    }
    claims
}

#[test]
fn every_claim_names_tests_that_exist() {
    let sources = text_of_sources();
    for (document, least) in [("SECURITY.md", 15), ("ARCHITECTURE.md", 10)] {
        let text = fs::read_to_string(root().join("docs").join(document)).unwrap();
        let claims = claims(&text);
        assert!(claims.len() > least, "{document}: {} claims", claims.len());
        for row in claims {
            let named = quoted(row.last().unwrap());
            assert!(!named.is_empty(), "{row:?} names no test");
            for name in named {
                assert!(is_test(&sources, name), "there is no test {name}");
            }
        }
    }
}

/// What stands between backquotes in a text without blocks of code.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The files that a text names, which are not there: from the root, or from the folder of the
/// protocol.
fn missing_files(text: &str) -> Vec<&str> {
    let mut named = quoted(text);
    named.retain(|name| name.contains('/') && !name.contains(' ') && name.ends_with(".rs"));
    assert!(!named.is_empty());
    let from = [root().to_owned(), root().join("network/protocol/src")];
    named.retain(|name| !from.iter().any(|folder| folder.join(name).is_file()));
    named
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let without_blocks: String = text.split("```").step_by(2).collect();
    assert_eq!(missing_files(&without_blocks), [""; 0]);
    // The control.
    let missing = missing_files("`round/node/mod.rs`, `network/src/client.rs`, `round/none.rs`");
    assert_eq!(missing, ["round/none.rs"]);
}

/// Negative control.
#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let sources = text_of_sources();
    assert!(is_test(&sources, "every_claim_names_tests_that_exist"));
    for name in ["no_test_of_this_name", "text_of_sources", "is_test"] {
        assert!(!is_test(&sources, name), "{name}");
    }
    // Built here, or the sources would have them.
    let with = |attributes: &str| is_test(&format!("{attributes}\n    fn some() {{}}"), "some");
    assert!(with("#[test]") && with("#[tokio::test(start_paused = true)]\n#[expect(x)]"));
    for attributes in ["", "#[track_caller]", "#[test]\n#[ignore]", "#[test]\n}"] {
        assert!(!with(attributes), "{attributes}");
    }
    assert!(claims("| a | b |\n| --- | --- |\n| c | `d` |").is_empty());
    assert_eq!(claims("| a | test |\n| --- | --- |\n| c | `d` |").len(), 1);
}
