//! What a run leaves behind: `global.safetensors` and `run.json`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fl_network::files::write_public;
use fl_trainer::{Checkpoint, Evaluation, ModelSpec, RoundReport};
use serde::Serialize;

/// The folder of a run's results, made and tried before the work begins.
pub(crate) struct Output(PathBuf);

/// One round in `run.json`, and one line of `--json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RoundLine {
    pub(crate) round: u64,
    pub(crate) nodes: u32,
    pub(crate) examples: u64,
    /// Of the new global model, on this run's test data.
    pub(crate) loss: Option<f64>,
    pub(crate) accuracy: Option<f64>,
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
    pub(crate) fn new(report: &RoundReport, evaluation: Evaluation) -> Self {
        Self {
            round: report.round,
            nodes: report.nodes,
            examples: report.totals.examples,
            loss: evaluation.loss(),
            accuracy: evaluation.accuracy(),
            test_examples: evaluation.examples,
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
        if let (Some(loss), Some(accuracy)) = (self.loss, self.accuracy) {
            write!(f, "loss {loss:.4}, accuracy {:.2} %; ", 100.0 * accuracy)?;
        }
        write!(
            f,
            "training {:.2} s, sharing {:.3} s, network and waiting {:.3} s; a node sent {}, received {}",
            self.training_s,
            self.sharing_s,
            self.network_s,
            bytes(self.bytes_up),
            bytes(self.bytes_down)
        )?;
        if self.clipped > 0 {
            write!(f, "; {} coordinates clipped", self.clipped)?;
        }
        Ok(())
    }
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

#[derive(Serialize)]
struct Run<'a> {
    program: &'static str,
    version: &'static str,
    finished: bool,
    rounds: &'a [RoundLine],
}

impl Output {
    /// Makes the folder and sees that it can be written, so that no run ends in front of a locked door.
    pub(crate) fn open(folder: PathBuf) -> anyhow::Result<Self> {
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
        Ok(Self(folder))
    }

    /// Writes both files; gives the path of the model.
    pub(crate) fn write(
        &self,
        spec: &ModelSpec,
        model: &[f32],
        rounds: &[RoundLine],
        (round, finished): (u64, bool),
    ) -> anyhow::Result<PathBuf> {
        let path = self.0.join("global.safetensors");
        let (parameters, layout) = (model.to_vec(), spec.layout()?);
        let model = Some(spec.clone());
        Checkpoint {
            model,
            round,
            layout,
            parameters,
        }
        .write(&path)?;
        self.write_run(rounds, finished)?;
        Ok(path)
    }

    fn write_run(&self, rounds: &[RoundLine], finished: bool) -> anyhow::Result<()> {
        let run = Run {
            program: "fl-node",
            version: env!("CARGO_PKG_VERSION"),
            finished,
            rounds,
        };
        let path: &Path = &self.0.join("run.json");
        Ok(write_public(
            path,
            serde_json::to_string_pretty(&run)?.as_bytes(),
        )?)
    }
}
