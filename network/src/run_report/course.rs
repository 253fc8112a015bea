//! The figures of the models over the rounds.

use std::collections::BTreeMap;

use fl_protocol::metrics::{Figures, significant};
use maud::{Markup, html};
use serde::Serialize;

use super::text::{Length, columns, count, percent, table};
use super::{Owner, RunReport, RunRound};

/// A figure that is followed over the rounds.
struct Followed {
    /// What it is called in `run.json`, by which the charts know it.
    key: &'static str,
    name: &'static str,
    value: fn(&Figures) -> Option<f64>,
    text: fn(f64) -> String,
}

const FOLLOWED: [Followed; 7] = [
    Followed {
        key: "loss",
        name: "Loss",
        value: |figures| figures.loss,
        text: |loss| format!("{loss:.4}"),
    },
    Followed {
        key: "accuracy",
        name: "Accuracy",
        value: |figures| figures.accuracy,
        text: percent,
    },
    Followed {
        key: "balanced_accuracy",
        name: "Balanced accuracy",
        value: |figures| figures.balanced_accuracy,
        text: percent,
    },
    Followed {
        key: "auroc",
        name: "AUROC",
        value: |figures| figures.auroc.map(|area| area.value),
        text: |area| format!("{area:.3}"),
    },
    Followed {
        key: "mae",
        name: "MAE",
        value: |figures| figures.mae,
        text: significant,
    },
    Followed {
        key: "rmse",
        name: "RMSE",
        value: |figures| figures.rmse,
        text: significant,
    },
    Followed {
        key: "r2",
        name: "R²",
        value: |figures| figures.r2,
        text: |r2| format!("{r2:.3}"),
    },
];

/// Whose held-back examples a figure is of.
struct Side {
    key: &'static str,
    /// Added to the name of a figure where both sides stand beside each other.
    name: &'static str,
    title: &'static str,
    /// The round after which it is of the global model, and the figures.
    of: fn(&RunRound) -> (u64, &Figures),
}

fn sides(report: &RunReport) -> [Side; 2] {
    let (own, all, title) = match report.parties.owner {
        Owner::Node { .. } => ("own", "all", "On the examples that this node holds back"),
        Owner::Simulation => (
            "all nodes",
            "participants",
            "On the examples that all nodes hold back",
        ),
    };
    [
        Side {
            key: "own",
            name: own,
            title,
            of: |round| (round.round, &round.own),
        },
        Side {
            key: "all",
            name: all,
            title: "On the examples that the participants of the next round hold back",
            of: |round| (round.round.saturating_sub(1), &round.before),
        },
    ]
}

/// The figures of a side that any round has.
fn followed<'a>(
    report: &'a RunReport,
    side: &Side,
) -> impl Iterator<Item = &'static Followed> + 'a {
    let of = side.of;
    let has = move |followed: &&Followed| {
        let mut rounds = report.rounds.iter();
        rounds.any(|round| (followed.value)(of(round).1).is_some())
    };
    FOLLOWED.iter().filter(has)
}

/// The charts of a side.
#[derive(Serialize)]
pub(super) struct Curves {
    /// Where they stand.
    place: String,
    /// The points of each figure by its key: the round, and the value after it.
    figures: Vec<(&'static str, Vec<(u64, f64)>)>,
}

pub(super) fn curves(report: &RunReport) -> Vec<Curves> {
    let points = |side: &Side, followed: &Followed| {
        let point = |round: &RunRound| {
            let (after, figures) = (side.of)(round);
            // More digits than a chart shows are only bytes.
            let value = (followed.value)(figures)?;
            Some((after, format!("{value:.6e}").parse().unwrap_or(value)))
        };
        report.rounds.iter().filter_map(point).collect()
    };
    let of = |side: Side| {
        let figures = followed(report, &side);
        let figures: Vec<_> = figures
            .map(|followed| (followed.key, points(&side, followed)))
            .collect();
        (!figures.is_empty()).then(|| Curves {
            place: format!("curves-{}", side.key),
            figures,
        })
    };
    sides(report).into_iter().filter_map(of).collect()
}

pub(super) fn section(report: &RunReport) -> Option<Markup> {
    let mut sides = Vec::from(sides(report));
    sides.retain(|side| followed(report, side).next().is_some());
    (!sides.is_empty()).then(|| {
        html! {
            section aria-labelledby="course" {
                h2 id="course" { "Course" }
                @for side in &sides {
                    h3 { (side.title) }
                    div class="charts" id=(format!("curves-{}", side.key)) {}
                }
                p class="note" {
                    "0 is the model before the first round. The table of rounds has every value."
                }
            }
        }
    })
}

pub(super) fn rounds(report: &RunReport) -> Markup {
    let sides = sides(report).map(|side| (followed(report, &side).collect::<Vec<_>>(), side));
    let names = ["Round", "Nodes", "Examples", "Seconds"].map(str::to_owned);
    let of_models = sides.iter().flat_map(|(followed, side)| {
        let name = |followed: &&Followed| format!("{}, {}", followed.name, side.name);
        followed.iter().map(name)
    });
    let names: Vec<_> = names.into_iter().chain(of_models).collect();
    // A model that the next round has measured stands in the row of its own round.
    let before: BTreeMap<_, _> = report
        .rounds
        .iter()
        .map(|round| (round.round.saturating_sub(1), &round.before))
        .collect();
    // So does the one before the first round, which has a row for that.
    let first = before.get(&0).is_some_and(|figures| figures.loss.is_some());
    let first = first.then_some((0, None)).into_iter();
    let rows = first.chain(report.rounds.iter().map(|round| (round.round, Some(round))));
    let [(own, _), (all, _)] = &sides;
    let cell = |followed: &Followed, figures: Option<&Figures>| {
        let value = figures.and_then(followed.value);
        value.map_or_else(String::new, followed.text)
    };
    let rows = html! {
        (columns(names))
        tbody {
            @for (number, round) in rows {
                tr {
                    th scope="row" { (number) }
                    td { @if let Some(round) = round { (round.nodes) } }
                    td { @if let Some(round) = round { (count(round.examples)) } }
                    td { @if let Some(round) = round { (format!("{:.1}", round.seconds)) } }
                    @for figure in own { td { (cell(figure, round.map(|round| &round.own))) } }
                    @for figure in all { td { (cell(figure, before.get(&number).copied())) } }
                }
            }
        }
    };
    html! {
        section aria-labelledby="rounds" {
            h2 id="rounds" { "Rounds" }
            (table("rounds-table", "Figures of the model after each round", Length::Long, &rows))
            p class="note" {
                "What the participants hold back, a model is measured on in the round after its "
                "own, so that the last one is not measured."
            }
        }
    }
}
