//! What is agreed on one column of a table, and the numbers that its cells become.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::excerpt;

/// A column of a table, as the members of a consortium agree on it.
///
/// Its cells become one or more features: see [`width`](Self::width). Deserialising checks what
/// [`new`](Self::new) checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedColumn", into = "UncheckedColumn")]
pub struct Column {
    name: String,
    kind: ColumnKind,
    missing: Missing,
}

/// What the cells of a column are.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnKind {
    /// A measurement: one feature, as it is.
    Number {
        /// The unit, for people.
        unit: Option<String>,
        /// What is plausible, in that unit. A value outside it is an error.
        range: Option<RangeInclusive<f64>>,
    },
    /// One of some values: a feature for each, which is 1 where the cell has it and 0 elsewhere,
    /// and a last one for any other value.
    Category {
        /// The values that are told apart, two or more.
        values: Vec<String>,
    },
    /// True or false: one feature, 1 or 0.
    Boolean,
    /// A day: one feature, the years from the beginning of 2000.
    Date,
}

/// What a cell without a value means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// It is an error.
    #[default]
    Refuse,
    /// The mean of the column stands in for it.
    Mean,
    /// The mean of the column stands in for it, and a further feature is 1 where that is so, and 0
    /// elsewhere. In a column of categories that feature alone tells of it.
    Indicator,
}

impl Column {
    /// Returns a column.
    ///
    /// # Errors
    ///
    /// [`Error::Column`] if a range is empty or not finite, or the values of a category are not two
    /// or more distinct ones, or are to have a mean.
    pub fn new(name: String, kind: ColumnKind, missing: Missing) -> Result<Self, Error> {
        let fault = match &kind {
            ColumnKind::Number {
                range: Some(range), ..
            } => {
                let ends = [range.start(), range.end()];
                let is_sound = ends.iter().all(|end| end.is_finite()) && !range.is_empty();
                (!is_sound).then_some("the range is empty or has no end")
            }
            ColumnKind::Category { values } => {
                let mut seen = HashSet::new();
                let distinct = values
                    .iter()
                    .map(|value| value.trim().to_lowercase())
                    .all(|value| !value.is_empty() && seen.insert(value));
                match (distinct && values.len() > 1, missing) {
                    (false, _) => Some("the values are not two or more that differ"),
                    (true, Missing::Mean) => Some("categories have no mean"),
                    (true, _) => None,
                }
            }
            _ => None,
        };
        match fault {
            None => Ok(Self {
                name,
                kind,
                missing,
            }),
            Some(fault) => Err(Error::Column {
                name: excerpt(&name),
                fault,
            }),
        }
    }

    /// Returns a column of numbers, of which none may be missing. The name may be empty, for a
    /// table without a header.
    pub fn number(name: String) -> Self {
        Self {
            name,
            kind: ColumnKind::Number {
                unit: None,
                range: None,
            },
            missing: Missing::Refuse,
        }
    }

    /// Returns the name, which is empty if the table has no header.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what its cells are.
    pub fn kind(&self) -> &ColumnKind {
        &self.kind
    }

    /// Returns what a cell without a value means.
    pub fn missing(&self) -> Missing {
        self.missing
    }

    /// Returns the number of features that a cell becomes.
    pub fn width(&self) -> usize {
        let values = match &self.kind {
            ColumnKind::Category { values } => values.len() + 1,
            ColumnKind::Number { .. } | ColumnKind::Boolean | ColumnKind::Date => 1,
        };
        values + usize::from(self.missing == Missing::Indicator)
    }

    /// Returns whether its first feature is a measurement, which is to be scaled.
    pub fn is_measured(&self) -> bool {
        matches!(self.kind, ColumnKind::Number { .. } | ColumnKind::Date)
    }

    /// Returns whether its first feature may be missing, so that the mean stands in for it.
    pub fn has_gaps(&self) -> bool {
        let has_mean = !matches!(self.kind, ColumnKind::Category { .. });
        has_mean && self.missing != Missing::Refuse
    }
}

