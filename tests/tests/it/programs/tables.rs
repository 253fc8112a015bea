//! Tables as people have them, from the file to the model.

use std::fs;

use fl_tests::deployed::{Consortium, Process, fl_node};
use serde_json::Value;

use crate::support::consortium::succeed;

/// The wards of the patients, and how ill their people are.
const WARDS: [(&str, u32); 3] = [("icu", 70), ("med", 40), ("surg", 20)];

/// A table of people whose ward tells most of whether they are ill. Every ninth age is missing.
fn patients(header: &str, first: u32, row: impl Fn(u32, &str, &str, u32) -> String) -> String {
    let mut text = format!("{header}\n");
    for patient in first..first + 180 {
        let (ward, share) = WARDS[(patient % 3) as usize];
        // A number that looks like chance, the same in every run.
        let drawn = patient.wrapping_mul(2_654_435_761) >> 16;
        let ill = u32::from(drawn % 100 < share);
        let age = 30 + 15 * ill + drawn % 29;
        let age = match patient % 9 {
            0 => "NA".to_owned(),
            _ => age.to_string(),
        };
        text.push_str(&row(patient, &age, ward, ill));
        text.push('\n');
    }
    text
}

#[test]
fn a_table_with_text_and_gaps_trains_at_sites_whose_columns_differ() {
    let folder = tempfile::tempdir().unwrap();
    let sample = folder.path().join("sample.csv");
    let plain = |_, age: &str, ward: &str, ill| format!("{age},{ward},{ill}");
    fs::write(&sample, patients("age,ward,ill", 0, plain)).unwrap();
    let sample = sample.to_str().unwrap();
    let consortium = Consortium::found("a=200,b=200,c=200", &["--data", sample]);
    // One as agreed, one out of a spreadsheet, one in another order and with an id.
    let files = [
        ("a", patients("age,ward,ill", 1000, plain)),
        (
            "b",
            patients("Age;Ward;Ill", 2000, |_, age, ward, ill| {
                format!("{age};{};{ill},0", ward.to_uppercase())
            }),
        ),
        (
            "c",
            patients(
                "ill,patient_id,ward,age",
                3000,
                |patient, age, ward, ill| format!("{ill}.0,P{patient},{ward},{age}"),
            ),
        ),
    ];
    let (relay, address) = consortium.relay(&["--rounds", "5"]);
    let nodes = files.map(|(name, text)| {
        let file = format!("{name}.csv");
        fs::write(consortium.path().join(&file), text).unwrap();
        consortium.node(name, address, &file)
    });
    let ended = succeed(nodes.into_iter().chain([relay]));
    let said: Vec<_> = ended.iter().map(|ended| ended.text()).collect();
    assert!(
        said[0].contains("a.csv: 180 rows of 2 columns; label ill: 0 "),
        "{}",
        said[0]
    );
    assert!(
        said[1].contains("column `Age` is taken for the agreed `age`"),
        "{}",
        said[1]
    );
    assert!(
        said[1].contains("cells are set apart by ';'"),
        "{}",
        said[1]
    );
    assert!(
        said[2].contains("these columns are not used: `patient_id`"),
        "{}",
        said[2]
    );
    let run = consortium.run("a");
    let last = run["rounds"].as_array().unwrap().last().unwrap().clone();
    assert!(last["accuracy"].as_f64().unwrap() > 0.6, "{last}");
    // The control: the age alone tells less than the ward does.
    let model = consortium.out("a").join("global.safetensors");
    let evaluated = |file: &str| -> f64 {
        let mut command = fl_node();
        command
            .current_dir(consortium.path())
            .args(["evaluate", "--json", "--data", file]);
        command.arg("--model").arg(&model);
        let ended = Process::start("evaluate", command).ended().succeeded();
        ended.json()[0]["accuracy"].as_f64().unwrap()
    };
    let shuffled = patients("age,ward,ill", 1000, |patient, age, _, ill| {
        format!("{age},{},{ill}", WARDS[(patient / 3 % 3) as usize].0)
    });
    fs::write(consortium.path().join("shuffled.csv"), shuffled).unwrap();
    let (true_wards, other_wards) = (evaluated("a.csv"), evaluated("shuffled.csv"));
    assert!(
        true_wards > other_wards + 0.05,
        "{true_wards} {other_wards}"
    );
}

