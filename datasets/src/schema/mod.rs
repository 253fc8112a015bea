//! What an example is and what is to be told of it: what all nodes of a task agree on.

mod column;
mod shape;
mod target;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

pub use column::{Column, ColumnKind, Missing};
pub use shape::Shape;
pub use target::{Quantity, Target};

use crate::Error;
use crate::error::{excerpt, list};

/// What an example is and what is to be told of it: its class, or a quantity.
///
/// A class is known by its place in [`classes`](Self::classes): the model's output of that index
/// stands for it. Deserialising checks what [`new`](Self::new) checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedSchema", into = "UncheckedSchema")]
pub struct Schema {
    features: Features,
    label: Option<String>,
    target: Target,
    group: Option<String>,
}

/// What an example is.
#[derive(Clone, Debug, PartialEq)]
enum Features {
    Image([usize; 3]),
    Table { columns: Vec<Column>, width: usize },
}

impl Schema {
    /// The most classes that can be told apart: 2¹⁶.
    pub const MAX_CLASSES: usize = 1 << 16;

    /// Returns a schema of examples of `shape` with labels among `classes`.
    ///
    /// The columns of a table are numbers without gaps. `columns` names them in their order; it is
    /// empty for an image and for a table without a header.
    ///
    /// # Errors
    ///
    /// Those of [`table`](Self::table), and [`Error::ColumnNames`] if only some columns have names.
    pub fn new(shape: Shape, columns: Vec<String>, classes: Vec<String>) -> Result<Self, Error> {
        let all_named = shape
            == Shape::Table {
                columns: columns.len(),
            };
        if !columns.is_empty() && !all_named {
            return Err(Error::ColumnNames {
                names: columns.len(),
                shape,
            });
        }
        if !(1..=Shape::MAX_SIZE).contains(&shape.size()) {
            return Err(Error::Shape(shape));
        }
        match shape {
            Shape::Image {
                channels,
                height,
                width,
            } => Self::of(
                Features::Image([channels, height, width]),
                None,
                classes.into(),
            ),
            Shape::Table { .. } if all_named => {
                let columns = columns.into_iter().map(Column::number);
                Self::table(columns.collect(), None, classes)
            }
            Shape::Table { columns } => {
                let unnamed = vec![Column::number(String::new()); columns];
                Self::table(unnamed, None, classes)
            }
        }
    }

    /// Returns a schema of rows with these columns, of which `target` is told, and is in the column
    /// of the name `label`, or in the last one if there is no header.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a row becomes no features or more than [`Shape::MAX_SIZE`],
    /// [`Error::DoubleName`] if two columns have one name, [`Error::Classes`] unless a quantity
    /// is told or there are two or more distinct, non-empty classes, [`Error::TooManyClasses`] if
    /// there are more than [`Schema::MAX_CLASSES`].
    pub fn table(
        columns: Vec<Column>,
        label: Option<String>,
        target: impl Into<Target>,
    ) -> Result<Self, Error> {
        let mut names = HashSet::new();
        let named = columns.iter().map(Column::name).chain(label.as_deref());
        for name in named.filter(|name| !name.is_empty()) {
            if !names.insert(name) {
                return Err(Error::DoubleName(excerpt(name)));
            }
        }
        let width = columns.iter().map(Column::width).sum();
        Self::of(Features::Table { columns, width }, label, target.into())
    }

    fn of(features: Features, label: Option<String>, target: Target) -> Result<Self, Error> {
        let schema = Self {
            features,
            label,
            target,
            group: None,
        };
        let shape = schema.shape();
        if !(1..=Shape::MAX_SIZE).contains(&shape.size()) {
            return Err(Error::Shape(shape));
        }
        let Target::Classes(classes) = &schema.target else {
            return Ok(schema);
        };
        if classes.len() > Self::MAX_CLASSES {
            return Err(Error::TooManyClasses(classes.len()));
        }
        let mut seen = HashSet::new();
        let distinct = classes
            .iter()
            .all(|class| !class.is_empty() && seen.insert(class.as_str()));
        if classes.len() < 2 || !distinct {
            return Err(Error::Classes(list(classes)));
        }
        Ok(schema)
    }

