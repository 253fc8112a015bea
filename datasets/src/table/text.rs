//! From a file's bytes to lines: how the text is encoded, and how its cells are set apart.

use std::borrow::Cow;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::cell::{Decimal, number};
use crate::{Error, Notice};

/// Rows by which the dialect is told.
const SAMPLE: usize = 100;

/// What may stand between cells, the usual one first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The text of a table, and how to read it.
pub(crate) struct Text<'a> {
    text: Cow<'a, str>,
    /// Lines before the first row.
    skipped: u64,
    delimiter: u8,
    decimal: Decimal,
}

impl<'a> Text<'a> {
    /// Finds out how a file is written.
    ///
    /// # Errors
    ///
    /// [`Error::Encoding`] if it is neither UTF-8 nor marked as UTF-16.
    pub(crate) fn new(
        path: &Path,
        bytes: &'a [u8],
        notices: &mut Vec<Notice>,
    ) -> Result<Self, Error> {
        let mut text = decoded(path, bytes, notices)?;
        // Old spreadsheets end lines with a carriage return, which is no end to who counts lines.
        if !text.contains('\n') && text.contains('\r') {
            text = Cow::Owned(text.replace('\r', "\n"));
        }
        let declared = declared_delimiter(&text);
        if let Some((_, length)) = declared {
            text = match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[length..]),
                Cow::Owned(text) => Cow::Owned(text[length..].to_owned()),
            };
        }
        let delimiter = match declared {
            Some((delimiter, _)) => delimiter,
            None => likely_delimiter(&text),
        };
        let decimal = likely_decimal(&text, delimiter);
        if delimiter != b',' || decimal != Decimal::Point {
            notices.push(Notice::Dialect {
                delimiter: char::from(delimiter),
                decimal: match decimal {
                    Decimal::Point => '.',
                    Decimal::Comma => ',',
                },
            });
        }
        Ok(Self {
            text,
            skipped: u64::from(declared.is_some()),
            delimiter,
            decimal,
        })
    }

    /// Returns how its numbers are written.
    pub(crate) fn decimal(&self) -> Decimal {
        self.decimal
    }

    /// Returns its rows, each with the line on which it begins.
    pub(crate) fn rows(&self) -> Rows<'_> {
        // Where nothing is quoted, delimiters are delimiters, and ends of lines are ends of rows.
        let is_plain = !self.text.contains('"') && ends_alike(&self.text);
        self.rows_of(match is_plain {
            true => Source::Plain {
                rest: &self.text,
                line: 0,
            },
            false => self.quoted(),
        })
    }

    fn quoted(&self) -> Source<'_> {
        Source::Quoted {
            reader: reader(&self.text, self.delimiter),
            bytes: self.text.as_bytes(),
            record: StringRecord::new(),
        }
    }

    fn rows_of<'b>(&self, source: Source<'b>) -> Rows<'b> {
        Rows {
            source,
            delimiter: self.delimiter,
            skipped: self.skipped,
            width: 0,
        }
    }
}

/// The rows of a table, blank ones left out.
pub(crate) struct Rows<'a> {
    source: Source<'a>,
    delimiter: u8,
    skipped: u64,
    /// Cells of the row before.
    width: usize,
}

/// Where rows come from.
enum Source<'a> {
    /// From text without quotes.
    Plain {
        rest: &'a str,
        /// Lines before that.
        line: u64,
    },
    Quoted {
        reader: csv::Reader<&'a [u8]>,
        bytes: &'a [u8],
        record: StringRecord,
    },
}

impl Rows<'_> {
    /// Returns the next row, without the white space around its cells, and the line on which it
    /// begins, counted from 1.
    ///
    /// # Errors
    ///
    /// [`Error::Csv`] if the reader fails.
    pub(crate) fn next(&mut self, path: &Path) -> Result<Option<(u64, Vec<&str>)>, Error> {
        let mut cells = Vec::with_capacity(self.width);
        // Spreadsheets have rows of delimiters below their tables.
        let are_blank = |cells: &[&str]| cells.iter().all(|cell| cell.is_empty());
        let line = match &mut self.source {
            Source::Plain { rest, line } => loop {
                if rest.is_empty() {
                    return Ok(None);
                }
                let (row, below) = rest.split_once('\n').unwrap_or((rest, ""));
                *rest = below;
                *line += 1;
                cells.clear();
                split(row, self.delimiter, &mut cells);
                if !are_blank(&cells) {
                    break *line;
                }
            },
            Source::Quoted {
                reader,
                bytes,
                record,
            } => {
                loop {
                    let read = reader.read_record(record);
                    let has_row = read.map_err(|source| Error::Csv {
                        path: path.into(),
                        source,
                    })?;
                    if !has_row {
                        return Ok(None);
                    }
                    if !record.iter().all(str::is_empty) {
                        break;
                    }
                }
                let line = line(bytes, record);
                cells.extend(record.iter());
                line
            }
        };
        self.width = cells.len();
        Ok(Some((self.skipped + line, cells)))
    }
}

