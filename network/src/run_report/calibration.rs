//! Whether what gets a probability is so with it.

use fl_protocol::metrics::{CalibrationPoint, ClassTally, ScoreHistogram, Share};
use maud::{Markup, html};
use serde::Serialize;

use super::classes::tallies;
use super::text::{Length, columns, count, interval, percent, table};
use super::{Measured, RunReport};

/// Examples are put into so many groups of about the same size: fewer would hide, and more would be
/// too small to tell.
const GROUPS: u64 = 10;

/// The calibration of a class on some examples.
#[derive(Serialize)]
pub(super) struct Calibration {
    /// Where the chart stands.
    place: String,
    /// The name of the class.
    class: String,
    groups: Vec<Group>,
    /// Which model it is of, and on which examples.
    #[serde(skip)]
    title: String,
    /// Whether its class is one of two.
    #[serde(skip)]
    is_binary: bool,
}

impl Calibration {
    /// Sensitivity and specificity of a rule that takes a group and all above it for the class, by
    /// group.
    fn operating_points(&self) -> Vec<[Option<Share>; 2]> {
        let sum = |of: fn(&Group) -> u64| {
            self.groups
                .iter()
                .fold(0_u64, |sum, group| sum.saturating_add(of(group)))
        };
        let positives = sum(|group| group.positives);
        let negatives = sum(|group| group.examples).saturating_sub(positives);
        let (mut missed, mut rejected) = (0_u64, 0_u64);
        let point = |group: &Group| {
            let found = positives.saturating_sub(missed);
            let shares = [Share::of(found, positives), Share::of(rejected, negatives)];
            missed = missed.saturating_add(group.positives);
            rejected = rejected.saturating_add(group.examples.saturating_sub(group.positives));
            shares
        };
        self.groups.iter().map(point).collect()
    }
}

/// Examples that got about the same probability of a class.
#[derive(Debug, PartialEq, Serialize)]
struct Group {
    /// Their mean probability, 0 to 1.
    predicted: f64,
    /// The share that is of the class.
    observed: Share,
    /// How many there are.
    examples: u64,
    /// How many of them are of the class.
    #[serde(skip)]
    positives: u64,
}

/// Puts neighbouring bins together.
fn groups(points: &[CalibrationPoint]) -> Vec<Group> {
    let all: f64 = points.iter().map(|point| point.examples as f64).sum();
    let mut below = 0.0;
    let place = |point: &CalibrationPoint| {
        let middle = below + point.examples as f64 / 2.0;
        below += point.examples as f64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below the number of groups"
        )]
        let place = (middle / all * GROUPS as f64) as u64;
        place
    };
    let places: Vec<_> = points.iter().map(place).collect();
    let groups = places.chunk_by(|one, other| one == other);
    let mut rest = points;
    let joined = groups.filter_map(|group| {
        let (points, behind) = rest.split_at(group.len());
        rest = behind;
        join(points)
    });
    joined.collect()
}

fn join(points: &[CalibrationPoint]) -> Option<Group> {
    let (mut examples, mut positives, mut sum) = (0_u64, 0_u64, 0.0);
    for point in points {
        let weight = point.examples as f64;
        #[expect(clippy::cast_possible_truncation, reason = "as many as there were")]
        let of_class = (point.observed.value * weight).round() as u64;
        examples = examples.saturating_add(point.examples);
        positives = positives.saturating_add(of_class);
        sum += point.predicted * weight;
    }
    Some(Group {
        predicted: sum / examples as f64,
        observed: Share::of(positives, examples)?,
        examples,
        positives,
    })
}

/// The calibration of each class that has scores, by measurement.
pub(super) fn all(report: &RunReport) -> Vec<Calibration> {
    let of = |(measured, tally)| of_classes(report, measured, tally);
    tallies(report).flat_map(of).collect()
}

fn of_classes(report: &RunReport, measured: Measured<'_>, tally: &ClassTally) -> Vec<Calibration> {
    let classes = tally.confusion().classes();
    let first = classes - tally.scores().len();
    let scores = tally.scores().iter().map(ScoreHistogram::calibration);
    let calibration = |(at, points): (usize, Vec<_>)| Calibration {
        place: format!("calibration-{}", measured.key),
        class: report.class(first + at),
        groups: groups(&points),
        title: measured.words(),
        is_binary: classes == 2,
    };
    scores.enumerate().map(calibration).collect()
}

