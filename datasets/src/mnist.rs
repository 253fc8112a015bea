//! A folder in the layout of MNIST: images and labels for training and, if there, for testing.

use std::path::{Path, PathBuf};

use crate::records::{Classes, Records};
use crate::{Error, Loaded, Schema, Shape, file, idx};

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
    Ok(Loaded { train, test })
}

fn part(folder: &Path, part: &str) -> Result<Records, Error> {
    let images_path = find(folder, &format!("{part}-images-idx3-ubyte"))?;
    let labels_path = find(folder, &format!("{part}-labels-idx1-ubyte"))?;
    let (images, labels) = (file::read(&images_path)?, file::read(&labels_path)?);
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
        format!("{name}.gz"),
        format!("{dotted}.gz"),
        name.to_owned(),
        dotted,
    ]
    .into_iter()
    .rev()
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
        .map(|(row, label)| classes.index(&label.to_string(), row));
    let labels = labels.collect();
    Ok(Records {
        path,
        shape: Shape::Image {
            channels: 1,
            height: images.height,
            width: images.width,
        },
        columns: vec![],
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