    /// Returns the schema with a column, by its name, that says which rows belong together, such as
    /// those of one patient. It is no feature.
    ///
    /// # Errors
    ///
    /// [`Error::DoubleName`] if that is the label, or a column with features.
    pub fn grouped_by(self, group: Option<String>) -> Result<Self, Error> {
        let mut others = self.columns().iter().map(Column::name).chain(self.label());
        match &group {
            Some(group) if others.any(|name| name == group) => {
                Err(Error::DoubleName(excerpt(group)))
            }
            _ => Ok(Self { group, ..self }),
        }
    }

    /// Returns the name of the column that says which rows belong together, if there is one.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Returns the shape of one example.
    pub fn shape(&self) -> Shape {
        match self.features {
            Features::Image([channels, height, width]) => Shape::Image {
                channels,
                height,
                width,
            },
            Features::Table { width, .. } => Shape::Table { columns: width },
        }
    }

    /// Returns the columns of a table in their order; an image has none.
    pub fn columns(&self) -> &[Column] {
        match &self.features {
            Features::Image(_) => &[],
            Features::Table { columns, .. } => columns,
        }
    }

    /// Returns whether a table has a header, by whose names its columns are known.
    pub fn has_names(&self) -> bool {
        self.columns()
            .iter()
            .any(|column| !column.name().is_empty())
    }

    /// Returns the name of the label's column, if it has one.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Returns what is to be told of an example.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the names of the classes, into which a label is an index; none if a quantity is
    /// told.
    pub fn classes(&self) -> &[String] {
        match &self.target {
            Target::Classes(classes) => classes,
            Target::Quantity(_) => &[],
        }
    }

    /// Returns the quantity that is told, if it is one.
    pub fn quantity(&self) -> Option<&Quantity> {
        match &self.target {
            Target::Classes(_) => None,
            Target::Quantity(quantity) => Some(quantity),
        }
    }

    /// Returns the first classes, joined by commas, and how many there are beside them, or that it
    /// is a quantity, and in which unit.
    pub fn target_in_words(&self) -> String {
        match &self.target {
            Target::Classes(classes) => list(classes),
            Target::Quantity(quantity) => match quantity.unit() {
                Some(unit) => format!("a quantity in {}", excerpt(unit)),
                None => "a quantity".to_owned(),
            },
        }
    }

    /// Returns, for each feature of an example of a table, whether it is a measurement, which is to
    /// be scaled, and whether it may be missing.
    pub(crate) fn measured(&self) -> impl Iterator<Item = Measured> {
        self.columns().iter().flat_map(|column| {
            let first = Measured {
                is_scaled: column.is_measured(),
                has_gaps: column.has_gaps(),
            };
            let others = (1..column.width()).map(|_| Measured::default());
            std::iter::once(first).chain(others)
        })
    }
}

/// What a feature of a table is to a scaling.
#[derive(Clone, Copy, Default)]
pub(crate) struct Measured {
    /// It is to be scaled.
    pub(crate) is_scaled: bool,
    /// It may be missing.
    pub(crate) has_gaps: bool,
}

/// A schema as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedSchema {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<[usize; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quantity: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<Column>,
}

impl TryFrom<UncheckedSchema> for Schema {
    type Error = Error;

    fn try_from(schema: UncheckedSchema) -> Result<Self, Error> {
        let UncheckedSchema {
            image,
            label,
            classes,
            group,
            quantity,
            columns,
        } = schema;
        let target = match quantity {
            None => Target::Classes(classes),
            Some(quantity) if classes.is_empty() => Target::Quantity(quantity),
            Some(_) => return Err(Error::TwoTargets),
        };
        match image {
            None => Self::table(columns, label, target)?.grouped_by(group),
            Some(image) if group.is_none() && columns.is_empty() && label.is_none() => {
                Self::of(Features::Image(image), None, target)
            }
            Some(_) => Err(Error::ImageColumns),
        }
    }
}

