//! `fl-node inspect`.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use fl_datasets::{Column, ColumnKind, Dataset, Loaded, Missing, Quantity, Schema};
use fl_network::files::write_public;
use fl_network::program::logging::{one_line, say};
use serde_json::json;

use super::args::Inspect;
use super::console::note;
use super::data::{class_counts, loaded, numbers_in_words};

/// Categories that are shown with their numbers.
const MAX_VALUES: usize = 6;

/// Columns that are shown.
const MAX_COLUMNS: usize = 100;

pub(crate) fn run(args: &Inspect) -> anyhow::Result<()> {
    let options = args.table.options(None);
    let Loaded { train, notices, .. } = loaded(&args.data, &options, None, note)?;
    let schema = train.schema();
    if args.json {
        let notices = notices.iter().map(ToString::to_string);
        say(json!({
            "examples": train.len(),
            "schema": schema,
            "counts": class_counts(&train),
            "notices": notices.collect::<Vec<_>>(),
        }));
    } else {
        for line in columns_in_words(&train) {
            say(one_line(line));
        }
    }
    let out = &args.out;
    ensure!(
        !out.exists(),
        "{} exists and stays as it is; name another file for the schema with --out",
        out.display()
    );
    write_public(out, commented(schema)?.as_bytes())?;
    note(&format!(
        "{} has what was understood; change what is not so, and give it to `fl-node provision \
         --schema`",
        out.display()
    ));
    Ok(())
}

/// A line for each column of a table: what it is, and what is in it.
fn columns_in_words(data: &Dataset) -> Vec<String> {
    let columns = data.schema().columns();
    let longest = columns
        .iter()
        .map(|column| column.name().chars().count())
        .max();
    let wide = longest.unwrap_or_default().clamp(8, 32);
    let mut feature = 0;
    let line = |(place, column): (usize, &Column)| {
        let name = match column.name() {
            "" => format!("column {}", place + 1),
            name => name.to_owned(),
        };
        let at = feature;
        feature += column.width();
        let (kind, values) = match column.kind() {
            ColumnKind::Number { .. } => ("number", measured(data, at)),
            ColumnKind::Date => ("date", format!("years from 2000: {}", measured(data, at))),
            ColumnKind::Boolean => (
                "boolean",
                format!("{} of {} true", ones(data, at), data.len()),
            ),
            ColumnKind::Category { values } => ("category", categories(data, at, values)),
        };
        let gaps = match gaps(data, at, column) {
            0 => String::new(),
            gaps => format!("; {gaps} missing"),
        };
        format!("  {name:wide$}  {kind:8}  {values}{gaps}")
    };
    let shown = columns.iter().enumerate().take(MAX_COLUMNS).map(line);
    let mut lines: Vec<_> = shown.collect();
    match columns.len().saturating_sub(MAX_COLUMNS) {
        0 => {}
        more => lines.push(format!(
            "  and {more} more columns; --json and the schema have all"
        )),
    }
    lines
}

/// The values of one feature that are there.
fn values(data: &Dataset, feature: usize) -> impl Iterator<Item = f32> + Clone {
    let size = data.schema().shape().size();
    let values = data.features().iter().skip(feature).step_by(size);
    values.copied().filter(|value| !value.is_nan())
}

fn measured(data: &Dataset, feature: usize) -> String {
    numbers_in_words(values(data, feature))
}

fn ones(data: &Dataset, feature: usize) -> usize {
    values(data, feature).filter(|value| *value == 1.0).count()
}

fn categories(data: &Dataset, feature: usize, values: &[String]) -> String {
    let count =
        |(place, value): (usize, &String)| format!("{value} {}", ones(data, feature + place));
    let counts = values.iter().enumerate().take(MAX_VALUES).map(count);
    let mut text = counts.collect::<Vec<_>>().join(", ");
    if let Some(more) = values
        .len()
        .checked_sub(MAX_VALUES)
        .filter(|more| *more > 0)
    {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// How many cells of a column have no value.
fn gaps(data: &Dataset, feature: usize, column: &Column) -> usize {
    match column.missing() {
        Missing::Indicator => ones(data, feature + column.width() - 1),
        Missing::Mean => data.len() - values(data, feature).count(),
        Missing::Refuse => 0,
    }
}

/// Returns a schema as TOML, with comments that say what may be changed.
fn commented(schema: &Schema) -> anyhow::Result<String> {
    const HEAD: &str = "\
# What the members of a consortium agree on about their data. Change what is not so, and give this
# file to `fl-node provision --schema`. All members can read it.
";
    const COLUMNS: &str = "
# The columns that are used, in the model's order. Sites have them under these names, in any order.
#
# kind     number (which is left out below), category, boolean or date
# unit     of a number, for people
# range    of a number: what is plausible; a value outside it is refused
# values   of a category: what is told apart; any other value counts as \"other\"
# missing  what a cell without a value means: refuse (which is left out below); mean: the mean stands
#          in for it; indicator: the mean, and a further feature says so
";
    const QUANTITY: &str = "\
# The unit, for people, and what is plausible in it; a value outside the range is refused.
# unit = \"\"
# range = [0.0, 0.0]
";
    let whole = toml::Table::try_from(schema).context("the schema cannot be written as TOML")?;
    let without_columns: toml::Table = whole
        .into_iter()
        .filter(|(key, _)| key != "columns")
        .collect();
    let mut text = format!("{HEAD}\n{}", toml::to_string(&without_columns)?);
    if schema.quantity() == Some(&Quantity::default()) {
        text.push_str(QUANTITY);
    }
    if !schema.columns().is_empty() {
        text.push_str(COLUMNS);
    }
    for column in schema.columns() {
        let lines = toml::to_string(column)?;
        let _ = write!(text, "\n[[columns]]\n{lines}");
        if let ColumnKind::Number {
            unit: None,
            range: None,
        } = column.kind()
        {
            text.push_str("# unit = \"\"\n# range = [0.0, 0.0]\n");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use fl_datasets::Target;

    use super::*;

    #[test]
    fn a_schema_is_written_so_that_it_is_read_again() {
        let columns = [
            r#"{"name":"age \"at\" visit"}"#,
            r#"{"name":"ward","kind":"category","values":["icu","med"],"missing":"indicator"}"#,
            r#"{"name":"born","kind":"date","missing":"mean"}"#,
        ];
        let columns = columns.map(|column| serde_json::from_str(column).unwrap());
        let classes = vec!["no".to_owned(), "yes".to_owned()];
        let days = Quantity::new(Some("d".to_owned()), Some(0.0..=90.0)).unwrap();
        for target in [
            Target::Classes(classes),
            Target::Quantity(Quantity::default()),
            Target::Quantity(days),
        ] {
            let label = Some("ill".to_owned());
            let schema = Schema::table(columns.to_vec(), label, target).unwrap();
            let text = commented(&schema).unwrap();
            assert_eq!(toml::from_str::<Schema>(&text).unwrap(), schema, "{text}");
        }
    }
}
