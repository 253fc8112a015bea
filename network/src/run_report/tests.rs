//! What stands in a report, of whatever kind the run is.

use fl_protocol::metrics::{AnswerTally, Metrics};

use super::*;

const HOSTILE: &str = "</td></script><script>alert(1)</script><img src=x onerror=\"a()\"> & 'b'";

/// A run of so many rounds, whose models are measured on these tallies.
fn report(rounds: u64, own: &Tally, all: &Tally) -> RunReport {
    let owner = Owner::Node {
        node: "charite".to_owned(),
        consortium: "heart-2026".to_owned(),
        consortium_id: "ab".repeat(32),
    };
    let nodes = ["charite", "ukb"].map(|name| Party {
        name: name.to_owned(),
        organisation: Some(format!("Hospital {name}")),
    });
    let round = |round| RunRound {
        round,
        nodes: 5 - u32::try_from(round % 2).unwrap(),
        examples: 1_000 + round,
        seconds: 2.5,
        own: own.figures(),
        before: all.figures(),
    };
    RunReport {
        parties: Parties {
            owner,
            nodes: nodes.to_vec(),
        },
        program: "fl-node 9.8.7".to_owned(),
        written_unix_s: 1_764_493_261,
        round: rounds,
        finished: true,
        models: vec![ModelFile {
            name: "global.safetensors".to_owned(),
            round: rounds,
            sha256: "cd".repeat(32),
        }],
        classes: vec!["healthy".to_owned(), "ill".to_owned()],
        unit: None,
        rounds: (1..=rounds).map(round).collect(),
        own: Some(Measurement {
            round: rounds,
            tally: own.clone(),
        }),
        all: Some(Measurement {
            round: rounds - 1,
            tally: all.clone(),
        }),
    }
}

/// A tally of classes, of which every fourth example is taken for the next one.
fn classes(classes: u32, examples: u32) -> Tally {
    let mut tally = Tally::new(Metrics::Classes { classes });
    if let Tally::Classes(tally) = &mut tally {
        for example in 0..examples {
            let label = example % classes;
            let predicted = match example % 4 {
                0 => (label + 1) % classes,
                _ => label,
            };
            let mut logits = vec![0.0; classes as usize];
            logits[predicted as usize] = 0.5 + (example % 7) as f32;
            tally.add(&logits, label, 0.25);
        }
    }
    tally
}

fn quantity(examples: u32) -> Tally {
    let mut tally = Tally::new(Metrics::Quantity { deviation: 10.0 });
    if let Tally::Quantity(tally) = &mut tally {
        for example in 0..examples {
            let truth = f64::from(example % 5);
            tally.add(truth + 0.1, truth);
        }
    }
    tally
}

fn headings(html: &str) -> Vec<&str> {
    let parts = html.split("<h2").skip(1);
    let text = parts.filter_map(|part| part.split_once('>')?.1.split_once('<'));
    text.map(|(text, _)| text).collect()
}

/// The text of the row that begins with this name.
fn row<'a>(html: &'a str, name: &str) -> &'a str {
    let begin = format!("<tr><th scope=\"row\">{name}</th>");
    let (_, rest) = html.split_once(&begin).unwrap_or_else(|| panic!("{name}"));
    rest.split_once("</tr>").unwrap().0
}

#[test]
fn a_report_of_two_classes_has_every_section_with_its_numbers() {
    let html = report(3, &classes(2, 40), &classes(2, 400)).html();
    let sections = [
        "Run",
        "Figures",
        "Course",
        "Classes",
        "Calibration",
        "Participants",
        "Rounds",
    ];
    assert_eq!(headings(&html), sections);
    for text in [
        "<title>heart-2026: report of a run</title>",
        "Finished after round 3",
        "2025-11-30 09:01 UTC",
        "fl-node 9.8.7",
        &"ab".repeat(32),
        &"cd".repeat(32),
        "Model after round 3, on 40 examples that this node holds back",
        "Model after round 2, on 400 examples that the participants of round 3 hold back",
        "Of 2 nodes, 4 to 5 took part in a round, with 1,001 to 1,003 training examples in sum.",
        "Hospital ukb",
    ] {
        assert!(html.contains(text), "{text}");
    }
    // 30 of 40 and 300 of 400 are right; see the intervals of `Share`.
    let accuracy = row(&html, "Accuracy");
    assert!(accuracy.contains("75.00\u{a0}% (59.8–85.8)"), "{accuracy}");
    assert!(accuracy.contains("75.00\u{a0}% (70.5–79.0)"), "{accuracy}");
    // Of the healthy every other one is taken for ill, and of the ill none.
    let matrix = html.split_once("id=\"confusion-own\"").unwrap().1;
    assert!(row(matrix, "healthy").contains("<td class=\"shade-4 right\">10 "));
    assert!(row(matrix, "ill").contains("<td class=\"shade-8 right\">20 "));
    let each = html.split_once("id=\"each-all\"").unwrap().1;
    assert!(row(each, "ill").contains("100.00\u{a0}% (98.1–100.0)"));
    assert!(row(&html, "Sensitivity of ill").contains("100.00\u{a0}%"));
    assert!(!html.contains("Root mean square"));
    assert!(html.contains("\"place\":\"calibration-own\",\"class\":\"ill\""));
}