#[test]
fn a_node_says_which_columns_may_be_in_other_units() {
    let folder = tempfile::tempdir().unwrap();
    let sample = folder.path().join("sample.csv");
    let millimoles = |patient: u32, age: &str, _: &str, ill| {
        let age = age.replace("NA", "50");
        format!("{age},{}.{},{ill}", 4 + patient % 4, patient % 10)
    };
    fs::write(&sample, patients("age,glucose,ill", 0, millimoles)).unwrap();
    let consortium = Consortium::found("a=200,b=200,c=200", &["--data", sample.to_str().unwrap()]);
    let (relay, address) = consortium.relay(&["--rounds", "1"]);
    let nodes = ["a", "b", "c"].map(|name| {
        let text = patients(
            "age,glucose,ill",
            1000,
            |patient, age, ward, ill| match name {
                "c" => {
                    let age = age.replace("NA", "50");
                    format!("{age},{},{ill}", 18 * (4 + patient % 4) + patient % 10)
                }
                _ => millimoles(patient, age, ward, ill),
            },
        );
        let file = format!("{name}.csv");
        fs::write(consortium.path().join(&file), text).unwrap();
        consortium.node(name, address, &file)
    });
    let ended = succeed(nodes.into_iter().chain([relay]));
    let warned = |text: &str| text.contains("is it in another unit?");
    assert!(warned(&ended[2].text()), "{}", ended[2].text());
    assert!(ended[2].text().contains("column `glucose` has a mean of "));
    // The control: who has the agreed units is told nothing.
    assert!(!warned(&ended[0].text()) && !warned(&ended[1].text()));
}

#[test]
fn an_inspected_schema_is_agreed_on_and_binds_the_sites() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let plain = |_, age: &str, ward: &str, ill| format!("{age},{ward},{ill}");
    fs::write(at("sample.csv"), patients("age,ward,ill", 0, plain)).unwrap();
    let inspect = |flags: &[&str]| {
        let mut command = fl_node();
        command
            .current_dir(&folder)
            .args(["inspect", "sample.csv"])
            .args(flags);
        Process::start("inspect", command).ended()
    };
    let said = inspect(&["--json", "--out", "other.toml"])
        .succeeded()
        .json();
    let value: &Value = &said[0];
    assert_eq!(value["examples"], 180);
    assert_eq!(value["schema"]["columns"][1]["kind"], "category");
    let ended = inspect(&[]).succeeded();
    assert!(ended.text().contains("ward"), "{}", ended.text());
    // What was written by hand is not lost.
    inspect(&[]).refused(&["schema.toml exists and stays as it is"]);

    let text = fs::read_to_string(at("schema.toml")).unwrap();
    let text = text.replacen(
        "name = \"age\"\n",
        "name = \"age\"\nunit = \"years\"\nrange = [18.0, 110.0]\n",
        1,
    );
    fs::write(at("schema.toml"), text).unwrap();
    let (sample, schema) = (at("sample.csv"), at("schema.toml"));
    let flags = [
        "--data",
        sample.to_str().unwrap(),
        "--schema",
        schema.to_str().unwrap(),
    ];
    let consortium = Consortium::found("a=200,b=200,c=200", &flags);
    let task = fs::read_to_string(consortium.kit("a").join("task.toml")).unwrap();
    assert!(task.contains("unit = \"years\""), "{task}");
    // The relay learns no name of a column.
    let kit = consortium.kit("relay");
    assert!(!kit.join("task.toml").exists());
    let manifest = fs::read_to_string(kit.join("manifest.toml")).unwrap();
    assert!(
        !manifest.contains("ward") && !manifest.contains("med"),
        "{manifest}"
    );
    let of_children = patients("age,ward,ill", 0, |patient, _, ward, ill| {
        format!("{},{ward},{ill}", patient % 12)
    });
    fs::write(consortium.path().join("a.csv"), of_children).unwrap();
    let (_relay, address) = consortium.relay(&["--rounds", "1"]);
    let node = consortium.node("a", address, "a.csv").ended();
    node.refused(&[
        "a.csv, line 2, column `age`: `0` is outside the agreed range",
        "(180 such cells)",
    ]);
}

