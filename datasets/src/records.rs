//! Examples as a file has them, before they are held against a schema.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::excerpt;
use crate::{Dataset, Error, Schema, Shape};

/// Examples with labels as the file spells them.
#[derive(Debug)]
pub(crate) struct Records {
    /// The file, for errors.
    pub(crate) path: PathBuf,
    /// The shape of an example.
    pub(crate) shape: Shape,
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
    /// The index of the class called `name`, which is new if `row` of the file `path` is the first
    /// to have it.
    pub(crate) fn index(&mut self, path: &Path, name: &str, row: u64) -> Result<u32, Error> {
        if let Some(&index) = self.indexes.get(name) {
            return Ok(index);
        }
        if self.seen.len() == Schema::MAX_CLASSES {
            return Err(Error::TooManyLabels {
                path: path.into(),
                row,
            });
        }
        #[expect(clippy::cast_possible_truncation, reason = "they are few")]
        let index = self.seen.len() as u32;
        self.seen.push(Class {
            name: name.to_owned(),
            first_row: row,
        });
        self.indexes.insert(name.to_owned(), index);
        Ok(index)
    }

    /// The classes by their indexes.
    pub(crate) fn into_vec(self) -> Vec<Class> {
        self.seen
    }
}

impl Records {
    /// Returns the schema that fits these records: their own classes, sorted as numbers if all of
    /// them are numbers and as text otherwise.
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
        Schema::new(self.shape, vec![], classes)
    }

    /// These records as a data set of `schema`.
    pub(crate) fn conform(self, schema: &Schema) -> Result<Dataset, Error> {
        self.check_shape(schema)?;
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
        match expected == found {
            true => Ok(()),
            false => Err(Error::ShapeMismatch {
                path: self.path.clone(),
                expected,
                found,
            }),
        }
    }

    /// For each class of these records, its place among the schema's.
    fn places(&self, schema: &Schema) -> Result<Vec<u32>, Error> {
        let places: HashMap<&str, u32> = schema
            .classes()
            .iter()
            .map(String::as_str)
            .zip(0..)
            .collect();
        let place = |class: &Class| {
            let place = places.get(class.name.as_str()).copied();
            place.ok_or_else(|| Error::UnknownLabel {
                path: self.path.clone(),
                row: class.first_row,
                classes: schema.target_in_words(),
            })
        };
        self.classes.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(features: &[f32], labels: &[&str]) -> Records {
        let mut classes = Classes::default();
        let rows = (1..).zip(labels);
        let indexes = rows.map(|(row, label)| classes.index(Path::new(""), label, row).unwrap());
        let labels: Vec<u32> = indexes.collect();
        Records {
            path: "images".into(),
            shape: image(features.len() / labels.len()),
            features: features.to_vec(),
            classes: classes.into_vec(),
            labels,
        }
    }

    fn image(width: usize) -> Shape {
        Shape::Image {
            channels: 1,
            height: 1,
            width,
        }
    }

    fn schema(width: usize) -> Schema {
        let classes = vec!["yes".to_owned(), "no".to_owned()];
        Schema::new(image(width), vec![], classes).unwrap()
    }

    #[test]
    fn discovered_classes_are_sorted_as_numbers_or_as_text() {
        let numbers = records(&[0.0; 4], &["10", "9", "-1", "2.5"])
            .schema()
            .unwrap();
        assert_eq!(numbers.classes(), ["-1", "2.5", "9", "10"]);
        let text = records(&[0.0; 3], &["9", "10", "b"]).schema().unwrap();
        assert_eq!(text.classes(), ["10", "9", "b"]);
    }

    #[test]
    fn one_class_is_too_few_to_discover_but_fits_a_schema() {
        let one = || records(&[0.0, 1.0], &["no", "no"]);
        assert!(matches!(one().schema(), Err(Error::OneClass { class, .. }) if class == "no"));
        assert_eq!(one().conform(&schema(1)).unwrap().labels(), [1, 1]);
    }

    #[test]
    fn a_label_outside_the_schema_names_its_row() {
        let data = records(&[0.0; 4], &["no", "yes", "maybe", "maybe"]);
        assert!(matches!(
            data.conform(&schema(1)),
            Err(Error::UnknownLabel { row: 3, classes, .. }) if classes == "yes, no"
        ));
    }

    #[test]
    fn as_many_labels_as_there_may_be_are_told_apart_and_one_more_is_an_error() {
        let most = Schema::MAX_CLASSES as u64;
        let mut classes = Classes::default();
        let mut index = |row: u64| classes.index(Path::new("ids.csv"), &row.to_string(), row);
        let labels: Result<Vec<u32>, Error> = (1..=most).map(&mut index).collect();
        let labels = labels.unwrap();
        // Not a new one.
        assert_eq!(index(7).unwrap(), 6);
        let error = index(most + 1).unwrap_err();
        assert!(matches!(error, Error::TooManyLabels { row, .. } if row == most + 1));
        assert!(error.to_string().contains("check which column"), "{error}");

        let records = Records {
            path: "ids.csv".into(),
            shape: image(1),
            features: vec![0.0; labels.len()],
            classes: classes.into_vec(),
            labels,
        };
        let schema = records.schema().unwrap();
        let data = records.conform(&schema).unwrap();
        assert_eq!(data.labels()[..3], [0, 1, 2]);

        let more = (0..=most).map(|class| class.to_string()).collect();
        let more = Schema::new(image(1), vec![], more);
        assert!(matches!(more, Err(Error::TooManyClasses(found)) if found as u64 == most + 1));
    }

    #[test]
    fn an_error_names_some_of_many_classes() {
        let names: Vec<String> = (0..30_000).map(|class| format!("class {class}")).collect();
        let schema = Schema::new(image(1), vec![], names).unwrap();
        let error = records(&[0.0], &["other"]).conform(&schema).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("class 9 and 29990 more") && text.len() < 1000,
            "{text}"
        );
    }

    #[test]
    fn examples_must_have_the_agreed_shape() {
        assert!(matches!(
            records(&[0.0, 1.0], &["no"]).conform(&schema(3)),
            Err(Error::ShapeMismatch { .. })
        ));
    }
}
