//! Files as others write them, and files that lie.

use std::fs;

use proptest::prelude::*;
use safetensors::tensor::TensorView;

use super::*;
use crate::{LoadOptions, Source};

const PATH: &str = "data.safetensors";

fn f32s(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// A file of these tensors: name, type, dimensions, data.
fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, dimensions, data)| {
        (
            *name,
            TensorView::new(*dtype, dimensions.to_vec(), data).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

fn error(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> ArrayError {
    match read(Path::new(PATH), &file(tensors)) {
        Err(Error::Array(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A file that consists of this header, and of so many bytes of data.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn pictures_and_their_test_set_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scans.SafeTensors");
    let bytes = file(&[
        ("features", Dtype::U8, &[2, 3, 1, 2], vec![255; 12]),
        (
            "labels",
            Dtype::I64,
            &[2],
            [4_i64, 2].map(i64::to_le_bytes).concat(),
        ),
        (
            "test_features",
            Dtype::U8,
            &[1, 3, 1, 2],
            vec![0, 51, 0, 0, 0, 255],
        ),
        ("test_labels", Dtype::U8, &[1], vec![9]),
    ]);
    fs::write(&path, bytes).unwrap();
    let loaded = crate::load(&Source::Path(path.clone()), &LoadOptions::default()).unwrap();
    let shape = Shape::Image {
        channels: 3,
        height: 1,
        width: 2,
    };
    assert_eq!(loaded.train.schema().shape(), shape);
    assert_eq!(loaded.train.schema().classes(), ["2", "4", "9"]);
    assert_eq!(loaded.train.labels(), [1, 0]);
    assert_eq!(loaded.train.features(), [1.0; 12]);
    let test = loaded.test.clone().unwrap();
    assert_eq!(test.features(), [0.0, 0.2, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(test.labels(), [2]);

    let options = LoadOptions {
        schema: Some(loaded.train.schema().clone()),
        ..LoadOptions::default()
    };
    assert_eq!(
        crate::load(&Source::Path(path.clone()), &options).unwrap(),
        loaded
    );
    let options = LoadOptions {
        label: Some("ill".to_owned()),
        ..LoadOptions::default()
    };
    let label = crate::load(&Source::Path(path), &options);
    assert!(matches!(label, Err(Error::TableOption { .. })));
}

#[test]
fn columns_stay_as_they_are_and_must_be_finite() {
    let labels = ("labels", Dtype::U8, &[2][..], vec![0, 1]);
    let integers = [-5_i16, 700, 0, 1].map(i16::to_le_bytes).concat();
    for (dtype, data, first) in [
        (Dtype::I16, integers, -5.0),
        (
            Dtype::F16,
            [0xc500_u16, 0, 0, 0].map(u16::to_le_bytes).concat(),
            -5.0,
        ),
        (
            Dtype::F64,
            [1e30_f64, 0.0, 0.0, 0.0].map(f64::to_le_bytes).concat(),
            1e30,
        ),
    ] {
        let bytes = file(&[("features", dtype, &[2, 2], data), labels.clone()]);
        let (train, test) = read(Path::new(PATH), &bytes).unwrap();
        assert_eq!(train.shape, Shape::Table { columns: 2 });
        assert_eq!(train.features[0], first);
        assert!(test.is_none());
    }
    for (dtype, data) in [
        (Dtype::F32, f32s(&[0.0, 1.0, 2.0, f32::NAN])),
        (Dtype::F32, f32s(&[0.0, 1.0, 2.0, f32::INFINITY])),
        (
            Dtype::F64,
            [0.0, 1.0, 2.0, 1e39].map(f64::to_le_bytes).concat(),
        ),
    ] {
        let found = error(&[("features", dtype, &[2, 2], data), labels.clone()]);
        assert!(matches!(
            found,
            ArrayError::NotFinite {
                row: 2,
                feature: 2,
                ..
            }
        ));
    }
}

#[test]
fn floats_of_pictures_must_be_intensities() {
    let features = (
        "features",
        Dtype::F32,
        &[2, 1, 2][..],
        f32s(&[0.0, 1.0, 0.5, f32::NAN]),
    );
    let bytes = file(&[features, ("labels", Dtype::U8, &[2], vec![0, 1])]);
    assert!(matches!(
        read(Path::new(PATH), &bytes),
        Err(Error::Intensity {
            example: 2,
            pixel: 2,
            ..
        })
    ));
}

#[test]
fn what_is_no_features_with_labels_is_an_error() {
    let features = ("features", Dtype::U8, &[2, 1][..], vec![0, 1]);
    let labels = ("labels", Dtype::U8, &[2][..], vec![0, 1]);
    let found = error(&[("x", Dtype::U8, &[2, 1], vec![0, 1]), labels.clone()]);
    assert!(matches!(found, ArrayError::Unknown { names, .. } if names == "x"));
    let found = error(std::slice::from_ref(&labels));
    assert!(matches!(
        found,
        ArrayError::Missing {
            tensor: "features",
            ..
        }
    ));
    let test = ("test_features", Dtype::U8, &[2, 1][..], vec![0, 1]);
    let found = error(&[features.clone(), labels.clone(), test]);
    assert!(matches!(
        found,
        ArrayError::Missing {
            tensor: "test_labels",
            ..
        }
    ));
    let found = error(&[features.clone(), ("labels", Dtype::U8, &[2, 1], vec![0, 1])]);
    assert!(matches!(
        found,
        ArrayError::Dimensions {
            tensor: "labels",
            ..
        }
    ));
    let found = error(&[("features", Dtype::U8, &[2], vec![0, 1]), labels.clone()]);
    assert!(matches!(
        found,
        ArrayError::Dimensions {
            tensor: "features",
            ..
        }
    ));
    let found = error(&[features.clone(), ("labels", Dtype::U8, &[1], vec![0])]);
    assert!(matches!(
        found,
        ArrayError::Counts {
            features: 2,
            labels: 1,
            ..
        }
    ));
    let found = error(&[features.clone(), ("labels", Dtype::F32, &[2], vec![0; 8])]);
    assert!(matches!(found, ArrayError::Labels { found, .. } if found == "float32"));
    let found = error(&[
        ("features", Dtype::BOOL, &[2, 1], vec![0, 1]),
        labels.clone(),
    ]);
    assert!(matches!(found, ArrayError::Type { found, .. } if found == "BOOL"));
    let last = ("features", Dtype::U8, &[2, 5, 5, 3][..], vec![0; 150]);
    let found = error(&[last, labels]);
    assert!(matches!(found, ArrayError::ChannelsLast { dimensions, .. }
        if dimensions == "2×5×5×3"));
    let none = error(&[
        ("features", Dtype::U8, &[1, 2, 2, 2], vec![0; 8]),
        ("labels", Dtype::U8, &[0], vec![]),
    ]);
    assert!(matches!(none, ArrayError::Counts { .. }));
}

#[test]
fn a_file_cut_anywhere_or_with_more_in_it_is_an_error() {
    let whole = file(&[
        ("features", Dtype::U8, &[2, 1], vec![0, 1]),
        ("labels", Dtype::U8, &[2], vec![0, 1]),
    ]);
    for length in 0..whole.len() {
        let cut = read(Path::new(PATH), &whole[..length]);
        assert!(matches!(cut, Err(Error::Array(_))), "{length} bytes");
    }
    let more = read(Path::new(PATH), &[&whole[..], &[0]].concat());
    assert!(matches!(more, Err(Error::Array(ArrayError::Length { .. }))));
}

#[test]
fn headers_that_lie_are_errors() {
    let whole = usize::MAX / 8;
    let eighth = |name: &str, at: usize| {
        let (start, end) = (at * whole, (at + 1) * whole);
        format!(r#""{name}":{{"dtype":"U8","shape":[{whole}],"data_offsets":[{start},{end}]}}"#)
    };
    // Together they are as much as can be counted.
    let names = ["a", "b", "c", "d", "e", "f", "g", "features"];
    let all: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, at)| eighth(name, at))
        .collect();
    for header in [
        format!("{{{}}}", all.join(",")),
        r#"{"features":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#
            .to_owned(),
        r#"{"features":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}"#.to_owned(),
        "[".repeat(100_000),
    ] {
        let found = read(Path::new(PATH), &with_header(&header, 2));
        assert!(matches!(found, Err(Error::Array(_))), "{found:?}");
    }
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let found = read(Path::new(PATH), &huge);
    assert!(matches!(
        found,
        Err(Error::Array(ArrayError::Safetensors { .. }))
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_rejected(bytes: Vec<u8>) {
        let _ = read(Path::new(PATH), &bytes);
    }

    #[test]
    fn any_tensors_are_read_or_rejected(
        dimensions in prop::collection::vec(0_usize..5, 0..6),
        labels in prop::collection::vec(0_usize..5, 0..3),
        kinds in (0_usize..4, 0_usize..4),
        data: u8,
    ) {
        let types = [(Dtype::U8, 1), (Dtype::F16, 2), (Dtype::F32, 4), (Dtype::I64, 8)];
        let tensor = |name, dimensions, kind| {
            let (dtype, size): (Dtype, usize) = types[kind];
            let length = <[usize]>::iter(dimensions).product::<usize>() * size;
            (name, dtype, dimensions, vec![data; length])
        };
        let bytes = file(&[
            tensor("features", &dimensions[..], kinds.0),
            tensor("labels", &labels[..], kinds.1),
        ]);
        if let Ok((train, _)) = read(Path::new(PATH), &bytes)
            && let Ok(loaded) = parts::loaded(train, None, None) {
            prop_assert_eq!(loaded.train.len(), dimensions[0]);
        }
    }

    #[test]
    fn a_changed_byte_is_read_or_rejected(at: prop::sample::Index, byte: u8) {
        let mut bytes = file(&[
            ("features", Dtype::U8, &[2, 1], vec![0, 1]),
            ("labels", Dtype::U8, &[2], vec![0, 1]),
        ]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read(Path::new(PATH), &bytes);
    }
}
