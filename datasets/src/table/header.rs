//! Whether a table has a row of names, and what its columns are called.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::cell::{Decimal, is_missing, number};
use super::pixels::LABELS;
use super::text::Text;
use crate::error::excerpt;
use crate::{Error, LoadOptions, Notice, Schema, Shape};

/// Rows by which a header is told from an example.
const SAMPLE: usize = 100;

/// Least rows below a first row of numbers that tell whether it is a header.
const FEW: usize = 5;

/// The columns of a file.
pub(crate) struct Header {
    /// Their names, or nothing.
    pub(crate) names: Option<Vec<String>>,
    /// Cells in a row.
    pub(crate) width: usize,
    /// The place of each name. There may be tens of thousands.
    places: HashMap<String, usize>,
    /// The place of each name as [`folded`], where there are no two.
    like_places: HashMap<String, Option<usize>>,
}

impl Header {
    /// Finds out what the columns of a table are called.
    ///
    /// # Errors
    ///
    /// The file is empty or has a single column, two columns have one name, or there is no header
    /// where one is needed.
    pub(crate) fn of(
        path: &Path,
        text: &Text<'_>,
        options: &LoadOptions,
        notices: &mut Vec<Notice>,
    ) -> Result<Self, Error> {
        let sample = sample(path, text)?;
        let Some((first, below)) = sample.split_first() else {
            return Err(Error::Empty { path: path.into() });
        };
        let decimal = text.decimal();
        let schema = options.schema.as_ref();
        let has_numbers = first.iter().any(|cell| number(cell, decimal).is_some());
        let cells: HashSet<_> = first.iter().map(|cell| folded(cell)).collect();
        let is_in = |name: &str| cells.contains(&folded(name));
        let are_images = options.image.is_some()
            || schema.is_some_and(|schema| matches!(schema.shape(), Shape::Image { .. }));
        // The other names may well be numbers.
        let is_label_known = are_images && LABELS.into_iter().any(is_in);
        let is_known = options.label.is_some()
            || is_label_known
            || schema.is_some_and(|schema| names_of(schema).any(is_in));
        let is_header = match options.header {
            Some(header) => header,
            None => is_known || looks_like_names(first, below, decimal),
        };
        if !is_header {
            return Self::sized(path, None, first.len());
        }
        if let Some(label) = options.label.as_ref()
            && !is_in(label)
        {
            return Err(match has_numbers {
                true => Error::NoHeader {
                    path: path.into(),
                    label: label.clone(),
                },
                false => Error::LabelColumn {
                    path: path.into(),
                    label: label.clone(),
                    columns: crate::error::list(first),
                },
            });
        }
        if has_numbers && !is_known && options.header.is_none() {
            notices.push(Notice::NumericHeader);
        }
        let mut names = first.clone();
        // Commas too many at the end.
        while names.last().is_some_and(String::is_empty) && ends_empty(below, names.len()) {
            names.pop();
        }
        // Some programs leave the column of row names without a name, and without its comma.
        let one_more = names.len() + 1;
        let are_longer = !below.is_empty() && below.iter().all(|row| row.len() == one_more);
        if are_longer && !ends_empty(below, one_more) {
            names.insert(0, String::new());
        }
        Self::named(path, names)
    }

    /// Returns the header of a table that says what its columns are called.
    ///
    /// # Errors
    ///
    /// There is a single column, or two of one name.
    pub(crate) fn named(path: &Path, names: Vec<String>) -> Result<Self, Error> {
        let mut seen = HashSet::new();
        if let Some(name) = names
            .iter()
            .find(|name| !name.is_empty() && !seen.insert(name.as_str()))
        {
            return Err(Error::DoubleColumn {
                path: path.into(),
                name: excerpt(name),
            });
        }
        let width = names.len();
        Self::sized(path, Some(names), width)
    }

    fn sized(path: &Path, names: Option<Vec<String>>, width: usize) -> Result<Self, Error> {
        match width {
            0 | 1 => Err(Error::NoFeatures { path: path.into() }),
            _ => {
                let (mut places, mut like_places) = (HashMap::new(), HashMap::new());
                for (place, name) in names.iter().flatten().enumerate() {
                    places.insert(name.clone(), place);
                    let like = like_places.entry(folded(name));
                    like.and_modify(|other| *other = None)
                        .or_insert(Some(place));
                }
                Ok(Self {
                    names,
                    width,
                    places,
                    like_places,
                })
            }
        }
    }

    /// Returns how a column is called in messages: its name, or its place.
    pub(crate) fn called(&self, column: usize) -> String {
        match self.names.as_ref().and_then(|names| names.get(column)) {
            Some(name) if !name.is_empty() => format!("`{}`", excerpt(name)),
            _ => (column + 1).to_string(),
        }
    }

    /// Returns the column of this name or, if there is none, the only one that differs in case or
    /// in the white space around it.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let place = self.places.get(name).copied();
        place.or_else(|| *self.like_places.get(&folded(name))?)
    }
}

/// Returns a name without what its spelling may differ in.
pub(crate) fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

fn names_of(schema: &Schema) -> impl Iterator<Item = &str> {
    let columns = schema.columns().iter().map(crate::Column::name);
    let names = columns.chain(schema.label());
    names.filter(|name| !name.is_empty())
}

fn sample(path: &Path, text: &Text<'_>) -> Result<Vec<Vec<String>>, Error> {
    let mut rows = text.rows();
    let mut sample = Vec::new();
    while sample.len() <= SAMPLE {
        let Some((_, row)) = rows.next(path)? else {
            break;
        };
        sample.push(row.into_iter().map(str::to_owned).collect());
    }
    Ok(sample)
}

