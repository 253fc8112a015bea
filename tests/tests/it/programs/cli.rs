//! The text of `--help` of every program and command. `UPDATE_SNAPSHOTS=1` writes the snapshots
//! anew.

use std::fs;
use std::path::Path;
use std::process::Command;

use fl_tests::deployed::{Process, fl_node, fl_relay};

#[test]
fn the_help_of_fl_node_is_as_it_was_agreed() {
    compare("fl-node", fl_node);
}

#[test]
fn the_help_of_fl_relay_is_as_it_was_agreed() {
    compare("fl-relay", fl_relay);
}

#[test]
fn the_help_of_bench_round_is_as_it_was_agreed() {
    let program = || Command::new(env!("CARGO_BIN_EXE_bench-round"));
    check("bench-round", &help("bench-round", program, None));
}

#[test]
fn both_programs_tell_their_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (name, program) in [
        ("fl-node", fl_node as fn() -> Command),
        ("fl-relay", fl_relay),
    ] {
        let mut command = program();
        command.arg("--version");
        let ended = Process::start(name, command).ended().succeeded();
        assert_eq!(ended.stdout, [format!("{name} {version}")]);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let mut command = fl_node();
    command.args(["simulate", "--data", "breast-cancer", "--rounds", "1"]);
    let folder = tempfile::tempdir().unwrap();
    command.current_dir(folder.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = command.stdout(writer).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() && !said.contains("panicked"),
        "{said}"
    );
}

/// Compares the help of the program, and of each command that it lists, with the snapshots.
fn compare(name: &str, program: fn() -> Command) {
    let all = help(name, program, None);
    check(name, &all);
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    // A description that goes on in the next line is indented further.
    let commands = commands.filter(|line| !line.starts_with("   "));
    let commands: Vec<_> = commands
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 1, "{all}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let found = help(name, program, Some(command));
        check(&format!("{name}-{command}"), &found);
    }
}

fn help(name: &str, program: fn() -> Command, command: Option<&str>) -> String {
    let mut process = program();
    process.env("COLUMNS", "100").args(command).arg("--help");
    let ended = Process::start(name, process).ended().succeeded();
    ended.stdout.join("\n") + "\n"
}

#[track_caller]
fn check(name: &str, found: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let path = folder.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        return fs::write(path, found).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == found,
        "the help of {name} differs from its snapshot; if that is meant, set UPDATE_SNAPSHOTS=1\n{found}"
    );
}
