//! Loading data, and telling its owner how it was understood before anything is done with it.

use fl_datasets::{Dataset, LoadOptions, Loaded, Notice, Scaling, Source, Target, load};

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

/// How many examples of what there are, and what is known of them.
fn in_words(data: &Dataset) -> String {
    let schema = data.schema();
    let label = schema.label().unwrap_or("the last column");
    let what = match schema.columns().len() {
        0 => format!("images of {}", schema.shape()),
        1 => format!("rows of 1 column; label {label}"),
        columns => format!("rows of {columns} columns; label {label}"),
    };
    let labels = match schema.target() {
        Target::Classes(classes) => classes_in_words(data, classes),
        Target::Quantity(_) => numbers_in_words(data.quantities().iter().copied()),
    };
    format!("{} {what}: {labels}", data.len())
}

/// How many examples there are of each class.
fn classes_in_words(data: &Dataset, classes: &[String]) -> String {
    let counts = class_counts(data);
    let mut words: Vec<_> = classes
        .iter()
        .zip(&counts)
        .take(MAX_CLASSES)
        .map(|(class, count)| format!("{class} {count}"))
        .collect();
    match classes.len().saturating_sub(MAX_CLASSES) {
        0 => {}
        more => words.push(format!("and {more} more")),
    }
    words.join(", ")
}

/// Between which ends numbers are, with their mean and deviation.
pub(crate) fn numbers_in_words(values: impl Iterator<Item = f32> + Clone) -> String {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().map(f64::from).sum::<f64>() / count;
    let square = |value: f32| (f64::from(value) - mean).powi(2);
    let deviation = (values.clone().map(square).sum::<f64>() / count).sqrt();
    let least = values.clone().fold(f32::INFINITY, f32::min);
    let most = values.fold(f32::NEG_INFINITY, f32::max);
    format!("{least} to {most}, mean {mean:.4} ± {deviation:.4}")
}
