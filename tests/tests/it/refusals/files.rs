//! Files that would hold a program up, or fill its memory: pipes, devices, and what is far larger
//! than it looks.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use fl_tests::deployed::{Consortium, fl_node, fl_relay};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{NOWHERE, refused};
use crate::support::consortium::{DATA, consortium, ended};

/// Makes a pipe that nobody ever writes to, in place of any file that is there.
fn pipe(path: &Path) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

const PIPE: &str = "is no ordinary file but";

#[test]
fn a_pipe_or_a_device_in_place_of_a_file_is_refused_at_once() {
    let consortium = consortium();
    let folder = consortium.path();
    for name in ["data.csv", "some.toml", "m.safetensors", "audit.log"] {
        pipe(&folder.join(name));
    }
    let train = |data| ended(consortium.train("a", NOWHERE, data));
    train("data.csv").refused(&["data.csv", PIPE]);
    std::os::unix::fs::symlink("/dev/zero", folder.join("zero.csv")).unwrap();
    train("zero.csv").refused(&["zero.csv", PIPE]);
    refused(
        folder,
        &["train", "--config", "some.toml"],
        &["some.toml", PIPE],
    );
    let serve = ["serve", "--config", "some.toml"];
    ended(fl_relay().current_dir(folder).args(serve)).refused(&["some.toml", PIPE]);
    let evaluate = ["evaluate", "--data", DATA, "--model", "m.safetensors"];
    refused(folder, &evaluate, &["m.safetensors", PIPE]);
    let verify = |flags: &[&str], file| {
        refused(folder, &[&["verify-log"], flags].concat(), &[file, PIPE]);
    };
    verify(&["audit.log", "--kit", "consortium/a"], "audit.log");
    verify(&["no.log", "--manifest", "some.toml"], "some.toml");

    for file in [
        "epoch.key",
        "task.toml",
        "key.pem",
        "cert.pem",
        "initial.f32",
        "manifest.toml",
        "manifest.sig",
        "authority.pem",
    ] {
        let path = consortium.kit("b").join(file);
        let former = fs::read(&path).unwrap();
        pipe(&path);
        ended(consortium.train("b", NOWHERE, DATA)).refused(&[file, PIPE]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, former).unwrap();
    }
    let state = consortium.state("c");
    fs::create_dir_all(&state).unwrap();
    for file in ["lock", "state.json", "audit.log"] {
        let path = state.join(file);
        pipe(&path);
        ended(consortium.train("c", NOWHERE, DATA)).refused(&[file, PIPE]);
        fs::remove_file(&path).unwrap();
    }
}

/// Runs a command that may have so many KiB of memory at most.
fn within(kib: u64, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    limited
}

#[test]
fn a_small_file_that_decompresses_to_gigabytes_is_refused_in_little_memory() {
    let consortium = Consortium::found("a,b,c", &[]);
    let folder = consortium.path();
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    // 4 GiB.
    let zeros = gzip(&vec![0; 64 << 20]).repeat(64);
    assert!(zeros.len() < 6 << 20);
    fs::write(folder.join("bomb.csv.gz"), &zeros).unwrap();
    let provision = |data: &str| {
        let mut command = fl_node();
        command
            .current_dir(folder)
            .args(["provision", "--nodes", "a=9,b=9,c=9"]);
        command.args(["--relay", "localhost:1", "--out", "kits", "--data", data]);
        ended(within(400 << 10, &command))
    };
    provision("bomb.csv.gz").refused(&["bomb.csv.gz decompresses to more than", "the plain file"]);
    // The control: a plain file of such a size does not fit.
    let plain = fs::File::create(folder.join("plain.csv")).unwrap();
    plain.set_len(400 << 20).unwrap();
    provision("plain.csv").refused(&["cannot read plain.csv"]);

    // Images of which the header tells the truth, and images with more than it tells.
    let images = folder.join("idx");
    fs::create_dir(&images).unwrap();
    let labels = [&[0, 0, 8, 1, 0, 0, 0, 2][..], &[0, 1]].concat();
    fs::write(images.join("train-labels-idx1-ubyte"), labels).unwrap();
    for (height, reason) in [
        (1_u32 << 31, "decompresses to more than"),
        (1, "of data where its header says"),
    ] {
        let header = [0x0803, 2, height, 1_u32].map(u32::to_be_bytes).concat();
        let bytes = [&gzip(&header)[..], &zeros].concat();
        fs::write(images.join("train-images-idx3-ubyte.gz"), bytes).unwrap();
        provision("idx").refused(&["train-images-idx3-ubyte.gz", reason]);
    }
}

#[test]
fn labels_without_end_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |count: u64| -> String { (0..count).map(|row| format!("1,id-{row}\n")).collect() };
    fs::write(folder.path().join("many.csv"), rows(300_000)).unwrap();
    let provision = [
        "provision",
        "--nodes",
        "a=9,b=9,c=9",
        "--relay",
        "localhost:1",
    ];
    let provision = [&provision[..], &["--data", "many.csv", "--out", "kits"]].concat();
    let parts = [
        "many.csv, row 65537",
        "65536",
        "check which column is the label",
    ];
    refused(folder.path(), &provision, &parts);
    assert!(!folder.path().join("kits").exists());
}
