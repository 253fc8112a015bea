//! What the operator sees.

use std::sync::Arc;
use std::time::Instant;

use fl_network::logging::say;
use fl_network::manifest::Manifest;
use fl_network::round::relay::{Completed, Report};
use serde::Serialize;
use tracing::{debug, info, warn};

pub(crate) struct Console {
    manifest: Arc<Manifest>,
    json: bool,
    opened: Instant,
}

/// One line of `--json`.
#[derive(Serialize)]
struct RoundLine {
    round: u64,
    attempts: u32,
    nodes: u32,
    examples: u64,
    /// Of the model before this round, on the participants' test data.
    test_examples: u64,
    loss_before: Option<f64>,
    accuracy_before: Option<f64>,
    clipped: u64,
    seconds: f64,
    model: String,
}

impl Console {
    pub(crate) fn new(manifest: &Arc<Manifest>, json: bool) -> Self {
        Self {
            manifest: manifest.clone(),
            json,
            opened: Instant::now(),
        }
    }

    pub(crate) fn report(&mut self, report: &Report) {
        let manifest = &self.manifest;
        match report {
            Report::Joined(node) => info!("{} is here", manifest.name_of(*node)),
            Report::Lost(node) => warn!("{} is gone", manifest.name_of(*node)),
            Report::Opened {
                round,
                attempt,
                nodes,
            } => {
                if *attempt == 1 {
                    self.opened = Instant::now();
                }
                info!("round {round}, attempt {attempt}: {nodes} nodes are asked to train");
            }
            Report::Holders { round, nodes } => {
                info!("round {round}: {} hold the seeds", manifest.names_of(nodes));
            }
            Report::Participants { round, nodes } => {
                info!("round {round}: {} take part", manifest.names_of(nodes));
            }
            Report::Collected { round } => debug!("round {round}: all uploads are in"),
            Report::Abandoned {
                round,
                attempt,
                nodes,
            } => {
                let names = manifest.names_of(nodes);
                warn!("round {round}, attempt {attempt} is abandoned for want of {names}");
            }
            Report::Refused(node, refusal) => {
                warn!("{}: {refusal}", manifest.name_of(*node));
            }
            Report::Waiting {
                missing,
                since,
                same_participants,
            } => {
                let names = manifest.names_of(missing);
                let why = match same_participants {
                    true => "; others have sent their sums, so the round cannot go on without",
                    false => "",
                };
                warn!("waiting for {names}, for {} s now{why}", since.as_secs());
            }
            Report::Completed(completed) => self.completed(completed),
        }
    }

    fn completed(&self, completed: &Completed) {
        let totals = &completed.totals;
        let seconds = self.opened.elapsed().as_secs_f64();
        let tested = (totals.test_examples > 0).then_some(totals.test_examples as f64);
        let line = RoundLine {
            round: completed.round,
            attempts: completed.attempts,
            nodes: completed.nodes,
            examples: totals.examples,
            test_examples: totals.test_examples,
            loss_before: tested.map(|tested| totals.loss / tested),
            accuracy_before: tested.map(|tested| totals.correct as f64 / tested),
            clipped: totals.clipped,
            seconds,
            model: completed.model.to_hex(),
        };
        if self.json {
            match serde_json::to_string(&line) {
                Ok(line) => say(line),
                Err(error) => warn!(%error, "a round cannot be printed"),
            }
            return;
        }
        let before = match (line.loss_before, line.accuracy_before) {
            (Some(loss), Some(accuracy)) => {
                format!(
                    "; the model before it: loss {loss:.4}, accuracy {:.2} %",
                    100.0 * accuracy
                )
            }
            _ => String::new(),
        };
        info!(
            "round {} is complete: {} nodes, {} examples, {seconds:.2} s{before}",
            line.round, line.nodes, line.examples
        );
    }
}
