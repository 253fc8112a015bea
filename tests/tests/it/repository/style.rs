//! House rules that neither rustfmt nor clippy knows.

use std::fs;
use std::path::{Path, PathBuf};

use fl_tests::workspace::{root, sources};

/// Columns of a line of comment, as rustfmt has them for code.
const WIDTH: usize = 100;

/// What is wrong with a source: where, and what.
type Finding = (usize, String);

/// Applies a rule to every source of a folder.
fn broken(folder: &Path, rule: impl Fn(&str) -> Vec<Finding>) -> Vec<(PathBuf, Finding)> {
    let files = sources(folder).unwrap();
    assert!(!files.is_empty(), "{}", folder.display());
    let findings = files.into_iter().flat_map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        let place = file.strip_prefix(folder).unwrap().to_owned();
        let found = rule(&text).into_iter();
        found.map(move |finding| (place.clone(), finding))
    });
    findings.collect()
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

/// The name at the beginning of a text.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The type that an inherent `impl` line is for; nothing for one of a trait, or any other line.
fn inherent(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        None => rest.strip_prefix(' ')?,
        Some(generics) => {
            let mut depth = 1_usize;
            let end = generics.find(|c| {
                match c {
                    '<' => depth += 1,
                    '>' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            generics.get(end? + 1..)?.trim_start()
        }
    };
    let is_trait = rest.contains(" for ");
    (!is_trait).then(|| identifier(rest))
}

/// Inherent `impl`s of types that the file does not declare.
fn stray_impls(text: &str) -> Vec<Finding> {
    let declares = |name: &str| {
        let keywords = ["struct ", "enum ", "trait ", "union "];
        let declared = |keyword| {
            text.split(keyword)
                .skip(1)
                .any(|rest| identifier(rest) == name)
        };
        keywords.into_iter().any(declared)
    };
    let impls = numbered(text).filter_map(|(at, line)| Some((at, inherent(line)?)));
    let stray = impls.filter(|(_, name)| !declares(name));
    stray.map(|(at, name)| (at, name.to_owned())).collect()
}

#[test]
fn an_inherent_impl_lives_in_the_file_of_its_type() {
    assert_eq!(broken(root(), stray_impls), []);
    // The control.
    let text = "struct Own<T>(T);\nimpl<T: Into<u8>> Own<T> {\nimpl Clone for Other {\nimpl<'a> Other<'a> {\n";
    assert_eq!(stray_impls(text), [(4, "Other".to_owned())]);
}

/// Comments that are wider than code, but for links and tables, which cannot be wrapped.
fn wide_comments(text: &str) -> Vec<Finding> {
    let wide = numbered(text).filter(|(_, line)| {
        let comment = line.trim_start().strip_prefix("//");
        let wrappable = |comment: &str| !comment.contains("://") && !comment.contains('|');
        comment.is_some_and(wrappable) && line.chars().count() > WIDTH
    });
    wide.map(|(at, line)| (at, line.trim().to_owned()))
        .collect()
}

#[test]
fn comments_are_no_wider_than_code() {
    assert_eq!(broken(root(), wide_comments), []);
    let text = format!(
        "    // {}\n// {}\nlet wide = {};",
        "a ".repeat(50),
        "b ".repeat(40),
        "c".repeat(100)
    );
    assert_eq!(wide_comments(&text).len(), 1);
}

/// Docs of functions that begin otherwise than the standard library's, and sections without their
/// blank line.
fn odd_docs(text: &str) -> Vec<Finding> {
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    let mut odd = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let gives = line.starts_with("/// Gives ") || line.contains(". Gives ");
        let section = ["/// # Errors", "/// # Panics"].contains(line);
        let next = lines.get(at + 1).copied();
        if (line.starts_with("///") && gives) || (section && next != Some("///")) {
            odd.push((at + 1, (*line).to_owned()));
        }
    }
    odd
}

#[test]
fn docs_are_written_as_those_of_the_standard_library() {
    assert_eq!(broken(root(), odd_docs), []);
    let text = "/// Gives it.\n///\n/// # Errors\n/// None.\n/// # Panics\n///\n/// Never.\n";
    assert_eq!(odd_docs(text).len(), 2);
}
