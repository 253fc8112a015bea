//! Files as programs write them.

use std::fs::File;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float32Array, Float64Array, Int8Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use tempfile::TempDir;

use super::*;
use crate::{ColumnKind, Counted, DEFAULT_TEST_FRACTION, FaultKind, Source, load, load_unlabelled};

pub(super) type Named<'a> = (&'a str, ArrayRef);

pub(super) fn write_with(path: &Path, columns: &[Named<'_>], properties: WriterProperties) {
    let columns = columns
        .iter()
        .map(|(name, column)| (*name, column.clone(), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(super) fn write(path: &Path, columns: &[Named<'_>]) {
    write_with(path, columns, WriterProperties::default());
}

pub(super) fn texts(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

fn floats(floats: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(floats.to_vec()))
}

pub(super) fn ints(ints: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(ints.to_vec()))
}

/// A folder with a file of these columns.
fn file(columns: &[Named<'_>]) -> (TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ward.parquet");
    write(&path, columns);
    (folder, Source::Path(path))
}

fn loaded(columns: &[Named<'_>], options: &LoadOptions) -> Result<Loaded, Error> {
    let (_folder, source) = file(columns);
    crate::load(&source, options)
}

fn agreed(schema: &Schema) -> LoadOptions {
    table::against(schema)
}

#[test]
fn a_table_is_read_as_the_same_cells_in_csv() {
    let wards: DictionaryArray<Int32Type> = [Some("icu"), None, Some("med"), Some("icu")]
        .into_iter()
        .collect();
    let decimal = Decimal128Array::from(vec![Some(125), Some(-5), Some(0), None]);
    let microseconds = 1_000_000_i64 * 86_400 * 8825;
    let columns: Vec<Named<'_>> = vec![
        (
            "age",
            Arc::new(Int8Array::from(vec![Some(41), Some(-1), None, Some(7)])),
        ),
        ("dose", floats(&[0.1, f64::NAN, 1e-30, 12_345_678.9])),
        (
            "level",
            Arc::new(Float32Array::from(vec![0.1, 16_777_216.0, 3.4e38, -0.0])),
        ),
        (
            "count",
            Arc::new(UInt64Array::from(vec![0, 1, u64::MAX, 7])),
        ),
        (
            "price",
            Arc::new(decimal.with_precision_and_scale(10, 2).unwrap()),
        ),
        (
            "smoker",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                Some(false),
                None,
                Some(true),
            ])),
        ),
        ("ward", Arc::new(wards)),
        (
            "born",
            Arc::new(Date32Array::from(vec![10957, 10957, 19782, 10956])),
        ),
        (
            "seen",
            Arc::new(TimestampMicrosecondArray::from(vec![microseconds; 4])),
        ),
        ("ill", texts(&["yes", "no", "yes", " no "])),
    ];
    let loaded = loaded(&columns, &LoadOptions::default()).unwrap();
    let text = "\
age,dose,level,count,price,smoker,ward,born,seen,ill
41,0.1,0.1,0,1.25,true,icu,2000-01-01,1994-03-01 00:00:00,yes
-1,,16777216,1,-0.05,false,,2000-01-01,1994-03-01 00:00:00,no
,1e-30,3.4e38,18446744073709551615,0.00,,med,2024-02-29,1994-03-01 00:00:00,yes
7,12345678.9,-0.0,7,,true,icu,1999-12-31,1994-03-01 00:00:00,no
";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ward.csv");
    std::fs::write(&path, text).unwrap();
    let same = crate::load(&Source::Path(path), &LoadOptions::default()).unwrap();
    assert_eq!(loaded.train.schema(), same.train.schema());
    assert_eq!(bits(&loaded.train), bits(&same.train));
    assert_eq!(loaded.train.labels(), same.train.labels());
    assert_eq!(loaded.notices, same.notices);
    let kinds = loaded
        .train
        .schema()
        .columns()
        .iter()
        .map(crate::Column::kind);
    let dates = kinds.filter(|kind| **kind == ColumnKind::Date).count();
    assert_eq!(dates, 2);
    let split = loaded.split(DEFAULT_TEST_FRACTION, 1);
    assert!(split.is_ok());
}

/// Loads what `scripts/make-parquet-samples.py` writes with pandas and pyarrow.
fn sample(name: &str) -> Loaded {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/parquet/reader/samples");
    load(&Source::Path(samples.join(name)), &LoadOptions::default()).unwrap()
}

#[test]
fn what_pandas_writes_is_what_it_writes_as_csv() {
    let (found, expected) = (sample("ward.parquet"), sample("ward.csv"));
    assert_eq!(found.train.schema(), expected.train.schema());
    assert_eq!(bits(&found.train), bits(&expected.train));
    assert_eq!(found.train.labels(), expected.train.labels());
    assert_eq!(found.train.len(), 6);
}

#[test]
fn what_pyarrow_writes_is_read_however_it_is_compressed() {
    let plain = sample("plain.parquet").train;
    assert_eq!(plain.len(), 8);
    assert_eq!(plain.row(3), [63.0, 0.0, 3.5, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    for name in ["gzip.parquet", "snappy.parquet", "zstd.parquet"] {
        assert_eq!(bits(&sample(name).train), bits(&plain), "{name}");
    }
    let pictures = sample("pictures.parquet").train;
    assert_eq!(pictures.schema().classes(), ["cat", "dog"]);
    assert_eq!(pictures.schema().shape().to_string(), "1×1×2 pixels");
    assert_eq!(pictures.labels(), [0, 1, 0]);
}

/// Features, of which some are missing.
fn bits(data: &Dataset) -> Vec<u32> {
    let features = data.features().iter().map(|feature| feature.to_bits());
    features.collect()
}

#[test]
fn what_is_agreed_on_and_left_out_holds_as_for_text() {
    let first = [("ill", texts(&["no", "yes"])), ("age", ints(&[41, 52]))];
    let labelled = LoadOptions {
        label: Some("ill".to_owned()),
        ..LoadOptions::default()
    };
    let data = loaded(&first, &labelled).unwrap().train;
    assert_eq!(data.features(), [41.0, 52.0]);

    // Another site has more columns, in another order and case, some of which are no features.
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None]);
    let site = [
        ("Age", floats(&[30.5, 40.0])),
        ("scans", Arc::new(list) as ArrayRef),
        ("ill", texts(&["yes", "yes"])),
    ];
    let (_folder, source) = file(&site);
    let found = load(&source, &agreed(data.schema())).unwrap();
    assert_eq!(found.train.features(), [30.5, 40.0]);
    assert_eq!(found.train.labels(), [1, 1]);
    let said: Vec<_> = found.notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "column `Age` is taken for the agreed `age`",
            "these columns are not used: `scans`"
        ]
    );
    let unlabelled = load_unlabelled(&source, data.schema()).unwrap().train;
    assert_eq!((unlabelled.len(), unlabelled.labels()), (2, &[][..]));

    let error = load(&source, &LoadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("column `scans` has cells of the type List, which are no"),
        "{error}"
    );
    let error = load(&source, &labelled_without(&["scans"])).unwrap_err();
    assert!(matches!(error, Error::OneClass { .. }), "{error}");
    let error = load(&source, &labelled_without(&["scan"])).unwrap_err();
    assert!(
        matches!(error, Error::Parquet(ParquetError::Type { .. })),
        "{error}"
    );
    let header = LoadOptions {
        header: Some(true),
        ..LoadOptions::default()
    };
    let error = load(&source, &header).unwrap_err();
    assert!(matches!(
        error,
        Error::TableOption {
            option: "a header",
            ..
        }
    ));
}

