//! Examples as a file has them, before they are held against a schema.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::error::excerpt;
use crate::{Dataset, Error, Schema, Shape};

/// Examples with labels as the file spells them.
#[derive(Debug)]
pub(crate) struct Records {
    /// The file, for errors.
    pub(crate) path: PathBuf,
    /// The shape of an example.
    pub(crate) shape: Shape,
    /// Names of the columns, or nothing.
    pub(crate) columns: Vec<String>,
    /// `[len, shape.size()]`, row-major.
    pub(crate) features: Vec<f32>,
    /// The distinct labels in the order of their first rows.
    pub(crate) classes: Vec<Class>,
    /// `[len]`, indexes into `classes`.
    pub(crate) labels: Vec<u32>,
}

/// A label and the first row that has it.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) name: String,
    pub(crate) first_row: u64,
}

/// Collects the distinct labels of a file.
#[derive(Default)]
pub(crate) struct Classes {
    seen: Vec<Class>,
    indexes: HashMap<String, u32>,
}

impl Classes {
    /// The index of the class called `name`, which is new if `row` is the first to have it.
    pub(crate) fn index(&mut self, name: &str, row: u64) -> u32 {
        if let Some(&index) = self.indexes.get(name) {
            return index;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "2³² classes do not fit in memory"
        )]
        let index = self.seen.len() as u32;
        self.seen.push(Class {
            name: name.to_owned(),
            first_row: row,
        });
        self.indexes.insert(name.to_owned(), index);
        index
    }

    /// The classes by their indexes.
    pub(crate) fn into_vec(self) -> Vec<Class> {
        self.seen
    }
}

impl Records {
    /// The schema that fits these records: their own classes, sorted as numbers if all of them are
    /// numbers and as text otherwise.
    pub(crate) fn schema(&self) -> Result<Schema, Error> {
        if let [class] = self.classes.as_slice() {
            return Err(Error::OneClass {
                path: self.path.clone(),
                class: excerpt(&class.name),
            });
        }
        let mut classes: Vec<String> = self
            .classes
            .iter()
            .map(|class| class.name.clone())
            .collect();
        classes.sort();
        let numbers: Option<Vec<f64>> = classes.iter().map(|name| name.parse().ok()).collect();
        if let Some(numbers) = numbers {
            let mut numbered: Vec<_> = numbers.into_iter().zip(classes).collect();
            numbered.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            classes = numbered.into_iter().map(|(_, name)| name).collect();
        }
        Schema::new(self.shape, self.columns.clone(), classes)
    }

    /// These records as a data set of `schema`.
    ///
    /// A table may stand for an image if it has a column for each pixel, in `[0, 1]`.
    pub(crate) fn conform(self, schema: &Schema) -> Result<Dataset, Error> {
        self.check_shape(schema)?;
        self.check_names(schema)?;
        let places = self.places(schema)?;
        let labels = self
            .labels
            .iter()
            .map(|&label| places[label as usize])
            .collect();
        Dataset::new(schema.clone(), self.features, labels)
    }

    fn check_shape(&self, schema: &Schema) -> Result<(), Error> {
        let (expected, found) = (schema.shape(), self.shape);
        if expected == found {
            return Ok(());
        }
        let pixels_in_a_table = expected.size() == found.size()
            && matches!(
                (expected, found),
                (Shape::Image { .. }, Shape::Table { .. })
            );
        if !pixels_in_a_table {
            return Err(Error::ShapeMismatch {
                path: self.path.clone(),
                expected,
                found,
            });
        }
        match self
            .features
            .iter()
            .position(|pixel| !(0.0..=1.0).contains(pixel))
        {
            None => Ok(()),
            Some(at) => Err(Error::Intensity {
                path: self.path.clone(),
                example: at / found.size() + 1,
                pixel: at % found.size() + 1,
                value: self.features[at],
            }),
        }
    }

    fn check_names(&self, schema: &Schema) -> Result<(), Error> {
        let mut pairs = schema.columns().iter().zip(&self.columns);
        match pairs.position(|(expected, found)| expected != found) {
            None => Ok(()),
            Some(at) => Err(Error::ColumnName {
                path: self.path.clone(),
                column: at + 1,
                expected: excerpt(&schema.columns()[at]),
                found: excerpt(&self.columns[at]),
            }),
        }
    }

    /// For each class of these records, its place among the schema's.
    fn places(&self, schema: &Schema) -> Result<Vec<u32>, Error> {
        let place = |class: &Class| {
            (0..)
                .zip(schema.classes())
                .find(|(_, name)| **name == class.name)
                .ok_or_else(|| Error::UnknownLabel {
                    path: self.path.clone(),
                    row: class.first_row,
                    label: excerpt(&class.name),
                    classes: schema.classes().join(", "),
                })
        };
        self.classes
            .iter()
            .map(|class| Ok(place(class)?.0))
            .collect()
    }
}
