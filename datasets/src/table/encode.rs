//! From the cells of a table to features and labels, by an agreed schema.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use super::cell::{self, Decimal};
use super::header::{Header, folded};
use super::profile::is_left_out;
use super::{Counted, cells, group_column};
use crate::error::{excerpt, list};
use crate::{
    Column, ColumnKind, Dataset, Error, LoadOptions, Missing, Notice, Schema, Shape, Target,
};

/// Cells of a column that are not what was agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellFault {
    /// The column's name, or its place.
    pub column: String,
    /// What is wrong.
    pub kind: FaultKind,
    /// The line or the row of the first such cell.
    pub row: u64,
    /// Which of them it is.
    pub counted: Counted,
    /// What it says.
    pub found: String,
    /// How many such cells there are.
    pub cells: u64,
}

/// What is wrong with a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// It has no value.
    Missing,
    /// It is not a number.
    NotANumber,
    /// It is infinite, or too large for `f32`.
    NotFinite,
    /// It is outside the agreed range.
    OutOfRange,
    /// It is neither true nor false.
    NotABoolean,
    /// It is not a day.
    NotADate,
    /// It is no intensity of a pixel, and of no number of bits.
    NotAnIntensity,
    /// It is no pixel, of 16 bits or less.
    NotAPixel,
    /// Its column has too many different texts.
    ManyTexts,
    /// The label is none of the classes.
    UnknownLabel,
}

impl fmt::Display for CellFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            column,
            kind,
            row,
            counted,
            found,
            cells,
        } = self;
        let place = counted.place(*row);
        write!(f, "{place}, column {column}: `{found}` ")?;
        f.write_str(match kind {
            FaultKind::Missing => {
                "is no value; fill it in, or agree on what stands in for missing values"
            }
            FaultKind::NotANumber => "is not a number; correct it, or leave the column out",
            FaultKind::NotFinite => {
                "is not finite as a 32-bit float; correct it, or change the unit"
            }
            FaultKind::OutOfRange => "is outside the agreed range; correct it, or change the unit",
            FaultKind::NotABoolean => "is neither true nor false; correct it",
            FaultKind::NotADate => "is not a day such as 2024-02-29 or 29.02.2024; correct it",
            FaultKind::NotAnIntensity => {
                "is not within 0 and 1; scale pixels to 0..1, or give the size of the images to \
                 have them scaled"
            }
            FaultKind::NotAPixel => "is no pixel; pixels are from 0 to 255, or to 65535",
            FaultKind::ManyTexts => {
                "is one of too many texts to be categories; leave the column out, or group them"
            }
            FaultKind::UnknownLabel => "is none of the agreed classes; correct it or drop the row",
        })?;
        match cells {
            1 => Ok(()),
            _ => write!(f, " ({cells} such cells)"),
        }
    }
}

/// The faults so far, by column and kind.
type Faults = BTreeMap<(usize, FaultKind), CellFault>;

/// A table that is being encoded.
pub(crate) struct Encoding<'a> {
    path: &'a Path,
    header: &'a Header,
    schema: &'a Schema,
    decimal: Decimal,
    /// For each feature column, its place in the file.
    places: Vec<(usize, Cells)>,
    /// The label's place, if labels are read.
    label_at: Option<usize>,
    /// The place of what groups rows, if that is read.
    group_at: Option<usize>,
    group_of: HashMap<String, u32>,
    groups: Vec<u32>,
    /// The classes by their names.
    classes: HashMap<String, u32>,
    /// The classes by their names in lower case, where there are no two.
    like_classes: HashMap<String, Option<u32>>,
    features: Vec<f32>,
    labels: Vec<u32>,
    quantities: Vec<f32>,
    /// Whether the images' size is given, so that numbers are pixels of 8 or 16 bits.
    has_size: bool,
    largest: Largest,
    faults: Faults,
    others: BTreeMap<usize, (String, u64)>,
    unlabelled: Option<(u64, u64)>,
}

/// The column of the label.
#[derive(Clone, Copy)]
pub(super) enum Label {
    /// It has the class of each row.
    Read(usize),
    /// Nobody asks for it, if it is there.
    Ignored(Option<usize>),
}

impl Label {
    fn place(self) -> Option<usize> {
        match self {
            Self::Read(place) => Some(place),
            Self::Ignored(place) => place,
        }
    }
}

/// How the cells of a column are read.
enum Cells {
    /// As an intensity of a pixel.
    Pixel,
    /// As agreed, with the places of a category's values by their names as [`folded`].
    Column(Column, HashMap<String, usize>),
}

