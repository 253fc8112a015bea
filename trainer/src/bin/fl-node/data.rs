//! Loading data, and telling its owner how it was understood before anything is done with it.

use fl_datasets::{Dataset, LoadOptions, Loaded, Notice, Scaling, Source, load};

/// Classes that are told with their numbers.
const MAX_CLASSES: usize = 10;

/// Notices that are told.
const MAX_NOTICES: usize = 20;

/// Loads a source. `note` is told, line by line, what it holds, and what its owner should know. The
/// columns are held against a scaling, if one is agreed on.
pub(crate) fn loaded(
    source: &Source,
    options: &LoadOptions,
    scaling: Option<&Scaling>,
    mut note: impl FnMut(&str),
) -> anyhow::Result<Loaded> {
    let loaded = load(source, options)?;
    note(&format!("{source}: {}", in_words(&loaded.train)));
    let other_units = scaling.map(|scaling| scaling.other_units(&loaded.train));
    told(
        source,
        loaded.notices.iter().chain(other_units.iter().flatten()),
        note,
    );
    Ok(loaded)
}

/// Tells the first of these notices, and how many there are beside them.
pub(crate) fn told<'a>(
    source: &Source,
    mut notices: impl Iterator<Item = &'a Notice>,
    mut note: impl FnMut(&str),
) {
    for notice in notices.by_ref().take(MAX_NOTICES) {
        note(&format!("{source}: {notice}"));
    }
    match notices.count() {
        0 => {}
        more => note(&format!("{source}: and {more} more such notices")),
    }
}

/// Returns how many examples each class has, in the schema's order.
pub(crate) fn class_counts(data: &Dataset) -> Vec<u64> {
    let mut counts = vec![0; data.schema().classes().len()];
    for label in data.labels() {
        counts[*label as usize] += 1;
    }
    counts
}

/// How many examples of what there are, and of which classes.
fn in_words(data: &Dataset) -> String {
    let schema = data.schema();
    let label = schema.label().unwrap_or("the last column");
    let counts = class_counts(data);
    let mut classes: Vec<_> = schema
        .classes()
        .iter()
        .zip(&counts)
        .take(MAX_CLASSES)
        .map(|(class, count)| format!("{class} {count}"))
        .collect();
    match schema.classes().len().saturating_sub(MAX_CLASSES) {
        0 => {}
        more => classes.push(format!("and {more} more")),
    }
    let what = match schema.columns().len() {
        0 => format!("images of {}", schema.shape()),
        1 => format!("rows of 1 column; label {label}"),
        columns => format!("rows of {columns} columns; label {label}"),
    };
    format!("{} {what}: {}", data.len(), classes.join(", "))
}
