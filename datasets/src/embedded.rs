//! The two data sets that are part of the crate; `data/README.md` says where they are from.

use std::path::Path;

use crate::file::DataFile;
use crate::records::{Classes, Records};
use crate::{Error, Shape};

const DIGITS: &[u8] = include_bytes!("../data/digits.csv.gz");
const BREAST_CANCER: &str = include_str!("../data/breast_cancer.csv");

/// 1,797 digits of 8×8 pixels, from 0 (paper) to 1 (ink); the file has sixteenths.
pub(crate) fn digits() -> Result<Records, Error> {
    let path = Path::new("digits");
    let text = DataFile::of_bytes(path, DIGITS)?.read(u64::MAX)?;
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    let mut classes = Classes::default();
    for (row, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = str::from_utf8(line).unwrap_or_default();
        if let Some((pixels, digit)) = line.rsplit_once(',') {
            features.extend(pixels.split(',').filter_map(|ink| ink.parse::<f32>().ok()));
            labels.push(classes.index(path, digit.trim(), row)?);
        }
    }
    features.iter_mut().for_each(|ink| *ink /= 16.0);
    Ok(Records {
        path: path.into(),
        shape: Shape::Image {
            channels: 1,
            height: 8,
            width: 8,
        },
        features,
        classes: classes.into_vec(),
        labels,
    })
}

/// The text of a table of 569 patients with 30 measurements each, `malignant` or `benign`.
///
/// The first line of the file is not a header but its size and the names of labels 0 and 1.
pub(crate) fn breast_cancer() -> String {
    let statistics = ["mean", "standard error of", "worst"];
    let names = statistics.map(|s| MEASUREMENTS.map(|m| format!("{s} {m},")).concat());
    let mut text = format!("{}diagnosis\n", names.concat());
    for line in BREAST_CANCER.lines().skip(1) {
        let (measurements, label) = line.rsplit_once(',').unwrap_or((line, ""));
        let diagnosis = match label {
            "0" => "malignant",
            _ => "benign",
        };
        text.extend([measurements, ",", diagnosis, "\n"]);
    }
    text
}

/// What is measured on the cell nuclei in an image, each as three statistics over the nuclei.
const MEASUREMENTS: [&str; 10] = [
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadOptions, Source, load};

    #[test]
    fn digits_are_images_of_ten_classes() {
        let records = digits().unwrap();
        let schema = records.schema().unwrap();
        assert_eq!(
            schema.shape(),
            Shape::Image {
                channels: 1,
                height: 8,
                width: 8
            }
        );
        assert_eq!(
            schema.classes(),
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
        );
        let data = records.conform(&schema).unwrap();
        assert_eq!(data.len(), 1797);
        assert_eq!(data.row(0)[..4], [0.0, 0.0, 5.0 / 16.0, 13.0 / 16.0]);
        assert_eq!(data.labels()[..3], [0, 1, 2]);
        assert_eq!(data.features().iter().copied().fold(0.0, f32::max), 1.0);
    }

    #[test]
    fn breast_cancer_has_named_columns_and_classes() {
        let loaded = load(&Source::BreastCancer, &LoadOptions::default()).unwrap();
        let data = loaded.train;
        let schema = data.schema();
        assert_eq!(schema.shape(), Shape::Table { columns: 30 });
        assert_eq!(schema.classes(), ["benign", "malignant"]);
        assert_eq!(schema.label(), Some("diagnosis"));
        assert_eq!(schema.columns()[0].name(), "mean radius");
        assert_eq!(schema.columns()[13].name(), "standard error of area");
        assert_eq!(schema.columns()[29].name(), "worst fractal dimension");
        assert_eq!(loaded.notices, []);
        assert_eq!(data.len(), 569);
        assert_eq!((data.row(0)[0], data.row(0)[13]), (17.99, 153.4));
        assert_eq!(
            data.labels().iter().filter(|&&label| label == 1).count(),
            212
        );
    }
}