/// Splits a row without quotes into its cells.
fn split<'a>(row: &'a str, delimiter: u8, cells: &mut Vec<&'a str>) {
    let row = row.strip_suffix('\r').unwrap_or(row);
    let mut start = 0;
    for (at, &byte) in row.as_bytes().iter().enumerate() {
        if byte == delimiter {
            cells.push(trimmed(&row[start..at]));
            start = at + 1;
        }
    }
    cells.push(trimmed(&row[start..]));
}

fn trimmed(cell: &str) -> &str {
    match cell.as_bytes() {
        // There may be white space beyond ASCII.
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => cell,
        [only] if only.is_ascii_graphic() => cell,
        _ => cell.trim(),
    }
}

/// Whether no carriage return ends a line by itself.
fn ends_alike(text: &str) -> bool {
    let mut behind = text.split('\r').skip(1);
    behind.all(|rest| rest.starts_with('\n'))
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(delimiter)
        .from_reader(text.as_bytes())
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

/// Decodes UTF-8, or UTF-16 if a mark says so, and takes the mark off.
fn decoded<'a>(
    path: &Path,
    bytes: &'a [u8],
    notices: &mut Vec<Notice>,
) -> Result<Cow<'a, str>, Error> {
    let fault = |row: u64| Error::Encoding {
        path: path.into(),
        row,
    };
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            return match str::from_utf8(bytes) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(error) => {
                    let before = bytes.iter().take(error.valid_up_to());
                    Err(fault(
                        1 + before.filter(|&&byte| byte == b'\n').count() as u64,
                    ))
                }
            };
        }
    };
    let (pairs, odd) = bytes.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(fault(1));
    }
    let units = pairs.iter().skip(1).map(|pair| unit(*pair));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    notices.push(Notice::Utf16);
    text.map(Cow::Owned).map_err(|_| fault(1))
}

/// What a first line such as `sep=;` declares, and how long that line is.
fn declared_delimiter(text: &str) -> Option<(u8, usize)> {
    let line = text.lines().next()?;
    let (key, value) = line.trim_matches('"').split_at_checked("sep=".len())?;
    let &[delimiter] = value.as_bytes() else {
        return None;
    };
    let is_declared = key.eq_ignore_ascii_case("sep=") && delimiter.is_ascii();
    let after = text[line.len()..].find('\n').map_or(0, |end| end + 1);
    is_declared.then_some((delimiter, line.len() + after))
}

/// The delimiter that gives most rows of the beginning the same number of cells, two or more; of
/// several, the one that gives more cells, and then the usual one.
fn likely_delimiter(text: &str) -> u8 {
    let score = |delimiter: u8| {
        let mut reader = reader(text, delimiter);
        let mut record = StringRecord::new();
        let mut lengths = Vec::new();
        while lengths.len() < SAMPLE && matches!(reader.read_record(&mut record), Ok(true)) {
            lengths.push(record.len());
        }
        lengths.sort_unstable();
        let most = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
        let alike = lengths.iter().filter(|&&length| length == most).count();
        match most {
            0 | 1 => (0, 0),
            _ => (alike * 100 / lengths.len(), most),
        }
    };
    let mut best = (DELIMITERS[0], score(DELIMITERS[0]));
    for delimiter in &DELIMITERS[1..] {
        let found = score(*delimiter);
        if found > best.1 {
            best = (*delimiter, found);
        }
    }
    best.0
}

