//! The report of a run: one file of HTML for those who judge the model, which can be read without a
//! network, mailed, printed and filed.
//!
//! The tables are in the file as they are read. The charts are drawn when it is opened, by the
//! script of the operator's page, from numbers that the file has as well; without a script the
//! tables say the same.

mod calibration;
mod classes;
mod course;
mod figures;
mod head;
mod model_file;
mod page;
mod parties;
mod text;

use fl_protocol::metrics::{Figures, Tally};
use serde::{Deserialize, Serialize};

pub use model_file::ModelFile;
pub use parties::{Owner, Parties, Party};

/// What a run has come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// Whose run it is, and who takes part.
    pub parties: Parties,
    /// The program and its version, such as `fl-node 0.1.0`.
    pub program: String,
    /// When the report is written, in seconds of Unix time.
    pub written_unix_s: u64,
    /// The last round that is complete.
    pub round: u64,
    /// Whether that is the last of all.
    pub finished: bool,
    /// The files of models.
    pub models: Vec<ModelFile>,
    /// Names of the classes that are told apart, in the order of the tallies; of a quantity none.
    pub classes: Vec<String>,
    /// The unit of the quantity that is predicted, if it has one.
    pub unit: Option<String>,
    /// The rounds that are known, the first one first.
    pub rounds: Vec<RunRound>,
    /// The last model that was measured on what this run holds back.
    pub own: Option<Measurement>,
    /// The model with the lowest loss on what all participants hold back.
    pub all: Option<Measurement>,
}

/// A complete round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRound {
    /// Round, from 1.
    pub round: u64,
    /// Number of participants.
    pub nodes: u32,
    /// Training examples of the participants.
    pub examples: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Figures of the model after the round on what this run holds back.
    pub own: Figures,
    /// Figures of the model before the round on what its participants hold back.
    pub before: Figures,
}

/// How a model did on held-back examples.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// The round after which it was the global model; 0 before the first.
    pub round: u64,
    /// What was counted.
    pub tally: Tally,
}

impl RunReport {
    /// Returns the report as a file of HTML. It asks nobody for anything, runs no script but its
    /// own, and takes all texts as texts, whatever they look like.
    pub fn html(&self) -> String {
        page::of(self).into_string()
    }

    /// The measurements that are of any examples, with a key for each and what its examples are.
    fn measurements(&self) -> Vec<Measured<'_>> {
        let own = match self.parties.owner {
            Owner::Node { .. } => "this node holds back",
            Owner::Simulation => "all nodes hold back",
        };
        let measured_in = self
            .all
            .as_ref()
            .map_or(0, |all| all.round.saturating_add(1));
        let participants = format!("the participants of round {measured_in} hold back");
        let both = [
            Measured::of("own", own.to_owned(), self.own.as_ref()),
            Measured::of("all", participants, self.all.as_ref()),
        ];
        both.into_iter().flatten().collect()
    }

    /// The name of a class, or its number if it has none.
    fn class(&self, class: usize) -> String {
        let name = self.classes.get(class).filter(|name| !name.is_empty());
        name.cloned().unwrap_or_else(|| (class + 1).to_string())
    }
}

/// A measurement that is shown.
struct Measured<'a> {
    /// What ids of its own begin with.
    key: &'static str,
    /// Who holds its examples back.
    whose: String,
    measurement: &'a Measurement,
}

impl<'a> Measured<'a> {
    fn of(key: &'static str, whose: String, measurement: Option<&'a Measurement>) -> Option<Self> {
        let measurement = measurement.filter(|measured| measured.tally.examples() > 0)?;
        Some(Self {
            key,
            whose,
            measurement,
        })
    }

    fn tally(&self) -> &'a Tally {
        &self.measurement.tally
    }

    /// Which model it is of, and on which examples.
    fn words(&self) -> String {
        let examples = text::count(self.tally().examples());
        let round = self.measurement.round;
        format!(
            "Model after round {round}, on {examples} examples that {}",
            self.whose
        )
    }
}

#[cfg(test)]
mod tests;