fn labelled_without(columns: &[&str]) -> LoadOptions {
    LoadOptions {
        label: Some("ill".to_owned()),
        leave_out: columns.iter().map(ToString::to_string).collect(),
        ..LoadOptions::default()
    }
}

#[test]
fn faults_name_the_row_and_of_several_files_the_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let shard = |name: &str, ages: &[f64], ill: &[Option<&str>]| {
        let ill: ArrayRef = Arc::new(StringArray::from(ill.to_vec()));
        write(&data.join(name), &[("age", floats(ages)), ("ill", ill)]);
    };
    let (no, yes) = (Some("no"), Some("yes"));
    shard(
        "train-00000-of-00002.parquet",
        &[41.0, 52.0, 1.0],
        &[no, yes, no],
    );
    shard(
        "train-00001-of-00002.parquet",
        &[f64::NAN, 5.0],
        &[None, yes],
    );
    shard(
        "test-00000-of-00001.parquet",
        &[7.0, 8.0],
        &[Some("maybe"), no],
    );
    let source = Source::Path(folder.path().into());
    let found = load(&source, &LoadOptions::default()).unwrap();
    assert_eq!(found.train.features(), [41.0, 52.0, 1.0, 5.0]);
    assert_eq!(found.train.schema().classes(), ["maybe", "no", "yes"]);
    assert_eq!(found.test.as_ref().unwrap().labels(), [0, 1]);
    let place = "data/train-00001-of-00002.parquet";
    let said = format!("1 rows without a label are left out, the first: row 1 of {place}");
    assert_eq!(found.notices[0].to_string(), said);

    shard(
        "train-00001-of-00002.parquet",
        &[3.0, f64::INFINITY],
        &[no, yes],
    );
    let error = load(&source, &LoadOptions::default()).unwrap_err();
    let said = format!("row 2 of {place}, column `age`: `inf` is not finite");
    assert!(error.to_string().contains(&said), "{error}");
    let Error::Cells { faults, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(faults[0].counted, Counted::RowsOf(place.into()));
    let alone = Source::Path(data.join("train-00001-of-00002.parquet"));
    let error = load(&alone, &LoadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("parquet, row 2, column `age`"), "{error}");

    write(
        &data.join("train-00001-of-00002.parquet"),
        &[("dose", ints(&[1])), ("ill", texts(&["no"]))],
    );
    let error = load(&source, &LoadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("has the columns dose, ill where"), "{error}");
}

