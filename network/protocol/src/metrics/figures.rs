//! The figures that people judge a model by.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::classes::mean;
use super::{Auroc, ClassTally, QuantityTally, Tally};

/// The figures that people judge a model by. One that has no meaning, or that was not counted, is
/// missing.
///
/// Of two classes, sensitivity, specificity, precision, F1 and AUROC are those of the second; of
/// more, precision, F1 and AUROC are means over the classes, each against all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Mean loss: cross entropy in nats for classes, squared deviations for a quantity.
    pub loss: Option<f64>,
    /// Share that is answered right, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Share of the most frequent class, 0 to 1: the accuracy if nothing is learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub majority: Option<f64>,
    /// Mean sensitivity over the classes that occur, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced_accuracy: Option<f64>,
    /// Share of a class's examples that are found, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<f64>,
    /// Share of the others' examples that are told from them, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specificity: Option<f64>,
    /// Share of what is taken for a class that is of it, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Harmonic mean of sensitivity and precision, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// Area under the ROC curve, with the error that its bins leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc: Option<Auroc>,
    /// Mean squared distance between probabilities and what is so, summed over classes, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brier: Option<f64>,
    /// Mean absolute error, in the quantity's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// Root of the mean squared error, in the quantity's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// Share of the quantity's variance that is explained, at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

impl Figures {
    pub(super) fn of(tally: &Tally) -> Self {
        let figures = Self {
            loss: tally.loss(),
            accuracy: tally.accuracy(),
            ..Self::default()
        };
        match tally {
            Tally::Answers(_) => figures,
            Tally::Classes(tally) => figures.with_classes(tally),
            Tally::Quantity(tally) => figures.with_quantity(tally),
        }
    }

    fn with_classes(self, tally: &ClassTally) -> Self {
        let confusion = tally.confusion();
        let is_binary = confusion.classes() == 2;
        let of_one = |share: Option<super::Share>| share.filter(|_| is_binary).map(|s| s.value);
        let judged = if is_binary {
            1..2
        } else {
            0..confusion.classes()
        };
        let areas: Vec<_> = tally
            .scores()
            .iter()
            .filter_map(|scores| scores.auroc())
            .collect();
        let area = mean(areas.iter().map(|area| area.value));
        let error = mean(areas.iter().map(|area| area.error));
        Self {
            majority: confusion.majority(),
            balanced_accuracy: confusion.balanced_accuracy(),
            sensitivity: of_one(confusion.sensitivity(1)),
            specificity: of_one(confusion.specificity(1)),
            precision: mean(
                judged
                    .clone()
                    .filter_map(|class| confusion.precision(class).map(|share| share.value)),
            ),
            f1: mean(judged.filter_map(|class| confusion.f1(class))),
            auroc: area.zip(error).map(|(value, error)| Auroc { value, error }),
            brier: tally.brier(),
            ..self
        }
    }

    fn with_quantity(self, tally: &QuantityTally) -> Self {
        Self {
            mae: tally.mae(),
            rmse: tally.rmse(),
            r2: tally.r2(),
            ..self
        }
    }
}

impl fmt::Display for Figures {
    /// The most telling ones, separated by commas; nothing without a loss.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(loss) = self.loss else {
            return Ok(());
        };
        write!(f, "loss {loss:.4}")?;
        for (name, share) in [
            ("accuracy", self.accuracy),
            ("balanced", self.balanced_accuracy),
        ] {
            if let Some(share) = share {
                write!(f, ", {name} {:.2} %", 100.0 * share)?;
            }
        }
        if let Some(auroc) = self.auroc {
            write!(f, ", AUROC {:.3}", auroc.value)?;
        }
        for (name, number) in [("MAE", self.mae), ("RMSE", self.rmse)] {
            if let Some(number) = number {
                write!(f, ", {name} {}", significant(number))?;
            }
        }
        match self.r2 {
            Some(r2) => write!(f, ", R² {r2:.3}"),
            None => Ok(()),
        }
    }
}

/// Returns a number ≥ 0 with four digits or more.
pub fn significant(number: f64) -> String {
    match number {
        number if number >= 1e5 || number < 1e-3 && number > 0.0 => format!("{number:.3e}"),
        number if number >= 100.0 => format!("{number:.1}"),
        number if number >= 1.0 => format!("{number:.3}"),
        number => format!("{number:.5}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn figures_are_told_by_kind() {
        let mut classes = Tally::new(Metrics::Classes { classes: 2 });
        let mut quantity = Tally::new(Metrics::Quantity { deviation: 4.0 });
        if let (Tally::Classes(classes), Tally::Quantity(quantity)) = (&mut classes, &mut quantity)
        {
            for (logit, label) in [(2.0, 1), (-1.0, 0), (1.0, 0), (0.5, 1), (-2.0, 0)] {
                classes.add(&[0.0, logit], label, 0.25);
                quantity.add(f64::from(logit), f64::from(label));
            }
        }
        assert_eq!(
            classes.figures().to_string(),
            "loss 0.2500, accuracy 80.00 %, balanced 83.33 %, AUROC 0.833"
        );
        assert_eq!(
            quantity.figures().to_string(),
            "loss 1.4500, MAE 4.400, RMSE 4.817, R² -5.042"
        );
        assert_eq!(Figures::default().to_string(), "");
    }

    #[test]
    fn figures_come_back_and_missing_ones_are_not_written() {
        let figures = Figures {
            loss: Some(0.5),
            auroc: Some(Auroc {
                value: 0.75,
                error: 0.01,
            }),
            ..Figures::default()
        };
        let text = toml::to_string(&figures).unwrap();
        assert_eq!(text, "loss = 0.5\n\n[auroc]\nvalue = 0.75\nerror = 0.01\n");
        assert_eq!(toml::from_str::<Figures>(&text).unwrap(), figures);
    }
}