impl Cells {
    fn of(column: &Column) -> Self {
        let values = match column.kind() {
            ColumnKind::Category { values } => values.as_slice(),
            _ => &[],
        };
        let places = values.iter().map(|value| folded(value)).zip(0..);
        Self::Column(column.clone(), places.collect())
    }
}

impl<'a> Encoding<'a> {
    /// Finds the columns of a schema in a file.
    ///
    /// # Errors
    ///
    /// Some are not there.
    pub(crate) fn new(
        path: &'a Path,
        header: &'a Header,
        (schema, label): (&'a Schema, Label),
        options: &LoadOptions,
        decimal: Decimal,
        notices: &mut Vec<Notice>,
    ) -> Result<Self, Error> {
        let by_name = schema.has_names() && header.names.is_some();
        let is_left = |at: usize| {
            options
                .leave_out
                .iter()
                .any(|name| is_left_out(header, at, name))
        };
        let group = schema.group().and_then(|group| header.find(group));
        let is_other = |at: usize| Some(at) != label.place() && Some(at) != group;
        let free = || (0..header.width).filter(|&at| is_other(at) && !is_left(at));
        let group_at = match (label, schema.group()) {
            (Label::Read(_), Some(name)) => {
                let missing = || group_column(path, header, name);
                Some(group.ok_or_else(missing)?)
            }
            _ => None,
        };
        let places = match by_name {
            true => named(path, header, (schema, label), notices)?,
            false => free().collect(),
        };
        let cells: Vec<Cells> = match schema.shape() {
            Shape::Image { .. } => (0..schema.shape().size()).map(|_| Cells::Pixel).collect(),
            Shape::Table { .. } => schema.columns().iter().map(Cells::of).collect(),
        };
        if places.len() != cells.len() {
            return Err(Error::ColumnCount {
                path: path.into(),
                expected: cells.len(),
                found: places.len(),
            });
        }
        if by_name {
            let used: HashSet<_> = places.iter().collect();
            let unused = free().filter(|at| !used.contains(at));
            let unused: Vec<_> = unused.map(|at| header.called(at)).collect();
            if !unused.is_empty() && options.schema.is_some() {
                let columns = list(unused);
                notices.push(Notice::Ignored { columns });
            }
        } else if schema.has_names() {
            notices.push(Notice::NoHeader);
        }
        let (mut classes, mut like_classes) = (HashMap::new(), HashMap::new());
        for (class, name) in (0..).zip(schema.classes()) {
            let name = cell::class(name, Decimal::Point);
            let like = like_classes.entry(name.to_lowercase());
            like.and_modify(|other| *other = None)
                .or_insert(Some(class));
            classes.insert(name, class);
        }
        Ok(Self {
            path,
            header,
            schema,
            decimal,
            places: places.into_iter().zip(cells).collect(),
            label_at: match label {
                Label::Read(place) => Some(place),
                Label::Ignored(_) => None,
            },
            group_at,
            group_of: HashMap::new(),
            groups: Vec::new(),
            classes,
            like_classes,
            features: Vec::new(),
            labels: Vec::new(),
            quantities: Vec::new(),
            has_size: options.image.is_some(),
            largest: Largest::default(),
            faults: Faults::new(),
            others: BTreeMap::new(),
            unlabelled: None,
        })
    }

    /// Takes a row up.
    ///
    /// # Errors
    ///
    /// It is too long or too short. Other faults show once all rows are there.
    pub(crate) fn add(&mut self, line: u64, row: &[&str]) -> Result<(), Error> {
        cells(self.path, line, row, self.header.width)?;
        if let Some(place) = self.label_at {
            let label = row.get(place).copied().unwrap_or_default();
            let is_missing = match self.schema.target() {
                Target::Classes(_) => cell::is_missing(label),
                Target::Quantity(_) => cell::is_missing_number(label),
            };
            if is_missing {
                let (rows, _) = self.unlabelled.get_or_insert((0, line));
                *rows += 1;
                return Ok(());
            }
            if let Err(kind) = self.label(label) {
                self.fault(place, kind, line, label);
            }
        }
        if let Some(place) = self.group_at {
            self.group(row.get(place).copied().unwrap_or_default());
        }
        for at in 0..self.places.len() {
            let (place, cells) = &self.places[at];
            let place = *place;
            let cell = row.get(place).copied().unwrap_or_default();
            let read = match cells {
                Cells::Pixel => {
                    let read = pixel(cell, self.decimal, &mut self.features);
                    self.largest.take(place, line, self.features.last());
                    read
                }
                Cells::Column(column, places) => {
                    encoded((column, places), cell, self.decimal, &mut self.features)
                }
            };
            match read {
                Ok(Known::Yes) => {}
                Ok(Known::No) => {
                    let other = self.others.entry(place);
                    other.or_insert_with(|| (excerpt(cell), 0)).1 += 1;
                }
                Err(kind) => self.fault(place, kind, line, cell),
            }
        }
        Ok(())
    }

    /// Returns the examples.
    ///
    /// # Errors
    ///
    /// Cells are not what was agreed, or there are no examples.
    pub(crate) fn finish(mut self, notices: &mut Vec<Notice>) -> Result<Dataset, Error> {
        self.scale(notices);
        if !self.faults.is_empty() {
            return Err(Error::Cells {
                path: self.path.into(),
                faults: self.faults.into_values().collect(),
            });
        }
        if self.features.is_empty() {
            return Err(Error::Empty {
                path: self.path.into(),
            });
        }
        if let Some((rows, first)) = self.unlabelled {
            notices.push(Notice::NoLabel {
                rows,
                first,
                counted: Counted::default(),
            });
        }
        for (place, (found, cells)) in self.others {
            let column = self.header.called(place);
            notices.push(Notice::OtherValues {
                column,
                found,
                cells,
            });
        }
        let schema = self.schema.clone();
        let data = match (self.label_at, schema.target()) {
            (None, _) => Dataset::unlabelled(schema, self.features),
            (Some(_), Target::Classes(_)) => Dataset::new(schema, self.features, self.labels),
            (Some(_), Target::Quantity(_)) => {
                Dataset::of_quantity(schema, self.features, self.quantities)
            }
        }?;
        match self.group_at {
            Some(_) => data.grouped(self.groups),
            None => Ok(data),
        }
    }

    /// Takes up to which group a row belongs. One that is not known is a group by itself.
    fn group(&mut self, cell: &str) {
        // A number that no other group has.
        let own = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let group = match cell::is_missing(cell) {
            true => own,
            // `7` and `7.0` are one, as among classes.
            false => {
                let name = cell::class(cell, self.decimal);
                *self.group_of.entry(name).or_insert(own)
            }
        };
        self.groups.push(group);
    }

    /// Takes up what is known of a row.
    fn label(&mut self, label: &str) -> Result<(), FaultKind> {
        match self.schema.target() {
            Target::Classes(_) => {
                let class = self.class(label).ok_or(FaultKind::UnknownLabel)?;
                self.labels.push(class);
            }
            Target::Quantity(quantity) => {
                let value = finite(label, self.decimal)?;
                let mut range = quantity.range().into_iter();
                if !range.all(|range| range.contains(&f64::from(value))) {
                    return Err(FaultKind::OutOfRange);
                }
                self.quantities.push(value);
            }
        }
        Ok(())
    }

    /// Scales pixels to `[0, 1]`, by what the largest says of their bits.
    fn scale(&mut self, notices: &mut Vec<Notice>) {
        /// Few images of 8 bits have no pixel as bright as that, and other numbers stay below.
        const BRIGHT: f32 = 127.0;
        let Largest { value, place, line } = self.largest;
        let most = match value {
            ..=1.0 => return,
            ..=255.0 if self.has_size || value > BRIGHT => u8::MAX.into(),
            ..=255.0 => {
                let found = value.to_string();
                return self.fault(place, FaultKind::NotAnIntensity, line, &found);
            }
            _ => u16::MAX,
        };
        for pixel in &mut self.features {
            *pixel /= f32::from(most);
        }
        notices.push(Notice::Scaled {
            most,
            largest: value.to_string(),
        });
    }

    /// Returns the place of a label's class: of that name, or of the only one that differs in case.
    fn class(&self, label: &str) -> Option<u32> {
        // A class's own name is the name that it has.
        if self.decimal == Decimal::Point
            && let Some(&class) = self.classes.get(label)
        {
            return Some(class);
        }
        let name = cell::class(label, self.decimal);
        let same = self.classes.get(&name).copied();
        same.or_else(|| *self.like_classes.get(&name.to_lowercase())?)
    }

    fn fault(&mut self, place: usize, kind: FaultKind, row: u64, found: &str) {
        let fault = self.faults.entry((place, kind));
        let fault = fault.or_insert_with(|| CellFault {
            column: self.header.called(place),
            kind,
            row,
            counted: Counted::default(),
            found: excerpt(found),
            cells: 0,
        });
        fault.cells += 1;
    }
}

/// The largest pixel, and where it is.
#[derive(Clone, Copy, Default)]
struct Largest {
    value: f32,
    place: usize,
    line: u64,
}

impl Largest {
    fn take(&mut self, place: usize, line: u64, pixel: Option<&f32>) {
        if let Some(&value) = pixel.filter(|&&pixel| pixel > self.value) {
            *self = Self { value, place, line };
        }
    }
}

/// Finds the columns of a schema by their names.
fn named(
    path: &Path,
    header: &Header,
    (schema, label): (&Schema, Label),
    notices: &mut Vec<Notice>,
) -> Result<Vec<usize>, Error> {
    let (mut places, mut missing) = (Vec::new(), Vec::new());
    // No column stands for two, and least of all the label for a feature.
    let mut taken: HashSet<_> = label.place().into_iter().collect();
    for column in schema.columns() {
        let place = header.find(column.name());
        let Some(place) = place.filter(|&place| taken.insert(place)) else {
            missing.push(column.name());
            continue;
        };
        let found = header.names.as_ref().map_or("", |names| &names[place]);
        if found != column.name() {
            notices.push(Notice::Spelling {
                agreed: excerpt(column.name()),
                found: excerpt(found),
            });
        }
        places.push(place);
    }
    match missing.is_empty() {
        true => Ok(places),
        false => Err(Error::MissingColumns {
            path: path.into(),
            missing: list(missing),
            columns: list(header.names.iter().flatten()),
        }),
    }
}

/// Whether a cell has a value that was agreed on.
enum Known {
    Yes,
    No,
}

fn pixel(cell: &str, decimal: Decimal, features: &mut Vec<f32>) -> Result<Known, FaultKind> {
    let value = finite(cell, decimal)?;
    if !(0.0..=f32::from(u16::MAX)).contains(&value) {
        return Err(FaultKind::NotAPixel);
    }
    features.push(value);
    Ok(Known::Yes)
}

/// Adds the features of a cell.
fn encoded(
    (column, places): (&Column, &HashMap<String, usize>),
    cell: &str,
    decimal: Decimal,
    features: &mut Vec<f32>,
) -> Result<Known, FaultKind> {
    let is_missing = match column.kind() {
        ColumnKind::Number { .. } => cell::is_missing_number(cell),
        _ => cell::is_missing(cell),
    };
    if is_missing && column.missing() == Missing::Refuse {
        return Err(FaultKind::Missing);
    }
    let mut known = Known::Yes;
    match column.kind() {
        ColumnKind::Category { values } => {
            let at = places.get(&folded(cell)).copied().filter(|_| !is_missing);
            let is_other = !is_missing && at.is_none();
            if is_other {
                known = Known::No;
            }
            let ones = (0..values.len()).map(|value| at == Some(value));
            features.extend(ones.chain([is_other]).map(f32::from));
        }
        _ if is_missing => features.push(f32::NAN),
        ColumnKind::Number { range, .. } => {
            let value = finite(cell, decimal)?;
            if let Some(range) = range
                && !range.contains(&f64::from(value))
            {
                return Err(FaultKind::OutOfRange);
            }
            features.push(value);
        }
        ColumnKind::Boolean => {
            let value = match cell {
                "1" => Some(true),
                "0" => Some(false),
                _ => cell::boolean(cell),
            };
            features.push(value.ok_or(FaultKind::NotABoolean)?.into());
        }
        ColumnKind::Date => {
            #[expect(clippy::cast_possible_truncation, reason = "some thousand years")]
            let years = cell::date(cell).ok_or(FaultKind::NotADate)? as f32;
            features.push(years);
        }
    }
    if column.missing() == Missing::Indicator {
        features.push(is_missing.into());
    }
    Ok(known)
}

fn finite(cell: &str, decimal: Decimal) -> Result<f32, FaultKind> {
    let has_digit = || cell.contains(|c: char| c.is_ascii_digit());
    let straight = match decimal {
        // Straight to 32 bits: by way of 64 a number may be rounded twice.
        Decimal::Point if cell::begins_as_number(cell) || has_digit() => cell.parse().ok(),
        _ => None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is too large is infinite"
    )]
    let value = straight.or_else(|| cell::number(cell, decimal).map(|value| value as f32));
    match value {
        Some(value) if f32::is_finite(value) => Ok(value),
        Some(_) => Err(FaultKind::NotFinite),
        None => Err(FaultKind::NotANumber),
    }
}