pub(super) fn section(calibrations: &[Calibration]) -> Option<Markup> {
    let by_measurement = calibrations.chunk_by(|one, other| one.place == other.place);
    (!calibrations.is_empty()).then(|| {
        html! {
            section aria-labelledby="calibration" {
                h2 id="calibration" { "Calibration" }
                p {
                    "Where a model that is well calibrated gives a class 70 %, it is right in 70 % "
                    "of the cases: its points lie on the dashed line."
                }
                @for calibrations in by_measurement { (of(calibrations)) }
                p class="note" {
                    "Examples are put together by their probability, in up to " (GROUPS)
                    " groups of about the same size; a larger point is of more examples. The "
                    "intervals are of 95 % (Wilson). Probabilities are counted in bins, so that a "
                    "group's mean may be off by about half the width of its bins."
                }
            }
        }
    })
}

/// Those of one measurement: a place for their charts, and what these show as a table.
fn of(calibrations: &[Calibration]) -> Markup {
    let Some(Calibration {
        place,
        title,
        is_binary,
        ..
    }) = calibrations.first()
    else {
        return html! {};
    };
    let names = [
        "Class",
        "Examples",
        "Predicted",
        "Observed",
        "Sensitivity",
        "Specificity",
    ];
    let names = &names[..if *is_binary { 6 } else { 4 }];
    let rows = html! {
        (columns(names))
        tbody {
            @for calibration in calibrations {
                @let operating = calibration.operating_points();
                @for (group, point) in calibration.groups.iter().zip(operating) {
                    tr {
                        th scope="row" { (calibration.class) }
                        td { (count(group.examples)) }
                        td { (percent(group.predicted)) }
                        td { (interval(group.observed)) }
                        @if *is_binary {
                            @for share in point {
                                td { (share.map_or_else(|| "–".to_owned(), interval)) }
                            }
                        }
                    }
                }
            }
        }
    };
    html! {
        h3 { (title) }
        div class="charts" id=(place) {}
        (table(&format!("{place}-table"), "Groups by probability", Length::Long, &rows))
        @if *is_binary {
            p class="note" {
                "Sensitivity and specificity are those of a rule that takes a group and all groups "
                "below it in the table for the class."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(predicted: f64, positives: u64, examples: u64) -> CalibrationPoint {
        CalibrationPoint {
            predicted,
            observed: Share::of(positives, examples).unwrap(),
            examples,
        }
    }

    #[test]
    fn bins_are_put_together_in_groups_of_about_a_tenth() {
        let points: Vec<_> = (0..64).map(|k| point(f64::from(k) / 64.0, 1, 4)).collect();
        let groups = groups(&points);
        assert_eq!(groups.len(), 10);
        for group in &groups {
            assert!((24..=28).contains(&group.examples), "{group:?}");
            assert_eq!(group.positives, group.examples / 4);
        }
        assert!(groups.is_sorted_by(|one, other| one.predicted < other.predicted));
        assert_eq!(groups.iter().map(|group| group.examples).sum::<u64>(), 256);
    }

    #[test]
    fn a_bin_is_never_split_and_a_mean_is_of_examples() {
        let groups = groups(&[point(0.1, 0, 1), point(0.2, 1, 3), point(0.9, 900, 1_000)]);
        let found: Vec<_> = groups.iter().map(|g| (g.examples, g.positives)).collect();
        assert_eq!(found, [(4, 1), (1_000, 900)]);
        assert!((groups[0].predicted - 0.175).abs() < 1e-9);
        assert_eq!(super::groups(&[]), []);
    }

    #[test]
    fn a_rule_from_the_lowest_group_on_finds_all_and_rejects_none() {
        let calibration = Calibration {
            place: String::new(),
            class: String::new(),
            groups: groups(&[point(0.1, 1, 10), point(0.8, 6, 10)]),
            title: String::new(),
            is_binary: true,
        };
        let points = calibration.operating_points();
        let values = |[a, b]: [Option<Share>; 2]| (a.unwrap().value, b.unwrap().value);
        assert_eq!(values(points[0]), (1.0, 0.0));
        assert_eq!(values(points[1]), (6.0 / 7.0, 9.0 / 13.0));
    }
}