#[test]
fn a_column_with_words_among_numbers_is_a_fault_of_its_first_word() {
    let folder = tempfile::tempdir().unwrap();
    for (at, ages) in [["1", "2", "3"], ["4", "5", "x"]].iter().enumerate() {
        let path = folder.path().join(format!("part-{at}.parquet"));
        write(
            &path,
            &[("age", texts(ages)), ("ill", texts(&["a", "b", "a"]))],
        );
    }
    let source = Source::Path(folder.path().into());
    let error = load(&source, &LoadOptions::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("row 3 of part-1.parquet, column `age`: `x` is not a number"),
        "{error}"
    );
    let Error::Cells { faults, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(faults[0].kind, FaultKind::NotANumber);
}

#[test]
fn the_index_of_a_frame_is_no_feature() {
    let columns = [
        ("age", ints(&[1, 2, 3, 4, 5])),
        ("ill", texts(&["a", "b", "a", "b", "a"])),
        ("__index_level_0__", ints(&[7, 3, 9, 1, 4])),
    ];
    let found = loaded(&columns, &LoadOptions::default()).unwrap().train;
    assert_eq!(found.schema().label(), Some("ill"));
    assert_eq!(found.schema().columns().len(), 1);
}

#[test]
fn all_usual_compressions_and_both_versions_are_read() {
    let columns = [
        ("age", ints(&[1, 2, 3, 4])),
        ("ward", texts(&["icu", "med", "icu", "med"])),
        ("ill", texts(&["a", "b", "a", "b"])),
    ];
    let expected = loaded(&columns, &LoadOptions::default()).unwrap();
    let compressions = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::GZIP(GzipLevel::default()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ward.parquet");
    for compression in compressions {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_writer_version(version);
            write_with(&path, &columns, properties.build());
            let found = load(&Source::Path(path.clone()), &LoadOptions::default()).unwrap();
            assert_eq!(found, expected, "{compression} {version:?}");
        }
    }
    // What is refused before it is read.
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_writer_version(WriterVersion::PARQUET_2_0);
    write_with(&path, &columns, properties.build());
    let error = load(&Source::Path(path), &LoadOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("encoded as DELTA_BYTE_ARRAY"),
        "{error}"
    );
}

#[test]
fn rows_of_pixels_are_images() {
    let columns = [
        ("label", ints(&[7, 3])),
        ("pixel0", ints(&[0, 51])),
        ("pixel1", ints(&[255, 102])),
    ];
    let sized = LoadOptions {
        image: Some("2x1".parse().unwrap()),
        ..LoadOptions::default()
    };
    let found = loaded(&columns, &sized).unwrap().train;
    assert_eq!(found.features(), [0.0, 1.0, 0.2, 0.4]);
    assert_eq!(found.labels(), [1, 0]);
    let (_folder, source) = file(&columns[1..]);
    let unlabelled = load_unlabelled(&source, found.schema()).unwrap().train;
    assert_eq!(unlabelled.features(), found.features());
}

#[test]
fn what_is_no_parquet_or_no_table_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ward.parquet");
    let source = Source::Path(path.clone());
    assert!(matches!(
        load(&source, &LoadOptions::default()),
        Err(Error::Read { .. })
    ));
    std::fs::write(&path, "age,ill\n1,no\n").unwrap();
    let error = load(&source, &LoadOptions::default()).unwrap_err();
    assert!(
        matches!(error, Error::Parquet(ParquetError::Broken { .. })),
        "{error}"
    );
    let error = loaded(&[("age", ints(&[1]))], &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NoFeatures { .. }), "{error}");
    let columns = [("age", ints(&[])), ("ill", texts(&[]))];
    let error = loaded(&columns, &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Empty { .. }), "{error}");
    let raw: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xff"[..], b"x"]));
    let error = loaded(
        &[("raw", raw), ("ill", texts(&["a", "b"]))],
        &LoadOptions::default(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("column `raw` has cells of the type BinaryView"),
        "{error}"
    );
}

