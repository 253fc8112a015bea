//! Tables whose rows are images: a column for each pixel, and one for the label.
//!
//! Pixels are in the order of their channels, rows and columns. The label is in the column that is
//! called so or, if none is, in the first or in the last, whichever holds classes.

use std::collections::BTreeSet;

use super::header::folded;
use super::profile::Profile;
use super::{Decimal, Table, cell, is_left_out, named_label};
use crate::{Error, LoadOptions, Notice, Schema, Shape};

/// What people call the column of the label.
pub(super) const LABELS: [&str; 4] = ["label", "labels", "class", "target"];

/// So many values may the label have where it is not called so.
const MAX_VALUES: usize = Schema::MAX_CLASSES;

/// Returns the schema that fits a table of images of this shape: its own classes.
///
/// # Errors
///
/// There is not a column for each pixel and one for the label, or it holds no classes.
pub(super) fn discover(
    table: &impl Table,
    shape: Shape,
    options: &LoadOptions,
    notices: &mut Vec<Notice>,
) -> Result<Schema, Error> {
    let label = label(table, shape, options)?;
    let mut profile = Profile::of_label(table.path(), table.header(), label, table.decimal());
    table.each(&mut |line, row| profile.add(line, row))?;
    Schema::new(shape, vec![], profile.classes(notices)?)
}

/// Returns the place of the label beside the pixels of images of this shape.
///
/// # Errors
///
/// There is not a column for each pixel and one for the label, or no telling which that is.
pub(super) fn label(
    table: &impl Table,
    shape: Shape,
    options: &LoadOptions,
) -> Result<usize, Error> {
    let (path, columns) = (table.path(), columns(table, options));
    let label = match &options.label {
        Some(name) => Some(named_label(path, table.header(), name)?),
        None => None,
    };
    let (Some(&first), Some(&last)) = (columns.first(), columns.last()) else {
        return Err(Error::NoFeatures { path: path.into() });
    };
    if columns.len() != shape.size() + 1 {
        return Err(Error::PixelColumns {
            path: path.into(),
            found: columns.len() - 1,
            shape,
        });
    }
    match label.or_else(|| called(table, &columns)) {
        Some(label) => Ok(label),
        None => by_values(table, [first, last], options.schema.as_ref()),
    }
}

/// Returns the place of the label, if there is one beside the pixels of images of this shape.
///
/// # Errors
///
/// Those of [`label`], if there is one.
pub(super) fn any_label(table: &impl Table, schema: &Schema) -> Result<Option<usize>, Error> {
    let options = super::against(schema);
    match columns(table, &options).len() == schema.shape().size() {
        true => Ok(None),
        false => label(table, schema.shape(), &options).map(Some),
    }
}

/// The places of the columns that are not left out.
fn columns(table: &impl Table, options: &LoadOptions) -> Vec<usize> {
    let header = table.header();
    let is_left = |at: usize| {
        let mut names = options.leave_out.iter();
        names.any(|name| is_left_out(header, at, name))
    };
    (0..header.width).filter(|&at| !is_left(at)).collect()
}

/// The only one of these columns that is called as labels are.
fn called(table: &impl Table, columns: &[usize]) -> Option<usize> {
    let names = table.header().names.as_ref()?;
    let is_called = |at: &&usize| LABELS.contains(&folded(&names[**at]).as_str());
    let mut found = columns.iter().filter(is_called);
    found.next().filter(|_| found.next().is_none()).copied()
}

/// The one of two columns that holds classes: words or, of two columns of numbers, the only one
/// with several, or the only one whose numbers count from 0 or 1.
fn by_values(
    table: &impl Table,
    places: [usize; 2],
    schema: Option<&Schema>,
) -> Result<usize, Error> {
    let mut values = [BTreeSet::new(), BTreeSet::new()];
    table.each(&mut |_, row| {
        for (values, place) in values.iter_mut().zip(places) {
            let value = row.get(place).copied().unwrap_or_default();
            if !cell::is_missing(value) && values.len() <= MAX_VALUES {
                values.insert(cell::class(value, table.decimal()));
            }
        }
        Ok(())
    })?;
    type Rule<'a> = &'a dyn Fn(&BTreeSet<String>) -> bool;
    let is_text: Rule<'_> = &|values| numbers(values).is_none();
    let may_be: Rule<'_> = &|values| match schema {
        None => (2..=MAX_VALUES).contains(&values.len()),
        Some(schema) => values.iter().all(|value| schema.classes().contains(value)),
    };
    let counts: Rule<'_> = &|values| numbers(values).is_some_and(|numbers| is_counted(&numbers));
    for rule in [is_text, may_be, counts] {
        match [rule(&values[0]), rule(&values[1])] {
            [true, false] => return Ok(places[0]),
            [false, true] => return Ok(places[1]),
            _ => {}
        }
    }
    Err(Error::WhichLabel {
        path: table.path().into(),
    })
}

/// The values as numbers in their order, if all are numbers.
fn numbers(values: &BTreeSet<String>) -> Option<Vec<f64>> {
    let numbers = values
        .iter()
        .map(|value| cell::number(value, Decimal::Point));
    let mut numbers: Vec<_> = numbers.collect::<Option<_>>()?;
    numbers.sort_by(f64::total_cmp);
    Some(numbers)
}

/// Whether numbers are those of classes: 0, 1, 2 and so on, or from 1 on.
fn is_counted(numbers: &[f64]) -> bool {
    let Some(&first) = numbers.first() else {
        return false;
    };
    let counted = (0..).map(|step| first + f64::from(step));
    numbers.len() > 1
        && (first == 0.0 || first == 1.0)
        && numbers.iter().copied().eq(counted.take(numbers.len()))
}
