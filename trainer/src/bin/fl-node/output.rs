//! What a run leaves behind: the models, its rounds as they happen and all together, and a report.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use fl_network::files::{read_limited, write_public};
use fl_network::run_report::{Measurement, ModelFile, Owner, Parties, RunReport, RunRound};
use fl_network::time::unix_s;
use fl_protocol::metrics::Figures;
use fl_trainer::node::NodeOutcome;
use fl_trainer::{Checkpoint, ModelSpec, RoundReport};
use serde::{Deserialize, Serialize};

const MODEL: &str = "global.safetensors";
const BEST: &str = "best.safetensors";
const RUN: &str = "run.json";
const METRICS: &str = "metrics.jsonl";
const REPORT: &str = "report.html";
const MOST_RUN_BYTES: usize = 1 << 30;

/// The folder of a run's results, made and tried before the work begins.
pub(crate) struct Output {
    folder: PathBuf,
    parties: Parties,
    /// What is known of this run, former processes included.
    run: Run,
    /// Takes a line for each round, once there is one.
    metrics: Option<File>,
    /// The model after the last round that was seen: what the next one tells the loss of.
    last: Option<(u64, Arc<Vec<f32>>)>,
    /// The parameters of the best model, if this process has them.
    best: Option<Arc<Vec<f32>>>,
}

/// One round in `run.json`, and one line of `--json` and of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RoundLine {
    pub(crate) round: u64,
    pub(crate) nodes: u32,
    pub(crate) examples: u64,
    /// How the new global model does on this run's held-back examples.
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) test_examples: u64,
    /// How the model before the round does on what all participants hold back.
    pub(crate) before: Figures,
    pub(crate) clipped: u64,
    pub(crate) training_s: f64,
    pub(crate) sharing_s: f64,
    pub(crate) network_s: f64,
    /// Of UDP payload, a node.
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

impl RoundLine {
    pub(crate) fn new(report: &RoundReport) -> Self {
        Self {
            round: report.round,
            nodes: report.nodes,
            examples: report.totals.examples,
            figures: report.local.figures(),
            test_examples: report.local.examples(),
            before: report.totals.tally.figures(),
            clipped: report.totals.clipped,
            training_s: report.times.training.as_secs_f64(),
            sharing_s: report.times.sharing.as_secs_f64(),
            network_s: report.times.network.as_secs_f64(),
            bytes_up: report.bytes_up,
            bytes_down: report.bytes_down,
        }
    }

    fn seconds(&self) -> f64 {
        self.training_s + self.sharing_s + self.network_s
    }

    /// What the report says of the round.
    fn reported(&self) -> RunRound {
        RunRound {
            round: self.round,
            nodes: self.nodes,
            examples: self.examples,
            seconds: self.seconds(),
            own: self.figures,
            before: self.before,
        }
    }
}

impl std::fmt::Display for RoundLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "round {:>3}: ", self.round)?;
        if self.figures.loss.is_some() {
            write!(f, "{}; ", self.figures)?;
        }
        write!(f, "{:.1} s", self.seconds())?;
        if self.clipped > 0 {
            write!(f, "; {} coordinates clipped", self.clipped)?;
        }
        Ok(())
    }
}

/// `run.json`.
#[derive(Serialize, Deserialize)]
struct Run {
    program: String,
    version: String,
    /// Whose run it is: a node's of a consortium. A simulation is nobody's, and begins anew each
    /// time.
    party: Option<String>,
    finished: bool,
    /// The model with the lowest loss on what all participants hold back, of those that a later
    /// round has measured.
    #[serde(default)]
    best: Option<Best>,
    /// What was counted of the last model on this run's held-back examples.
    #[serde(default)]
    own: Option<Measurement>,
    /// What was counted of the best model on what all participants hold back.
    #[serde(default)]
    all: Option<Measurement>,
    rounds: Vec<RoundLine>,
}

