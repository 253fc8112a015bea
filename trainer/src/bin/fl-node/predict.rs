//! `fl-node predict`.

use std::io::{self, BufWriter, Write};

use anyhow::Context as _;
use fl_datasets::{Target, load_unlabelled};
use fl_protocol::metrics::likeliest;
use fl_trainer::Checkpoint;
use serde_json::{Map, Value, json};

use super::args::Predict;
use super::console::note;
use super::data::told;
use super::devices;

pub(crate) fn run(args: Predict) -> anyhow::Result<()> {
    let Checkpoint {
        model: spec,
        parameters,
        ..
    } = Checkpoint::read(&args.model)?;
    let spec =
        spec.context("this model is not a built-in one; predict with the program that trained it")?;
    let loaded = load_unlabelled(&args.data, spec.schema())?;
    let data = loaded.test.unwrap_or(loaded.train);
    let other_units = spec.scaling().map(|scaling| scaling.other_units(&data));
    let notices = loaded.notices.iter().chain(other_units.iter().flatten());
    told(&args.data, notices, note);
    let compute = devices::open(args.gpu, note)?;
    let predicted = spec.predict(&parameters, data, compute)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match (spec.schema().target(), args.json) {
        (Target::Classes(classes), true) => write_json(&mut out, classes, &predicted),
        (Target::Classes(classes), false) => write_csv(&mut out, classes, &predicted),
        (Target::Quantity(_), is_json) => write_quantities(&mut out, is_json, &predicted),
    };
    // Who reads a part of them has no answer, so that this is no success.
    written
        .and_then(|()| out.flush())
        .context("the predictions cannot be printed")
}

/// Writes a header, and a line for each example: its number, its class, the probability of each.
fn write_csv(out: &mut impl Write, classes: &[String], probabilities: &[f32]) -> io::Result<()> {
    write!(out, "row,prediction")?;
    for class in classes {
        write!(out, ",{}", quoted(&format!("probability of {class}")))?;
    }
    writeln!(out)?;
    for (row, of_row) in (1_u64..).zip(probabilities.chunks_exact(classes.len())) {
        write!(out, "{row},{}", quoted(&classes[likeliest(of_row)]))?;
        for probability in of_row {
            write!(out, ",{probability}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Writes a JSON object for each example.
fn write_json(out: &mut impl Write, classes: &[String], probabilities: &[f32]) -> io::Result<()> {
    for (row, of_row) in (1_u64..).zip(probabilities.chunks_exact(classes.len())) {
        let each = classes
            .iter()
            .cloned()
            .zip(of_row.iter().map(|&p| json!(p)));
        let each: Map<String, Value> = each.collect();
        let line = json!({
            "row": row,
            "prediction": classes[likeliest(of_row)],
            "probabilities": each,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Writes a quantity for each example, as CSV or as JSON.
fn write_quantities(out: &mut impl Write, is_json: bool, predicted: &[f32]) -> io::Result<()> {
    if !is_json {
        writeln!(out, "row,prediction")?;
    }
    for (row, quantity) in (1_u64..).zip(predicted) {
        match is_json {
            true => writeln!(out, "{}", json!({"row": row, "prediction": quantity}))?,
            false => writeln!(out, "{row},{quantity}")?,
        }
    }
    Ok(())
}

/// Returns a cell as CSV has it.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_written_as_csv_and_as_json() {
        let classes = ["no", "yes, \"sure\""].map(str::to_owned);
        let mut csv = Vec::new();
        write_csv(&mut csv, &classes, &[0.75, 0.25, 0.5, 0.5, 0.0, 1.0]).unwrap();
        let expected = "\
row,prediction,probability of no,\"probability of yes, \"\"sure\"\"\"
1,no,0.75,0.25
2,no,0.5,0.5
3,\"yes, \"\"sure\"\"\",0,1
";
        assert_eq!(String::from_utf8(csv).unwrap(), expected);
        let mut json = Vec::new();
        write_json(&mut json, &classes, &[0.75, 0.25]).unwrap();
        let value: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["prediction"], "no");
        assert_eq!(value["probabilities"]["no"], 0.75);
    }

    #[test]
    fn quantities_are_written_as_csv_and_as_json() {
        let written = |is_json| {
            let mut out = Vec::new();
            write_quantities(&mut out, is_json, &[1.5, -2.0]).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(false), "row,prediction\n1,1.5\n2,-2\n");
        let lines: Vec<Value> = written(true)
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines[1], json!({"row": 2, "prediction": -2.0}));
    }
}
