//! What run it is, which models it has left, and who took part.

use maud::{Markup, html};

use super::text::{Length, columns, count, table, utc};
use super::{Owner, RunReport};

/// How far the run has come.
fn state(report: &RunReport) -> String {
    let how = match report.finished {
        true => "Finished",
        false => "Stopped",
    };
    format!("{how} after round {}", report.round)
}

pub(super) fn section(report: &RunReport) -> Markup {
    let models = html! {
        (columns(["File", "Model after round", "SHA-256 of the file"]))
        tbody {
            @for model in &report.models {
                tr {
                    th scope="row" { (model.name) }
                    td { (model.round) }
                    td class="hash" { code { (model.sha256) } }
                }
            }
        }
    };
    html! {
        section aria-labelledby="run" {
            h2 id="run" { "Run" }
            p class="state" { (state(report)) }
            dl class="facts" {
                @match &report.parties.owner {
                    Owner::Simulation => {
                        dt { "Run of" } dd { "all nodes, in one process" }
                    }
                    Owner::Node { node, consortium, consortium_id } => {
                        dt { "Run of" } dd { (node) }
                        dt { "Consortium" } dd { (consortium) }
                        dt { "Consortium ID" } dd { code { (consortium_id) } }
                    }
                }
                dt { "Report written" } dd { (utc(report.written_unix_s)) }
                dt { "Program" } dd { (report.program) }
            }
            @if !report.models.is_empty() {
                (table("models", "Models", Length::Short, &models))
            }
        }
    }
}

/// The least and the most of these.
fn range(numbers: impl Iterator<Item = u64> + Clone) -> Option<String> {
    let (least, most) = (numbers.clone().min()?, numbers.max()?);
    Some(match least == most {
        true => count(least),
        false => format!("{} to {}", count(least), count(most)),
    })
}

pub(super) fn participants(report: &RunReport) -> Markup {
    let parties = &report.parties;
    let in_rounds = range(report.rounds.iter().map(|round| u64::from(round.nodes)));
    let examples = range(report.rounds.iter().map(|round| round.examples));
    let has_organisations = parties.nodes.iter().any(|node| node.organisation.is_some());
    let names = ["Node", "Organisation"];
    let nodes = html! {
        (columns(&names[..1 + usize::from(has_organisations)]))
        tbody {
            @for node in &parties.nodes {
                tr {
                    th scope="row" { (node.name) }
                    @if has_organisations {
                        td { (node.organisation.as_deref().unwrap_or_default()) }
                    }
                }
            }
        }
    };
    html! {
        section aria-labelledby="participants" {
            h2 id="participants" { "Participants" }
            @if let Some((nodes, examples)) = in_rounds.zip(examples) {
                p {
                    "Of " (count(parties.nodes.len() as u64)) " nodes, " (nodes)
                    " took part in a round, with " (examples) " training examples in sum."
                }
            }
            (table("nodes", "Nodes that may take part", Length::Long, &nodes))
        }
    }
}
