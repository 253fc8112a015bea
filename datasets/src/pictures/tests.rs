//! Folders as people have them.

use std::fs;

use png::{BitDepth, ColorType};
use tempfile::TempDir;

use super::*;
use crate::{LoadOptions, Source};

pub(super) const GREY: &[u8] = include_bytes!("samples/grey.jpg");

/// A PNG of this width and height.
pub(super) fn encode(
    (width, height): (u32, u32),
    colour: ColorType,
    depth: BitDepth,
    samples: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(samples).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A PNG of two pixels, the second and the first colour of a palette with this alpha.
pub(super) fn palette(alpha: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(ColorType::Indexed);
    encoder.set_palette(vec![10, 20, 30, 40, 50, 60]);
    if let Some(alpha) = alpha {
        encoder.set_trns(alpha.to_vec());
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[1, 0]).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A grey PNG of 2×1 with this first pixel.
fn grey(pixel: u8) -> Vec<u8> {
    encode((2, 1), ColorType::Grayscale, BitDepth::Eight, &[pixel, 255])
}

/// A folder of these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn loaded(folder: &TempDir, schema: Option<&Schema>) -> Result<Loaded, Error> {
    let options = LoadOptions {
        schema: schema.cloned(),
        ..LoadOptions::default()
    };
    crate::load(&Source::Path(folder.path().into()), &options)
}

fn error(files: &[(&str, &[u8])]) -> PictureError {
    match loaded(&folder(files), None) {
        Err(Error::Picture(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn schema(shape: Shape, classes: &[&str]) -> Schema {
    let classes = classes.iter().map(ToString::to_string).collect();
    Schema::new(shape, vec![], classes).unwrap()
}

fn image(channels: usize, height: usize, width: usize) -> Shape {
    Shape::Image {
        channels,
        height,
        width,
    }
}

#[test]
fn folders_are_classes_and_pictures_come_in_the_order_of_their_names() {
    let folder = folder(&[
        ("b/2.png", &grey(2)),
        ("b/10.PNG", &grey(1)),
        // What it is, its bytes say.
        ("a/z.jpeg", &grey(0)),
        ("b/.DS_Store", b"?"),
        ("a/Thumbs.db", b"?"),
        (".cache/a/x.txt", b"?"),
    ]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    let Loaded { train, test, .. } = loaded(&folder, None).unwrap();
    assert_eq!(train.schema(), &schema(image(1, 1, 2), &["a", "b"]));
    assert_eq!(train.labels(), [0, 1, 1]);
    let firsts: Vec<_> = (0..3).map(|i| (train.row(i)[0] * 255.0).round()).collect();
    assert_eq!(firsts, [0.0, 1.0, 2.0]);
    assert_eq!(test, None);
}

#[test]
fn a_folder_for_testing_may_have_several_names() {
    for name in ["test", "val", "valid", "validation"] {
        let test = format!("{name}/b/1.png");
        let folder = folder(&[
            ("train/a/1.png", &grey(1)),
            ("train/c/1.png", &grey(2)),
            (&test, &grey(3)),
        ]);
        let Loaded { train, test, .. } = loaded(&folder, None).unwrap();
        let test = test.unwrap();
        assert_eq!(train.schema().classes(), ["a", "b", "c"]);
        assert_eq!(test.schema(), train.schema());
        assert_eq!((train.labels(), test.labels()), (&[0, 2][..], &[1][..]));
    }
}

#[test]
fn classes_may_be_called_train_and_test() {
    let folder = folder(&[("train/1.png", &grey(1)), ("test/1.png", &grey(2))]);
    let Loaded { train, test, .. } = loaded(&folder, None).unwrap();
    assert_eq!(train.schema().classes(), ["test", "train"]);
    assert_eq!(test, None);
}

#[test]
fn other_layouts_are_errors_that_name_what_is_in_the_way() {
    let picture = &grey(1)[..];
    let found = error(&[(".hidden", b"")]);
    let text = found.to_string();
    assert!(matches!(found, PictureError::Layout { .. }));
    assert!(text.contains("has no train-images-idx3-ubyte"), "{text}");
    let found = error(&[
        ("a/1.png", picture),
        ("README.md", b""),
        ("labels.csv", b""),
    ]);
    assert!(matches!(found, PictureError::Stray { path, more: 1 }
        if path.ends_with("README.md")));
    let found = error(&[("a/1.png", picture), ("a/2.tiff", b"")]);
    assert!(matches!(found, PictureError::Stray { path, more: 0 }
        if path.ends_with("a/2.tiff")));
    let found = error(&[("1.png", picture), ("2.png", picture)]);
    assert!(matches!(found, PictureError::Stray { more: 1, .. }));
    let found = error(&[("a/1.png", picture), ("b/patient/1.png", picture)]);
    assert!(matches!(found, PictureError::Nested { path } if path.ends_with("b/patient")));
    let train = ("train/a/1.png", picture);
    let found = error(&[train, ("other/a/1.png", picture)]);
    assert!(matches!(found, PictureError::BesideTrain { path } if path.ends_with("other")));
    let found = error(&[train, ("test/a/1.png", picture), ("val/a/1.png", picture)]);
    assert!(
        matches!(found, PictureError::TwoTestSets { first, second, .. }
        if first == "test" && second == "val")
    );
    let empty = folder(&[train]);
    fs::create_dir_all(empty.path().join("test/a")).unwrap();
    assert!(matches!(loaded(&empty, None), Err(Error::Empty { path }) if path.ends_with("test")));
    let one = folder(&[train]);
    assert!(matches!(loaded(&one, None), Err(Error::OneClass { .. })));
}

#[test]
fn broken_pictures_are_named_the_first_of_them() {
    let cut = &grey(1)[..40];
    let found = error(&[("a/1.png", &grey(1)), ("b/2.png", cut)]);
    assert!(matches!(found, PictureError::Broken { path, .. } if path.ends_with("b/2.png")));
    let wanted = schema(image(1, 1, 2), &["a", "b"]);
    let folder = folder(&[("a/1.png", &grey(1)), ("b/2.png", cut), ("b/3.png", b"")]);
    assert!(matches!(
        loaded(&folder, Some(&wanted)),
        Err(Error::Picture(PictureError::Broken { path, .. })) if path.ends_with("b/2.png")
    ));
}

#[test]
#[cfg(target_os = "linux")]
fn links_and_pipes_are_errors() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let files: [(&str, &[u8]); 2] = [("a/1.png", &grey(1)), ("b/1.png", &grey(2))];
    let outside = folder(&files);
    let linked = folder(&files);
    symlink(
        outside.path().join("a/1.png"),
        linked.path().join("a/2.png"),
    )
    .unwrap();
    let found = loaded(&linked, None);
    assert!(
        matches!(&found, Err(Error::Picture(PictureError::Link { path }))
            if path.ends_with("a/2.png")),
        "{found:?}"
    );
    let linked = folder(&files);
    symlink(outside.path().join("a"), linked.path().join("c")).unwrap();
    let found = loaded(&linked, None);
    assert!(matches!(
        found,
        Err(Error::Picture(PictureError::Link { .. }))
    ));
    // The folder that was asked for may be one.
    let linked = tempfile::tempdir().unwrap();
    let link = linked.path().join("data");
    symlink(outside.path(), &link).unwrap();
    assert!(load(&link, None, None).is_ok());

    let piped = folder(&files);
    let pipe = piped.path().join("b/2.png");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let found = loaded(&piped, None);
    assert!(matches!(found, Err(Error::NotAFile { path }) if path == pipe));

    let named = folder(&files);
    let odd = named.path().join(OsStr::from_bytes(b"caf\xe9"));
    fs::rename(named.path().join("a"), &odd).unwrap();
    let found = loaded(&named, None);
    assert!(matches!(found, Err(Error::Picture(PictureError::ClassName { path })) if path == odd));
}

#[test]
fn pictures_that_differ_need_a_size() {
    let wide = encode(
        (4, 1),
        ColorType::Grayscale,
        BitDepth::Eight,
        &[0, 255, 0, 255],
    );
    let red = encode(
        (2, 1),
        ColorType::Rgb,
        BitDepth::Eight,
        &[255, 0, 0, 255, 0, 0],
    );
    let files: [(&str, &[u8]); 4] = [
        ("a/1.png", &grey(102)),
        ("a/2.png", &wide),
        ("b/1.png", &red),
        ("b/2.jpg", GREY),
    ];
    let found = error(&files);
    assert!(
        matches!(
            &found,
            PictureError::Sizes { count: 4, differing: 3, first, found, path, .. }
                if *first == image(1, 1, 2)
                    && **found == image(1, 1, 4)
                    && path.ends_with("a/2.png")
        ),
        "{found:?}"
    );
    let folder = folder(&files);
    // In colour, since one is.
    for (size, shape) in [("1x2", image(3, 1, 2)), ("1x4x3", image(1, 4, 3))] {
        let options = LoadOptions {
            image: Some(size.parse().unwrap()),
            ..LoadOptions::default()
        };
        let train = crate::load(&Source::Path(folder.path().into()), &options);
        assert_eq!(train.unwrap().train.schema().shape(), shape);
    }
    let wanted = schema(image(1, 1, 2), &["b", "a"]);
    let train = loaded(&folder, Some(&wanted)).unwrap().train;
    assert_eq!(train.labels(), [1, 1, 0, 0]);
    assert_eq!(train.row(0), [0.4, 1.0]);
    assert!(train.row(2).iter().all(|grey| (grey - 0.299).abs() < 1e-6));
    let wanted = schema(image(3, 2, 2), &["a", "b", "c"]);
    let train = loaded(&folder, Some(&wanted)).unwrap().train;
    assert_eq!(train.row(2), [[1.0; 4], [0.0; 4], [0.0; 4]].concat());
}

#[test]
fn a_schema_must_be_one_of_pictures_and_have_their_classes() {
    let folder = folder(&[("a/1.png", &grey(1)), ("c/1.png", &grey(2))]);
    let found = loaded(&folder, Some(&schema(image(1, 1, 2), &["a", "b"])));
    assert!(
        matches!(&found, Err(Error::Picture(PictureError::UnknownClass { path, classes }))
            if path.ends_with("c") && classes == "a, b"),
        "{found:?}"
    );
    let found = loaded(&folder, Some(&schema(image(4, 1, 2), &["a", "c"])));
    assert!(matches!(
        found,
        Err(Error::Picture(PictureError::Channels { channels: 4 }))
    ));
    let table = Shape::Table { columns: 2 };
    let found = loaded(&folder, Some(&schema(table, &["a", "c"])));
    assert!(matches!(found, Err(Error::ShapeMismatch { found, .. }) if found == image(1, 1, 2)));
}

#[test]
fn more_than_memory_holds_is_an_error() {
    let part = Part {
        path: "scans".into(),
        classes: vec![folder::Class {
            name: "a".to_owned(),
            path: "scans/a".into(),
            files: vec!["1.png".into()],
        }],
    };
    let found = records(&part, image(1, 1 << 31, 1 << 31));
    assert!(matches!(
        found,
        Err(Error::Picture(PictureError::Memory { count: 1, .. }))
    ));
}
