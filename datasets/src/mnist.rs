//! A folder in the layout of MNIST: images and labels for training and, if there, for testing.

use std::path::{Path, PathBuf};

use crate::file::DataFile;
use crate::records::{Classes, Records};
use crate::{Error, Loaded, Schema, Shape, idx};

/// Loads the folder, against `schema` or the one that fits its own data.
///
/// Files are named `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and with `t10k` for
/// `train` in the test set; a dot may stand before `idx`, and `.gz` at the end. Pixels are divided
/// by 255. Classes are the numbers from 0 to the largest label.
pub(crate) fn load(folder: &Path, schema: Option<&Schema>) -> Result<Loaded, Error> {
    let train = part(folder, "train")?;
    let tested = ["images-idx3", "labels-idx1"]
        .iter()
        .any(|kind| find(folder, &format!("t10k-{kind}-ubyte")).is_ok());
    let test = if tested {
        Some(part(folder, "t10k")?)
    } else {
        None
    };

    let schema = match schema {
        Some(schema) => schema.clone(),
        None => discover(&train, test.as_ref())?,
    };
    let train = train.conform(&schema)?;
    let test = test.map(|test| test.conform(&schema)).transpose()?;
    Ok(Loaded {
        train,
        test,
        notices: Vec::new(),
    })
}

fn part(folder: &Path, part: &str) -> Result<Records, Error> {
    let images_path = find(folder, &format!("{part}-images-idx3-ubyte"))?;
    let labels_path = find(folder, &format!("{part}-labels-idx1-ubyte"))?;
    let mut images = DataFile::open(&images_path)?;
    let most = idx::images_length(&images_path, &images.beginning(idx::MAX_HEADER)?)?;
    let images = images.read(most)?;
    let mut labels = DataFile::open(&labels_path)?;
    let most = idx::labels_length(&labels_path, &labels.beginning(idx::MAX_HEADER)?)?;
    let labels = labels.read(most)?;
    let (images, labels) = (
        idx::images(&images_path, &images)?,
        idx::labels(&labels_path, &labels)?,
    );
    records(images_path, &images, labels)
}

/// The file called `name`, or as other copies of the data spell it.
fn find(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let dotted = name.replace("-idx", ".idx");
    [
        name,
        &dotted,
        &format!("{name}.gz"),
        &format!("{dotted}.gz"),
    ]
    .into_iter()
    .map(|name| folder.join(name))
    .find(|path| path.is_file())
    .ok_or_else(|| Error::IdxMissing {
        folder: folder.into(),
        name: name.to_owned(),
    })
}

fn records(path: PathBuf, images: &idx::Images<'_>, labels: &[u8]) -> Result<Records, Error> {
    if images.count != labels.len() {
        return Err(Error::IdxCounts {
            path,
            images: images.count,
            labels: labels.len(),
        });
    }
    if labels.is_empty() {
        return Err(Error::Empty { path });
    }
    let mut classes = Classes::default();
    let labels = (1..)
        .zip(labels)
        .map(|(row, label)| classes.index(&path, &label.to_string(), row));
    let labels = labels.collect::<Result<_, _>>()?;
    Ok(Records {
        path,
        shape: Shape::Image {
            channels: 1,
            height: images.height,
            width: images.width,
        },
        features: images
            .pixels
            .iter()
            .map(|&pixel| f32::from(pixel) / 255.0)
            .collect(),
        classes: classes.into_vec(),
        labels,
    })
}

/// The schema of classes from 0 to the largest label of either part.
fn discover(train: &Records, test: Option<&Records>) -> Result<Schema, Error> {
    let classes = || {
        train
            .classes
            .iter()
            .chain(test.iter().flat_map(|test| &test.classes))
    };
    let largest = classes()
        .filter_map(|class| class.name.parse::<u8>().ok())
        .max();
    match largest {
        None | Some(0) => Err(Error::OneClass {
            path: train.path.clone(),
            class: "0".to_owned(),
        }),
        Some(largest) => {
            let classes = (0..=largest).map(|class| class.to_string()).collect();
            Schema::new(train.shape, vec![], classes)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

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
        assert_eq!(train.schema().classes(), ["0", "1", "2", "3"]);
        assert_eq!(train.features(), [0.0, 0.2, 1.0, 0.4]);
        assert_eq!((train.labels(), test.labels()), (&[2, 0][..], &[3, 2][..]));
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
