//! What a node's data is told from other data by.

use fl_datasets::{Dataset, Split};
use fl_protocol::digest::{Digest, model_hash};

/// Returns a digest of the examples: the same for the same ones in the same order, however their
/// file is written, and another as soon as a number or a label is another.
pub fn data_digest(split: &Split) -> Digest {
    Digest::sha256(&[
        b"smpcfl/2 data",
        of_examples(&split.train).as_bytes(),
        of_examples(&split.test).as_bytes(),
    ])
}

fn of_examples(data: &Dataset) -> Digest {
    let labels = data.labels().iter().flat_map(|label| label.to_le_bytes());
    let quantities = data.quantities().iter();
    let quantities = quantities.flat_map(|quantity| quantity.to_le_bytes());
    let labels: Vec<u8> = labels.chain(quantities).collect();
    Digest::sha256(&[
        &(data.len() as u64).to_le_bytes(),
        model_hash(data.features()).as_bytes(),
        &labels,
    ])
}

#[cfg(test)]
mod tests {
    use fl_datasets::{Schema, Shape};

    use super::*;

    fn split(values: &[f32], labels: &[u32]) -> Split {
        let columns = vec!["a".to_owned()];
        let classes = vec!["x".to_owned(), "y".to_owned()];
        let schema = Schema::new(Shape::Table { columns: 1 }, columns, classes).unwrap();
        let data = |values: &[f32], labels: &[u32]| {
            Dataset::new(schema.clone(), values.to_vec(), labels.to_vec()).unwrap()
        };
        Split {
            train: data(&values[1..], &labels[1..]),
            test: data(&values[..1], &labels[..1]),
        }
    }

    #[test]
    fn one_number_one_label_or_one_row_more_makes_other_data() {
        let data = split(&[1.0, 2.0, 3.0], &[0, 1, 0]);
        let digest = data_digest(&data);
        assert_eq!(digest, data_digest(&data.clone()));
        for other in [
            split(&[1.0, 2.0, 3.5], &[0, 1, 0]),
            split(&[1.5, 2.0, 3.0], &[0, 1, 0]),
            split(&[1.0, 2.0, 3.0], &[0, 1, 1]),
            split(&[1.0, 3.0, 2.0], &[0, 0, 1]),
            split(&[1.0, 2.0, 3.0, 3.0], &[0, 1, 0, 0]),
        ] {
            assert_ne!(digest, data_digest(&other));
        }
    }
}
