//! `fl-node evaluate`.

use anyhow::{Context as _, ensure};
use fl_datasets::LoadOptions;
use fl_network::program::logging::say;
use fl_trainer::Checkpoint;
use serde_json::json;

use super::args::Evaluate;
use super::console::note;
use super::data::loaded;
use super::devices;

pub(crate) fn run(args: Evaluate) -> anyhow::Result<()> {
    let Checkpoint {
        model: spec,
        round,
        parameters,
        ..
    } = Checkpoint::read(&args.model)?;
    let spec = spec.context(
        "this model is not a built-in one; evaluate it with the program that trained it",
    )?;
    let options = LoadOptions {
        label: args.label,
        schema: Some(spec.schema().clone()),
        ..LoadOptions::default()
    };
    let loaded = loaded(&args.data, &options, spec.scaling(), note)?;
    let (data, part) = match loaded.test {
        Some(test) => (test, "the test part"),
        None => (loaded.train, "all"),
    };
    let compute = devices::open(args.gpu, |text| eprintln!("{text}"))?;
    let evaluation = spec.evaluate(&parameters, data, compute)?;
    let (loss, accuracy) = evaluation
        .loss()
        .zip(evaluation.accuracy())
        .context("the data has no examples")?;
    ensure!(
        loss.is_finite(),
        "the model's loss on this data is not finite"
    );
    if args.json {
        let line = json!({
            "model_round": round,
            "examples": evaluation.examples,
            "correct": evaluation.correct,
            "loss": loss,
            "accuracy": accuracy,
        });
        say(line);
    } else {
        say(format_args!(
            "model of round {round} on {part} of {}: loss {loss:.4}, accuracy {:.2} % ({} of {})",
            args.data,
            100.0 * accuracy,
            evaluation.correct,
            evaluation.examples
        ));
    }
    Ok(())
}