impl Run {
    /// Takes up a round, in place of those from it on: they were taken back.
    fn take(&mut self, line: RoundLine) {
        while self
            .rounds
            .pop_if(|last| last.round >= line.round)
            .is_some()
        {}
        self.rounds.push(line);
    }

    /// Takes up the rounds that a file has lines of. What is no line of a round, as the last one
    /// may be after a crash, does not count.
    fn add(&mut self, path: &Path) {
        let bytes = read_limited(path, MOST_RUN_BYTES).unwrap_or_default();
        for text in bytes.split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice(text) {
                self.take(line);
            }
        }
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(write_public(&folder.join(RUN), text.as_bytes())?)
    }
}

/// What `best.safetensors` is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Best {
    /// The round after which it was the global model.
    round: u64,
    loss: f64,
}

/// What a run has left.
pub(crate) struct Written {
    /// The last global model.
    pub(crate) model: PathBuf,
    /// The best one and its round, if it is another.
    pub(crate) best: Option<(PathBuf, u64)>,
    /// The report.
    pub(crate) report: PathBuf,
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.model.display())?;
        if let Some((path, round)) = &self.best {
            write!(
                f,
                ", and the best, that of round {round}, in {}",
                path.display()
            )?;
        }
        write!(f, "; the report is {}", self.report.display())
    }
}

impl Output {
    /// Makes the folder and sees that it can be written, so that no run ends in front of a locked
    /// door, and that nothing of another party is lost in it.
    pub(crate) fn open(folder: PathBuf, parties: Parties) -> anyhow::Result<Self> {
        let party = match &parties.owner {
            Owner::Simulation => None,
            Owner::Node {
                node,
                consortium_id,
                ..
            } => Some(format!("{node} of {consortium_id}")),
        };
        let try_out = || -> anyhow::Result<()> {
            std::fs::create_dir_all(&folder)?;
            tempfile::tempfile_in(&folder)?;
            Ok(())
        };
        try_out().with_context(|| {
            format!(
                "the folder {} cannot be written; choose another with --out",
                folder.display()
            )
        })?;
        let bytes = read_limited(&folder.join(RUN), MOST_RUN_BYTES).ok();
        let former = bytes.and_then(|bytes| serde_json::from_slice::<Run>(&bytes).ok());
        let there = folder.join(MODEL).exists();
        let own = former.as_ref().map(|run| run.party == party);
        ensure!(
            !there || own == Some(true),
            "the folder {} has the model of another run, which would be lost; choose another with --out, or move that one",
            folder.display()
        );
        let former = former.filter(|run| party.is_some() && run.party == party);
        let is_own = former.is_some();
        let mut run = former.unwrap_or_else(|| Run {
            program: "fl-node".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            party,
            finished: false,
            best: None,
            own: None,
            all: None,
            rounds: Vec::new(),
        });
        match is_own {
            // What a process that was killed has not put together.
            true => run.add(&folder.join(METRICS)),
            // What would be taken for this run's.
            false => {
                for stale in [METRICS, BEST].map(|name| folder.join(name)) {
                    if stale.exists() {
                        let failed = || format!("{} cannot be removed", stale.display());
                        std::fs::remove_file(&stale).with_context(failed)?;
                    }
                }
            }
        }
        Ok(Self {
            folder,
            parties,
            run,
            metrics: None,
            last: None,
            best: None,
        })
    }

