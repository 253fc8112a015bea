//! Where the programs under test are.
//!
//! `cargo test --workspace` builds them, since their packages have integration tests too, and puts
//! them beside the folder of this test's executable. With fewer packages selected it does not: then
//! they are built here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::SystemTime;

static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(find);

/// `fl-node` with no arguments yet.
pub fn fl_node() -> Command {
    command("fl-node")
}

/// `fl-relay` with no arguments yet.
pub fn fl_relay() -> Command {
    command("fl-relay")
}

fn command(name: &str) -> Command {
    let mut command = Command::new(PROGRAMS.join(name));
    command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    // Nothing that a test starts may remember anything where its user does.
    command.env("XDG_STATE_HOME", "/dev/null/home");
    command
}

/// The folder of the programs, built if need be.
fn find() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/PROFILE/deps/TEST
    let folder = test.ancestors().nth(2).unwrap().to_owned();
    let built = modified(&test).unwrap();
    // Tests are processes, or threads, that begin at the same time: one builds.
    let lock = fs::File::create(folder.join("fl-tests.lock")).unwrap();
    lock.lock().unwrap();
    if !["fl-node", "fl-relay"]
        .iter()
        .all(|name| is_fresh(&folder, name, built))
    {
        build(&folder);
    }
    folder
}

/// Whether the program is there, and none of its sources has changed between its build and the
/// test's.
fn is_fresh(folder: &Path, name: &str, test: SystemTime) -> bool {
    let Some(program) = modified(&folder.join(name)) else {
        return false;
    };
    // `PROGRAM: SOURCE SOURCE …`, written by cargo.
    let Ok(sources) = fs::read_to_string(folder.join(name).with_extension("d")) else {
        return true;
    };
    let sources = sources.split_whitespace().skip(1);
    !sources
        .filter_map(|source| modified(Path::new(source)))
        .any(|source| program < source && source < test)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn build(folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--workspace", "--bins", "--profile", profile])
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "the programs under test cannot be built; try `cargo build --profile {profile}`"
    );
}