/// Whether the last of so many cells is empty in all rows that have it.
fn ends_empty(rows: &[Vec<String>], width: usize) -> bool {
    let mut last = rows.iter().filter_map(|row| row.get(width - 1));
    last.all(String::is_empty)
}

/// Whether a first row is made of names rather than of an example's values.
fn looks_like_names(first: &[String], below: &[Vec<String>], decimal: Decimal) -> bool {
    let is_number = |cell: &str| number(cell, decimal).is_some();
    let Some((label, cells)) = first.split_last() else {
        return false;
    };
    if cells.iter().any(|cell| is_number(cell)) {
        let comes_again = below.iter().any(|row| row.last() == Some(label));
        return is_numbered(cells, decimal) && !is_number(label) && !comes_again
            || stands_apart(label, below, decimal);
    }
    // What comes again below is a value; what no number is where numbers are below is a name.
    let column = |at: usize| below.iter().filter_map(move |row| row.get(at));
    let has_numbers = (0..cells.len()).any(|at| column(at).any(|cell| is_number(cell)));
    let comes_again = first.iter().enumerate().any(|(at, cell)| {
        let is_value = !is_missing(cell);
        is_value && column(at).any(|below| below == cell)
    });
    has_numbers || !comes_again
}

/// Whether cells count from 0 or 1 on, as names that some programs give.
fn is_numbered(cells: &[String], decimal: Decimal) -> bool {
    let mut numbers = cells.iter().map(|cell| number(cell, decimal));
    let Some(Some(first)) = numbers.next() else {
        return false;
    };
    let counted = (1..).map(|step| Some(first + f64::from(step)));
    cells.len() > 2 && (first == 0.0 || first == 1.0) && numbers.zip(counted).all(|(a, b)| a == b)
}

/// Whether the last cell of the first row is a text that comes nowhere below, where labels are
/// numbers, or come again and again.
fn stands_apart(label: &str, below: &[Vec<String>], decimal: Decimal) -> bool {
    if is_missing(label) || number(label, decimal).is_some() || below.len() < FEW {
        return false;
    }
    let mut counts = HashMap::new();
    for row in below {
        *counts
            .entry(row.last().map_or("", String::as_str))
            .or_insert(0) += 1;
    }
    let are_numbers = counts.keys().all(|other| number(other, decimal).is_some());
    let come_again = counts.values().all(|&count| count > 1) && counts.len() > 1;
    !counts.contains_key(label) && (are_numbers || come_again)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str, options: &LoadOptions) -> Result<Header, Error> {
        let path = Path::new("test.csv");
        let mut notices = Vec::new();
        let text = Text::new(path, text.as_bytes(), &mut notices).unwrap();
        Header::of(path, &text, options, &mut notices)
    }

    fn names(text: &str) -> Option<Vec<String>> {
        header(text, &LoadOptions::default()).unwrap().names
    }

    #[test]
    fn names_are_told_from_values() {
        let labels = "x\n2,3,y\n4,5,x\n6,7,y\n8,9,x\n1,1,y\n";
        for (text, is_header) in [
            ("age,dose,ill\n1,2,yes\n".to_owned(), true),
            ("1,2,yes\n3,4,no\n".to_owned(), false),
            ("1,?,yes\n3,4,no\n".to_owned(), false),
            // Text alone: what comes again is a value.
            ("ward,sex,ill\nicu,f,yes\nmed,m,no\n".to_owned(), true),
            ("icu,f,yes\nmed,f,no\n".to_owned(), false),
            // Numbers that are names.
            ("0,1,2,ill\n5,6,7,yes\n".to_owned(), true),
            (format!("9.9,9.8,class\n1,2,{labels}"), true),
            (format!("9.9,9.8,x\n1,2,{labels}"), false),
            (
                "41,7,ill\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n9,10,0\n".to_owned(),
                true,
            ),
            ("41,7,ill\n1,2,0\n".to_owned(), false),
        ] {
            assert_eq!(names(&text).is_some(), is_header, "{text:?}");
        }
    }

    #[test]
    fn a_comma_too_much_and_row_names_without_one_are_understood() {
        let named = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        assert_eq!(names("a,b,y,\n1,2,x\n3,4,z\n"), named(&["a", "b", "y"]));
        assert_eq!(names("a,y\nr1,2,x\nr2,4,z\n"), named(&["", "a", "y"]));
        assert_eq!(names("a,y\n2,x,\n4,z,\n"), named(&["a", "y"]));
        // One row that is too long is a fault of that row.
        assert_eq!(names("a,y\n2,x\n4,z,7\n"), named(&["a", "y"]));
    }

    #[test]
    fn a_name_is_found_in_another_case_unless_there_are_two() {
        let found = header("Age,sex,SEX,ill\n1,f,m,x\n", &LoadOptions::default()).unwrap();
        assert_eq!(found.find("age"), Some(0));
        assert_eq!(found.find("sex"), Some(1));
        assert_eq!(found.find("Sex"), None);
        assert_eq!(found.find("weight"), None);
    }

    #[test]
    fn what_cannot_be_a_table_is_an_error() {
        let error = |text| header(text, &LoadOptions::default()).err().unwrap();
        assert!(matches!(error(""), Error::Empty { .. }));
        assert!(matches!(error("a\n1\n"), Error::NoFeatures { .. }));
        assert!(
            matches!(error("a,y,b,y\n1,2,3,4\n"), Error::DoubleColumn { name, .. } if name == "y")
        );
    }
}
