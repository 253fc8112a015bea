//! The file of HTML around the sections.

use base64::prelude::*;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::calibration::{self, Calibration};
use super::course::{self, Curves};
use super::{Owner, RunReport, classes, figures, head};

/// The look of the operator's page, and what a report has besides.
const STYLE: &str = concat!(
    include_str!("../dashboard/page/style.css"),
    include_str!("page/report.css")
);
/// The charts of the operator's page, and those that a report has besides.
const SCRIPT: &str = concat!(
    include_str!("../dashboard/page/chart.js"),
    include_str!("page/report.js")
);

/// What the charts are drawn from.
#[derive(Serialize)]
struct ChartData {
    curves: Vec<Curves>,
    calibration: Vec<Calibration>,
}

/// What the browser lets the page do: run its own script, look its own way, and nothing else.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

/// Data for a script. Nothing in it ends its element.
fn json(data: &impl Serialize) -> String {
    // Numbers and texts can always be written.
    let text = serde_json::to_string(data).unwrap_or_default();
    text.replace('<', "\\u003c")
}

pub(super) fn of(report: &RunReport) -> Markup {
    let title = report.parties.owner.title();
    let data = ChartData {
        curves: course::curves(report),
        calibration: calibration::all(report),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) ": report of a run" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p { "Report of a run" }
                }
                main {
                    (head::section(report))
                    (figures::section(report))
                    @if let Some(section) = course::section(report) {
                        noscript {
                            p { "The charts need JavaScript. The tables say the same." }
                        }
                        (section)
                    }
                    @if let Some(section) = classes::section(report) { (section) }
                    @if let Some(section) = calibration::section(&data.calibration) { (section) }
                    (head::participants(report))
                    (course::rounds(report))
                }
                footer {
                    p {
                        "Figures of all participants are sums or means: no node sends its own in "
                        "the clear."
                        @if let Owner::Node { .. } = report.parties.owner {
                            " Those on what this node holds back are known to this node alone, and "
                            "to whoever reads this report."
                        }
                    }
                }
                script id="data" type="application/json" { (PreEscaped(json(&data))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}