    /// Takes up a round, and writes its line at once. `report` is that of a node which has the
    /// global model.
    ///
    /// # Errors
    ///
    /// The line cannot be written. The round is still known.
    pub(crate) fn round(&mut self, line: RoundLine, report: &RoundReport) -> anyhow::Result<()> {
        self.judge(report);
        self.run.own = Some(Measurement {
            round: report.round,
            tally: report.local.clone(),
        });
        let text = serde_json::to_string(&line)?;
        self.run.take(line);
        let path = self.folder.join(METRICS);
        let failed = || format!("{} cannot be written", path.display());
        let file = match &mut self.metrics {
            Some(file) => file,
            none => {
                // Says whose the lines are.
                self.run.write(&self.folder)?;
                // What is there of this run is put down anew, without what a crash has torn.
                let former = self
                    .run
                    .rounds
                    .split_last()
                    .map_or(&[][..], |(_, former)| former);
                let lines: Result<Vec<_>, _> = former.iter().map(serde_json::to_string).collect();
                let text: String = lines?
                    .into_iter()
                    .flat_map(|line| [line, "\n".into()])
                    .collect();
                write_public(&path, text.as_bytes())?;
                let file = OpenOptions::new().append(true).open(&path);
                none.insert(file.with_context(failed)?)
            }
        };
        writeln!(file, "{text}").with_context(failed)
    }

    /// Keeps the model before a round if that round shows it to be the best so far.
    fn judge(&mut self, report: &RoundReport) {
        let before = self.last.replace((report.round, report.model.clone()));
        let (Some((round, model)), Some(loss)) = (before, report.totals.tally.loss()) else {
            return;
        };
        let is_lower = |best: Best| loss < best.loss || best.round >= report.round;
        if round + 1 == report.round && self.run.best.is_none_or(is_lower) {
            self.run.best = Some(Best { round, loss });
            self.run.all = Some(Measurement {
                round,
                tally: report.totals.tally.clone(),
            });
            self.best = Some(model);
        }
    }

    /// Returns how the last model did on what this run holds back.
    pub(crate) fn figures(&self) -> Option<Figures> {
        self.run.rounds.last().map(|line| line.figures)
    }

    /// Writes all files, if a round was completed: a model that nobody has trained is not worth
    /// another.
    pub(crate) fn write(
        mut self,
        spec: &ModelSpec,
        ended: &NodeOutcome,
    ) -> anyhow::Result<Option<Written>> {
        if ended.round == 0 {
            return Ok(None);
        }
        let went_on = self.last.is_some();
        self.run.version = env!("CARGO_PKG_VERSION").to_owned();
        self.run.finished = ended.is_finished() || (self.run.finished && !went_on);
        // Before the models, which would otherwise be nobody's after a crash.
        self.run.write(&self.folder)?;
        let write = |name: &str, round: u64, parameters: &[f32]| -> anyhow::Result<PathBuf> {
            let path = self.folder.join(name);
            Checkpoint {
                model: Some(spec.clone()),
                round,
                layout: spec.layout()?,
                parameters: parameters.to_vec(),
            }
            .write(&path)?;
            Ok(path)
        };
        if let (Some(Best { round, .. }), Some(parameters)) = (self.run.best, &self.best) {
            write(BEST, round, parameters)?;
        }
        let model = write(MODEL, ended.round, &ended.model)?;
        let best = self
            .run
            .best
            .map(|best| (self.folder.join(BEST), best.round));
        let best = best.filter(|(path, round)| *round != ended.round && path.exists());
        let mut models = vec![ModelFile::read(&model, ended.round)?];
        if let Some((path, round)) = &best {
            models.push(ModelFile::read(path, *round)?);
        }
        let report = self.folder.join(REPORT);
        let html = self.report(spec, ended.round, models).html();
        write_public(&report, html.as_bytes())?;
        Ok(Some(Written {
            model,
            best,
            report,
        }))
    }

    /// Returns the report of this run, whose last round is this one.
    fn report(self, spec: &ModelSpec, round: u64, models: Vec<ModelFile>) -> RunReport {
        let schema = spec.schema();
        let unit = schema.quantity().and_then(|quantity| quantity.unit());
        RunReport {
            parties: self.parties,
            program: format!("{} {}", self.run.program, self.run.version),
            written_unix_s: unix_s(),
            round,
            finished: self.run.finished,
            models,
            classes: schema.classes().to_vec(),
            unit: unit.map(str::to_owned),
            rounds: self.run.rounds.iter().map(RoundLine::reported).collect(),
            own: self.run.own,
            all: self.run.all,
        }
    }
}

