//! How classes are told apart.

use super::{ScoreHistogram, Share, real};

/// So many classes have every pair of true and predicted class counted.
const MATRIX_MAX: u32 = 32;

/// So many classes have their scores counted.
const SCORED_MAX: u32 = 16;

/// How examples of several classes are told apart.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassTally {
    confusion: Confusion,
    loss_sum: f64,
    brier_sum: f64,
    /// Of the second of two classes, of each of up to [`SCORED_MAX`], of none of more.
    scores: Vec<ScoreHistogram>,
}

/// Which classes were predicted of which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `[classes, classes]`: examples of a class that are predicted to be of a class. For many
    /// classes `[classes, 3]`: those that are right, those that are missed, and others that are
    /// taken for it.
    counts: Vec<u64>,
}

impl ClassTally {
    pub(super) fn new(classes: u32) -> Self {
        let nothing = &mut std::iter::empty();
        Self::read(classes, nothing)
    }

    pub(super) fn tallies(classes: u32) -> u32 {
        let scored = Self::histograms(classes) * 2 * Self::bins(classes);
        Confusion::tallies(classes) + 2 * real::DIGITS + scored
    }

    fn histograms(classes: u32) -> u32 {
        match classes {
            2 => 1,
            classes if classes <= SCORED_MAX => classes,
            _ => 0,
        }
    }

    fn bins(classes: u32) -> u32 {
        match classes {
            2 => 64,
            _ => 32,
        }
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> u32 {
        // As many as there were when it was made.
        u32::try_from(self.confusion.classes).unwrap_or(u32::MAX)
    }

    /// Counts an example of class `label`, which has these log probabilities up to a constant,
    /// `[classes]`, and this loss.
    ///
    /// # Panics
    ///
    /// If there are other numbers of classes.
    pub fn add(&mut self, logits: &[f32], label: u32, loss: f64) {
        let label = label as usize;
        assert!(logits.len() == self.confusion.classes && label < logits.len());
        self.confusion.add(label, likeliest(logits));
        self.loss_sum += loss;
        let logits = || logits.iter().map(|logit| f64::from(*logit));
        let highest = logits().fold(f64::NEG_INFINITY, f64::max);
        let all: f64 = logits().map(|logit| (logit - highest).exp()).sum();
        for (class, logit) in logits().enumerate() {
            let weight = (logit - highest).exp();
            let truth = f64::from(u8::from(class == label));
            self.brier_sum += (weight / all - truth).powi(2);
        }
        let first = self.confusion.classes - self.scores.len();
        if !self.scores.is_empty() {
            for (place, histogram) in self.scores.iter_mut().enumerate() {
                let class = first + place;
                let own = logits().nth(class).unwrap_or_default();
                let others = logits().enumerate().filter(|(other, _)| *other != class);
                let others: Vec<_> = others.map(|(_, logit)| logit).collect();
                histogram.add(own - log_sum_exp(&others), class == label);
            }
        }
    }

    pub(super) fn to_tallies(&self) -> Vec<u64> {
        let counts = self.confusion.counts.iter().copied();
        let sums = [self.loss_sum, self.brier_sum];
        counts
            .chain(sums.into_iter().flat_map(real::digits))
            .chain(self.scores.iter().flat_map(ScoreHistogram::tallies))
            .collect()
    }

    pub(super) fn read(classes: u32, tallies: &mut impl Iterator<Item = u64>) -> Self {
        let confusion = Confusion::read(classes, tallies);
        let (loss_sum, brier_sum) = (real::read(tallies), real::read(tallies));
        let bins = Self::bins(classes);
        let scores = (0..Self::histograms(classes)).map(|_| ScoreHistogram::read(bins, tallies));
        Self {
            confusion,
            loss_sum,
            brier_sum,
            scores: scores.collect(),
        }
    }

    /// Returns which classes were predicted of which.
    pub fn confusion(&self) -> &Confusion {
        &self.confusion
    }

    /// Returns the sum of the loss over all examples, in nats.
    pub fn loss_sum(&self) -> f64 {
        self.loss_sum
    }

    /// Returns the mean squared distance between probabilities and what is so, summed over classes,
    /// 0 to 2, unless there are no examples.
    pub fn brier(&self) -> Option<f64> {
        let examples = self.confusion.examples();
        (examples > 0).then(|| self.brier_sum / examples as f64)
    }

    /// Returns the scores of the second of two classes, of each of up to 16, and of none of more.
    pub fn scores(&self) -> &[ScoreHistogram] {
        &self.scores
    }
}

impl Confusion {
    /// Returns a confusion of no examples.
    pub fn new(classes: u32) -> Self {
        Self::read(classes, &mut std::iter::empty())
    }