#[test]
fn a_trained_model_predicts_rows_without_labels_and_is_judged_where_there_are_some() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run = |flags: &[&str]| {
        let mut command = fl_node();
        command.current_dir(&folder).args(flags);
        Process::start(flags[0], command).ended()
    };
    let plain = |_, age: &str, ward: &str, ill| format!("{age},{ward},{ill}");
    fs::write(at("patients.csv"), patients("age,ward,ill", 0, plain)).unwrap();
    fs::write(at("holdout.csv"), patients("age,ward,ill", 500, plain)).unwrap();
    let unlabelled = |_, age: &str, ward: &str, _| format!("{ward},{age}");
    fs::write(at("new.csv"), patients("ward,age", 500, unlabelled)).unwrap();
    run(&["simulate", "--data", "patients.csv", "--rounds", "5"]).succeeded();

    let model = ["--model", "smpcfl-out/global.safetensors"];
    let judged = [&["evaluate", "--json", "--data", "holdout.csv"], &model[..]].concat();
    let judged = run(&judged).succeeded().json().remove(0);
    let predicted = [&["predict", "--json", "--data", "new.csv"], &model[..]].concat();
    let predicted = run(&predicted).succeeded().json();
    assert_eq!(predicted.len(), 180);
    // What is predicted of rows without a label is what the report on the same rows counts.
    let count = |class: &str| {
        predicted
            .iter()
            .filter(|row| row["prediction"] == class)
            .count()
    };
    let confusion = &judged["report"]["confusion"];
    let column = |class: usize| -> u64 {
        let rows = confusion.as_array().unwrap().iter();
        rows.map(|row| row[class].as_u64().unwrap()).sum()
    };
    assert_eq!(
        [count("0") as u64, count("1") as u64],
        [column(0), column(1)]
    );
    let sum = |row: &Value| -> f64 {
        let probabilities = row["probabilities"].as_object().unwrap();
        probabilities.values().map(|p| p.as_f64().unwrap()).sum()
    };
    assert!(predicted.iter().all(|row| (sum(row) - 1.0).abs() < 1e-5));
    assert!(
        judged["report"]["classes"][1]["auroc"].as_f64().unwrap() > 0.6,
        "{judged}"
    );

    let text = run(&[&["evaluate", "--data", "holdout.csv"], &model[..]].concat());
    let text = text.succeeded().text();
    for word in [
        "sensitivity",
        "AUROC",
        "balanced accuracy",
        "most frequent class alone",
    ] {
        assert!(text.contains(word), "{text}");
    }
    let csv = run(&[&["predict", "--data", "new.csv"], &model[..]].concat());
    let csv = csv.succeeded().text();
    assert!(
        csv.contains("row,prediction,probability of 0,probability of 1"),
        "{csv}"
    );
    // Predictions that nobody gets are no success.
    let full = fs::File::create("/dev/full").unwrap();
    let mut command = fl_node();
    command
        .current_dir(&folder)
        .args(["predict", "--data", "new.csv"])
        .args(model)
        .stdout(full);
    let ended = command.output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("the predictions cannot be printed"), "{said}");
}

