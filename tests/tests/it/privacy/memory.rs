//! What is in a program's memory is its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fl_tests::deployed::{Process, files_under};

use crate::support::consortium::{DATA, consortium};

/// A user that is not root: `nobody` on most systems. The system shows root as the owner of what a
/// process keeps from others, so as root the programs have to run as somebody else.
const NOBODY: u32 = 65_534;

/// Runs a copy of the program in `folder`, which whoever runs it must be able to read.
fn as_somebody_else(command: &Command, folder: &Path) -> Command {
    let program = PathBuf::from(command.get_program());
    let copy = folder.join(program.file_name().unwrap());
    fs::copy(&program, &copy).unwrap();
    let mut other = Command::new(copy);
    other.args(command.get_args()).current_dir(folder);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    if rustix::process::getuid().is_root() {
        other.uid(NOBODY).gid(NOBODY);
    }
    other
}

/// Makes all of a folder belong to whom [`as_somebody_else`] runs programs as.
fn give_away(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    if rustix::process::getuid().is_root() {
        let files = files_under(folder);
        let folders = files.iter().flat_map(|path| path.ancestors());
        let inside = folders.filter(|path| path.starts_with(folder));
        for path in inside.chain([folder]) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

/// The line of a file below `/proc` that begins so.
fn line(process: &Process, file: &str, begin: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/{file}", process.id())).unwrap();
    let mut lines = text.lines();
    lines
        .find(|line| line.starts_with(begin))
        .unwrap()
        .to_owned()
}

/// Who owns the view of its memory.
fn owner(process: &Process) -> u32 {
    let memory = format!("/proc/{}/mem", process.id());
    fs::metadata(memory).unwrap().uid()
}

fn core_limits(process: &Process) -> Vec<String> {
    let line = line(process, "limits", "Max core file size");
    let limits = line["Max core file size".len()..].split_whitespace();
    limits.take(2).map(str::to_owned).collect()
}

#[test]
fn the_programs_memory_is_in_no_core_dump_and_not_for_other_processes() {
    let consortium = consortium();
    let folder = consortium.path();
    give_away(folder);
    let serve = consortium.serve(&["--listen", "127.0.0.1:0"]);
    let relay = Process::start("relay", as_somebody_else(&serve, folder));
    relay.line(" rounds on ");
    // Nobody is there.
    let train = consortium.train("a", "127.0.0.1:9".parse().unwrap(), DATA);
    let node = Process::start("a", as_somebody_else(&train, folder));
    node.line("no connection to the relay");
    for process in [&relay, &node] {
        assert_eq!(owner(process), 0);
        assert_eq!(core_limits(process), ["0", "0"]);
        let lockable = line(process, "limits", "Max locked memory");
        let locked = line(process, "status", "VmLck");
        let may_lock = lockable.split_whitespace().nth(3) != Some("0");
        let has_locked = locked.split_whitespace().nth(1) != Some("0");
        assert_eq!(has_locked, may_lock, "{lockable}, {locked}");
    }

    // The control: any other program is not so.
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    if rustix::process::getuid().is_root() {
        sleep.uid(NOBODY).gid(NOBODY);
    }
    let sleep = Process::start("sleep", sleep);
    let user = fs::metadata(format!("/proc/{}", sleep.id())).unwrap().uid();
    assert_ne!(user, 0);
    assert_eq!(owner(&sleep), user);
}