    fn read(classes: u32, tallies: &mut impl Iterator<Item = u64>) -> Self {
        let counts = (0..Self::tallies(classes)).map(|_| tallies.next().unwrap_or_default());
        Self {
            classes: classes as usize,
            counts: counts.collect(),
        }
    }

    fn tallies(classes: u32) -> u32 {
        match classes <= MATRIX_MAX {
            true => classes * classes,
            false => 3 * classes,
        }
    }

    fn is_matrix(&self) -> bool {
        self.counts.len() == self.classes * self.classes
    }

    /// Counts an example of class `label`.
    ///
    /// # Panics
    ///
    /// If there are not so many classes.
    pub fn add(&mut self, label: usize, predicted: usize) {
        if self.is_matrix() {
            self.counts[label * self.classes + predicted] += 1;
        } else if label == predicted {
            self.counts[3 * label] += 1;
        } else {
            self.counts[3 * label + 1] += 1;
            self.counts[3 * predicted + 2] += 1;
        }
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns, for each class, how many of its examples are predicted to be of each class; nothing
    /// if there are more than 32.
    pub fn matrix(&self) -> Option<Vec<&[u64]>> {
        self.is_matrix()
            .then(|| self.counts.chunks(self.classes).collect())
    }

    /// Returns how many examples there are.
    pub fn examples(&self) -> u64 {
        (0..self.classes).fold(0, |sum, class| sum.saturating_add(self.of_class(class)))
    }

    /// Returns how many were predicted right.
    pub fn right(&self) -> u64 {
        (0..self.classes).fold(0, |sum, class| sum.saturating_add(self.hits(class)))
    }

    /// Returns how many examples are of a class.
    pub fn of_class(&self, class: usize) -> u64 {
        match self.is_matrix() {
            true => sum(&self.counts[class * self.classes..][..self.classes]),
            false => sum(&self.counts[3 * class..][..2]),
        }
    }

    /// Returns how many examples of a class are predicted to be of it.
    pub fn hits(&self, class: usize) -> u64 {
        match self.is_matrix() {
            true => self.counts[class * self.classes + class],
            false => self.counts[3 * class],
        }
    }

    /// Returns how many examples of other classes are predicted to be of a class.
    pub fn false_alarms(&self, class: usize) -> u64 {
        match self.is_matrix() {
            true => (0..self.classes)
                .filter(|other| *other != class)
                .fold(0, |sum, other| {
                    sum.saturating_add(self.counts[other * self.classes + class])
                }),
            false => self.counts[3 * class + 2],
        }
    }

    /// Returns the share of the most frequent class: what is right if nothing is learned.
    pub fn majority(&self) -> Option<f64> {
        let most = (0..self.classes).map(|class| self.of_class(class)).max();
        Share::of(most.unwrap_or_default(), self.examples()).map(|share| share.value)
    }

    /// Returns the share of a class's examples that are predicted to be of it.
    pub fn sensitivity(&self, class: usize) -> Option<Share> {
        Share::of(self.hits(class), self.of_class(class))
    }

    /// Returns the share of the others' examples that are not.
    pub fn specificity(&self, class: usize) -> Option<Share> {
        let others = self.examples().saturating_sub(self.of_class(class));
        let rejected = others.saturating_sub(self.false_alarms(class));
        Share::of(rejected, others)
    }

    /// Returns the share of what is predicted to be of a class that is.
    pub fn precision(&self, class: usize) -> Option<Share> {
        let hits = self.hits(class);
        Share::of(hits, hits.saturating_add(self.false_alarms(class)))
    }

    /// Returns the harmonic mean of a class's sensitivity and precision.
    pub fn f1(&self, class: usize) -> Option<f64> {
        let hits = self.hits(class);
        let predicted = hits.saturating_add(self.false_alarms(class));
        let all = self.of_class(class).saturating_add(predicted);
        (all > 0).then(|| 2.0 * hits as f64 / all as f64)
    }

    /// Returns the mean sensitivity of the classes that have examples.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        mean((0..self.classes).filter_map(|class| self.sensitivity(class).map(|share| share.value)))
    }
}

/// Returns the place of the largest of these, the first of equals.
pub fn likeliest(row: &[f32]) -> usize {
    let places = row.iter().enumerate();
    let best = places.reduce(|best, other| if other.1 > best.1 { other } else { best });
    best.map_or(0, |(place, _)| place)
}

/// Returns the mean, unless there is nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

fn sum(counts: &[u64]) -> u64 {
    counts
        .iter()
        .fold(0, |sum, count| sum.saturating_add(*count))
}

/// ln Σ exp, without overflow.
fn log_sum_exp(values: &[f64]) -> f64 {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - highest).exp()).sum();
    highest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn known_answers_of_two_classes() {
        // Computed with scikit-learn 1.9.
        let yes = [0.1_f32, 0.4, 0.35, 0.8, 0.7, 0.4, 0.05, 0.9];
        let labels = [0, 0, 1, 1, 1, 1, 0, 0];
        let mut tally = ClassTally::new(2);
        for (p, label) in yes.iter().zip(labels) {
            let loss = if label == 1 { *p } else { 1.0 - p };
            tally.add(&[(1.0 - p).ln(), p.ln()], label, -f64::from(loss).ln());
        }
        let confusion = tally.confusion();
        assert_eq!(confusion.matrix().unwrap(), [[3, 1], [2, 2]]);
        assert_eq!(confusion.majority(), Some(0.5));
        assert_eq!(confusion.balanced_accuracy(), Some(0.625));
        assert!(close(confusion.f1(1).unwrap(), 4.0 / 7.0));
        assert!(close(confusion.precision(1).unwrap().value, 2.0 / 3.0));
        assert!(close(confusion.specificity(1).unwrap().value, 0.75));
        assert!(close(confusion.sensitivity(1).unwrap().value, 0.5));
        // Twice the Brier score of the one class.
        assert!(close(tally.brier().unwrap(), 2.0 * 0.236_875));
        let area = tally.scores()[0].auroc().unwrap();
        assert!((area.value - 0.65625).abs() <= area.error, "{area:?}");
    }

    #[test]
    fn many_classes_are_counted_each_by_itself() {
        let classes = 40;
        let mut tally = ClassTally::new(classes);
        let mut logits = vec![0.0; classes as usize];
        logits[5] = 1.0;
        for label in [5, 5, 7, 39] {
            tally.add(&logits, label, 1.0);
        }
        let confusion = tally.confusion();
        assert_eq!((confusion.matrix(), tally.scores().len()), (None, 0));
        assert_eq!((confusion.examples(), confusion.right()), (4, 2));
        assert_eq!(confusion.precision(5).unwrap().value, 0.5);
        assert_eq!(confusion.sensitivity(5).unwrap().value, 1.0);
        assert_eq!(confusion.sensitivity(7).unwrap().value, 0.0);
        assert_eq!(confusion.sensitivity(6), None);
        assert!(close(confusion.balanced_accuracy().unwrap(), 1.0 / 3.0));
        assert!(close(confusion.specificity(5).unwrap().value, 0.0));
    }

    #[test]
    fn a_model_that_always_says_no_is_as_good_as_the_majority_and_no_better() {
        let mut tally = ClassTally::new(2);
        for label in [0, 0, 0, 1] {
            tally.add(&[2.0, 0.0], label, 0.1);
        }
        let confusion = tally.confusion();
        assert_eq!(confusion.majority(), Some(0.75));
        assert_eq!(confusion.balanced_accuracy(), Some(0.5));
        assert_eq!(confusion.precision(1), None);
        assert_eq!(tally.scores()[0].auroc().unwrap().value, 0.5);
    }

    #[test]
    fn logits_that_are_no_numbers_count_as_something() {
        let mut tally = ClassTally::new(3);
        tally.add(&[f32::NAN; 3], 1, f64::NAN);
        tally.add(&[f32::INFINITY, 0.0, f32::NEG_INFINITY], 0, 0.0);
        assert_eq!(tally.confusion().examples(), 2);
    }
}