#[test]
fn names_of_others_are_shown_as_they_are_and_never_run() {
    let mut report = report(2, &classes(2, 40), &classes(2, 40));
    report.parties.owner = Owner::Node {
        node: HOSTILE.to_owned(),
        consortium: HOSTILE.to_owned(),
        consortium_id: HOSTILE.to_owned(),
    };
    report.parties.nodes[0].name = HOSTILE.to_owned();
    report.parties.nodes[0].organisation = Some(HOSTILE.to_owned());
    report.program = HOSTILE.to_owned();
    report.models[0].name = HOSTILE.to_owned();
    report.classes = vec![HOSTILE.to_owned(); 2];
    let html = report.html();
    assert!(!html.contains("<script>alert"));
    assert!(!html.contains("<img"));
    // Nothing ends an element that does not itself.
    assert_eq!(html.matches("</script").count(), 2);
    let shown = "&lt;/td&gt;&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;";
    assert!(html.matches(shown).count() > 10);
    assert!(html.contains("\\u003c/td>\\u003c/script>\\u003cscript>alert(1)"));
    assert!(html.contains("onerror=\\\"a()\\\""));

    report.parties.owner = Owner::Simulation;
    report.unit = Some(HOSTILE.to_owned());
    report.own = Some(Measurement {
        round: 2,
        tally: quantity(9),
    });
    let html = report.html();
    assert!(html.contains("MAE), in &lt;/td&gt;"), "{html}");
    assert!(!html.contains("<img"));
}

#[test]
fn a_report_of_a_quantity_has_its_errors_and_no_classes() {
    let mut report = report(2, &quantity(50), &quantity(500));
    report.classes.clear();
    report.unit = Some("mmHg".to_owned());
    report.finished = false;
    let html = report.html();
    let sections = ["Run", "Figures", "Course", "Participants", "Rounds"];
    assert_eq!(headings(&html), sections);
    assert!(html.contains("Stopped after round 2"));
    let error = row(&html, "Mean absolute error (MAE), in mmHg");
    assert!(error.contains("1.000"), "{error}");
    assert!(html.contains(">MAE, own<") && html.contains(">MAE, all<"));
    for absent in ["Accuracy", "Wilson", "confusion-"] {
        let body = html.split_once("</style>").unwrap().1;
        let body = body.split_once("<script").unwrap().0;
        assert!(!body.contains(absent), "{absent}");
    }
}

#[test]
fn a_run_that_holds_nothing_back_says_so_and_has_its_rounds() {
    let nothing = Tally::new(Metrics::Classes { classes: 2 });
    let mut report = report(2, &nothing, &nothing);
    let html = report.html();
    assert_eq!(
        headings(&html),
        ["Run", "Figures", "Participants", "Rounds"]
    );
    assert!(html.contains("No held-back examples"));
    assert!(row(&html, "2").contains("<td>1,002</td>"));

    // What others hold back is measured all the same.
    report.all = Some(Measurement {
        round: 1,
        tally: classes(2, 40),
    });
    let html = report.html();
    assert!(headings(&html).contains(&"Calibration"));
    assert!(!html.contains("this node holds back<"));
}

#[test]
fn many_classes_and_answers_have_what_was_counted_of_them() {
    let mut report = report(2, &classes(40, 400), &classes(3, 30));
    report.classes.clear();
    let html = report.html();
    // More than 32 have no matrix and no scores; those without a name have a number.
    assert!(!html.contains("id=\"confusion-own\"") && html.contains("id=\"confusion-all\""));
    assert!(!html.contains("id=\"calibration-own\"") && html.contains("id=\"calibration-all\""));
    let each = html.split_once("id=\"each-own\"").unwrap().1;
    assert!(row(each, "40").contains("<td>10</td>"));

    let answers = Tally::Answers(AnswerTally {
        right: 7,
        wrong: 3,
        loss_sum: 5.0,
    });
    report.own = Some(Measurement {
        round: 2,
        tally: answers,
    });
    report.all = None;
    let html = report.html();
    assert!(row(&html, "Accuracy").contains("70.00\u{a0}% (39.7–89.2)"));
    assert!(!headings(&html).contains(&"Classes"));
}

#[test]
fn the_policy_names_the_script_and_the_style_that_are_there() {
    use base64::prelude::*;
    use sha2::Digest as _;
    let html = report(2, &classes(2, 40), &classes(2, 40)).html();
    let between = |begin: &str, end: &str| {
        let (_, rest) = html.rsplit_once(begin).unwrap();
        rest.split_once(end).unwrap().0.to_owned()
    };
    for (name, text) in [
        ("style", between("<style>", "</style>")),
        ("script", between("<script>", "</script>")),
    ] {
        let hash = BASE64_STANDARD.encode(sha2::Sha256::digest(text));
        let allowed = format!("; {name}-src 'sha256-{hash}';");
        assert!(html.contains(&allowed), "{allowed}");
    }
    assert!(html.contains("content=\"default-src 'none'; "));
    // It names no address but that of SVG's elements, which nobody fetches.
    let text = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!text.contains("//www") && !text.contains("http:") && !text.contains("https:"));
    assert!(!text.contains("style=") && !text.contains("innerHTML"));
}

#[test]
fn a_thousand_rounds_are_less_than_a_megabyte() {
    let html = report(1_000, &classes(2, 4_000), &classes(2, 40_000)).html();
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    assert!(row(&html, "1000").contains("<td>2,000</td>"));
}

#[test]
fn a_report_is_written_and_read_as_data() {
    let report = report(2, &classes(2, 40), &classes(2, 40));
    let text = serde_json::to_string(&report).unwrap();
    let back: RunReport = serde_json::from_str(&text).unwrap();
    assert_eq!(back.html(), report.html());
}
