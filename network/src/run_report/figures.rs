//! The figures that people judge a model by.

use fl_protocol::metrics::{Confusion, Figures, Metrics, Share, Tally, significant};
use maud::{Markup, html};

use super::text::{Length, columns, count, interval, percent, row, table};
use super::{Measured, RunReport};

/// A figure, and how it is written if a tally has it.
type Figure = (String, fn(&Tally, &Figures) -> Option<String>);

/// A share of the second of two classes, with its interval; nothing of more classes.
fn positive(tally: &Tally, share: fn(&Confusion) -> Option<Share>) -> Option<String> {
    match tally {
        Tally::Classes(tally) if tally.classes() == 2 => share(tally.confusion()).map(interval),
        _ => None,
    }
}

fn accuracy(tally: &Tally) -> Option<String> {
    let right = match tally {
        Tally::Answers(tally) => tally.right,
        Tally::Classes(tally) => tally.confusion().right(),
        Tally::Quantity(_) => return None,
    };
    Share::of(right, tally.examples()).map(interval)
}

/// All figures, with their names for what is counted.
fn all(report: &RunReport, metrics: Metrics) -> Vec<Figure> {
    let of = match metrics {
        Metrics::Classes { classes: 2 } => format!(" of {}", report.class(1)),
        _ => ", mean over classes".to_owned(),
    };
    let unit = report.unit.as_ref();
    let unit = unit.map_or_else(String::new, |unit| format!(", in {unit}"));
    vec![
        ("Examples".to_owned(), |tally, _| {
            Some(count(tally.examples()))
        }),
        ("Loss".to_owned(), |_, of| {
            of.loss.map(|loss| format!("{loss:.4}"))
        }),
        ("Accuracy".to_owned(), |tally, _| accuracy(tally)),
        ("Share of the most frequent class".to_owned(), |_, of| {
            of.majority.map(percent)
        }),
        ("Balanced accuracy".to_owned(), |_, of| {
            of.balanced_accuracy.map(percent)
        }),
        (format!("Sensitivity{of}"), |tally, _| {
            positive(tally, |c| c.sensitivity(1))
        }),
        (format!("Specificity{of}"), |tally, _| {
            positive(tally, |c| c.specificity(1))
        }),
        (format!("Precision{of}"), |tally, figures| {
            positive(tally, |c| c.precision(1)).or(figures.precision.map(percent))
        }),
        (format!("F1{of}"), |_, of| of.f1.map(percent)),
        (format!("AUROC{of}"), |_, of| {
            of.auroc
                .map(|area| format!("{:.3} ± {:.3}", area.value, area.error))
        }),
        ("Brier score".to_owned(), |_, of| {
            of.brier.map(|brier| format!("{brier:.4}"))
        }),
        (format!("Mean absolute error (MAE){unit}"), |_, of| {
            of.mae.map(significant)
        }),
        (format!("Root mean square error (RMSE){unit}"), |_, of| {
            of.rmse.map(significant)
        }),
        ("R²".to_owned(), |_, of| of.r2.map(|r2| format!("{r2:.3}"))),
    ]
}

pub(super) fn section(report: &RunReport) -> Markup {
    let measured = report.measurements();
    html! {
        section aria-labelledby="figures-heading" {
            h2 id="figures-heading" { "Figures" }
            @match measured.first() {
                None => p {
                    "No held-back examples are known to this run, so it has no figures of a model."
                }
                Some(first) => (of(report, first.tally().metrics(), &measured)),
            }
        }
    }
}

fn of(report: &RunReport, metrics: Metrics, measured: &[Measured<'_>]) -> Markup {
    let figures: Vec<_> = measured
        .iter()
        .map(|measured| (measured.tally(), measured.tally().figures()))
        .collect();
    let names = std::iter::once("Figure".to_owned());
    let names = names.chain(measured.iter().map(Measured::words));
    let rows = all(report, metrics).into_iter().map(|(name, value)| {
        let values = figures.iter().map(|(tally, figures)| value(tally, figures));
        (name, values.collect::<Vec<_>>())
    });
    let rows = rows.filter(|(_, values)| values.iter().any(Option::is_some));
    let rows = html! {
        (columns(names))
        tbody { @for (name, values) in rows { (row(&name, values)) } }
    };
    html! {
        (table("figures", "How the models do on held-back examples", Length::Short, &rows))
        p class="note" {
            @if let Metrics::Quantity { .. } = metrics {
                "The loss is the mean squared error in squared standard deviations of the quantity."
            } @else {
                "In brackets, intervals of 95 % (Wilson). The loss is the cross entropy in nats. "
                "The share of the most frequent class is the accuracy of a model that has learned "
                "nothing. What follows ± is not an interval, but how far off an AUROC may be that "
                "is counted in bins of scores. The Brier score is summed over classes: 0 is best, "
                "2 is worst."
            }
        }
    }
}
