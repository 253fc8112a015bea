//! CSV: a row an example, one column the label, the others numbers.

use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::error::list;
use crate::records::{Classes, Records};
use crate::{Error, Shape};

/// Reads the CSV text `bytes`, called `path` in errors.
///
/// With a `label`, the first row is a header and the label column is the one of that name. Without,
/// the last column is the label, and the first row is a header if no cell before it is a number.
pub(crate) fn parse(path: &Path, bytes: &[u8], label: Option<&str>) -> Result<Records, Error> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(bytes);
    let mut record = StringRecord::new();
    let mut read = |record: &mut StringRecord| {
        reader.read_record(record).map_err(|source| Error::Csv {
            path: path.into(),
            source,
        })
    };

    if !read(&mut record)? {
        return Err(Error::Empty { path: path.into() });
    }
    let header = label.is_some() || is_header(&record);
    let mut table = Table::new(path, &record, header, label)?;
    let mut more = if header { read(&mut record)? } else { true };
    while more {
        table.push(&record, line(bytes, &record))?;
        more = read(&mut record)?;
    }
    table.finish()
}

fn is_header(first: &StringRecord) -> bool {
    first
        .iter()
        .take(first.len().saturating_sub(1))
        .all(|cell| cell.parse::<f64>().is_err())
}

/// The line of `bytes` on which `record` begins.
///
/// The reader's own position is before any blank lines, and before the `\n` of a `\r\n`.
fn line(bytes: &[u8], record: &StringRecord) -> u64 {
    let (line, byte) = record
        .position()
        .map_or((1, 0), |start| (start.line(), start.byte()));
    let rest = usize::try_from(byte)
        .ok()
        .and_then(|byte| bytes.get(byte..))
        .unwrap_or_default();
    let breaks = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    line + breaks.filter(|&&byte| byte == b'\n').count() as u64
}

/// The records read so far.
struct Table {
    path: PathBuf,
    /// Names of the feature columns, or nothing.
    columns: Vec<String>,
    /// Cells in a row.
    width: usize,
    /// The label's cell.
    label: usize,
    features: Vec<f32>,
    classes: Classes,
    labels: Vec<u32>,
}

impl Table {
    fn new(
        path: &Path,
        first: &StringRecord,
        header: bool,
        label: Option<&str>,
    ) -> Result<Self, Error> {
        let path = path.to_owned();
        let width = first.len();
        if width < 2 {
            return Err(Error::NoFeatures { path });
        }
        let label = match label {
            None => width - 1,
            Some(label) => match first.iter().position(|name| name == label) {
                Some(at) => at,
                None if first.iter().any(|cell| cell.parse::<f64>().is_ok()) => {
                    let label = label.to_owned();
                    return Err(Error::NoHeader { path, label });
                }
                None => {
                    let columns = list(first);
                    return Err(Error::LabelColumn {
                        path,
                        label: label.to_owned(),
                        columns,
                    });
                }
            },
        };
        let names = first
            .iter()
            .enumerate()
            .filter(|&(i, _)| header && i != label);
        let columns = names.map(|(_, name)| name.to_owned()).collect();
        let (features, classes, labels) = (vec![], Classes::default(), vec![]);
        Ok(Self {
            path,
            columns,
            width,
            label,
            features,
            classes,
            labels,
        })
    }

    fn push(&mut self, record: &StringRecord, row: u64) -> Result<(), Error> {
        let path = || self.path.clone();
        if record.len() != self.width {
            let (expected, found) = (self.width, record.len());
            return Err(Error::Cells {
                path: path(),
                row,
                expected,
                found,
            });
        }
        for (i, cell) in record.iter().enumerate().filter(|&(i, _)| i != self.label) {
            match cell.parse::<f32>() {
                Ok(value) if value.is_finite() => self.features.push(value),
                parsed => {
                    let (path, column) = (path(), i + 1);
                    return Err(match parsed {
                        Ok(_) => Error::NotFinite { path, row, column },
                        Err(_) => Error::NotANumber { path, row, column },
                    });
                }
            }
        }
        let label = &record[self.label];
        if label.is_empty() {
            return Err(Error::NoLabel { path: path(), row });
        }
        self.labels
            .push(self.classes.index(&self.path, label, row)?);
        Ok(())
    }

