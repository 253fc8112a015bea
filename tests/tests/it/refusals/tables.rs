//! Broken, odd and hostile tables: what `fl-node inspect` understands or refuses, and what it says.

use std::fs;

use fl_tests::deployed::{Process, fl_node};

/// What becomes of a table.
enum Outcome {
    /// It is read, and this is said of it.
    Read(&'static [&'static str]),
    /// It is refused, with these words.
    Refused(&'static [&'static str]),
}

use Outcome::{Read, Refused};

/// Rows of a sound table of two classes, to be put below a header or among other rows.
const ROWS: &str = "41,1.5,no\n52,2.5,yes\n47,1.0,no\n33,3.5,yes\n61,2.0,no\n58,0.5,yes\n";

/// Name of a case, the table with `{rows}` for [`ROWS`], flags, and what becomes of it.
const TEXTS: &[(&str, &str, &[&str], Outcome)] = &[
    (
        "sound",
        "age,dose,ill\n{rows}",
        &[],
        Read(&["6 rows of 2 columns; label ill: no 3, yes 3"]),
    ),
    (
        "no header",
        "{rows}",
        &[],
        Read(&["6 rows of 2 columns; label the last column"]),
    ),
    (
        "mark",
        "\u{feff}age,dose,ill\n{rows}",
        &[],
        Read(&["label ill: no 3, yes 3"]),
    ),
    (
        "blank lines",
        "\n\nage,dose,ill\n\n{rows}\n\n",
        &[],
        Read(&["6 rows"]),
    ),
    (
        "spaces",
        " age , dose , ill \n 41 , 1.5 , no \n 52 , 2.5 , yes \n",
        &[],
        Read(&["2 rows of 2"]),
    ),
    (
        "quotes",
        "\"age\",\"dose\",\"ill\"\n\"41\",\"1.5\",\"no\"\n\"52\",\"2.5\",\"yes\"\n",
        &[],
        Read(&["2 rows"]),
    ),
    (
        "semicolons",
        "age;dose;ill\n41;1,5;no\n52;2,25;yes\n",
        &[],
        Read(&["2 rows of 2", "';'", "','"]),
    ),
    (
        "tabs",
        "age\tdose\till\n41\t1.5\tno\n52\t2.5\tyes\n",
        &[],
        Read(&["2 rows of 2", "'\\t'"]),
    ),
    (
        "bars",
        "age|dose|ill\n41|1.5|no\n52|2.5|yes\n",
        &[],
        Read(&["2 rows of 2", "'|'"]),
    ),
    (
        "declared",
        "sep=;\nage;dose;ill\n41;1,5;no\n52;2,5;yes\n",
        &[],
        Read(&["2 rows of 2"]),
    ),
    (
        "thousands",
        "pay,ill\n\"1,200\",no\n\"12,345.5\",yes\n",
        &[],
        Read(&["1200 to 12345.5"]),
    ),
    (
        "thousands with points",
        "pay;ill\n1.200;no\n12.345,5;yes\n",
        &[],
        Read(&["1200 to 12345.5"]),
    ),
    (
        "carriage returns",
        "age,dose,ill\r41,1.5,no\r52,2.5,yes\r",
        &[],
        Read(&["2 rows of 2"]),
    ),
    (
        "a comma too much",
        "age,dose,ill,\n{rows}",
        &[],
        Read(&["label ill: no 3, yes 3"]),
    ),
    (
        "commas too many",
        "age,dose,ill,,\n41,1,no,,\n52,2,yes,,\n,,,,\n",
        &[],
        Read(&["2 rows of 2"]),
    ),
    (
        "row names",
        ",age,ill\n0,41,no\n1,52,yes\n2,47,no\n3,33,yes\n4,61,no\n",
        &[],
        Read(&["column 1 is not used"]),
    ),
    (
        "row names of R",
        "age,ill\nr1,41,no\nr2,52,yes\nr3,47,no\nr4,33,yes\nr5,61,no\n",
        &[],
        Read(&["column 1 is not used"]),
    ),
    (
        "an id",
        "id,age,ill\n7,41,no\n8,52,yes\n9,47,no\n10,33,yes\n11,61,no\n",
        &[],
        Read(&["column `id` is not used"]),
    ),
    (
        "an empty column",
        "age,x,ill\n41,,no\n52,,yes\n",
        &[],
        Read(&["column `x` is not used: it is empty"]),
    ),
    (
        "a constant",
        "age,x,ill\n41,7,no\n52,7,yes\n",
        &[],
        Read(&["column `x` has the same value"]),
    ),
    (
        "booleans",
        "age,smoker,ill\n41,True,no\n52,FALSE,yes\n",
        &[],
        Read(&["boolean   1 of 2 true"]),
    ),
    (
        "days",
        "seen,ill\n2024-02-29,no\n01.03.2024,yes\n",
        &[],
        Read(&["date"]),
    ),
    (
        "categories",
        "ward,ill\nicu,no\nmed,yes\nicu,no\nmed,yes\nICU,no\n",
        &[],
        Read(&["category"]),
    ),
    (
        "gaps",
        "age,ill\n41,no\nNA,yes\n,no\n?,yes\n52,no\n",
        &[],
        Read(&["3 cells without a value"]),
    ),
    (
        "gaps in labels",
        "age,ill\n41,no\n52,yes\n47,NA\n33,\n",
        &[],
        Read(&["2 rows without a label", "line 4"]),
    ),
    (
        "spellings of numbers",
        "age,ill\n41,0\n52,0.0\n47,1\n33,1.0\n",
        &[],
        Read(&["ill: 0 2, 1 2"]),
    ),
    (
        "spellings of words",
        "age,ill\n41,no\n52,No\n47,yes\n",
        &[],
        Read(&["differ in case only"]),
    ),
    (
        "names that are numbers",
        "0,1,2,ill\n5,6,7,no\n8,9,4,yes\n",
        &[],
        Read(&["2 rows of 3", "first row is taken"]),
    ),
    (
        "a header by word",
        "1,2,3\n5,6,0\n8,9,1\n",
        &["--header", "true"],
        Read(&["2 rows of 2"]),
    ),
    (
        "no header by word",
        "icu,f,no\nmed,m,yes\n",
        &["--header", "false"],
        Read(&["2 rows of 2 columns; label the last column"]),
    ),
    (
        "left out",
        "age,note,ill\n41,x,no\n52,y,yes\n",
        &["--leave-out", "note"],
        Read(&["2 rows of 1 column"]),
    ),
    (
        "a label in front",
        "ill,age\nno,41\nyes,52\n",
        &["--label", "ill"],
        Read(&["label ill: no 1, yes 1"]),
    ),
    (
        "another label's case",
        "ILL,age\nno,41\nyes,52\n",
        &["--label", "ill"],
        Read(&["label ILL: no 1, yes 1"]),
    ),
    ("empty", "", &[], Refused(&["holds no examples"])),
    (
        "names alone",
        "age,dose,ill\n",
        &[],
        Refused(&["holds no examples"]),
    ),
    (
        "a single column",
        "ill\nno\nyes\n",
        &[],
        Refused(&["has a single column"]),
    ),
    (
        "one class",
        "age,ill\n41,no\n52,no\n",
        &[],
        Refused(&["only the class `no`"]),
    ),
    (
        "names that are one",
        "age,age,ill\n41,1,no\n52,2,yes\n",
        &[],
        Refused(&["two columns of the name `age`"]),
    ),
    (
        "the label's name twice",
        "ill,age,ill\nno,41,no\nyes,52,yes\n",
        &["--label", "ill"],
        Refused(&["two columns of the name `ill`"]),
    ),
    (
        "no name",
        "age,,ill\n41,1.5,no\n52,2.5,yes\n",
        &[],
        Refused(&["column 2 has no name", "leave the column out"]),
    ),
    (
        "no such label",
        "age,ill\n41,no\n52,yes\n",
        &["--label", "dead"],
        Refused(&["no column `dead`", "age, ill"]),
    ),
    (
        "a label without a header",
        "{rows}",
        &["--label", "ill"],
        Refused(&["has no header"]),
    ),
    (
        "a short row",
        "age,dose,ill\n{rows}41,no\n",
        &[],
        Refused(&["line 8: 2 cells", "complete the row"]),
    ),
    (
        "a long row",
        "age,dose,ill\n{rows}41,1,no,7\n",
        &[],
        Refused(&["line 8: 4 cells"]),
    ),
    (
        "a word among numbers",
        "age,dose,ill\n{rows}x,1,no\ny,1,no\n",
        &[],
        Refused(&[
            "line 8, column `age`: `x` is not a number",
            "(2 such cells)",
        ]),
    ),
    (
        "infinite",
        "age,ill\n41,no\ninf,yes\n",
        &[],
        Refused(&["line 3, column `age`: `inf` is not finite"]),
    ),
    (
        "too large",
        "age,ill\n41,no\n1e39,yes\n",
        &[],
        Refused(&["`1e39` is not finite as a 32-bit float"]),
    ),
    (
        "mixed marks",
        "age;dose;ill\n41;1,5;no\n52;2,5;yes\n33;3.25;no\n",
        &[],
        Refused(&["`3.25` is not a number"]),
    ),
    (
        "control characters",
        "a\u{1b}[31m,ill\n41,no\n\u{7}x\u{1b}[2J,yes\n47,no\n",
        &[],
        Refused(&["is not a number"]),
    ),
];

