//! What a run leaves behind: `global.safetensors` and `run.json`.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use fl_network::files::{read_limited, write_public};
use fl_protocol::metrics::Figures;
use fl_trainer::node::NodeOutcome;
use fl_trainer::{Checkpoint, ModelSpec, RoundReport};
use serde::{Deserialize, Serialize};

const MODEL: &str = "global.safetensors";
const RUN: &str = "run.json";
const MOST_RUN_BYTES: usize = 1 << 30;

/// The folder of a run's results, made and tried before the work begins.
pub(crate) struct Output {
    folder: PathBuf,
    /// What is there of this run from before.
    former: Run,
}

/// One round in `run.json`, and one line of `--json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RoundLine {
    pub(crate) round: u64,
    pub(crate) nodes: u32,
    pub(crate) examples: u64,
    /// How the new global model does on this run's held-back examples.
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) test_examples: u64,
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
            clipped: report.totals.clipped,
            training_s: report.times.training.as_secs_f64(),
            sharing_s: report.times.sharing.as_secs_f64(),
            network_s: report.times.network.as_secs_f64(),
            bytes_up: report.bytes_up,
            bytes_down: report.bytes_down,
        }
    }
}

impl std::fmt::Display for RoundLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "round {:>3}: ", self.round)?;
        if self.figures.loss.is_some() {
            write!(f, "{}; ", self.figures)?;
        }
        let seconds = self.training_s + self.sharing_s + self.network_s;
        write!(f, "{seconds:.1} s")?;
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
    rounds: Vec<RoundLine>,
}

impl Output {
    /// Makes the folder and sees that it can be written, so that no run ends in front of a locked
    /// door, and that nothing of another party is lost in it.
    pub(crate) fn open(folder: PathBuf, party: Option<String>) -> anyhow::Result<Self> {
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
        let former = former.unwrap_or_else(|| Run {
            program: "fl-node".to_owned(),
            version: String::new(),
            party,
            finished: false,
            rounds: Vec::new(),
        });
        Ok(Self { folder, former })
    }

    /// Writes both files, if a round was completed: a model that nobody has trained is not worth
    /// another. Returns the path of the model.
    pub(crate) fn write(
        self,
        spec: &ModelSpec,
        ended: &NodeOutcome,
        rounds: Vec<RoundLine>,
    ) -> anyhow::Result<Option<PathBuf>> {
        if ended.round == 0 {
            return Ok(None);
        }
        let mut run = self.former;
        run.version = env!("CARGO_PKG_VERSION").to_owned();
        run.finished = ended.is_finished() || (run.finished && rounds.is_empty());
        if let Some(first) = rounds.first() {
            run.rounds.retain(|line| line.round < first.round);
        }
        run.rounds.extend(rounds);
        // Before the model, which would otherwise be nobody's after a crash.
        let text = serde_json::to_string_pretty(&run)?;
        write_public(&self.folder.join(RUN), text.as_bytes())?;
        let path = self.folder.join(MODEL);
        Checkpoint {
            model: Some(spec.clone()),
            round: ended.round,
            layout: spec.layout()?,
            parameters: ended.model.to_vec(),
        }
        .write(&path)?;
        Ok(Some(path))
    }
}