    fn finish(self) -> Result<Records, Error> {
        let Self {
            path,
            columns,
            width,
            features,
            classes,
            labels,
            ..
        } = self;
        if labels.is_empty() {
            return Err(Error::Empty { path });
        }
        let (shape, classes) = (Shape::Table { columns: width - 1 }, classes.into_vec());
        Ok(Records {
            path,
            shape,
            columns,
            features,
            classes,
            labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, label: Option<&str>) -> Result<Records, Error> {
        parse(Path::new("test.csv"), text.as_bytes(), label)
    }

    fn classes(records: &Records) -> Vec<&str> {
        records
            .classes
            .iter()
            .map(|class| class.name.as_str())
            .collect()
    }

    #[test]
    fn the_last_column_is_the_label_by_default() {
        let records = read("1, 2.5 ,yes\n-3,4e2,no\n5,6,yes\n", None).unwrap();
        assert_eq!(records.shape, Shape::Table { columns: 2 });
        assert_eq!(records.columns, Vec::<String>::new());
        assert_eq!(records.features, [1.0, 2.5, -3.0, 400.0, 5.0, 6.0]);
        assert_eq!(classes(&records), ["yes", "no"]);
        assert_eq!(records.labels, [0, 1, 0]);
    }

    #[test]
    fn a_header_is_a_first_row_without_numbers() {
        let records = read("age,dose,ill\n1,2,yes\n", None).unwrap();
        assert_eq!(records.columns, ["age", "dose"]);
        assert_eq!(records.labels, [0]);
        assert_eq!(records.classes[0].first_row, 2);
    }

    #[test]
    fn a_missing_value_in_the_first_row_does_not_make_it_a_header() {
        assert!(matches!(
            read("1,?,yes\n", None),
            Err(Error::NotANumber {
                row: 1,
                column: 2,
                ..
            })
        ));
    }

    #[test]
    fn the_label_may_be_a_named_column() {
        let records = read("\u{feff}ill,age,7\nyes,1,2\nno,3,4\n", Some("ill")).unwrap();
        assert_eq!(records.columns, ["age", "7"]);
        assert_eq!(records.features, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(classes(&records), ["yes", "no"]);
        assert!(matches!(
            read("age,ill\n1,yes\n", Some("Ill")),
            Err(Error::LabelColumn { columns, .. }) if columns == "age, ill"
        ));
        // What may be somebody's data is not told.
        let text = read("41,yes\n", Some("ill")).unwrap_err().to_string();
        assert!(text.contains("no header") && !text.contains("41"), "{text}");
    }

    #[test]
    fn quoted_line_breaks_and_blank_lines_keep_row_numbers_true() {
        for end in ["\n", "\r\n"] {
            let rows = ["1,\"a\nb\"", "", "2,c", "x,d", ""].join(end);
            let records = read(&rows, None);
            let row_5 = matches!(
                records,
                Err(Error::NotANumber {
                    row: 5,
                    column: 1,
                    ..
                })
            );
            assert!(row_5, "{records:?}");
        }
    }

    #[test]
    fn faults_name_row_and_column() {
        assert!(matches!(
            read("a,b,c\n1,2,x\n1,x\n", None),
            Err(Error::Cells {
                row: 3,
                expected: 3,
                found: 2,
                ..
            })
        ));
        for cell in ["NaN", "inf", "-Infinity", "1e39"] {
            assert!(matches!(
                read(&format!("1,2,x\n1,{cell},x\n"), None),
                Err(Error::NotFinite {
                    row: 2,
                    column: 2,
                    ..
                })
            ));
        }
        assert!(matches!(
            read("1,2,x\n1,2, \n", None),
            Err(Error::NoLabel { row: 2, .. })
        ));
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        for text in ["", "\n\n", "a,b,c\n"] {
            assert!(
                matches!(read(text, None), Err(Error::Empty { .. })),
                "{text:?}"
            );
        }
        assert!(matches!(
            read("1;2;x\n", None),
            Err(Error::NoFeatures { .. })
        ));
        let latin1 = parse(Path::new("test.csv"), b"1,2,caf\xe9\n", None);
        assert!(matches!(latin1, Err(Error::Csv { .. })));
    }

    /// What is read and has classes fits its own schema.
    fn fits_itself(bytes: &[u8], label: Option<&str>) {
        let Ok(records) = parse(Path::new("test.csv"), bytes, label) else {
            return;
        };
        let Ok(schema) = records.schema() else { return };
        let rows = records.labels.len();
        assert_eq!(records.conform(&schema).unwrap().len(), rows);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_rejected(bytes: Vec<u8>) {
            fits_itself(&bytes, None);
            fits_itself(&bytes, Some("a"));
        }

        #[test]
        fn anything_like_a_table_is_read_or_rejected(text in "[a0-9.,e\"\r\n -]{0,200}") {
            fits_itself(text.as_bytes(), None);
            fits_itself(text.as_bytes(), Some("a"));
        }
    }
}
