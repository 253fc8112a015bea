//! `fl-node evaluate`.

use anyhow::{Context as _, ensure};
use fl_datasets::{LoadOptions, Target};
use fl_network::program::logging::{one_line, say};
use fl_protocol::metrics::{Figures, Share};
use fl_trainer::{Checkpoint, ClassificationReport};
use serde::Serialize;

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
        // Nothing is divided here.
        schema: Some(spec.schema().clone().grouped_by(None)?),
        ..LoadOptions::default()
    };
    let loaded = loaded(&args.data, &options, spec.scaling(), note)?;
    let (data, part) = match loaded.test {
        Some(test) => (test, "the test part"),
        None => (loaded.train, "all"),
    };
    let compute = devices::open(args.gpu, |text| eprintln!("{text}"))?;
    let tally = spec.evaluate(&parameters, data.clone(), compute.clone())?;
    let figures = tally.figures();
    let loss = figures.loss.context("the data has no examples")?;
    ensure!(
        loss.is_finite(),
        "the model's loss on this data is not finite"
    );
    let judged = Judged {
        model_round: round,
        examples: tally.examples(),
        figures,
        report: match spec.schema().target() {
            Target::Classes(classes) => {
                let labels = data.labels().to_vec();
                let probabilities = spec.predict(&parameters, data, compute)?;
                ClassificationReport::of(classes, &probabilities, &labels)
            }
            Target::Quantity(_) => None,
        },
    };
    if args.json {
        say(serde_json::to_string(&judged)?);
    } else {
        say(format_args!(
            "model of round {round} on {part} of {}, {} examples: {figures}",
            args.data, judged.examples,
        ));
        let lines = match &judged.report {
            Some(report) => in_words(report),
            None => vec![beside_the_mean(&figures)],
        };
        for line in lines {
            say(one_line(line));
        }
    }
    Ok(())
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Judged {
    /// The round after which the global model was this.
    model_round: u64,
    examples: u64,
    #[serde(flatten)]
    figures: Figures,
    /// Of classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<ClassificationReport>,
}

/// How far off the mean of the data would be.
fn beside_the_mean(figures: &Figures) -> String {
    match (figures.rmse, figures.r2) {
        (Some(rmse), Some(r2)) if r2 < 1.0 => format!(
            "their mean alone is off by {:.4} (root of the mean square)",
            rmse / (1.0 - r2).sqrt()
        ),
        _ => "the quantity is the same in all examples".to_owned(),
    }
}

/// Classes whose confusion is shown.
const MAX_CONFUSED: usize = 12;

/// The report as lines of text.
fn in_words(report: &ClassificationReport) -> Vec<String> {
    let ClassificationReport {
        confusion,
        majority,
        balanced_accuracy,
        brier,
        classes,
    } = report;
    let mut lines = vec![format!(
        "the most frequent class alone: {:.2} %; balanced accuracy {:.2} %; Brier score {brier:.4}",
        100.0 * majority,
        100.0 * balanced_accuracy
    )];
    let names = classes.iter().map(|class| class.name.chars().count());
    let wide = names.max().unwrap_or_default().clamp(5, 24);
    lines.push(format!(
        "{:wide$} {:>8}  {:22} {:22} {:22} {:>6} {:>6}",
        "class", "examples", "sensitivity", "specificity", "precision", "F1", "AUROC"
    ));
    let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |value| format!("{value:.4}"));
    for class in classes {
        lines.push(format!(
            "{:wide$} {:>8}  {:22} {:22} {:22} {:>6} {:>6}",
            class.name,
            class.examples,
            share(class.sensitivity),
            share(class.specificity),
            share(class.precision),
            figure(class.f1),
            figure(class.auroc)
        ));
    }
    if let Some(confusion) = confusion.as_ref().filter(|rows| rows.len() <= MAX_CONFUSED) {
        lines.push("predicted to be, in this order, of those that are:".to_owned());
        for (class, row) in classes.iter().zip(confusion) {
            let row: Vec<_> = row.iter().map(|count| format!("{count:>7}")).collect();
            lines.push(format!("{:wide$} {}", class.name, row.concat()));
        }
    }
    lines
}

/// A share in per cent, with its interval.
fn share(share: Option<Share>) -> String {
    match share {
        Some(Share { value, low, high }) => {
            let [value, low, high] = [value, low, high].map(|share| 100.0 * share);
            format!("{value:.1} % ({low:.1} to {high:.1})")
        }
        None => "-".to_owned(),
    }
}