#[test]
fn tables_are_read_or_refused_in_words_that_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (place, (name, text, flags, outcome)) in TEXTS.iter().enumerate() {
        let file = format!("{place}.csv");
        fs::write(folder.path().join(&file), text.replace("{rows}", ROWS)).unwrap();
        assert_outcome(&folder, name, &file, flags, outcome);
    }
}

#[test]
fn bytes_that_are_no_table_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let utf_16: Vec<u8> = "\u{feff}age,ill\n41,no\n52,yes\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let many: Vec<_> = (0..70_000).map(|row| format!("{row},c{row}\n")).collect();
    let wide = [vec!["1"; 100_000].join(","), "\n".to_owned()].concat();
    let bytes: [(&str, Vec<u8>, Outcome); 7] = [
        ("UTF-16", utf_16, Read(&["2 rows", "the text is UTF-16"])),
        (
            "Latin-1",
            b"age,ill\n41,caf\xe9\n".to_vec(),
            Refused(&["line 2: the text is not UTF-8"]),
        ),
        (
            "half a character",
            b"\xff\xfea\0,\0i".to_vec(),
            Refused(&["the text is not UTF-8"]),
        ),
        ("zeros", vec![0; 4096], Refused(&["has a single column"])),
        (
            "an open quote",
            b"age,ill\n41,\"no\n52,yes\n".to_vec(),
            Refused(&["only the class"]),
        ),
        (
            "as many classes as rows",
            many.concat().into_bytes(),
            Refused(&["more than 65536"]),
        ),
        (
            "a wide row alone",
            wide.into_bytes(),
            Refused(&["only the class"]),
        ),
    ];
    for (name, bytes, outcome) in bytes {
        let file = "bytes.csv";
        fs::write(folder.path().join(file), bytes).unwrap();
        assert_outcome(&folder, name, file, &[], &outcome);
    }
}

fn assert_outcome(
    folder: &tempfile::TempDir,
    name: &str,
    file: &str,
    flags: &[&str],
    outcome: &Outcome,
) {
    println!("{name}");
    let schema = folder.path().join("schema.toml");
    let mut command = fl_node();
    command
        .current_dir(folder)
        .args(["inspect", file])
        .args(flags);
    let ended = Process::start("inspect", command).ended();
    match outcome {
        Read(parts) => {
            let text = ended.succeeded().text();
            for part in *parts {
                assert!(text.contains(part), "{name}: no {part:?} in {text}");
            }
            fs::remove_file(schema).unwrap();
        }
        Refused(parts) => {
            let text = ended.refused(parts).text();
            assert!(text.len() < 4096, "{name}: {text}");
            assert!(
                !text.contains('\u{1b}') && !text.contains('\u{7}'),
                "{name}: {text:?}"
            );
            assert!(!schema.exists(), "{name}");
        }
    }
}
