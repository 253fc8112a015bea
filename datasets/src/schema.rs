//! What an example is and which classes there are: what all nodes of a task agree on.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::list;

/// The shape of one example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shape {
    /// Pixels in `[0, 1]`, in the order `[channels, height, width]`.
    Image {
        /// Colour channels.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
    },
    /// Measurements, each in its own unit.
    Table {
        /// Feature columns, without the label.
        columns: usize,
    },
}

impl Shape {
    /// The most features an example may have: 2²⁴.
    pub const MAX_SIZE: usize = 1 << 24;

    /// Features in one example.
    pub fn size(&self) -> usize {
        match *self {
            Self::Image {
                channels,
                height,
                width,
            } => channels.saturating_mul(height).saturating_mul(width),
            Self::Table { columns } => columns,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image {
                channels,
                height,
                width,
            } => {
                write!(f, "{channels}×{height}×{width} pixels")
            }
            Self::Table { columns: 1 } => write!(f, "1 column"),
            Self::Table { columns } => write!(f, "{columns} columns"),
        }
    }
}

/// What an example is and which classes there are.
///
/// A class is known by its place in [`classes`](Self::classes): the model's output of that index
/// stands for it. Deserialising checks what [`new`](Self::new) checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedSchema")]
pub struct Schema {
    shape: Shape,
    columns: Vec<String>,
    classes: Vec<String>,
}

impl Schema {
    /// The most classes that can be told apart: 2¹⁶.
    pub const MAX_CLASSES: usize = 1 << 16;

    /// Returns a schema of examples of `shape` with labels among `classes`.
    ///
    /// `columns` names the columns of a table in their order; it is empty for an image and for a
    /// table without a header.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if an example has no features or more than [`Shape::MAX_SIZE`],
    /// [`Error::ColumnNames`] if only some columns have names, [`Error::Classes`] unless there are
    /// two or more distinct, non-empty classes, [`Error::TooManyClasses`] if there are more than
    /// [`Schema::MAX_CLASSES`].
    pub fn new(shape: Shape, columns: Vec<String>, classes: Vec<String>) -> Result<Self, Error> {
        if !(1..=Shape::MAX_SIZE).contains(&shape.size()) {
            return Err(Error::Shape(shape));
        }
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
        if classes.len() > Self::MAX_CLASSES {
            return Err(Error::TooManyClasses(classes.len()));
        }
        let mut seen = HashSet::new();
        let distinct = classes
            .iter()
            .all(|class| !class.is_empty() && seen.insert(class.as_str()));
        if classes.len() < 2 || !distinct {
            return Err(Error::Classes(list(&classes)));
        }
        Ok(Self {
            shape,
            columns,
            classes,
        })
    }

    /// Returns the shape of one example.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Names of a table's columns in their order, or nothing if they have none.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the first classes, joined by commas, and how many there are beside them.
    pub fn classes_in_words(&self) -> String {
        list(&self.classes)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedSchema {
    shape: Shape,
    columns: Vec<String>,
    classes: Vec<String>,
}

impl TryFrom<UncheckedSchema> for Schema {
    type Error = Error;

    fn try_from(
        UncheckedSchema {
            shape,
            columns,
            classes,
        }: UncheckedSchema,
    ) -> Result<Self, Error> {
        Self::new(shape, columns, classes)
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
    fn survives_json_and_is_checked_on_the_way_in() {
        let shape = Shape::Table { columns: 1 };
        let schema = Schema::new(shape, names(&["age"]), names(&["no", "yes"])).unwrap();
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(
            json,
            r#"{"shape":{"table":{"columns":1}},"columns":["age"],"classes":["no","yes"]}"#
        );
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
        let one_class = json.replace(r#","yes""#, "");
        assert!(serde_json::from_str::<Schema>(&one_class).is_err());
        let more = json.replace("{\"shape\"", "{\"more\":1,\"shape\"");
        assert!(serde_json::from_str::<Schema>(&more).is_err());
    }
}
