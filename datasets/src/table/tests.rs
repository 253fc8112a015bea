//! Tables as people have them, read alone and against an agreement.

use proptest::prelude::*;

use super::*;
use crate::{Column, ColumnKind, Missing, Quantity, Target};

fn read(text: &str, options: &LoadOptions) -> Result<(Dataset, Vec<Notice>), Error> {
    let mut notices = Vec::new();
    let data = load(
        Path::new("test.csv"),
        text.as_bytes(),
        options,
        &mut notices,
    )?;
    Ok((data, notices))
}

fn alone(text: &str) -> (Dataset, Vec<Notice>) {
    read(text, &LoadOptions::default()).unwrap()
}

fn refused(text: &str) -> String {
    let read = read(text, &LoadOptions::default());
    read.map(|_| ()).unwrap_err().to_string()
}

fn agreed(schema: &Schema) -> LoadOptions {
    LoadOptions {
        schema: Some(schema.clone()),
        ..LoadOptions::default()
    }
}

fn labelled(label: &str) -> LoadOptions {
    LoadOptions {
        label: Some(label.to_owned()),
        ..LoadOptions::default()
    }
}

/// Rows of these cells before a label, `repeat` times over.
fn rows(header: &str, rows: &[&str], repeat: usize) -> String {
    let rows = rows.iter().cycle().take(rows.len() * repeat);
    let lines = std::iter::once(&header).chain(rows);
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_last_column_is_the_label_by_default() {
    let (data, notices) = alone("1, 2.5 ,yes\n-3,4e2,no\n5,6,yes\n");
    assert_eq!(data.features(), [1.0, 2.5, -3.0, 400.0, 5.0, 6.0]);
    assert_eq!(data.schema().classes(), ["no", "yes"]);
    assert_eq!(data.labels(), [1, 0, 1]);
    assert_eq!(notices, []);
}

#[test]
fn the_label_may_be_a_named_column() {
    let text = "\u{feff}ill,age,7\nyes,1,2\nno,3,4\n";
    let (data, _) = read(text, &labelled("ill")).unwrap();
    assert_eq!(data.features(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(data.schema().label(), Some("ill"));
    // A site need not say it again.
    let (site, _) = read("age,7,ill\n5,6,no\n", &agreed(data.schema())).unwrap();
    assert_eq!(site.features(), [5.0, 6.0]);
    let error = read("age,ill\n1,yes\n", &labelled("weight")).unwrap_err();
    assert!(matches!(error, Error::LabelColumn { columns, .. } if columns == "age, ill"));
    let error = read("41,yes\n", &labelled("ill")).unwrap_err();
    assert!(matches!(error, Error::NoHeader { .. }));
}

#[test]
fn columns_are_taken_by_name_in_any_order_and_case_beside_others() {
    let (first, _) = alone(&rows("age,dose,ill", &["41,1.5,no", "52,2.5,yes"], 3));
    let text = "patient,DOSE,ill,Age\nx1,2,yes,30\nx2,3,no,40\n";
    let (site, notices) = read(text, &agreed(first.schema())).unwrap();
    assert_eq!(site.features(), [30.0, 2.0, 40.0, 3.0]);
    assert_eq!(site.labels(), [1, 0]);
    let said: Vec<_> = notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "column `Age` is taken for the agreed `age`",
            "column `DOSE` is taken for the agreed `dose`",
            "these columns are not used: `patient`",
        ]
    );
    let error = read("age,ill\n30,yes\n", &agreed(first.schema())).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("lacks the columns dose; its columns are age, ill"),
        "{error}"
    );
    // Without names they are taken in their order, if they are as many.
    let (site, notices) = read("30,2,yes\n", &agreed(first.schema())).unwrap();
    assert_eq!(site.features(), [30.0, 2.0]);
    assert_eq!(notices, [Notice::NoHeader]);
    let error = read("30,2,5,yes\n", &agreed(first.schema())).unwrap_err();
    assert!(matches!(
        error,
        Error::ColumnCount {
            expected: 2,
            found: 3,
            ..
        }
    ));
}

