//! A folder in the layout of MNIST: images and labels for training and, if there, for testing.

use std::path::{Path, PathBuf};

use crate::arrays::{self, ArrayError};
use crate::file::DataFile;
use crate::idx::{self, Content};
use crate::records::Records;
use crate::{Error, Loaded, Schema, parts};

/// The ends of names by the type of the numbers. What a file says of itself decides; `ubyte` is
/// found on files of every type.
const TYPES: [&str; 6] = ["ubyte", "byte", "short", "int", "float", "double"];

/// Returns whether the folder has a file that such a folder has.
pub(crate) fn is_in(folder: &Path) -> bool {
    let contents = [Content::Images, Content::Labels];
    let mut parts = ["train", "t10k"]
        .iter()
        .flat_map(|part| contents.map(|what| (part, what)));
    parts.any(|(part, content)| !found(folder, part, content).is_empty())
}

/// Loads the folder, against `schema` or the one that fits its own data.
///
/// Files are named `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and with `t10k` for
/// `train` in the test set; a dot may stand before `idx`, and `.gz` at the end. Pictures of four
/// dimensions have `idx4`, and other types than unsigned bytes may have their names instead of
/// `ubyte`. Classes are the labels that occur.
pub(crate) fn load(folder: &Path, schema: Option<&Schema>) -> Result<Loaded, Error> {
    let train = part(folder, "train")?;
    let tested = [Content::Images, Content::Labels]
        .iter()
        .any(|&content| !found(folder, "t10k", content).is_empty());
    let test = if tested {
        Some(part(folder, "t10k")?)
    } else {
        None
    };
    parts::loaded(train, test, schema)
}

fn part(folder: &Path, part: &str) -> Result<Records, Error> {
    let images_path = find(folder, part, Content::Images)?;
    let labels_path = find(folder, part, Content::Labels)?;
    let images = read(&images_path, Content::Images)?;
    let labels = read(&labels_path, Content::Labels)?;
    let images = idx::array(&images_path, &images, Content::Images)?;
    let labels = idx::array(&labels_path, &labels, Content::Labels)?;
    let (shape, channels) = images.pictures(&images_path)?;
    if images.count() != labels.count() {
        return Err(Error::IdxCounts {
            path: images_path,
            images: images.count(),
            labels: labels.count(),
        });
    }
    let labels = labels.labels(&labels_path)?;
    let pixels = images.pixels(&images_path, shape, channels)?;
    arrays::records(&images_path, shape, pixels, &labels)
}

/// The bytes of the file, or one more than its header says.
fn read(path: &Path, content: Content) -> Result<Vec<u8>, Error> {
    let mut file = DataFile::open(path)?;
    let most = idx::length(path, &file.beginning(idx::MAX_HEADER)?, content)?;
    file.read(most)
}

/// The one file of this part and content.
fn find(folder: &Path, part: &str, content: Content) -> Result<PathBuf, Error> {
    let mut found = found(folder, part, content).into_iter();
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        (Some(first), Some(second)) => {
            let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
            let (first, second) = (name(&first), name(&second));
            Err(ArrayError::Twice {
                folder: folder.into(),
                first,
                second,
            }
            .into())
        }
        (None, _) => Err(Error::IdxMissing {
            folder: folder.into(),
            name: match content {
                Content::Images => format!("{part}-images-idx3-ubyte"),
                Content::Labels => format!("{part}-labels-idx1-ubyte"),
            },
        }),
    }
}