/// A table of stays whose length the age and the ward tell, but for less than a day either way.
fn stays(first: u32, told: bool) -> String {
    let mut text = "age,ward,stay\n".to_owned();
    for patient in first..first + 400 {
        // Numbers that look like chance, the same in every run.
        let drawn = |k: u32| (patient * 5 + k).wrapping_mul(2_654_435_761) >> 8;
        let (ward, days) = [("icu", 9.0), ("med", 5.0), ("surg", 1.0)][(drawn(0) % 3) as usize];
        let age = 20 + drawn(1) % 60;
        let stay = match told {
            true => 0.15 * f64::from(age) + days + f64::from(drawn(2) % 100) / 50.0,
            false => f64::from(drawn(3) % 2000) / 100.0,
        };
        text.push_str(&format!("{age},{ward},{stay:.2}\n"));
    }
    text
}

#[test]
fn a_quantity_is_learned_predicted_and_judged() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("stays.csv", &stays(0, true));
    write("others.csv", &stays(7_000, true));
    write("noise.csv", &stays(0, false));
    let run = |args: &[&str]| {
        let mut command = fl_node();
        command.current_dir(folder.path()).args(args);
        Process::start(args[0], command).ended().succeeded()
    };
    let simulated = |data: &str, out: &str| {
        let ended = run(&["simulate", "--data", data, "--rounds", "10", "--out", out]);
        let text = fs::read_to_string(folder.path().join(out).join("run.json")).unwrap();
        let run: Value = serde_json::from_str(&text).unwrap();
        (ended.text(), run["rounds"][9].clone())
    };
    let (said, last) = simulated("stays.csv", "out");
    let read = "400 rows of 2 columns; label stay: 4.28 to 22.54, mean 13.4406";
    assert!(
        said.contains(read) && said.contains("is taken for a quantity"),
        "{said}"
    );
    assert!(last["r2"].as_f64().unwrap() > 0.9, "{last}");
    assert!(last["accuracy"].is_null(), "{last}");
    // The control: of noise nothing can be learned.
    let (_, noise) = simulated("noise.csv", "noise");
    assert!(noise["r2"].as_f64().unwrap() < 0.3, "{noise}");

    let model = "out/global.safetensors";
    let judged = run(&[
        "evaluate",
        "--json",
        "--model",
        model,
        "--data",
        "others.csv",
    ]);
    let judged = judged.json()[0].clone();
    assert_eq!(judged["examples"], 400);
    // What is predicted of the rows without their label is what was judged.
    let text = stays(7_000, true);
    let rows: Vec<_> = text
        .lines()
        .map(|line| line.rsplit_once(',').unwrap())
        .collect();
    let without: Vec<_> = rows.iter().map(|(row, _)| *row).collect();
    write("rows.csv", &without.join("\n"));
    let predicted = run(&["predict", "--model", model, "--data", "rows.csv"]).stdout;
    assert_eq!(predicted[0], "row,prediction");
    let errors = rows[1..]
        .iter()
        .zip(&predicted[1..])
        .map(|((_, stay), line)| {
            let predicted: f64 = line.split_once(',').unwrap().1.parse().unwrap();
            (predicted - stay.parse::<f64>().unwrap()).abs()
        });
    let errors: Vec<_> = errors.collect();
    let mae = errors.iter().sum::<f64>() / 400.0;
    let rmse = (errors.iter().map(|error| error * error).sum::<f64>() / 400.0).sqrt();
    assert!(
        (mae - judged["mae"].as_f64().unwrap()).abs() < 1e-3,
        "{mae} {judged}"
    );
    assert!(
        (rmse - judged["rmse"].as_f64().unwrap()).abs() < 1e-3,
        "{rmse} {judged}"
    );
    // Less than a day either way is left to chance.
    assert!((0.3..1.0).contains(&mae), "{mae}");
}