#[test]
fn text_becomes_categories_and_what_is_missing_is_marked() {
    let text = rows(
        "age,ward,smoker,seen,ill",
        &[
            "41,icu,True,2000-01-01,0",
            "NA,Med,False,2001-01-01,1",
            "52,med,true,2000-01-01,0.0",
            "-,,FALSE,2000-01-01,1",
        ],
        3,
    );
    let (data, notices) = alone(&text);
    let schema = data.schema();
    let kinds: Vec<_> = schema.columns().iter().map(Column::kind).collect();
    let values = ["Med", "icu"].map(str::to_owned).to_vec();
    assert_eq!(kinds[1], &ColumnKind::Category { values });
    assert_eq!(kinds[2..], [&ColumnKind::Boolean, &ColumnKind::Date]);
    assert_eq!(schema.classes(), ["0", "1"]);
    assert_eq!(data.labels()[..4], [0, 1, 0, 1]);
    // The age and whether it is missing; three of the ward and whether it is; two more.
    assert_eq!(data.row(0), [41.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    assert!(data.row(3)[0].is_nan());
    assert_eq!(data.row(3)[1..], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(data.row(2)[2..6], [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(notices.len(), 2);
    assert!(matches!(&notices[0], Notice::Gaps { column, cells: 6 } if column == "`age`"));

    // A site with another value says so, and it is one of the others.
    let site = "age,ward,smoker,seen,ill\n1,surg,0,31.12.1999,1\n";
    let (site, notices) = read(site, &agreed(schema)).unwrap();
    assert_eq!(site.row(0)[2..6], [0.0, 0.0, 1.0, 0.0]);
    assert!(
        matches!(&notices[..], [Notice::OtherValues { found, cells: 1, .. }] if found == "surg")
    );
}

#[test]
fn what_was_agreed_on_binds_the_cells_of_a_site() {
    let columns = [
        r#"{"name":"age","range":[0.0,120.0]}"#,
        r#"{"name":"smoker","kind":"boolean"}"#,
        r#"{"name":"seen","kind":"date"}"#,
    ];
    let columns = columns.map(|column| serde_json::from_str(column).unwrap());
    let classes = vec!["no".to_owned(), "yes".to_owned()];
    let schema = Schema::table(columns.to_vec(), Some("ill".to_owned()), classes).unwrap();
    let text = "age,smoker,seen,ill\n121,yes,1/2/2003,maybe\n,true,2003-02-01,no\n1e39,1,2003-02-01,no\n130,1,2003-02-01,NO\n";
    let error = read(text, &agreed(&schema)).unwrap_err();
    let Error::Cells { faults, .. } = &error else {
        panic!("{error}");
    };
    let faults: Vec<_> = faults
        .iter()
        .map(|f| (f.column.as_str(), f.kind, f.row, f.cells))
        .collect();
    assert_eq!(
        faults,
        [
            ("`age`", FaultKind::Missing, 3, 1),
            ("`age`", FaultKind::NotFinite, 4, 1),
            ("`age`", FaultKind::OutOfRange, 2, 2),
            ("`smoker`", FaultKind::NotABoolean, 2, 1),
            ("`seen`", FaultKind::NotADate, 2, 1),
            ("`ill`", FaultKind::UnknownLabel, 2, 1),
        ]
    );
    let text = error.to_string();
    assert!(
        text.contains("line 2, column `age`: `121` is outside the agreed range"),
        "{text}"
    );
    assert!(text.contains("(2 such cells)"), "{text}");
}

#[test]
fn ids_and_empty_columns_are_not_used_and_constant_ones_are_told() {
    let text = "\
,patient_id,name,age,sex,empty,dose,ill
0,900000,Ada,41,f,,1,no
1,900001,Bob,52,f,,1,yes
2,900002,Cyd,47,f,,1,no
3,900003,Dan,33,f,,1,yes
4,900004,Eve,61,f,,1,no
";
    let (data, notices) = alone(text);
    let names: Vec<_> = data.schema().columns().iter().map(Column::name).collect();
    assert_eq!(names, ["age", "dose"]);
    let said: Vec<_> = notices.iter().map(ToString::to_string).collect();
    for (said, expected) in said.iter().zip([
        "column 1 is not used: it tells rows apart",
        "column `patient_id` is not used: it tells rows apart",
        "column `name` is not used: it tells rows apart",
        "column `sex` has the same value",
        "column `empty` is not used: it is empty",
        "column `dose` has the same value",
    ]) {
        assert!(said.starts_with(expected), "{said} / {expected}");
    }
    assert_eq!(said.len(), 6);
}

#[test]
fn columns_can_be_left_out_by_name_or_place() {
    let text = rows("age,dose,ill", &["41,1.5,no", "52,2.5,yes"], 3);
    for left in ["dose", "2"] {
        let options = LoadOptions {
            leave_out: vec![left.to_owned()],
            ..LoadOptions::default()
        };
        let (data, _) = read(&text, &options).unwrap();
        assert_eq!(data.schema().columns().len(), 1, "{left}");
        // What a site has more is left out by itself.
        let (again, _) = read(&text, &agreed(data.schema())).unwrap();
        assert_eq!(again, data);
    }
}

#[test]
fn what_cannot_be_left_out_is_an_error() {
    for left in ["dosis", "7", "ill", "3"] {
        let options = LoadOptions {
            leave_out: vec![left.to_owned()],
            ..LoadOptions::default()
        };
        let error = read("age,dose,ill\n41,1.5,no\n52,2.5,yes\n", &options).unwrap_err();
        assert!(matches!(error, Error::LeftOut { .. }), "{left}: {error}");
    }
}

#[test]
fn no_column_of_a_site_stands_for_two_or_for_the_label_too() {
    let (data, _) = alone("Dose,dose,ill\n1,2,no\n3,4,yes\n");
    let error = read("DOSE,ill\n1,no\n", &agreed(data.schema())).unwrap_err();
    assert!(matches!(error, Error::MissingColumns { .. }), "{error}");
    let options = LoadOptions {
        label: Some("dose".to_owned()),
        ..agreed(data.schema())
    };
    let error = read("Dose,dose,ill\n1,0,no\n", &options).unwrap_err();
    assert!(matches!(error, Error::MissingColumns { .. }), "{error}");
}

#[test]
fn names_by_the_ten_thousand_are_found_in_any_case_at_once() {
    let names: Vec<_> = (0..30_000).map(|gene| format!("gene_{gene}")).collect();
    let row = vec!["1"; names.len()].join(",");
    let header = names.join(",");
    let (data, _) = alone(&format!("{header},ill\n{row},no\n{row},yes\n"));
    let upper = header.to_uppercase();
    let (site, notices) =
        read(&format!("{upper},ILL\n{row},no\n"), &agreed(data.schema())).unwrap();
    assert_eq!((site.len(), notices.len()), (1, names.len()));
}

#[test]
fn a_column_says_which_rows_belong_together() {
    let text = "patient,age,ill\nx,41,no\ny,52,yes\nx,43,no\n,33,yes\nNA,61,yes\ny,50,no\n";
    let by = |group: &str| LoadOptions {
        group: Some(group.to_owned()),
        ..LoadOptions::default()
    };
    let (data, _) = read(text, &by("patient")).unwrap();
    assert_eq!(data.schema().columns().len(), 1);
    // Whoever is not known is nobody else.
    assert_eq!(data.groups(), Some(&[0, 1, 0, 3, 4, 1][..]));
    let (site, notices) = read(text, &agreed(data.schema())).unwrap();
    assert_eq!((site.groups(), notices), (data.groups(), vec![]));
    let error = read("age,ill\n41,no\n", &agreed(data.schema())).unwrap_err();
    assert!(matches!(error, Error::GroupColumn { .. }), "{error}");
    for wrong in ["person", "ill"] {
        let error = read(text, &by(wrong)).unwrap_err();
        assert!(
            matches!(error, Error::GroupColumn { .. }),
            "{wrong}: {error}"
        );
    }
    let spelled = "patient,age,ill\n7,41,no\n7.0,52,yes\n8,43,no\n";
    let (data, _) = read(spelled, &by("patient")).unwrap();
    assert_eq!(data.groups(), Some(&[0, 0, 2][..]));
    // Without a word it is no feature either, and its owner learns why.
    let numbers = "patient_id,age,ill\n7,41,no\n8,52,yes\n7,43,no\n8,33,yes\n";
    let (data, notices) = alone(numbers);
    assert_eq!(data.schema().columns().len(), 1);
    assert!(matches!(&notices[..], [Notice::Owner { column }] if column == "`patient_id`"));
}

#[test]
fn rows_without_a_label_are_left_out_and_told() {
    let text = "1,yes\n2,NA\n3,no\n4,\n5,yes\n";
    let (data, notices) = alone(text);
    assert_eq!(data.features(), [1.0, 3.0, 5.0]);
    assert_eq!(data.schema().classes(), ["no", "yes"]);
    let counted = Counted::Lines;
    let left = Notice::NoLabel {
        rows: 2,
        first: 2,
        counted,
    };
    assert_eq!(notices, [left]);
}

#[test]
fn equal_numbers_are_one_class_and_the_case_of_a_word_does_not_make_another() {
    let (data, _) = alone("1,0\n2,0.0\n3,1\n4,1.00\n");
    assert_eq!(data.schema().classes(), ["0", "1"]);
    assert_eq!(data.labels(), [0, 0, 1, 1]);
    let (site, _) = read("5,1.0\n6,0.0\n", &agreed(data.schema())).unwrap();
    assert_eq!(site.labels(), [1, 0]);

    let (words, _) = alone("1,No\n2,Yes\n");
    let (site, _) = read("3,yes\n", &agreed(words.schema())).unwrap();
    assert_eq!(site.labels(), [1]);
    let (_, notices) = alone("1,no\n2,No\n3,yes\n");
    assert!(matches!(&notices[..], [Notice::LikeClasses { .. }]));
    let (both, _) = alone("1,no\n2,No\n");
    let error = read("3,NO\n", &agreed(both.schema()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 1, column 2: `NO` is none of the agreed classes"),
        "{error}"
    );
}

#[test]
fn ids_are_neither_classes_nor_quantities_with_or_without_a_name() {
    let texts: Vec<_> = (0..40).map(|row| format!("{row}.5,mp-{row:05}")).collect();
    let counts: Vec<_> = (0..40)
        .map(|row| format!("{row}.5,{}", 1000 + row))
        .collect();
    for lines in [texts, counts] {
        let text = format!("age,stay\n{}\n", lines.join("\n"));
        for options in [LoadOptions::default(), labelled("stay")] {
            let error = read(&text, &options).unwrap_err().to_string();
            assert!(
                error.contains("column `stay` has") && error.contains("an id"),
                "{error}"
            );
            assert!(error.contains("more)") && error.len() < 400, "{error}");
        }
    }
}

#[test]
fn numbers_that_differ_too_much_to_be_classes_are_a_quantity() {
    let lines: Vec<_> = (0..40)
        .map(|row| format!("{}.5,{}.25", row * 7 % 11, row % 37))
        .collect();
    let text = format!("age,stay\n{}\n3.5,NA\n4.5,-\n", lines.join("\n"));
    let (data, notices) = alone(&text);
    assert_eq!((data.len(), data.quantities()[1]), (40, 1.25));
    assert!(data.schema().quantity().is_some() && data.labels().is_empty());
    assert!(
        matches!(&notices[..], [Notice::Quantity { label }, Notice::NoLabel { rows: 2, .. }]
            if label == "`stay`"),
        "{notices:?}"
    );
    // A site has the agreed kind, however few its values are.
    let site = read("age,stay\n1,2\n3,2\n", &agreed(data.schema()))
        .unwrap()
        .0;
    assert_eq!(site.quantities(), [2.0, 2.0]);
    let error = read("age,stay\n1,long\n", &agreed(data.schema())).unwrap_err();
    assert!(
        error.to_string().contains("`long` is not a number"),
        "{error}"
    );
    let told = Quantity::new(Some("d".to_owned()), Some(0.0..=30.0)).unwrap();
    let columns = data.schema().columns().to_vec();
    let schema = Schema::table(columns, Some("stay".to_owned()), Target::Quantity(told));
    let error = read(&text, &agreed(&schema.unwrap()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`30.25` is outside the agreed range"),
        "{error}"
    );
}

#[test]
fn few_numbers_are_a_quantity_if_it_is_said() {
    let text = rows(
        "age,grade,ill",
        &["41,1,1", "52,2,2", "43,3,3", "44,1,1"],
        3,
    );
    let (classes, _) = alone(&text);
    assert_eq!(classes.schema().classes(), ["1", "2", "3"]);
    let said = LoadOptions {
        quantity: true,
        ..LoadOptions::default()
    };
    let (data, _) = read(&text, &said).unwrap();
    assert_eq!(data.quantities()[..3], [1.0, 2.0, 3.0]);
    let words = rows("age,ill", &["41,no", "52,yes"], 3);
    let error = read(&words, &said).unwrap_err().to_string();
    assert!(
        error.contains("line 2, column `ill`: `no` is not a number"),
        "{error}"
    );
}

#[test]
fn faults_name_line_column_and_value_and_how_many_there_are() {
    let good = ["41,1.5,no", "52,2.5,yes"];
    let mut text = rows("age,dose,ill", &good, 5);
    text.push_str("12 y,3,no\nx,4,yes\n");
    let error = refused(&text);
    assert_eq!(
        error,
        "test.csv, line 12, column `age`: `12 y` is not a number; correct it, or leave the \
         column out (2 such cells)"
    );
    let many: Vec<_> = (0..200)
        .map(|row| format!("{row},note {},no", row % 150))
        .collect();
    let error = refused(&format!("age,note,ill\n{}\n1,a,yes\n", many.join("\n")));
    assert!(
        error.contains("column `note`: `note 0` is one of too many texts"),
        "{error}"
    );
}

#[test]
fn faulty_tables_are_errors_that_say_what_to_do() {
    for (text, expected) in [
        ("", "holds no examples"),
        ("\n\n", "holds no examples"),
        ("a,b,c\n", "holds no examples"),
        ("1\n2\n", "has a single column"),
        (
            "a,b,c\n1,2,x\n1,x\n",
            "line 3: 2 cells where the first row has 3",
        ),
        ("1,2,x\n1,inf,y\n", "line 2, column 2: `inf` is not finite"),
        (
            "1,2,x\n1,1e39,y\n",
            "line 2, column 2: `1e39` is not finite",
        ),
        ("a,b,a\n1,2,x\n", "two columns of the name `a`"),
        ("a,,ill\n1,7,x\n2,5,y\n", "column 2 has no name"),
        ("1,x\n2,x\n", "only the class `x`"),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn quoted_line_breaks_and_blank_lines_keep_line_numbers_true() {
    for end in ["\n", "\r\n", "\r"] {
        let lines = ["1,\"a\"", "3,\"a\"", "", "2,c", "x,c", ""].join(end);
        let error = refused(&lines);
        assert!(error.contains("line 5, column 1: `x`"), "{error}");
    }
    let error = refused("1,\"a\nb\"\n3,\"a\nb\"\n\n4,c\nx,c\n");
    assert!(error.contains("line 7, column 1"), "{error}");
}

#[test]
fn the_dialects_of_spreadsheets_are_read() {
    let (plain, _) = alone("age,bp,ill\n59.1,1200,M\n71.0,133.5,B\n");
    for text in [
        "age;bp;ill\r\n59,1;1.200;M\r\n71,0;133,5;B\r\n",
        "sep=;\nage;bp;ill\n59,1;1200;M\n71,0;133,5;B\n",
        "age\tbp\till\n59.1\t1200\tM\n71.0\t133.5\tB\n",
        "age,bp,ill\r59.1,1200,M\r71.0,133.5,B\r",
        "age,bp,ill\n59.1,\"1,200\",M\n71.0,133.5,B\n",
        "\"age\",\"bp\",\"ill\",\n59.1,1200,M\n71.0,133.5,B\n",
        "age,bp,ill,\n59.1,1200,M,\n71.0,133.5,B,\n",
        "age;bp;ill;;\n59,1;1200;M;;\n71,0;133,5;B;;\n;;;;\n",
    ] {
        let (data, _) = alone(text);
        assert_eq!(data, plain, "{text:?}");
    }
}

#[test]
fn rows_are_read_with_or_without_a_label_where_nobody_asks_for_it() {
    let (data, _) = alone("age,dose,ill\n41,1.5,no\n52,2.5,yes\n");
    let unlabelled = |text: &str| {
        let mut notices = Vec::new();
        let path = Path::new("test.csv");
        load_unlabelled(path, text.as_bytes(), data.schema(), &mut notices).unwrap()
    };
    for text in [
        "age,dose,ill\n41,1.5,\n52,2.5,perhaps\n",
        "dose,age\n1.5,41\n2.5,52\n",
        "41,1.5\n52,2.5\n",
        "41,1.5,no\n52,2.5,yes\n",
    ] {
        let rows = unlabelled(text);
        assert_eq!(rows.features(), data.features(), "{text:?}");
        assert_eq!((rows.len(), rows.labels()), (2, &[][..]));
    }
}

fn image(size: &str) -> LoadOptions {
    LoadOptions {
        image: Some(size.parse().unwrap()),
        ..LoadOptions::default()
    }
}

#[test]
fn a_table_of_pixels_fits_an_image_if_they_are_intensities() {
    let classes = vec!["no".to_owned(), "yes".to_owned()];
    let shape = image("1x2").image.unwrap().shape(1);
    let schema = Schema::new(shape, vec![], classes).unwrap();
    let (data, _) = read("a,b,label\n0,1,yes\n", &agreed(&schema)).unwrap();
    assert_eq!(data.features(), [0.0, 1.0]);
    // Sixteenths are not of 8 bits, unless that is said.
    let text = "0,1,no\n0,16,yes\n";
    let error = read(text, &agreed(&schema)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 2, column 2: `16` is not within 0 and 1"),
        "{error}"
    );
    let said = LoadOptions {
        schema: Some(schema.clone()),
        ..image("1x2")
    };
    let (data, notices) = read(text, &said).unwrap();
    assert_eq!(data.row(1), [0.0, 16.0 / 255.0]);
    assert_eq!(
        notices[0].to_string(),
        "pixels are divided by 255, the largest being 16"
    );
    // 8 bits are plain to see.
    let (data, _) = read("yes,51,255\n", &agreed(&schema)).unwrap();
    assert_eq!((data.row(0), data.labels()), (&[0.2, 1.0][..], &[1][..]));
}

#[test]
fn rows_of_pixels_are_images_wherever_the_label_is() {
    for text in [
        "label,1x1,1x2\n7,0,255\n3,51,102\n7,0,0\n",
        "1x1,1x2,Class\n0,255,7\n51,102,3\n0,0,7\n",
        "id,pixel0,pixel1,target\n0,0,255,7\n1,51,102,3\n2,0,0,7\n",
    ] {
        let options = LoadOptions {
            leave_out: match text.starts_with("id") {
                true => vec!["id".to_owned()],
                false => vec![],
            },
            ..image("1x2")
        };
        let (data, _) = read(text, &options).unwrap();
        assert_eq!(data.schema().classes(), ["3", "7"], "{text}");
        assert_eq!(data.features(), [0.0, 1.0, 0.2, 0.4, 0.0, 0.0], "{text}");
        assert_eq!(data.labels(), [1, 0, 1], "{text}");
        // A site need not say the size, nor have a label.
        let site = LoadOptions {
            image: None,
            schema: Some(data.schema().clone()),
            ..options.clone()
        };
        assert_eq!(read(text, &site).unwrap().0, data, "{text}");
        if options.leave_out.is_empty() {
            let path = Path::new("test.csv");
            let found = load_unlabelled(path, text.as_bytes(), data.schema(), &mut vec![]).unwrap();
            assert_eq!(found.features(), data.features());
        }
    }
    // Without names: words, what differs, and what counts.
    for text in [
        "cat,0,255\ndog,51,102\ncat,0,0\n",
        "5,0,0\n2,0,0\n5,0,0\n",
        "0,0,255\n1,51,102\n2,0,0\n",
        "1,0,255\n2,51,102\n3,0,0\n",
    ] {
        let (first, _) = read(text, &image("1x2")).unwrap();
        let cells = text.lines().map(|line| line.split_once(',').unwrap());
        let turned: Vec<_> = cells
            .map(|(label, rest)| format!("{rest},{label}"))
            .collect();
        let (last, _) = read(&turned.join("\n"), &image("1x2")).unwrap();
        assert_eq!(first, last, "{text}");
    }
}

#[test]
fn sixteen_bits_are_told_by_the_largest_pixel() {
    let (data, notices) = read("label,a\nx,256\ny,65535\n", &image("1x1")).unwrap();
    assert_eq!(data.features(), [256.0 / 65535.0, 1.0]);
    assert!(notices[0].to_string().contains("divided by 65535"));
    let (data, notices) = read("label,a\nx,0.5\ny,1\n", &image("1x1")).unwrap();
    assert_eq!((data.features(), notices), (&[0.5, 1.0][..], vec![]));
    let text = "label,0,1,2,3,4,5\n7,1,2,3,4,5,255\n8,0,0,0,0,0,0\n";
    let (data, _) = read(text, &image("3x1x2")).unwrap();
    assert_eq!(data.schema().shape().to_string(), "3×1×2 pixels");
    assert_eq!(data.row(0)[5], 1.0);
}

#[test]
fn what_are_no_images_of_that_size_is_an_error() {
    for (text, expected) in [
        (
            "label,a,b,c\nx,1,2,3\ny,1,2,3\n",
            "has 3 columns beside the label where 1×1×2 pixels take 2",
        ),
        (
            "label,a\nx,1\ny,1\n",
            "has 1 columns beside the label where",
        ),
        ("label,a,b\nx,1,-2\ny,1,2\n", "column `b`: `-2` is no pixel"),
        (
            "label,a,b\nx,1,2\ny,70000,2\n",
            "column `a`: `70000` is no pixel",
        ),
        ("label,a,b\nx,1,\ny,1,2\n", "column `b`: `` is not a number"),
        (
            "label,a,b\nx,1,u\ny,1,2\n",
            "column `b`: `u` is not a number",
        ),
        (
            "0,5,0\n1,6,1\n",
            "the label may be in the first column as well as in the last",
        ),
        ("label,a,b\nx,1,2\nx,1,2\n", "only the class `x`"),
    ] {
        let error = read(text, &image("1x2")).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn a_scaling_leaves_categories_and_fills_gaps() {
    let text = rows("age,ward,ill", &["1,icu,0", "NA,med,1", "3,icu,1"], 2);
    let (data, _) = alone(&text);
    assert_eq!(data.schema().columns()[0].missing(), Missing::Indicator);
    let scaling = crate::Scaling::fit(&data).unwrap();
    assert_eq!(scaling.mean(), [2.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(scaling.deviation(), [1.0; 5]);
    let scaled = scaling.apply(data).unwrap();
    assert_eq!(scaled.row(1), [0.0, 1.0, 0.0, 1.0, 0.0]);
}

/// What is read fits its own schema, and is the same then.
fn fits_itself(bytes: &[u8], label: Option<&str>) {
    let path = Path::new("test.csv");
    let alone = LoadOptions {
        label: label.map(str::to_owned),
        ..LoadOptions::default()
    };
    let mut notices = Vec::new();
    let Ok(data) = load(path, bytes, &alone, &mut notices) else {
        return;
    };
    let again = load(path, bytes, &agreed(data.schema()), &mut notices).unwrap();
    assert_eq!(again.labels(), data.labels());
    let bits = |data: &Dataset| {
        data.features()
            .iter()
            .map(|f| f.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&again), bits(&data));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_rejected(bytes: Vec<u8>) {
        fits_itself(&bytes, None);
        fits_itself(&bytes, Some("a"));
    }

    #[test]
    fn anything_like_a_table_is_read_or_rejected(text in "[ab0-9.,;e\"\r\n -]{0,200}") {
        fits_itself(text.as_bytes(), None);
        fits_itself(text.as_bytes(), Some("a"));
    }

    #[test]
    fn anything_with_a_header_is_read_or_rejected(
        header in "[ab]?,[bc]?,[cd]?\n",
        rows in "([0-9]{0,2}(NA)?,[xy0-9]{0,1},[01](\\.0)?\n){0,12}",
    ) {
        fits_itself([header, rows].concat().as_bytes(), None);
    }
}
