//! What the cells of a table are, column by column, before anything is agreed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use super::cell::{self, Decimal};
use super::{CellFault, Counted, FaultKind, cells};
use crate::error::{excerpt, list};
use crate::{Column, ColumnKind, Error, LoadOptions, Missing, Notice, Quantity, Schema, Target};

use super::header::{Header, folded};

/// The most values of a column that are told apart as categories.
const MAX_CATEGORIES: usize = 64;

/// So many classes may come from as few examples.
const FEW_CLASSES: usize = 10;

/// Rows from which on a column that counts them, or has another text in each, is an id.
const FEW_ROWS: u64 = 5;

/// What is known of a table after all its rows.
pub(crate) struct Profile<'a> {
    path: &'a Path,
    header: &'a Header,
    label: usize,
    decimal: Decimal,
    columns: Vec<ColumnProfile>,
    /// Rows with a label.
    rows: u64,
    /// How often each label comes, until they are too many to be classes.
    classes: HashMap<String, u64>,
    /// The first row whose label is one too many.
    too_many: Option<u64>,
}

/// What is known of a column.
#[derive(Default)]
struct ColumnProfile {
    missing: u64,
    missing_numbers: u64,
    numbers: u64,
    booleans: u64,
    dates: u64,
    /// The first cell that is neither a number nor missing, and its line.
    other: Option<(u64, String)>,
    /// A number has a fraction.
    has_fractions: bool,
    /// How often each value comes, unless there are too many.
    values: Values,
    /// Whether a value came twice.
    repetition: Repetition,
    /// The last number, as long as each was the one before and 1.
    counting: Counting,
}

/// Values and how often each comes, until they are too many to be categories.
enum Values {
    Few(BTreeMap<String, u64>),
    Many,
}

impl Default for Values {
    fn default() -> Self {
        Self::Few(BTreeMap::new())
    }
}

/// Whether a value of a column came twice, as far as that tells of ids.
enum Repetition {
    /// Not among these, by their hashes.
    None(HashSet<u64>),
    Some,
}

impl Default for Repetition {
    fn default() -> Self {
        Self::None(HashSet::new())
    }
}

impl Repetition {
    /// From so many on, none is expected any more.
    const MOST: usize = 1 << 20;

    fn add(&mut self, cell: &str) {
        if let Self::None(seen) = self
            && seen.len() < Self::MOST
        {
            let mut hasher = DefaultHasher::new();
            cell.hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                *self = Self::Some;
            }
        }
    }
}

#[derive(Default)]
enum Counting {
    #[default]
    NotBegun,
    At(f64),
    Broken,
}

impl ColumnProfile {
    /// Whether all is known of it that numbers tell, but for fractions.
    fn is_settled(&self) -> bool {
        matches!(self.values, Values::Many)
            && matches!(self.repetition, Repetition::Some)
            && matches!(self.counting, Counting::Broken)
    }

    fn add(&mut self, line: u64, cell: &str, decimal: Decimal) {
        // Of most columns one more number tells nothing but that it is one.
        if decimal == Decimal::Point && self.is_settled() {
            let is_known = match self.has_fractions {
                true => cell::is_plain_number(cell),
                false => cell::is_plain_integer(cell),
            };
            if is_known {
                self.numbers += 1;
                return;
            }
        }
        if cell::is_missing_number(cell) {
            self.missing_numbers += 1;
            if cell::is_missing(cell) {
                self.missing += 1;
                return;
            }
        }
        let value = cell::number(cell, decimal);
        match value {
            Some(_) => self.numbers += 1,
            None if cell::is_missing_number(cell) => {}
            None => {
                self.booleans += u64::from(cell::boolean(cell).is_some());
                self.dates += u64::from(cell::date(cell).is_some());
                self.other.get_or_insert_with(|| (line, excerpt(cell)));
            }
        }
        self.counting = match (&self.counting, value) {
            (Counting::NotBegun, Some(value)) if value.fract() == 0.0 => Counting::At(value),
            (Counting::At(last), Some(value)) if value == last + 1.0 => Counting::At(value),
            _ => Counting::Broken,
        };
        if let Values::Few(values) = &mut self.values {
            match values.get_mut(cell) {
                Some(count) => *count += 1,
                None => drop(values.insert(cell.to_owned(), 1)),
            }
            if values.len() > MAX_CATEGORIES {
                self.values = Values::Many;
            }
        }
        // Measurements may well be all different.
        self.has_fractions |= value.is_some_and(|value| value.fract() != 0.0);
        match self.has_fractions {
            true => self.repetition = Repetition::Some,
            false => self.repetition.add(cell),
        }
    }

