//! Which classes are taken for which, and how each is told from the others.

use fl_protocol::metrics::{ClassTally, Share, Tally};
use maud::{Markup, html};

use super::text::{Length, columns, count, interval, percent, row, table};
use super::{Measured, RunReport};

/// So many classes have their names above the columns of the matrix; of more, numbers.
const NAMED_MAX: usize = 8;
/// Shades of a cell, from none of its row to all of it.
const SHADES: u64 = 8;

pub(super) fn section(report: &RunReport) -> Option<Markup> {
    let tallies: Vec<_> = tallies(report).collect();
    (!tallies.is_empty()).then(|| {
        html! {
            section aria-labelledby="classes" {
                h2 id="classes" { "Classes" }
                @for (measured, tally) in tallies {
                    h3 { (measured.words()) }
                    @if let Some(matrix) = tally.confusion().matrix() {
                        (confusion(report, &measured, &matrix))
                    }
                    (each(report, &measured, tally))
                }
                p class="note" {
                    "In brackets, intervals of 95 % (Wilson). Sensitivity, or recall, is the share "
                    "of a class's examples that are found; precision, or positive predictive "
                    "value, the share of what is taken for the class that is of it."
                }
            }
        }
    })
}

pub(super) fn tallies(report: &RunReport) -> impl Iterator<Item = (Measured<'_>, &ClassTally)> {
    fn classes(measured: Measured<'_>) -> Option<(Measured<'_>, &ClassTally)> {
        match measured.tally() {
            Tally::Classes(tally) => Some((measured, tally)),
            _ => None,
        }
    }
    report.measurements().into_iter().filter_map(classes)
}

/// Rows are what is so, columns what is predicted.
fn confusion(report: &RunReport, measured: &Measured<'_>, matrix: &[&[u64]]) -> Markup {
    let is_small = matrix.len() <= NAMED_MAX;
    let column = |class: usize| match is_small {
        true => report.class(class),
        false => (class + 1).to_string(),
    };
    let name = |class: usize| match is_small {
        true => report.class(class),
        false => format!("{} {}", class + 1, report.class(class)),
    };
    let rows = html! {
        thead {
            tr {
                th scope="col" { "True ↓ predicted →" }
                @for class in 0..matrix.len() { th scope="col" { (column(class)) } }
            }
        }
        tbody {
            @for (class, counts) in matrix.iter().enumerate() {
                @let all = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
                tr {
                    th scope="row" { (name(class)) }
                    @for (predicted, part) in counts.iter().enumerate() {
                        td class=(shade(*part, all, class == predicted)) {
                            (count(*part))
                            @if let Some(share) = Share::of(*part, all) {
                                " " small { (format!("{:.0}\u{a0}%", 100.0 * share.value)) }
                            }
                        }
                    }
                }
            }
        }
    };
    let class = if is_small { "matrix" } else { "matrix many" };
    let id = format!("confusion-{}", measured.key);
    let caption = "Confusion matrix: examples, and their share of the row";
    html! { div class=(class) { (table(&id, caption, Length::Short, &rows)) } }
}

/// The classes of a cell: how dark it is, and whether it is of those that are right.
fn shade(part: u64, all: u64, is_right: bool) -> String {
    let shade = u128::from(part) * u128::from(SHADES) / u128::from(all.max(1));
    let right = if is_right { " right" } else { "" };
    format!("shade-{shade}{right}")
}

fn each(report: &RunReport, measured: &Measured<'_>, tally: &ClassTally) -> Markup {
    let confusion = tally.confusion();
    let area = |class: usize| {
        // Of two classes, those of the second rank the first as well.
        let scores = match confusion.classes() {
            2 => tally.scores().first(),
            _ => tally.scores().get(class),
        }?;
        scores
            .auroc()
            .map(|area| format!("{:.3} ± {:.3}", area.value, area.error))
    };
    let rows = (0..confusion.classes()).map(|class| {
        let cells = [
            Some(count(confusion.of_class(class))),
            confusion.sensitivity(class).map(interval),
            confusion.specificity(class).map(interval),
            confusion.precision(class).map(interval),
            confusion.f1(class).map(percent),
            area(class),
        ];
        row(&report.class(class), cells)
    });
    let rows = html! {
        (columns(["Class", "Examples", "Sensitivity", "Specificity", "Precision", "F1", "AUROC"]))
        tbody { @for row in rows { (row) } }
    };
    let id = format!("each-{}", measured.key);
    table(&id, "Each class against all others", Length::Long, &rows)
}