#[test]
fn a_table_of_twenty_thousand_columns_fits_a_consortium() {
    const GENES: usize = 20_531;
    let genes: Vec<_> = (0..GENES).map(|gene| format!("ENSG{gene:011}")).collect();
    let expressed = |first: usize| {
        let mut text = format!("{},tumour\n", genes.join(","));
        for patient in first..first + 24 {
            let kind = patient % 2;
            let level = |gene: usize| {
                let drawn = (patient * GENES + gene).wrapping_mul(2_654_435_761) >> 7;
                let told = if gene.is_multiple_of(50) { 4 * kind } else { 0 };
                format!("{}.{}", drawn % 5 + told, drawn % 7)
            };
            let row: Vec<_> = (0..GENES).map(level).collect();
            text.push_str(&format!("{},{}\n", row.join(","), ["brca", "luad"][kind]));
        }
        text
    };
    let folder = tempfile::tempdir().unwrap();
    let sample = folder.path().join("sample.csv");
    fs::write(&sample, expressed(0)).unwrap();
    let consortium = Consortium::found("a=24,b=24,c=24", &["--data", sample.to_str().unwrap()]);
    let manifest = consortium.kit("a").join("manifest.toml");
    assert!(fs::metadata(manifest).unwrap().len() < 8_192);
    let (relay, address) = consortium.relay(&["--rounds", "2"]);
    let nodes = ["a", "b", "c"]
        .into_iter()
        .enumerate()
        .map(|(place, name)| {
            let file = format!("{name}.csv");
            let path = consortium.path().join(&file);
            fs::write(path, expressed(1_000 * (place + 1))).unwrap();
            consortium.node(name, address, &file)
        });
    succeed(nodes.collect::<Vec<_>>().into_iter().chain([relay]));
    let last = consortium.run("a")["rounds"][1].clone();
    assert!(last["accuracy"].as_f64().unwrap() > 0.7, "{last}");
}

/// A number that has nothing to do with those near it: the last steps of MurmurHash3.
fn mixed(mut number: u32) -> u32 {
    for (shift, factor) in [(16, 0x85eb_ca6b_u32), (13, 0xc2b2_ae35), (16, 1)] {
        number = (number ^ number >> shift).wrapping_mul(factor);
    }
    number
}

/// Rows of patients, `each` of one, whose measurements tell them apart but nothing of their
/// illness.
fn visits(patients: std::ops::Range<u32>, each: u32) -> String {
    let mut text = "patient_id,a,b,c,ill\n".to_owned();
    for patient in patients {
        let drawn = |k: u32| mixed(patient * 11 + k);
        for visit in 0..each {
            let value = |k: u32| f64::from(drawn(k) % 1_000) + f64::from(visit % 3) / 10.0;
            let [a, b, c] = [1, 2, 3].map(value);
            text.push_str(&format!("P{patient},{a},{b},{c},{}\n", drawn(0) % 2));
        }
    }
    text
}

#[test]
fn rows_of_one_patient_are_never_divided_and_test_data_may_be_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("visits.csv", &visits(0..60, 20));
    write("others.csv", &visits(1_000..1_060, 20));
    // Some rounds only: who learns patients soon does so badly on others that nodes end.
    let how = [
        "--rounds",
        "3",
        "--local-epochs",
        "10",
        "--learning-rate",
        "0.01",
    ];
    let learned = |flags: &[&str]| {
        let mut command = fl_node();
        command
            .current_dir(folder.path())
            .args(["simulate", "--data", "visits.csv", "--json"])
            .args(how)
            .args(flags);
        let ended = Process::start("simulate", command).ended().succeeded();
        let last = ended.json().pop().unwrap();
        let accuracy = last["accuracy"].as_f64().unwrap();
        (accuracy, last["test_examples"].as_u64().unwrap())
    };
    // The control: the patients themselves are learned, and nothing of illness.
    let (known, held_back) = learned(&["--leave-out", "patient_id"]);
    assert!(known > 0.7 && held_back == 240, "{known} {held_back}");
    let (strangers, held_back) = learned(&["--group", "patient_id", "--test-fraction", "0.25"]);
    assert!(
        strangers < 0.65 && held_back == 300,
        "{strangers} {held_back}"
    );
    let (others, held_back) = learned(&["--leave-out", "patient_id", "--test", "others.csv"]);
    assert!(others < 0.65 && held_back == 1_200, "{others} {held_back}");
}
