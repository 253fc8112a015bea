//! Federations of real processes on loopback, each test in a folder of its own.
//!
//! Nothing waits for the clock where something can be observed: a line of a log, a file, the end of
//! a process.

mod consortium;
pub mod data;
mod disk;
mod process;
mod program;
mod proxy;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use consortium::{ANY, Consortium, own_address, relay_address};
pub use disk::SmallDisk;
pub use process::{Ended, Process, Signal};
pub use program::{fl_node, fl_relay};
pub use proxy::{Gate, Proxy};

/// How long anything may take. Machines that run tests are slow at times.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds, which nothing announces: the state of a file, for instance.
///
/// # Panics
///
/// After [`PATIENCE`], naming `what` was waited for.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "after {PATIENCE:?} still no {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All files in a folder and in those below it.
///
/// # Panics
///
/// If one cannot be listed.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_under(&path)),
            false => files.push(path),
        }
    }
    files
}