impl From<Schema> for UncheckedSchema {
    fn from(schema: Schema) -> Self {
        let (image, columns) = match schema.features {
            Features::Image(image) => (Some(image), Vec::new()),
            Features::Table { columns, .. } => (None, columns),
        };
        let (classes, quantity) = match schema.target {
            Target::Classes(classes) => (classes, None),
            Target::Quantity(quantity) => (Vec::new(), Some(quantity)),
        };
        Self {
            image,
            label: schema.label,
            classes,
            group: schema.group,
            quantity,
            columns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn accepts_images_and_tables_with_or_without_names() {
        let image = Shape::Image {
            channels: 3,
            height: 4,
            width: 5,
        };
        assert_eq!(image.size(), 60);
        assert!(Schema::new(image, vec![], names(&["cat", "dog"])).is_ok());
        let table = Shape::Table { columns: 2 };
        assert!(Schema::new(table, vec![], names(&["0", "1"])).is_ok());
        assert!(Schema::new(table, names(&["age", "dose"]), names(&["0", "1"])).is_ok());
    }

    #[test]
    fn rejects_shapes_without_features_or_with_too_many() {
        for shape in [
            Shape::Table { columns: 0 },
            Shape::Image {
                channels: 1,
                height: 0,
                width: 8,
            },
            Shape::Image {
                channels: usize::MAX,
                height: 2,
                width: 2,
            },
            Shape::Table {
                columns: Shape::MAX_SIZE + 1,
            },
        ] {
            let schema = Schema::new(shape, vec![], names(&["0", "1"]));
            assert!(matches!(schema, Err(Error::Shape(found)) if found == shape));
        }
    }

    #[test]
    fn rejects_names_for_some_columns_or_for_pixels() {
        let table = Schema::new(
            Shape::Table { columns: 2 },
            names(&["age"]),
            names(&["0", "1"]),
        );
        assert!(matches!(table, Err(Error::ColumnNames { names: 1, .. })));
        let image = Shape::Image {
            channels: 1,
            height: 1,
            width: 1,
        };
        let image = Schema::new(image, names(&["pixel"]), names(&["0", "1"]));
        assert!(matches!(image, Err(Error::ColumnNames { names: 1, .. })));
    }

    #[test]
    fn rejects_classes_that_are_few_empty_or_repeated() {
        for classes in [
            names(&[]),
            names(&["a"]),
            names(&["a", ""]),
            names(&["a", "b", "a"]),
        ] {
            let schema = Schema::new(Shape::Table { columns: 1 }, vec![], classes);
            assert!(matches!(schema, Err(Error::Classes(_))));
        }
    }

    #[test]
    fn a_quantity_has_a_unit_and_a_range() {
        let text = r#"{"label":"stay","quantity":{"unit":"d","range":[0.0,90.0]},"columns":[{"name":"age"}]}"#;
        let schema: Schema = serde_json::from_str(text).unwrap();
        let quantity = schema.quantity().unwrap();
        assert_eq!(
            (quantity.unit(), quantity.range()),
            (Some("d"), Some(&(0.0..=90.0)))
        );
        assert_eq!(
            (schema.classes(), schema.target_in_words().as_str()),
            (&[][..], "a quantity in d")
        );
        assert_eq!(serde_json::to_string(&schema).unwrap(), text);
        let empty = text.replace("90.0", "-1.0");
        assert!(serde_json::from_str::<Schema>(&empty).is_err());
    }

    #[test]
    fn survives_json_and_is_checked_on_the_way_in() {
        let shape = Shape::Table { columns: 1 };
        let schema = Schema::new(shape, names(&["age"]), names(&["no", "yes"])).unwrap();
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(
            json,
            r#"{"classes":["no","yes"],"columns":[{"name":"age"}]}"#
        );
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
        let one_class = json.replace(r#","yes""#, "");
        assert!(serde_json::from_str::<Schema>(&one_class).is_err());
        let both = json.replace("{\"classes\"", "{\"quantity\":{},\"classes\"");
        assert!(serde_json::from_str::<Schema>(&both).is_err());
        let more = json.replace("{\"classes\"", "{\"more\":1,\"classes\"");
        assert!(serde_json::from_str::<Schema>(&more).is_err());
    }
}