/// Rows that are alike take next to nothing.
#[test]
fn more_rows_than_a_file_warrants_are_an_error() {
    let rows = 9_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ward.parquet");
    let columns = [("age", ints(&vec![1; rows])), ("ill", ints(&vec![1; rows]))];
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(rows)
        .set_max_row_group_row_count(Some(rows))
        .set_write_batch_size(rows);
    write_with(&path, &columns, properties.build());
    assert!(path.metadata().unwrap().len() < 10_000);
    let error = load(&Source::Path(path), &LoadOptions::default()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Parquet(ParquetError::Bloated { what: "cells", .. })
        ),
        "{error}"
    );
}

#[test]
fn every_cut_and_many_flips_are_errors_or_another_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ward.parquet");
    let columns = [
        ("age", floats(&[1.5, 2.5, 3.5])),
        ("ward", texts(&["icu", "med", "icu"])),
        ("ill", texts(&["a", "b", "a"])),
    ];
    write(&path, &columns);
    let whole = std::fs::read(&path).unwrap();
    let source = Source::Path(path.clone());
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(load(&source, &LoadOptions::default()).is_err(), "{length}");
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        if let Err(error) = load(&source, &LoadOptions::default()) {
            assert!(error.to_string().len() < 600, "{error}");
        }
    }
}

mod pictures {
    use arrow_array::StructArray;
    use arrow_schema::{DataType, Field};
    use parquet::file::metadata::KeyValue;
    use png::{BitDepth, ColorType};

    use super::*;
    use crate::{PictureError, Shape};

    /// A grey PNG of 2×1 with this first pixel.
    fn grey(pixel: u8) -> Option<Vec<u8>> {
        png((2, 1), ColorType::Grayscale, &[pixel, 255])
    }

    fn png((width, height): (u32, u32), colour: ColorType, samples: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = vec![];
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(colour);
        encoder.set_depth(BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(samples).unwrap();
        writer.finish().unwrap();
        Some(bytes)
    }

    /// Writes pictures under `image`, and what the features of the file are called.
    fn write(path: &Path, pictures: &[Option<Vec<u8>>], others: &[Named<'_>], features: &str) {
        let bytes: Vec<_> = pictures.iter().map(Option::as_deref).collect();
        let names = StringArray::from(vec![Some("1.png"); pictures.len()]);
        let image = StructArray::from(vec![
            (
                Arc::new(Field::new("bytes", DataType::Binary, true)),
                Arc::new(BinaryArray::from(bytes)) as ArrayRef,
            ),
            (
                Arc::new(Field::new("path", DataType::Utf8, true)),
                Arc::new(names) as ArrayRef,
            ),
        ]);
        let image: Named<'_> = ("image", Arc::new(image));
        let columns: Vec<_> = [image].into_iter().chain(others.iter().cloned()).collect();
        let note = format!(r#"{{"info":{{"features":{features}}}}}"#);
        let note = KeyValue::new("huggingface".to_owned(), note);
        let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![note]));
        write_with(path, &columns, properties.build());
    }

    const DIGITS: &str = r#"{"image":{"_type":"Image"},
        "label":{"names":["zero","one","two"],"_type":"ClassLabel"}}"#;

    fn image(channels: usize, height: usize, width: usize) -> Shape {
        Shape::Image {
            channels,
            height,
            width,
        }
    }

    fn firsts(data: &Dataset) -> Vec<f32> {
        let rows = (0..data.len()).map(|at| (data.row(at)[0] * 255.0).round());
        rows.collect()
    }