#[cfg(test)]
mod tests {
    use fl_protocol::metrics::{AnswerTally, Tally, Totals};
    use fl_trainer::node::RoundTimes;

    use super::*;

    /// A round after which the model is its number, and which tells this loss of the former one.
    fn report(round: u64, loss: f64) -> RoundReport {
        let tally = Tally::Answers(AnswerTally {
            right: 1,
            wrong: 1,
            loss_sum: 2.0 * loss,
        });
        RoundReport {
            round,
            nodes: 3,
            took_part: true,
            totals: Totals {
                examples: 30,
                clipped: 0,
                tally: tally.clone(),
            },
            local: tally,
            model: Arc::new(vec![round as f32]),
            times: RoundTimes::default(),
            steps: Vec::new(),
            bytes_up: 0,
            bytes_down: 0,
            payload_up: 0,
            payload_down: 0,
        }
    }

    fn open(folder: &Path) -> Output {
        let owner = Owner::Node {
            node: "a".to_owned(),
            consortium: "test".to_owned(),
            consortium_id: "0".repeat(64),
        };
        let nodes = Vec::new();
        Output::open(folder.to_owned(), Parties { owner, nodes }).unwrap()
    }

    fn rounds(output: &Output) -> Vec<u64> {
        output.run.rounds.iter().map(|line| line.round).collect()
    }

    fn see(output: &mut Output, round: u64, loss: f64) {
        let report = report(round, loss);
        output.round(RoundLine::new(&report), &report).unwrap();
    }

    #[test]
    fn the_best_model_is_the_one_before_the_round_with_the_lowest_loss() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = open(folder.path());
        for (round, loss) in (1..).zip([0.9, 0.5, 0.3, 0.4]) {
            see(&mut output, round, loss);
        }
        // Nobody knows the loss of the fourth.
        assert_eq!(output.run.best.unwrap().round, 2);
        assert_eq!(**output.best.as_ref().unwrap(), [2.0]);
        let [own, all] = [&output.run.own, &output.run.all].map(|found| found.as_ref().unwrap());
        assert_eq!((own.round, own.tally.loss()), (4, Some(0.4)));
        assert_eq!((all.round, all.tally.loss()), (2, Some(0.3)));
        // Round 3 is taken back, and with it what it told.
        see(&mut output, 3, 0.6);
        assert_eq!(rounds(&output), [1, 2, 3]);
    }

    #[test]
    fn what_another_run_has_left_is_not_taken_for_this_ones() {
        let folder = tempfile::tempdir().unwrap();
        see(&mut open(folder.path()), 1, 0.5);
        std::fs::write(folder.path().join(BEST), "another's").unwrap();
        let other = Output::open(folder.path().to_owned(), Parties::simulated(3)).unwrap();
        assert_eq!(rounds(&other), [0; 0]);
        assert!(!folder.path().join(BEST).exists() && !folder.path().join(METRICS).exists());
    }

    #[test]
    fn rounds_of_a_process_that_was_killed_are_known_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut killed = open(folder.path());
        (1..=3).for_each(|round| see(&mut killed, round, 0.5));
        let path = folder.path().join(METRICS);
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"round\":4,\"nod").unwrap();
        let mut next = open(folder.path());
        assert_eq!(rounds(&next), [1, 2, 3]);
        see(&mut next, 4, 0.5);
        assert_eq!(rounds(&next), [1, 2, 3, 4]);
        // The torn line has not swallowed the one behind it.
        std::fs::remove_file(folder.path().join(RUN)).unwrap();
        next.run.rounds.clear();
        next.run.add(&folder.path().join(METRICS));
        assert_eq!(rounds(&next), [1, 2, 3, 4]);
    }
}
