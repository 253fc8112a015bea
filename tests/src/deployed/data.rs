//! Data that tests write.

use std::fs;
use std::path::{Path, PathBuf};

/// The 569 patients of the embedded set, a line each, the class last.
///
/// # Panics
///
/// If the source tree is not there.
pub fn patients() -> Vec<String> {
    let text = fs::read_to_string(embedded("breast_cancer.csv")).unwrap();
    let lines = text.lines().skip(1).map(|line| {
        let (numbers, label) = line.rsplit_once(',').unwrap();
        let class = if label == "0" { "malignant" } else { "benign" };
        format!("{numbers},{class}")
    });
    lines.collect()
}

/// A file of the embedded data.
pub fn embedded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../datasets/data")
        .join(name)
}

/// Writes lines into `folder`, and gives the file's name.
///
/// # Panics
///
/// If it cannot be written.
pub fn csv<'a>(folder: &Path, name: &str, lines: impl IntoIterator<Item = &'a String>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    fs::write(folder.join(name), text).unwrap();
    name.to_owned()
}

/// Writes a folder of IDX files: square images of two classes, bright above or below.
///
/// # Panics
///
/// If it cannot be written.
pub fn images(folder: &Path, count: u32, side: u32) {
    fs::create_dir_all(folder).unwrap();
    let header = |kind: u32, sizes: &[u32]| -> Vec<u8> {
        let numbers = std::iter::once(&kind).chain(sizes);
        numbers.flat_map(|number| number.to_be_bytes()).collect()
    };
    let mut images = header(0x803, &[count, side, side]);
    let mut labels = header(0x801, &[count]);
    for index in 0..count {
        let label = index % 2;
        labels.push(u8::from(label == 1));
        for pixel in 0..side * side {
            let below = pixel >= side * side / 2;
            let noise = ((pixel * 7 + index * 13) % 97) as u8;
            images.push(if below == (label == 1) {
                150 + noise
            } else {
                noise
            });
        }
    }
    fs::write(folder.join("train-images-idx3-ubyte"), images).unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte"), labels).unwrap();
}
