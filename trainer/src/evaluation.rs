//! Counting what a model made of held-back examples.

use burn::tensor::{Int, Tensor};
use fl_protocol::metrics::{Metrics, Tally};

use crate::state::failed;
use crate::{Outcome, Score, TrainError};

/// Counts the scores of batches, which are read from the device here.
///
/// # Errors
///
/// The device fails, or the scores are of something else than `metrics` says.
pub(crate) fn count(metrics: Metrics, scores: Vec<Score>) -> Result<Tally, TrainError> {
    let mut tally = Tally::new(metrics);
    if scores.is_empty() {
        return Ok(tally);
    }
    let (losses, outcomes): (Vec<_>, Vec<_>) = scores
        .into_iter()
        .map(|score| (score.loss, score.outcome))
        .unzip();
    let losses = reals(losses)?;
    match &mut tally {
        Tally::Answers(tally) => {
            let right = take(outcomes, |outcome| match outcome {
                Outcome::Answers(right) => Some(right),
                _ => None,
            });
            for (right, loss) in integers(right?)?.into_iter().zip(losses) {
                tally.add(right > 0, loss);
            }
        }
        Tally::Classes(tally) => {
            let both = take(outcomes, |outcome| match outcome {
                Outcome::Classes { logits, labels } => Some((logits, labels)),
                _ => None,
            });
            let (logits, labels): (Vec<_>, Vec<_>) = both?.into_iter().unzip();
            let logits = Tensor::cat(logits, 0).try_into_vec_as::<f32>();
            let logits = logits.map_err(failed("the evaluation"))?;
            let (classes, labels) = (tally.classes(), integers(labels)?);
            let are_rows = logits.len() == labels.len() * classes as usize;
            if !are_rows || labels.iter().any(|label| *label >= classes) {
                return Err(TrainError::OtherOutcome);
            }
            let rows = logits.chunks_exact(classes as usize);
            for ((row, label), loss) in rows.zip(labels).zip(losses) {
                tally.add(row, label, loss);
            }
        }
        Tally::Quantity(tally) => {
            let both = take(outcomes, |outcome| match outcome {
                Outcome::Quantity { predicted, truth } => Some((predicted, truth)),
                _ => None,
            });
            let (predicted, truth): (Vec<_>, Vec<_>) = both?.into_iter().unzip();
            for (predicted, truth) in reals(predicted)?.into_iter().zip(reals(truth)?) {
                tally.add(predicted, truth);
            }
        }
    }
    Ok(tally)
}

/// Takes what is counted out of each outcome.
fn take<T>(
    outcomes: Vec<Outcome>,
    part: impl Fn(Outcome) -> Option<T>,
) -> Result<Vec<T>, TrainError> {
    let parts: Option<_> = outcomes.into_iter().map(part).collect();
    parts.ok_or(TrainError::OtherOutcome)
}

fn reals(batches: Vec<Tensor<1>>) -> Result<Vec<f64>, TrainError> {
    let read = Tensor::cat(batches, 0).try_into_vec_as::<f64>();
    read.map_err(failed("the evaluation"))
}

fn integers(batches: Vec<Tensor<1, Int>>) -> Result<Vec<u32>, TrainError> {
    let read = Tensor::cat(batches, 0).try_into_vec_as::<u32>();
    read.map_err(failed("the evaluation"))
}