    #[test]
    fn the_file_says_what_the_classes_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let label = |labels: &[i64]| ("label", ints(labels));
        write(
            &path("train-00000-of-00002.parquet"),
            &[grey(1), grey(2)],
            &[label(&[2, 0])],
            DIGITS,
        );
        write(
            &path("train-00001-of-00002.parquet"),
            &[grey(3), grey(4)],
            &[label(&[-1, 2])],
            DIGITS,
        );
        write(
            &path("test-00000-of-00001.parquet"),
            &[grey(5)],
            &[label(&[0])],
            DIGITS,
        );
        let source = Source::Path(folder.path().into());
        let found = load(&source, &LoadOptions::default()).unwrap();
        let schema = found.train.schema();
        assert_eq!(schema.shape(), image(1, 1, 2));
        assert_eq!(schema.classes(), ["zero", "one", "two"]);
        assert_eq!(found.train.labels(), [2, 0, 2]);
        assert_eq!(firsts(&found.train), [1.0, 2.0, 4.0]);
        let test = found.test.unwrap();
        assert_eq!((test.labels(), firsts(&test)), (&[0][..], vec![5.0]));
        let said: Vec<_> = found.notices.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [concat!(
                "1 rows without a label are left out, the first: row 1 of ",
                "train-00001-of-00002.parquet"
            )]
        );
        let again = load(&source, &agreed(schema)).unwrap();
        assert_eq!(again.train, found.train);
        let unlabelled = load_unlabelled(&source, schema).unwrap().train;
        assert_eq!(firsts(&unlabelled), [1.0, 2.0, 3.0, 4.0]);

        write(
            &path("train-00001-of-00002.parquet"),
            &[grey(3)],
            &[label(&[3])],
            DIGITS,
        );
        let error = load(&source, &LoadOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with(
                "00002.parquet, row 1: the label 3 is none of the 3 that the file names"
            ),
            "{error}"
        );
    }

    #[test]
    fn labels_may_be_names_or_plain_numbers_in_a_column_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scans.parquet");
        let source = Source::Path(path.clone());
        let pictures = [grey(1), grey(2), grey(3)];
        let columns = [
            ("site", texts(&["b", "a", "b"])),
            ("age", ints(&[10, 9, 10])),
        ];
        write(&path, &pictures, &columns[..1], "{}");
        let found = load(&source, &LoadOptions::default()).unwrap().train;
        assert_eq!(
            (found.schema().classes(), found.labels()),
            (&["a".to_owned(), "b".to_owned()][..], &[1, 0, 1][..])
        );
        write(&path, &pictures, &columns, "{}");
        let error = load(&source, &LoadOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pictures and the columns site, age; name the one"),
            "{error}"
        );
        let named = LoadOptions {
            label: Some("age".to_owned()),
            ..LoadOptions::default()
        };
        let found = load(&source, &named).unwrap().train;
        assert_eq!(found.schema().classes(), ["9", "10"]);
        let missing = LoadOptions {
            label: Some("sex".to_owned()),
            ..LoadOptions::default()
        };
        let error = load(&source, &missing).unwrap_err();
        assert!(matches!(error, Error::LabelColumn { .. }), "{error}");
        // Without the pictures it is a table.
        let left = LoadOptions {
            leave_out: vec!["image".to_owned()],
            label: Some("site".to_owned()),
            ..LoadOptions::default()
        };
        let found = load(&source, &left).unwrap().train;
        assert_eq!(found.schema().columns()[0].name(), "age");
    }

    #[test]
    fn pictures_are_checked_as_those_in_folders_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scans.parquet");
        let source = Source::Path(path.clone());
        let label = [("label", ints(&[0, 1, 1]))];
        let refused = |pictures: &[Option<Vec<u8>>]| {
            write(&path, pictures, &label, DIGITS);
            load(&source, &LoadOptions::default()).unwrap_err()
        };
        let error = refused(&[grey(1), grey(2), None]);
        assert!(
            matches!(
                error,
                Error::Parquet(ParquetError::NoPicture { row: 3, .. })
            ),
            "{error}"
        );
        let error = refused(&[grey(1), Some(b"BM".to_vec()), grey(2)]).to_string();
        assert!(
            error.contains("scans.parquet, row 2 is no PNG or JPEG"),
            "{error}"
        );
        let red = png((1, 1), ColorType::Rgb, &[255, 0, 0]);
        let error = refused(&[grey(1), grey(2), red]);
        let said = "scans.parquet, row 3 with 3×1×1 pixels";
        assert!(error.to_string().contains(said), "{error}");
        assert!(matches!(
            error,
            Error::Picture(PictureError::Sizes { count: 3, .. })
        ));
        let classes = vec!["one".to_owned(), "zero".to_owned()];
        let schema = Schema::new(image(3, 1, 1), vec![], classes).unwrap();
        let found = load(&source, &agreed(&schema)).unwrap().train;
        assert_eq!(
            (found.labels(), found.row(2)),
            (&[1, 0, 0][..], &[1.0, 0.0, 0.0][..])
        );
        let table = Schema::new(
            Shape::Table { columns: 1 },
            vec![],
            vec!["a".into(), "b".into()],
        );
        let error = load(&source, &agreed(&table.unwrap())).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { .. }), "{error}");
    }
}
