//! What a classifier's predictions are worth, in the figures by which people judge one.

use fl_protocol::metrics::{Confusion, Share, likeliest};
use serde::Serialize;

/// How a classifier did on examples whose classes are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassificationReport {
    /// Examples of each class that are predicted to be of each class: `[true][predicted]`. Missing
    /// for more than 32 classes.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Share of the examples whose class is the most frequent one: what is right if nothing is
    /// learned, 0 to 1.
    pub majority: f64,
    /// Mean sensitivity over the classes that occur, 0 to 1.
    pub balanced_accuracy: f64,
    /// Mean squared distance between probabilities and what is so, summed over classes, 0 to 2.
    pub brier: f64,
    /// Each class against all others.
    pub classes: Vec<ClassReport>,
}

/// How a class is told from all others. A figure is missing where it has no meaning, such as the
/// sensitivity for a class without examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassReport {
    /// The class.
    pub name: String,
    /// Examples of the class.
    pub examples: u64,
    /// Share of its examples that are predicted to be of it, 0 to 1.
    pub sensitivity: Option<Share>,
    /// Share of the others' examples that are not, 0 to 1.
    pub specificity: Option<Share>,
    /// Share of what is predicted to be of it that is, 0 to 1.
    pub precision: Option<Share>,
    /// Harmonic mean of sensitivity and precision, 0 to 1.
    pub f1: Option<f64>,
    /// Chance that an example of the class has a higher probability for it than another one, a tie
    /// being half a chance; the area under the ROC curve, 0 to 1.
    pub auroc: Option<f64>,
}

impl ClassificationReport {
    /// Returns the report on predictions: `probabilities` is `[examples, classes]`, row-major, and
    /// `labels` says the class of each example. Without examples there is none.
    pub fn of(classes: &[String], probabilities: &[f32], labels: &[u32]) -> Option<Self> {
        let count = classes.len();
        let rows = || probabilities.chunks_exact(count).zip(labels);
        if labels.is_empty() || probabilities.len() != labels.len() * count {
            return None;
        }
        let mut confusion = Confusion::new(u32::try_from(count).ok()?);
        let mut brier = 0.0;
        for (row, &label) in rows() {
            confusion.add(label as usize, likeliest(row));
            brier += row
                .iter()
                .zip(0..)
                .map(|(&p, class)| {
                    let truth = f64::from(u8::from(class == label));
                    (f64::from(p) - truth).powi(2)
                })
                .sum::<f64>();
        }
        let class = |(place, name): (usize, &String)| {
            let scores = rows().map(|(row, &label)| (row[place], label as usize == place));
            ClassReport {
                name: name.clone(),
                examples: confusion.of_class(place),
                sensitivity: confusion.sensitivity(place),
                specificity: confusion.specificity(place),
                precision: confusion.precision(place),
                f1: confusion.f1(place),
                auroc: auroc(scores.collect()),
            }
        };
        let matrix = confusion.matrix();
        Some(Self {
            majority: confusion.majority()?,
            balanced_accuracy: confusion.balanced_accuracy()?,
            brier: brier / labels.len() as f64,
            classes: classes.iter().enumerate().map(class).collect(),
            confusion: matrix.map(|rows| rows.into_iter().map(<[_]>::to_vec).collect()),
        })
    }
}

/// The area under the ROC curve, by ranks, unless all are of one kind. Each score is with whether
/// its example is of the class.
fn auroc(mut scores: Vec<(f32, bool)>) -> Option<f64> {
    scores.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let positives = scores
        .iter()
        .filter(|(_, is_positive)| *is_positive)
        .count() as f64;
    let negatives = scores.len() as f64 - positives;
    let (mut below, mut area) = (0.0, 0.0);
    for equals in scores.chunk_by(|(a, _), (b, _)| a == b) {
        let of_class = equals
            .iter()
            .filter(|(_, is_positive)| *is_positive)
            .count() as f64;
        let others = equals.len() as f64 - of_class;
        area += of_class * (below + others / 2.0);
        below += others;
    }
    (positives > 0.0 && negatives > 0.0).then(|| area / (positives * negatives))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(probabilities: &[f32], labels: &[u32]) -> ClassificationReport {
        let classes = ["no", "yes"].map(str::to_owned);
        ClassificationReport::of(&classes, probabilities, labels).unwrap()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn known_answers_of_two_classes() {
        // Computed with scikit-learn 1.9 and, for the intervals, statsmodels 0.15.
        let yes = [0.1_f32, 0.4, 0.35, 0.8, 0.7, 0.4, 0.05, 0.9];
        let labels = [0, 0, 1, 1, 1, 1, 0, 0];
        let both: Vec<f32> = yes.iter().flat_map(|p| [1.0 - p, *p]).collect();
        let report = report(&both, &labels);
        assert_eq!(report.confusion.unwrap(), [[3, 1], [2, 2]]);
        assert!(close(report.majority, 0.5) && close(report.balanced_accuracy, 0.625));
        let yes = &report.classes[1];
        assert_eq!(yes.auroc, Some(0.65625));
        assert!(close(yes.f1.unwrap(), 4.0 / 7.0));
        assert!(close(yes.precision.unwrap().value, 2.0 / 3.0));
        assert!(close(yes.specificity.unwrap().value, 0.75));
        let Share { value, low, high } = yes.sensitivity.unwrap();
        assert!(
            close(value, 0.5) && close(low, 0.150_039) && close(high, 0.849_961),
            "{low} {high}"
        );
        // Twice the Brier score of the one class.
        assert!(close(report.brier, 2.0 * 0.236_875), "{}", report.brier);
    }

    #[test]
    fn a_model_that_always_says_no_is_as_good_as_the_majority_and_no_better() {
        let report = report(&[0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1], &[0, 0, 0, 1]);
        assert_eq!((report.majority, report.balanced_accuracy), (0.75, 0.5));
        let yes = &report.classes[1];
        assert_eq!(yes.sensitivity.unwrap().value, 0.0);
        assert_eq!((yes.precision, yes.auroc), (None, Some(0.5)));
    }

    #[test]
    fn what_has_no_meaning_is_missing() {
        let one = report(&[0.9, 0.1, 0.2, 0.8], &[0, 0]);
        let yes = &one.classes[1];
        assert_eq!((yes.sensitivity, yes.auroc), (None, None));
        assert_eq!(one.balanced_accuracy, 0.5);
        assert_eq!(ClassificationReport::of(&[], &[], &[]), None);
        let classes = ["no", "yes"].map(str::to_owned);
        assert_eq!(ClassificationReport::of(&classes, &[], &[]), None);
    }
}