/// The files of this part and content. Copies of one file, as others spell its name, are one.
fn found(folder: &Path, part: &str, content: Content) -> Vec<PathBuf> {
    let kinds = match content {
        Content::Images => &["images-idx3", "images-idx4"][..],
        Content::Labels => &["labels-idx1"],
    };
    let names = kinds.iter().flat_map(|kind| {
        TYPES.map(|number| {
            let name = format!("{part}-{kind}-{number}");
            let dotted = name.replace("-idx", ".idx");
            let compressed = [format!("{name}.gz"), format!("{dotted}.gz")];
            [name, dotted].into_iter().chain(compressed)
        })
    });
    names
        .filter_map(|mut names| {
            names.find_map(|name| Some(folder.join(name)).filter(|path| path.is_file()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::Shape;

    /// Two images of 1×2 with the given labels.
    fn write(folder: &Path, part: &str, labels: [u8; 2]) {
        let images = [
            &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2][..],
            &[0, 51, 255, 102],
        ];
        fs::write(
            folder.join(format!("{part}-images-idx3-ubyte")),
            images.concat(),
        )
        .unwrap();
        let labels = [&[0, 0, 8, 1, 0, 0, 0, 2][..], &labels];
        fs::write(
            folder.join(format!("{part}-labels-idx1-ubyte")),
            labels.concat(),
        )
        .unwrap();
    }

    #[test]
    fn the_test_set_is_kept_and_counts_for_the_classes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train", [2, 0]);
        write(folder.path(), "t10k", [3, 2]);
        let Loaded { train, test, .. } = load(folder.path(), None).unwrap();
        let test = test.unwrap();
        assert_eq!(train.schema(), test.schema());
        let shape = Shape::Image {
            channels: 1,
            height: 1,
            width: 2,
        };
        assert_eq!(train.schema().shape(), shape);
        assert_eq!(train.schema().classes(), ["0", "2", "3"]);
        assert_eq!(train.features(), [0.0, 0.2, 1.0, 0.4]);
        assert_eq!((train.labels(), test.labels()), (&[1, 0][..], &[2, 1][..]));
    }

    #[test]
    fn other_names_and_no_test_set_do_as_well() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train", [1, 0]);
        let at = |name: &str| folder.path().join(name);
        fs::rename(at("train-images-idx3-ubyte"), at("train-images.idx3-ubyte")).unwrap();
        let labels = fs::read(at("train-labels-idx1-ubyte")).unwrap();
        fs::remove_file(at("train-labels-idx1-ubyte")).unwrap();
        let compressed = fs::File::create(at("train-labels-idx1-ubyte.gz")).unwrap();
        let mut encoder = GzEncoder::new(compressed, Compression::default());
        encoder.write_all(&labels).unwrap();
        encoder.finish().unwrap();

        let loaded = load(folder.path(), None).unwrap();
        assert_eq!(loaded.train.labels(), [1, 0]);
        assert_eq!(loaded.test, None);
    }

    #[test]
    fn a_schema_decides_what_labels_stand_for() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train", [2, 0]);
        let shape = Shape::Image {
            channels: 1,
            height: 1,
            width: 2,
        };
        let schema = |classes: &[&str]| {
            Schema::new(
                shape,
                vec![],
                classes.iter().map(ToString::to_string).collect(),
            )
            .unwrap()
        };
        let loaded = load(folder.path(), Some(&schema(&["2", "1", "0"]))).unwrap();
        assert_eq!(loaded.train.labels(), [0, 2]);
        assert!(matches!(
            load(folder.path(), Some(&schema(&["1", "2"]))),
            Err(Error::UnknownLabel { row: 2, .. })
        ));
    }

    #[test]
    fn missing_and_unequal_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            load(folder.path(), None),
            Err(Error::IdxMissing { name, .. }) if name == "train-images-idx3-ubyte"
        ));
        write(folder.path(), "train", [0, 1]);
        write(folder.path(), "t10k", [0, 1]);
        let labels = folder.path().join("t10k-labels-idx1-ubyte");
        fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 1, 0]).unwrap();
        assert!(matches!(
            load(folder.path(), None),
            Err(Error::IdxCounts {
                images: 2,
                labels: 1,
                ..
            })
        ));
        fs::remove_file(&labels).unwrap();
        assert!(matches!(
            load(folder.path(), None),
            Err(Error::IdxMissing { name, .. }) if name == "t10k-labels-idx1-ubyte"
        ));
    }

    #[test]
    fn only_zeros_are_one_class() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train", [0, 0]);
        assert!(matches!(
            load(folder.path(), None),
            Err(Error::OneClass { .. })
        ));
    }

    /// A folder of three pictures of 12 numbers each.
    fn folder(name: &str, magic: [u8; 4], dimensions: [u32; 4], data: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let dimensions = dimensions.map(u32::to_be_bytes);
        let dimensions = &dimensions.concat()[..4 * usize::from(magic[3])];
        fs::write(
            folder.path().join(name),
            [&magic, dimensions, data].concat(),
        )
        .unwrap();
        let labels = [0, 0, 0x0b, 1, 0, 0, 0, 3, 0, 5, 0xff, 0xff, 0, 5];
        fs::write(folder.path().join("train-labels-idx1-short"), labels).unwrap();
        folder
    }

    #[test]
    fn colour_with_the_channels_at_either_end_is_read() {
        let data: Vec<u8> = (0..36).collect();
        let name = "train-images-idx4-ubyte";
        let first = folder(name, [0, 0, 8, 4], [3, 3, 2, 2], &data);
        let last = folder(name, [0, 0, 8, 4], [3, 2, 2, 3], &data);
        let first = load(first.path(), None).unwrap().train;
        let shape = Shape::Image {
            channels: 3,
            height: 2,
            width: 2,
        };
        assert_eq!(first.schema().shape(), shape);
        assert_eq!(first.schema().classes(), ["-1", "5"]);
        assert_eq!(first.labels(), [1, 0, 1]);
        assert_eq!(first.row(0)[..2], [0.0, 1.0 / 255.0]);
        let last = load(last.path(), None).unwrap().train;
        assert_eq!(last.schema(), first.schema());
        assert_eq!(last.row(0)[..2], [0.0, 3.0 / 255.0]);
    }

    #[test]
    fn sixteen_bits_are_read_whatever_the_name_says() {
        let data: Vec<u8> = [i16::MIN, i16::MAX]
            .map(i16::to_be_bytes)
            .concat()
            .repeat(18);
        for name in ["train-images-idx3-ubyte", "train-images.idx3-short"] {
            let folder = folder(name, [0, 0, 0x0b, 3], [3, 3, 4, 0], &data);
            let train = load(folder.path(), None).unwrap().train;
            assert_eq!(train.row(2)[..2], [0.0, 1.0]);
        }
    }

    #[test]
    fn two_files_for_one_are_an_error() {
        let data = [0; 36];
        let folder = folder("train-images-idx4-ubyte", [0, 0, 8, 4], [3, 3, 2, 2], &data);
        fs::write(folder.path().join("train-images.idx3-short"), data).unwrap();
        let error = load(folder.path(), None).unwrap_err().to_string();
        assert!(
            error.contains("train-images.idx3-short as well as train-images-idx4-ubyte"),
            "{error}"
        );
    }

    #[test]
    #[ignore = "needs the files that scripts/fetch-mnist.sh fetches"]
    fn reads_the_real_files() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mnist");
        let Loaded { train, test, .. } = load(&folder, None).unwrap();
        assert_eq!((train.len(), test.unwrap().len()), (60_000, 10_000));
        let shape = Shape::Image {
            channels: 1,
            height: 28,
            width: 28,
        };
        assert_eq!(train.schema().shape(), shape);
        assert_eq!(train.schema().classes().len(), 10);
        assert_eq!(
            train.labels().iter().filter(|&&label| label == 0).count(),
            5923
        );
        let sum: f64 = train.features().iter().map(|&pixel| f64::from(pixel)).sum();
        let mean = sum / train.features().len() as f64;
        assert!((mean - 0.1307).abs() < 1e-4, "{mean}");
    }
}