/// A column as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedColumn {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "KindName::is_number")]
    kind: KindName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<[f64; 2]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    #[serde(default, skip_serializing_if = "is_refused")]
    missing: Missing,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindName {
    #[default]
    Number,
    Category,
    Boolean,
    Date,
}

impl KindName {
    fn is_number(&self) -> bool {
        *self == Self::Number
    }
}

fn is_refused(missing: &Missing) -> bool {
    *missing == Missing::Refuse
}

impl TryFrom<UncheckedColumn> for Column {
    type Error = Error;

    fn try_from(column: UncheckedColumn) -> Result<Self, Error> {
        let is_alien = match column.kind {
            KindName::Number => !column.values.is_empty(),
            KindName::Category => column.unit.is_some() || column.range.is_some(),
            KindName::Boolean | KindName::Date => {
                column.unit.is_some() || column.range.is_some() || !column.values.is_empty()
            }
        };
        if is_alien {
            return Err(Error::Column {
                name: excerpt(&column.name),
                fault: "numbers have a unit and a range, categories have values, others neither",
            });
        }
        let kind = match column.kind {
            KindName::Number => ColumnKind::Number {
                unit: column.unit,
                range: column.range.map(|[from, to]| from..=to),
            },
            KindName::Category => ColumnKind::Category {
                values: column.values,
            },
            KindName::Boolean => ColumnKind::Boolean,
            KindName::Date => ColumnKind::Date,
        };
        Self::new(column.name, kind, column.missing)
    }
}

impl From<Column> for UncheckedColumn {
    fn from(
        Column {
            name,
            kind,
            missing,
        }: Column,
    ) -> Self {
        let (kind, unit, range, values) = match kind {
            ColumnKind::Number { unit, range } => {
                let range = range.map(|range| [*range.start(), *range.end()]);
                (KindName::Number, unit, range, Vec::new())
            }
            ColumnKind::Category { values } => (KindName::Category, None, None, values),
            ColumnKind::Boolean => (KindName::Boolean, None, None, Vec::new()),
            ColumnKind::Date => (KindName::Date, None, None, Vec::new()),
        };
        Self {
            name,
            kind,
            unit,
            range,
            values,
            missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_written_with_what_is_not_usual_and_checked_on_the_way_in() {
        for (json, width) in [
            ("{}", 1),
            (r#"{"name":"age"}"#, 1),
            (
                r#"{"name":"age","unit":"years","range":[0.0,120.0],"missing":"indicator"}"#,
                2,
            ),
            (r#"{"name":"sex","kind":"category","values":["f","m"]}"#, 3),
            (r#"{"name":"on ward","kind":"boolean","missing":"mean"}"#, 1),
            (r#"{"name":"born","kind":"date"}"#, 1),
        ] {
            let column: Column = serde_json::from_str(json).unwrap();
            assert_eq!(column.width(), width, "{json}");
            assert_eq!(serde_json::to_string(&column).unwrap(), json);
        }
        for json in [
            r#"{"name":"age","range":[5.0,1.0]}"#,
            r#"{"name":"age","values":["f","m"]}"#,
            r#"{"name":"sex","kind":"category","values":["f"]}"#,
            r#"{"name":"sex","kind":"category","values":["f","F"]}"#,
            r#"{"name":"sex","kind":"category","values":["f"," f"]}"#,
            r#"{"name":"sex","kind":"category","values":["f","m"],"missing":"mean"}"#,
            r#"{"name":"sex","kind":"category","values":["f","m"],"unit":"kg"}"#,
            r#"{"name":"born","kind":"date","range":[0.0,1.0]}"#,
            r#"{"name":"age","kind":"integer"}"#,
            r#"{"name":"age","more":1}"#,
        ] {
            assert!(serde_json::from_str::<Column>(json).is_err(), "{json}");
        }
    }
}
