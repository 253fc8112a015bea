//! Sources that have a test set of their own.

use crate::records::{Classes, Records};
use crate::{Error, Loaded, Schema};

/// Returns both parts as data sets of `schema`, or of the one that fits both.
pub(crate) fn loaded(
    train: Records,
    test: Option<Records>,
    schema: Option<&Schema>,
) -> Result<Loaded, Error> {
    let schema = match schema {
        Some(schema) => schema.clone(),
        None => discover(&train, test.as_ref())?,
    };
    let train = train.conform(&schema)?;
    let test = test.map(|test| test.conform(&schema)).transpose()?;
    Ok(Loaded {
        train,
        test,
        notices: Vec::new(),
    })
}

/// The schema of the classes that occur in either part.
fn discover(train: &Records, test: Option<&Records>) -> Result<Schema, Error> {
    let mut classes = Classes::default();
    for part in [Some(train), test].into_iter().flatten() {
        for class in &part.classes {
            classes.index(&part.path, &class.name, class.first_row)?;
        }
    }
    let both = Records {
        path: train.path.clone(),
        shape: train.shape,
        features: vec![],
        classes: classes.into_vec(),
        labels: vec![],
    };
    both.schema()
}
