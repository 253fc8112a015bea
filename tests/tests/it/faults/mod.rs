//! Processes, networks, disks and memory that fail in the middle of a run.

mod committee;
mod full_disk;
mod memory;
mod network;
mod node;
mod record;
mod relay;

use fl_tests::deployed::{Consortium, data};
use tempfile::TempDir;

/// A consortium that trains long enough for something to happen meanwhile: a second a round, or
/// some.
fn slow(nodes: &str, flags: &[&str]) -> Consortium {
    Consortium::found(nodes, &[&["--local-epochs", "15"], flags].concat())
}

/// A consortium with a body of 10 MB, and the folder of its data.
fn large() -> (Consortium, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    data::images(folder.path(), 20, 200);
    let path = folder.path().to_str().unwrap();
    let flags = ["--data", path, "--model", "mlp", "--local-epochs", "1"];
    // Steps that keep 40,000 inputs from blowing the model up.
    let consortium = Consortium::found(
        "a=20,b=20,c=20",
        &[&flags[..], &["--learning-rate", "0.00001"]].concat(),
    );
    (consortium, folder)
}