/// Commas if the cells make more numbers with them than with points. If they make as many, as
/// `1,234` does, they stand before fractions where they do not stand between cells too.
///
/// The beginning tells, unless there are commas that do not stand between cells: then all do, since
/// a number that is read by the wrong mark is a thousand times another.
fn likely_decimal(text: &str, delimiter: u8) -> Decimal {
    let is_free = delimiter != b',';
    let rows = match is_free {
        true if !text.contains(',') => return Decimal::Point,
        true => usize::MAX,
        false => SAMPLE,
    };
    let mut reader = reader(text, delimiter);
    let mut record = StringRecord::new();
    let (mut points, mut commas, mut ambiguous) = (0_u64, 0_u64, false);
    for _ in 0..rows {
        if !matches!(reader.read_record(&mut record), Ok(true)) {
            break;
        }
        for cell in &record {
            let [point, comma] = [Decimal::Point, Decimal::Comma].map(|mark| number(cell, mark));
            points += u64::from(point.is_some());
            commas += u64::from(comma.is_some());
            ambiguous |= cell.contains(',') && point.is_some() && comma.is_some();
        }
    }
    match commas > points || is_free && ambiguous && commas == points {
        true => Decimal::Comma,
        false => Decimal::Point,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Line = (u64, Vec<String>);

    fn rows(bytes: &[u8]) -> (Vec<Line>, Decimal, Vec<Notice>) {
        let path = Path::new("test.csv");
        let mut notices = Vec::new();
        let text = Text::new(path, bytes, &mut notices).unwrap();
        let mut rows = text.rows();
        let mut read = Vec::new();
        while let Some((line, row)) = rows.next(path).unwrap() {
            read.push((line, row.into_iter().map(str::to_owned).collect()));
        }
        (read, text.decimal(), notices)
    }

    #[test]
    fn the_delimiter_and_the_decimal_mark_are_found_out() {
        for (text, cells, decimal) in [
            ("a,b,c\n1.5,2,x\n", ["1.5", "2", "x"], Decimal::Point),
            ("a;b;c\n1,5;2,25;x\n", ["1,5", "2,25", "x"], Decimal::Comma),
            ("a;b;c\n1.5;2.25;x\n", ["1.5", "2.25", "x"], Decimal::Point),
            (
                "a\tb\tc\n1.5\t2\tx, y\n",
                ["1.5", "2", "x, y"],
                Decimal::Point,
            ),
            ("a|b|c\n1|2|x\n", ["1", "2", "x"], Decimal::Point),
            (
                "a,b,c\n\"1,5\",\"2,25\",x\n",
                ["1,5", "2,25", "x"],
                Decimal::Comma,
            ),
            (
                "a,b,c\n\"1,500\",2.25,x\n",
                ["1,500", "2.25", "x"],
                Decimal::Point,
            ),
        ] {
            let (rows, found, _) = rows(text.as_bytes());
            assert_eq!(rows[1].1, cells, "{text:?}");
            assert_eq!(found, decimal, "{text:?}");
        }
    }

    #[test]
    fn commas_that_do_not_stand_between_cells_stand_before_fractions() {
        let integers = "1;2;x\n".repeat(2 * SAMPLE);
        for (text, decimal) in [
            ("a;b;c\n1,234;5,678;x\n".to_owned(), Decimal::Comma),
            ("a;b;c\n0,123;0,678;x\n".to_owned(), Decimal::Comma),
            (format!("a;b;c\n{integers}1,234;2;x\n"), Decimal::Comma),
            ("a\tb\tc\n1,234.5\t12.25\tx\n".to_owned(), Decimal::Point),
            ("a,b,c\n\"1,234\",5,x\n".to_owned(), Decimal::Point),
            ("a,b,c\n\"0,123\",5,x\n".to_owned(), Decimal::Comma),
        ] {
            assert_eq!(rows(text.as_bytes()).1, decimal, "{text:?}");
        }
    }

    #[test]
    fn a_declared_delimiter_counts_and_so_does_its_line() {
        let (rows, ..) = rows(b"sep=;\r\na,b;c\r\n1;2\r\n");
        assert_eq!(rows[0], (2, vec!["a,b".to_owned(), "c".to_owned()]));
        assert_eq!(rows[1].0, 3);
    }

    proptest! {
        #[test]
        fn text_is_read_alike_as_plain_and_as_quoted(text in "[ab1.,;\t \u{a0}é\r\n]{0,60}") {
            let path = Path::new("test.csv");
            let text = Text::new(path, text.as_bytes(), &mut Vec::new()).unwrap();
            let all = |mut rows: Rows<'_>| {
                let mut read: Vec<Line> = Vec::new();
                while let Some((line, row)) = rows.next(path).unwrap() {
                    read.push((line, row.into_iter().map(str::to_owned).collect()));
                }
                read
            };
            prop_assert_eq!(all(text.rows()), all(text.rows_of(text.quoted())));
        }
    }

    #[test]
    fn rows_without_quotes_are_those_with_them() {
        let text = "a, b ,\u{a0}c\u{3000}\r\n\n1,,3\n,,\n \n4,5,ä\n7";
        let (plain, ..) = rows(text.as_bytes());
        let quoted = text.replace("4,", "\"4\",");
        assert_eq!(rows(quoted.as_bytes()).0, plain);
        assert_eq!(plain[0].1, ["a", "b", "c"]);
        let lines: Vec<_> = plain.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 6, 7]);
    }

    #[test]
    fn marks_utf_16_and_old_line_ends_are_read() {
        let plain = "a,b\nä,2\n\nc,3\n";
        let (expected, ..) = rows(plain.as_bytes());
        assert_eq!(expected[2].0, 4);
        let marked = ["\u{feff}", plain].concat();
        assert_eq!(rows(marked.as_bytes()).0, expected);
        assert_eq!(rows(plain.replace('\n', "\r").as_bytes()).0, expected);
        let units = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            marked.encode_utf16().flat_map(bytes).collect()
        };
        for bytes in [units(u16::to_le_bytes), units(u16::to_be_bytes)] {
            let (rows, _, notices) = rows(&bytes);
            assert_eq!(rows, expected);
            assert!(matches!(notices[..], [Notice::Utf16]));
        }
    }

    #[test]
    fn other_encodings_are_refused_with_their_row() {
        let path = Path::new("test.csv");
        let mut notices = Vec::new();
        for (bytes, row) in [
            (&b"a,b\n1,caf\xe9\n"[..], 2),
            (b"\xff\xfea", 1),
            (b"\xff\xfe\x00\xd8", 1),
        ] {
            let error = Text::new(path, bytes, &mut notices).err();
            assert!(matches!(error, Some(Error::Encoding { row: found, .. }) if found == row));
        }
    }
}