    /// Returns whether all `rows` are numbers, or lack one.
    fn are_numbers(&self, rows: u64) -> bool {
        self.numbers + self.missing_numbers == rows
    }

    /// Returns whether it does no more than count the `rows`.
    fn counts(&self, rows: u64) -> bool {
        matches!(self.counting, Counting::At(_)) && rows >= FEW_ROWS
    }

    /// Returns whether each of the rows that have a value has another one.
    fn differs(&self, rows: u64) -> bool {
        matches!(self.repetition, Repetition::None(_)) && rows >= FEW_ROWS
    }
}

/// What becomes of a column.
enum Use {
    Feature(Column),
    /// It is no feature.
    Left(Notice),
}

impl<'a> Profile<'a> {
    /// Returns a profile without rows. `label` is the place of the label's column.
    pub(crate) fn new(path: &'a Path, header: &'a Header, label: usize, decimal: Decimal) -> Self {
        let columns = (0..header.width).map(|_| ColumnProfile::default());
        Self {
            path,
            header,
            label,
            decimal,
            columns: columns.collect(),
            rows: 0,
            classes: HashMap::new(),
            too_many: None,
        }
    }

    /// Returns a profile of the label alone, without rows.
    pub(crate) fn of_label(
        path: &'a Path,
        header: &'a Header,
        label: usize,
        decimal: Decimal,
    ) -> Self {
        let columns = Vec::new();
        Self {
            columns,
            ..Self::new(path, header, label, decimal)
        }
    }

    /// Takes a row up.
    ///
    /// # Errors
    ///
    /// The row is too long or too short.
    pub(crate) fn add(&mut self, line: u64, row: &[&str]) -> Result<(), Error> {
        cells(self.path, line, row, self.header.width)?;
        let label = row.get(self.label).copied().unwrap_or_default();
        // Nobody learns from a row without a label.
        if cell::is_missing(label) {
            return Ok(());
        }
        self.rows += 1;
        match self.classes.get_mut(label) {
            // A class's own name is the name that it has.
            Some(count) if self.decimal == Decimal::Point => *count += 1,
            _ if self.too_many.is_none() => {
                let class = cell::class(label, self.decimal);
                *self.classes.entry(class).or_default() += 1;
                self.too_many = (self.classes.len() > Schema::MAX_CLASSES).then_some(line);
            }
            _ => {}
        }
        for (profile, cell) in self.columns.iter_mut().zip(row.iter().copied()) {
            profile.add(line, cell, self.decimal);
        }
        Ok(())
    }

