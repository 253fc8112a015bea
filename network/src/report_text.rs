//! What the relay reports, in the operator's words.

use fl_protocol::round::peer::Conviction;
use std::sync::Arc;
use std::time::Instant;

use fl_protocol::manifest::Manifest;
use fl_protocol::metrics::Figures;
use fl_protocol::round::relay::{Completed, Report};
use serde::{Deserialize, Serialize};
use tracing::Level;

use crate::program::logging::one_line;

/// A report in words.
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What is said, as [`one_line`].
    pub text: String,
    /// The round that is complete with it.
    pub round: Option<RoundLine>,
}

/// A completed round: a line of `--json` and of the relay's history, and a row of the dashboard.
/// All figures are sums or means over all participants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundLine {
    pub(crate) round: u64,
    attempts: u32,
    nodes: u32,
    examples: u64,
    /// Held-back examples of the participants.
    test_examples: u64,
    /// How the model before this round did on them.
    before: Figures,
    clipped: u64,
    seconds: f64,
    model: String,
}

/// Puts reports into words, with the names that the manifest has for the nodes.
pub struct ReportFormatter {
    manifest: Arc<Manifest>,
    opened: Instant,
}

impl ReportFormatter {
    /// For the relay of this consortium.
    pub fn new(manifest: Arc<Manifest>) -> Self {
        let opened = Instant::now();
        Self { manifest, opened }
    }

    /// Returns what to say of a report. How long a round takes is measured from one to the other.
    pub fn tell(&mut self, report: &Report) -> LogLine {
        let manifest = &self.manifest;
        let (level, text) = match report {
            Report::Began { round: 0 } => (Level::DEBUG, "the first round is next".to_owned()),
            Report::Began { round } => (Level::INFO, format!("resumed after round {round}")),
            Report::Joined(node) => {
                let text = format!("{} connected", manifest.name_of(*node));
                (Level::INFO, text)
            }
            Report::Lost(node) => {
                let text = format!("{} disconnected", manifest.name_of(*node));
                (Level::WARN, text)
            }
            Report::Left(node) => {
                let text = format!("{} has all rounds, and leaves", manifest.name_of(*node));
                (Level::INFO, text)
            }
            Report::Opened {
                round,
                attempt,
                nodes,
            } => {
                if *attempt == 1 {
                    self.opened = Instant::now();
                }
                let text =
                    format!("round {round}, attempt {attempt}: {nodes} nodes are asked to train");
                (Level::INFO, text)
            }
            Report::Holders { round, nodes } => {
                let text = format!("round {round}: {} hold the seeds", manifest.names_of(nodes));
                (Level::INFO, text)
            }
            Report::Participants { round, nodes } => {
                let text = format!("round {round}: {} take part", manifest.names_of(nodes));
                (Level::INFO, text)
            }
            Report::Plateau { round, rounds } => {
                let text = format!(
                    "the model has not got better for {rounds} rounds, so that round {round} was the last"
                );
                (Level::INFO, text)
            }
            Report::Collected { round } => {
                (Level::DEBUG, format!("round {round}: all uploads are in"))
            }
            Report::Abandoned {
                round,
                attempt,
                nodes,
            } => {
                let why = match nodes.as_slice() {
                    [] => String::new(),
                    nodes => format!(" for want of {}", manifest.names_of(nodes)),
                };
                let text = format!("round {round}, attempt {attempt} is abandoned{why}");
                (Level::WARN, text)
            }
            Report::Refused(node, refusal) => {
                let refusal = manifest.with_names(refusal);
                let text = format!("{}: {refusal}", manifest.name_of(*node));
                (Level::WARN, text)
            }
            Report::Behind { node, round } => {
                let node = manifest.name_of(*node);
                let text = format!(
                    "{node} has round {round} already, of which this relay knows nothing; it takes over the nodes' model when enough of them are connected"
                );
                (Level::WARN, text)
            }
            Report::Recovered { round } => {
                let text = format!("the nodes' model of round {round} is taken over");
                (Level::INFO, text)
            }
            Report::Late(node, what) => {
                let node = manifest.name_of(*node);
                (Level::DEBUG, format!("{node}: {what} came too late"))
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
                let text = format!("waiting for {names}, for {} s now{why}", since.as_secs());
                (Level::WARN, text)
            }
            Report::Convicted(conviction) => (Level::WARN, conviction_text(manifest, conviction)),
            Report::RolledBack {
                round,
                nodes,
                acknowledged,
            } => {
                let mut text = format!(
                    "round {round} begins again, with the same participants: its result is refused by {}",
                    manifest.names_of(nodes)
                );
                if !acknowledged.is_empty() {
                    text.push_str(", and acknowledged by ");
                    text.push_str(&manifest.names_of(acknowledged));
                }
                (Level::WARN, text)
            }
            Report::Completed(completed) => {
                let seconds = self.opened.elapsed().as_secs_f64();
                let line = RoundLine::new(completed, seconds);
                return LogLine {
                    level: Level::INFO,
                    text: line.text(),
                    round: Some(line),
                };
            }
        };
        LogLine {
            level,
            text: one_line(text),
            round: None,
        }
    }
}

impl RoundLine {
    fn new(completed: &Completed, seconds: f64) -> Self {
        let totals = &completed.totals;
        Self {
            round: completed.round,
            attempts: completed.attempts,
            nodes: completed.nodes,
            examples: totals.examples,
            test_examples: totals.tally.examples(),
            before: totals.tally.figures(),
            clipped: totals.clipped,
            seconds,
            model: completed.model.to_hex(),
        }
    }

    fn text(&self) -> String {
        let before = match self.before.loss {
            Some(_) => format!("; the model before it: {}", self.before),
            None => String::new(),
        };
        format!(
            "round {} is complete: {} nodes, {} examples, {:.2} s{before}",
            self.round, self.nodes, self.examples, self.seconds
        )
    }
}
/// Returns what an operator is told of a node that is proven to have lied.
pub fn conviction_text(manifest: &Manifest, conviction: &Conviction) -> String {
    let Conviction {
        liar,
        accuser,
        accused,
        round,
    } = conviction;
    let [liar, accuser, accused] = [liar, accuser, accused].map(|id| manifest.name_of(*id));
    let proven = match liar == accused {
        true => format!("its share for {accuser} in round {round} does not open"),
        false => format!("it accused {accused} of a share in round {round} that does open"),
    };
    format!("{liar} is proven to have lied and takes no part any more: {proven}")
}
