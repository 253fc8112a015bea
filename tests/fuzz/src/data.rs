//! Data sets as sites have them: CSV and IDX, compressed or not, Parquet, safetensors and pictures.

use std::fs;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use fl_datasets::{Dataset, LoadOptions, Loaded, Source, load};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::{Seed, memory};

/// Bits of the first byte: the file is compressed, and names its label column.
const GZIP: u8 = 1;
const LABEL: u8 = 2;

/// CSV files. The first byte says how they are read.
pub(crate) fn csv(data: &[u8]) {
    let Some((how, text)) = data.split_first() else {
        return;
    };
    let options = LoadOptions {
        label: (how & LABEL != 0).then(|| "label".to_owned()),
        ..LoadOptions::default()
    };
    FOLDER.with(|folder| {
        let path = folder.path().join("data.csv");
        write(&path, how & GZIP != 0, text);
        loads(path, options, text);
    });
}

/// A folder of images and labels. The first byte says how it is written, the next two where the
/// labels begin.
pub(crate) fn idx(data: &[u8]) {
    let Some(([how, at @ ..], files)) = data.split_first_chunk::<3>() else {
        return;
    };
    let at = usize::from(u16::from_le_bytes(*at)).min(files.len());
    let (images, labels) = files.split_at(at);
    FOLDER.with(|folder| {
        for part in ["train", "t10k"] {
            let path = |kind: &str| folder.path().join(format!("{part}-{kind}-ubyte"));
            write(&path("images-idx3"), how & GZIP != 0, images);
            write(&path("labels-idx1"), how & GZIP != 0, labels);
        }
        loads(folder.path().to_owned(), LoadOptions::default(), files);
    });
}

/// Pictures in the folders of two classes, the same ones in both.
pub(crate) fn pictures(data: &[u8]) {
    PICTURES.with(|folder| {
        for class in ["a", "b"] {
            let folder = folder.path().join(class);
            fs::create_dir_all(&folder).expect("a folder of our own");
            write(&folder.join("picture.png"), false, data);
        }
        // What a picture decompresses to is bounded by its header, and by a limit.
        let _peak = loaded(folder.path().to_owned(), LoadOptions::default());
    });
}

/// Arrays in a file of safetensors.
pub(crate) fn safetensors(data: &[u8]) {
    FOLDER.with(|folder| {
        let path = folder.path().join("arrays.safetensors");
        write(&path, false, data);
        loads(path, LoadOptions::default(), data);
    });
}

/// A table in a file of Parquet.
pub(crate) fn parquet(data: &[u8]) {
    FOLDER.with(|folder| {
        let path = folder.path().join("rows.parquet");
        write(&path, false, data);
        let peak = quietly(|| loaded(path, LoadOptions::default()));
        // What a small file may decompress to or be a row of: 64 MiB each, and half as much again
        // while a vector grows.
        let most = (256 << 20) + 1024 * data.len();
        assert!(peak <= most, "{peak} bytes of memory");
    });
}

/// Calls `work`, in which libFuzzer takes no notice of panics: it would end the program before the
/// loader catches those of the reader. What is not caught goes on behind it.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    if !cfg!(feature = "libfuzzer") {
        return work();
    }
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    result.unwrap_or_else(|payload| {
        let said = payload.downcast_ref::<String>().map_or("", String::as_str);
        panic!("the loader panics: {said}")
    })
}

thread_local! {
    static PICTURES: TempDir = tempfile::tempdir().expect("a temporary folder");
    static FOLDER: TempDir = tempfile::tempdir().expect("a temporary folder");
}

fn write(path: &Path, gzip: bool, contents: &[u8]) {
    let written = match gzip {
        true => fs::write(path, compressed(contents)),
        false => fs::write(path, contents),
    };
    written.expect("a folder of our own");
}

fn compressed(contents: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(contents).expect("a vector takes it");
    encoder.finish().expect("a vector takes it")
}

/// What is loaded is sound, fits its own schema, and takes no more memory than its `contents`
/// warrant.
fn loads(path: PathBuf, options: LoadOptions, contents: &[u8]) {
    let peak = loaded(path, options);
    // What is compressed already may be larger than it looks.
    if !contents.starts_with(&[0x1f, 0x8b]) {
        let most = (1 << 20) + 256 * contents.len();
        assert!(peak <= most, "{peak} bytes of memory");
    }
}

/// Returns the memory that it took to load. What is loaded is sound, and fits its own schema.
fn loaded(path: PathBuf, options: LoadOptions) -> usize {
    let source = Source::Path(path);
    let (loaded, peak) = memory::peak(|| load(&source, &options));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            drop(error.to_string());
            return peak;
        }
    };
    assert_is_sound(&loaded.train);
    loaded.test.iter().for_each(assert_is_sound);
    let options = LoadOptions {
        schema: Some(loaded.train.schema().clone()),
        ..options
    };
    let again: Loaded = load(&source, &options).expect("data fits the schema that it led to");
    let data = |loaded: Loaded| (bits(&loaded.train), loaded.test.as_ref().map(bits));
    assert!(data(again) == data(loaded), "other data than before");
    peak
}

