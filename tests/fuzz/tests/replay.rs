//! Every target over its corpus, and over inputs that are near it; and whether the corpora are as
//! they should be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fl_fuzz::{CONTROLS, Control, TARGETS, Target};

/// For each target, beside its corpus: this many altered inputs, as long as they do not take longer
/// than this.
const MUTATIONS: usize = 2000;
const MOST: Duration = Duration::from_secs(3);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names and contents of the files in a folder, in the order of the names.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect();
    files.sort();
    files
}

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let files = files(&root().join("corpus").join(target.name)).into_iter();
    files
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

/// Says which input it was if a target panics.
struct Running<'a>(&'a str, &'a str, &'a [u8]);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(target, name, input) = self;
            let bytes: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("target {target}, from {name}: {bytes}");
        }
    }
}

fn run(target: &Target, name: &str, input: &[u8]) {
    let running = Running(target.name, name, input);
    (target.run)(input);
    drop(running);
}

/// SplitMix64: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }

    /// `input` with a few bytes flipped, overwritten, removed, doubled, or taken from `other`.
    fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at..end].fill([0, 0x7f, 0x80, 0xff][self.below(4)]),
                2 => drop(bytes.drain(at..end)),
                3 => bytes.extend_from_within(at..end),
                4 => bytes.truncate(at),
                _ => {
                    let from = self.below(other.len());
                    let piece = &other[from..(from + end - at).min(other.len())];
                    bytes.splice(at..end, piece.iter().copied());
                }
            }
        }
        bytes
    }
}

#[test]
fn every_target_holds_on_its_corpus_and_near_it() {
    for target in TARGETS {
        let corpus = corpus(target);
        run(target, "nothing", &[]);
        for (name, input) in &corpus {
            run(target, name, input);
        }
        let mut random = Random(1);
        let begun = Instant::now();
        let mutations = (0..MUTATIONS).take_while(|_| begun.elapsed() < MOST);
        let ran = mutations.map(|_| {
            let (name, input) = &corpus[random.below(corpus.len())];
            let (_, other) = &corpus[random.below(corpus.len())];
            run(target, name, &random.mutate(input, other));
        });
        let ran = ran.count();
        println!("{}: {} inputs, {ran} mutations", target.name, corpus.len());
    }
}

/// Whether a node gives itself away in the property that it is to fail in.
fn is_found_out(control: &Control, input: &[u8]) -> bool {
    let Err(panic) = std::panic::catch_unwind(|| (control.run)(input)) else {
        return false;
    };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    text.is_some_and(|text| text.contains(control.violated))
}

/// While nodes that keep the protocol hold on all of it, as the test above says.
#[test]
fn nodes_that_do_not_keep_the_protocol_are_found_out() {
    for control in CONTROLS {
        let target = TARGETS.iter().find(|target| target.name == control.target);
        let corpus = corpus(target.unwrap());
        let found: Vec<_> = corpus
            .iter()
            .filter(|(_, input)| is_found_out(control, input))
            .map(|(name, _)| name)
            .collect();
        let Control {
            target, violated, ..
        } = control;
        assert!(!found.is_empty(), "{target} cannot fail with: {violated}");
        println!("{target}: {violated}: {found:?}");
    }
}

/// `cargo run --example seeds` renews them.
#[test]
fn seeds_are_what_the_present_code_makes() {
    for target in TARGETS {
        let mut seeds: Vec<_> = (target.seeds)()
            .into_iter()
            .map(|(name, bytes)| (format!("seed-{name}"), bytes))
            .collect();
        seeds.sort();
        let mut found = corpus(target);
        found.retain(|(name, _)| name.starts_with("seed-"));
        let names = |seeds: &[(String, Vec<u8>)]| -> Vec<String> {
            seeds.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&found), names(&seeds), "{}", target.name);
        for ((name, found), (_, seed)) in found.iter().zip(&seeds) {
            let place = format!("{}/{name}", target.name);
            assert!(
                found == seed,
                "{place} is out of date: cargo run --example seeds"
            );
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let names: BTreeSet<_> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    assert_eq!(names.len(), TARGETS.len(), "names are unique");
    let listed = |folder: &str| -> BTreeSet<_> {
        let files = files(&root().join(folder)).into_iter();
        files
            .map(|(name, _)| name.trim_end_matches(".rs").to_owned())
            .collect()
    };
    assert_eq!(listed("fuzz_targets"), names);
    assert_eq!(listed("corpus"), names);
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let programs = manifest["bin"].as_array().unwrap().iter();
    let programs: BTreeSet<_> = programs
        .map(|bin| bin["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(programs, names);
}