    /// Returns the schema that fits the rows, and what their owner should know of it.
    ///
    /// # Errors
    ///
    /// The label's column holds neither classes nor a quantity, or a column no features that it
    /// says what they are.
    pub(crate) fn schema(
        &self,
        options: &LoadOptions,
        notices: &mut Vec<Notice>,
    ) -> Result<Schema, Error> {
        let target = match self.is_quantity(options.quantity)? {
            true => {
                let label = self.header.called(self.label);
                notices.push(Notice::Quantity { label });
                Target::Quantity(Quantity::default())
            }
            false => Target::Classes(self.classes(notices)?),
        };
        let group = options.group.as_deref();
        let group = group.and_then(|name| self.header.find(name));
        let mut columns = Vec::new();
        let mut faults = Vec::new();
        for (at, profile) in self.columns.iter().enumerate() {
            let is_left = |name: &String| is_left_out(self.header, at, name);
            if at == self.label || Some(at) == group || options.leave_out.iter().any(is_left) {
                continue;
            }
            match self.column(at, profile, notices)? {
                Ok(Use::Feature(column)) => columns.push(column),
                Ok(Use::Left(notice)) => notices.push(notice),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(Error::Cells {
                path: self.path.into(),
                faults,
            });
        }
        let label = self
            .header
            .names
            .as_ref()
            .map(|names| names[self.label].clone());
        if columns.is_empty() {
            return Err(Error::NoFeatures {
                path: self.path.into(),
            });
        }
        let group = group.zip(self.header.names.as_ref());
        let group = group.map(|(at, names)| names[at].clone());
        Schema::table(columns, label, target)?.grouped_by(group)
    }

    /// Returns whether the labels are values of a quantity: if it `is_said`, or if they are numbers
    /// that differ too much to be classes, and tell more than rows apart.
    fn is_quantity(&self, is_said: bool) -> Result<bool, Error> {
        let labels = &self.columns[self.label];
        let is_numeric = labels.numbers > 0 && labels.are_numbers(self.rows);
        if is_said && !is_numeric {
            let (row, found) = labels.other.clone().unwrap_or_default();
            let fault = CellFault {
                column: self.header.called(self.label),
                kind: FaultKind::NotANumber,
                row,
                found,
                cells: self.rows - labels.numbers - labels.missing_numbers,
                counted: Counted::default(),
            };
            return Err(Error::Cells {
                path: self.path.into(),
                faults: vec![fault],
            });
        }
        let name = self.header.names.as_ref().map(|names| &names[self.label]);
        let tells_rows_apart = labels.counts(self.rows)
            || labels.differs(self.rows) && name.is_some_and(|name| is_id_name(name));
        let is_varied =
            self.classes.len() > FEW_CLASSES && (labels.has_fractions || self.are_many_classes());
        Ok(is_said || is_numeric && is_varied && !tells_rows_apart)
    }

    /// Returns whether there are too many labels for the rows to be classes.
    fn are_many_classes(&self) -> bool {
        self.classes.len() > FEW_CLASSES && (self.classes.len() * 4) as u64 > self.rows
    }

    /// Returns the classes, sorted as numbers if all are numbers and as text otherwise.
    ///
    /// # Errors
    ///
    /// The label's column holds no classes.
    pub(crate) fn classes(&self, notices: &mut Vec<Notice>) -> Result<Vec<String>, Error> {
        let path = || self.path.to_path_buf();
        if let Some(row) = self.too_many {
            return Err(Error::TooManyLabels { path: path(), row });
        }
        let mut classes: Vec<&String> = self.classes.keys().collect();
        classes.sort();
        let number = |name: &&String| cell::number(name, Decimal::Point);
        let numbers: Option<Vec<f64>> = classes.iter().map(number).collect();
        if let Some(numbers) = numbers {
            let mut numbered: Vec<_> = numbers.into_iter().zip(classes).collect();
            numbered.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            classes = numbered.into_iter().map(|(_, name)| name).collect();
        }
        match classes[..] {
            [] => return Err(Error::Empty { path: path() }),
            [class] => {
                return Err(Error::OneClass {
                    path: path(),
                    class: excerpt(class),
                });
            }
            _ => {}
        }
        if self.are_many_classes() {
            return Err(Error::NoClasses {
                path: path(),
                label: self.header.called(self.label),
                classes: list(&classes),
                found: classes.len(),
                rows: self.rows,
            });
        }
        let mut lower: Vec<_> = classes
            .iter()
            .map(|class| (class.to_lowercase(), class))
            .collect();
        lower.sort();
        for pair in lower.windows(2) {
            let [(one, first), (other, second)] = pair else {
                continue;
            };
            if one == other {
                notices.push(Notice::LikeClasses {
                    one: excerpt(first),
                    other: excerpt(second),
                });
            }
        }
        Ok(classes.into_iter().cloned().collect())
    }

    /// Says what becomes of a column, or what is wrong with its cells.
    fn column(
        &self,
        at: usize,
        profile: &ColumnProfile,
        notices: &mut Vec<Notice>,
    ) -> Result<Result<Use, CellFault>, Error> {
        let called = || self.header.called(at);
        let name = self.header.names.as_ref().map(|names| names[at].clone());
        let (missing, present) = (profile.missing, self.rows - profile.missing);
        if present == 0 {
            return Ok(Ok(Use::Left(Notice::Empty { column: called() })));
        }
        let is_numeric = profile.numbers > 0 && profile.are_numbers(self.rows);
        // A few words among numbers are faults, neither ids nor categories.
        let is_mostly_numbers = profile.numbers * 2 > present;
        let (counts, differs) = (profile.counts(self.rows), profile.differs(present));
        let is_id = match &name {
            None => false,
            Some(name) => {
                is_numeric && is_id_name(name) && (counts || differs)
                    || !is_mostly_numbers && differs && profile.dates < present
            }
        };
        if is_id {
            return Ok(Ok(Use::Left(Notice::Id { column: called() })));
        }
        if name.as_deref().is_some_and(is_owner_name) {
            return Ok(Ok(Use::Left(Notice::Owner { column: called() })));
        }
        if name.as_ref().is_some_and(String::is_empty) {
            return Err(Error::NamelessColumn {
                path: self.path.into(),
                column: at + 1,
            });
        }
        let name = name.unwrap_or_default();
        let (kind, gaps) = if is_numeric {
            let kind = ColumnKind::Number {
                unit: None,
                range: None,
            };
            (kind, profile.missing_numbers)
        } else if profile.booleans == present {
            (ColumnKind::Boolean, missing)
        } else if profile.dates == present {
            (ColumnKind::Date, missing)
        } else {
            match self.category(at, profile, present) {
                Ok(Some(kind)) => (kind, missing),
                Ok(None) => return Ok(Ok(Use::Left(Notice::Constant { column: called() }))),
                Err(fault) => return Ok(Err(fault)),
            }
        };
        let is_constant = matches!(&profile.values, Values::Few(values) if values.len() == 1);
        if is_constant && gaps == 0 && self.rows > 1 && is_numeric && !name.is_empty() {
            notices.push(Notice::Constant { column: called() });
        }
        let missing = match gaps {
            0 => Missing::Refuse,
            cells => {
                let column = called();
                notices.push(Notice::Gaps { column, cells });
                Missing::Indicator
            }
        };
        Ok(Ok(Use::Feature(Column::new(name, kind, missing)?)))
    }

    /// Returns the categories of a column of text, or nothing if it has a single value.
    fn category(
        &self,
        at: usize,
        profile: &ColumnProfile,
        present: u64,
    ) -> Result<Option<ColumnKind>, CellFault> {
        let (row, found) = profile.other.clone().unwrap_or_default();
        let fault = |kind| CellFault {
            column: self.header.called(at),
            kind,
            row,
            counted: Counted::default(),
            found: found.clone(),
            cells: present - profile.numbers,
        };
        if profile.numbers * 2 > present {
            return Err(fault(FaultKind::NotANumber));
        }
        let Values::Few(values) = &profile.values else {
            return Err(fault(FaultKind::ManyTexts));
        };
        let mut seen = HashSet::new();
        let distinct = values.keys().filter(|value| seen.insert(folded(value)));
        let distinct: Vec<String> = distinct.cloned().collect();
        if (distinct.len() * 2) as u64 > present && present >= FEW_ROWS {
            return Err(fault(FaultKind::ManyTexts));
        }
        let is_category = distinct.len() > 1;
        Ok(is_category.then_some(ColumnKind::Category { values: distinct }))
    }
}

/// Whether a column goes by this name, or by this place.
pub(crate) fn is_left_out(header: &Header, at: usize, name: &str) -> bool {
    header.find(name) == Some(at) || name.parse() == Ok(at + 1) && header.find(name).is_none()
}

/// Whether people give this name to what says whose a row is.
fn is_owner_name(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    ["patient", "subject", "person"].contains(&name.as_str())
        || ["_id", "-id", " id", ".id"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Whether people give this name to what tells rows apart.
fn is_id_name(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    let whole = [
        "", "id", "index", "idx", "nr", "no", "key", "row", "rownames",
    ];
    let ends = ["_id", "-id", " id", ".id", "_nr", " nr", "_no", " no"];
    whole.contains(&name.as_str())
        || ends.iter().any(|end| name.ends_with(end))
        || name.starts_with("id_")
        || name.starts_with("unnamed")
}