/// What is told apart even where a value is missing.
fn bits(data: &Dataset) -> (Vec<u32>, Vec<u32>) {
    let features = data.features().iter().map(|feature| feature.to_bits());
    (features.collect(), data.labels().to_vec())
}

fn assert_is_sound(data: &Dataset) {
    let schema = data.schema();
    assert!(!data.is_empty());
    assert_eq!(data.features().len(), data.len() * schema.shape().size());
    assert!(!data.features().iter().any(|feature| feature.is_infinite()));
    let classes = schema.classes().len();
    assert!(
        data.labels()
            .iter()
            .all(|label| (*label as usize) < classes)
    );
}

pub(crate) fn csvs() -> Vec<Seed> {
    let plain = "5.1, 3.5,setosa\n4.9,-3e2,virginica\r\n\n6,1.5,setosa\n";
    let header = "label,age,\"dose, mg\"\nyes,61,0.5\nno,47,2\n";
    let seed = |name: &str, how: u8, text: &[u8]| (name.to_owned(), [&[how], text].concat());
    vec![
        seed("plain", 0, plain.as_bytes()),
        seed("header", LABEL, header.as_bytes()),
        seed("numbers", GZIP, b"0.5,10\n0.25,9\n1,-1\n"),
        seed("compressed", 0, &compressed(plain.as_bytes())),
    ]
}

pub(crate) fn idxs() -> Vec<Seed> {
    let images = [
        &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2][..],
        &[0, 51, 255, 102],
    ]
    .concat();
    let labels = [0, 0, 8, 1, 0, 0, 0, 2, 2, 0];
    let seed = |how: u8, images: &[u8]| {
        let [low, high, ..] = images.len().to_le_bytes();
        [&[how, low, high], images, &labels].concat()
    };
    vec![
        ("plain".to_owned(), seed(0, &images)),
        ("gzip".to_owned(), seed(GZIP, &images)),
        ("compressed".to_owned(), seed(0, &compressed(&images))),
    ]
}

/// Two grey pixels, and two in colour of 16 bits.
const GREY: &[u8] =
    b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x02\x00\
    \x00\x00\x01\x08\x00\x00\x00\x00\xd1\x49\x20\x56\x00\x00\x00\x0b\x49\x44\x41\x54\x78\
    \x9c\x63\x30\xfe\x0f\x00\x01\x68\x01\x33\x8e\xd8\x55\x74\x00\x00\x00\x00\x49\x45\x4e\
    \x44\xae\x42\x60\x82";
const COLOUR: &[u8] =
    b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\
    \x00\x00\x02\x10\x02\x00\x00\x00\x46\x73\xfd\x33\x00\x00\x00\x16\x49\x44\x41\x54\x78\
    \x9c\x63\x60\x60\x64\x62\x66\x61\x65\x60\x63\xe7\xe0\xe4\xe2\x06\x00\x01\x3b\x00\x43\
    \xc2\x5d\xd5\x4b\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";
const JPEG: &[u8] = include_bytes!("../../../datasets/src/pictures/samples/grey.jpg");

pub(crate) fn picture_seeds() -> Vec<Seed> {
    [("grey", GREY), ("colour", COLOUR), ("jpeg", JPEG)]
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .into()
}

pub(crate) fn safetensor_seeds() -> Vec<Seed> {
    let file = |features: &str, bytes: &[u8]| {
        let end = bytes.len();
        let header = format!(
            r#"{{"features":{features},"labels":{{"dtype":"U8","shape":[2],"data_offsets":[{},{end}]}}}}"#,
            end - 2
        );
        let length = (header.len() as u64).to_le_bytes();
        [&length, header.as_bytes(), bytes].concat()
    };
    let table = r#"{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}"#;
    let pixels = r#"{"dtype":"U8","shape":[2,1,2],"data_offsets":[0,4]}"#;
    vec![
        (
            "table".to_owned(),
            file(table, &[0, 0, 128, 63, 0, 0, 0, 64, 0, 1]),
        ),
        ("pixels".to_owned(), file(pixels, &[0, 51, 255, 102, 1, 0])),
    ]
}

/// What pyarrow writes: compressed in several ways, and with a picture.
pub(crate) fn parquet_seeds() -> Vec<Seed> {
    macro_rules! sample {
        ($name:literal) => {
            (
                $name.to_owned(),
                include_bytes!(concat!(
                    "../../../datasets/src/parquet/reader/samples/",
                    $name,
                    ".parquet"
                ))
                .to_vec(),
            )
        };
    }
    vec![
        sample!("plain"),
        sample!("gzip"),
        sample!("snappy"),
        sample!("zstd"),
        sample!("pictures"),
    ]
}
