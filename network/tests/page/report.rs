//! The report of a run in a real browser, as a file on the disk: on a desktop, on a phone and on
//! paper, light and dark.

use fl_network::run_report::{Measurement, ModelFile, Owner, Parties, Party, RunReport, RunRound};
use fl_protocol::metrics::{Metrics, Tally};
use serde_json::json;
use tempfile::TempDir;

use crate::browser::Browser;
use crate::{DESKTOP, check, faults, text};

/// What is between the margins of A4, in pixels of 1/96 inch.
const PAPER: u32 = 700;
const ROUNDS: u32 = 60;

/// A report on the disk.
struct Page {
    folder: TempDir,
}

impl Page {
    fn write(report: &RunReport) -> Self {
        let page = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::write(page.folder.path().join("report.html"), report.html()).unwrap();
        page
    }

    fn open(&self, browser: &mut Browser) {
        let path = self.folder.path().join("report.html");
        browser.open(&format!("file://{}", path.display()));
        browser.wait_for("document.readyState === 'complete'");
    }
}

/// What a model counts that is the surer and the better the later its round is.
fn tally(classes: u32, examples: u32, round: u32) -> Tally {
    let mut tally = Tally::new(Metrics::Classes { classes });
    if let Tally::Classes(tally) = &mut tally {
        for example in 0..examples {
            let random = u16::try_from(example.wrapping_mul(2_654_435_761) >> 16).unwrap();
            let random = f32::from(random) / 65_536.0;
            let label = example % classes;
            let is_right = f64::from(random) < 0.9 - 0.5 / f64::from(round + 1);
            let predicted = if is_right {
                label
            } else {
                (label + 1) % classes
            };
            let mut logits = vec![0.0; classes as usize];
            logits[predicted as usize] = 1.0 + 3.0 * random;
            tally.add(&logits, label, f64::from(2.0 - random));
        }
    }
    tally
}

fn quantity(examples: u32, round: u32) -> Tally {
    let mut tally = Tally::new(Metrics::Quantity { deviation: 12.0 });
    if let Tally::Quantity(tally) = &mut tally {
        for example in 0..examples {
            let truth = f64::from(example % 9) / 3.0;
            tally.add(truth + 1.0 / f64::from(round + 1), truth);
        }
    }
    tally
}

/// The report of a run whose models are measured on what this makes for so many examples and a
/// round.
fn report(names: &[&str], tally: impl Fn(u32, u32) -> Tally) -> RunReport {
    let owner = Owner::Node {
        node: "charite".to_owned(),
        consortium: "heart-2026".to_owned(),
        consortium_id: "0123456789abcdef".repeat(4),
    };
    let nodes = (1..=6).map(|node| Party {
        name: format!("node-{node}"),
        organisation: Some(format!("University Hospital of the City {node}")),
    });
    let round = |round: u32| RunRound {
        round: round.into(),
        nodes: 5 + round % 2,
        examples: 12_345,
        seconds: 12.5,
        own: tally(60, round).figures(),
        before: tally(400, round - 1).figures(),
    };
    let model = |name: &str, round| ModelFile {
        name: name.to_owned(),
        round,
        sha256: "fedcba9876543210".repeat(4),
    };
    let last = u64::from(ROUNDS);
    RunReport {
        parties: Parties {
            owner,
            nodes: nodes.collect(),
        },
        program: "fl-node 1.2.3".to_owned(),
        written_unix_s: 1_764_493_261,
        round: last,
        finished: true,
        models: vec![
            model("global.safetensors", last),
            model("best.safetensors", last - 1),
        ],
        classes: names.iter().map(|name| (*name).to_owned()).collect(),
        unit: Some("mmHg".to_owned()),
        rounds: (1..=ROUNDS).map(round).collect(),
        own: Some(Measurement {
            round: last,
            tally: tally(60, ROUNDS),
        }),
        all: Some(Measurement {
            round: last - 1,
            tally: tally(400, ROUNDS - 1),
        }),
    }
}

/// Checks the report on screens and on paper.
fn check_everywhere(browser: &mut Browser, stage: &str) {
    check(browser, stage);
    browser.show_printed(PAPER);
    let wide = browser.eval("document.scrollingElement.scrollWidth");
    assert!(
        wide.as_u64().unwrap() <= u64::from(PAPER),
        "{stage}, printed: {wide}"
    );
    let cut = "[...document.querySelectorAll('.scroll')].filter(
        (box) => box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1,
    ).map((box) => `${box.textContent.slice(0, 40)}: ${box.scrollWidth} of ${box.clientWidth}`)";
    assert_eq!(browser.eval(cut), json!([]), "{stage}, printed");
    assert_eq!(browser.take_complaints(), [""; 0], "{stage}");
}

#[test]
fn a_report_of_two_classes_is_for_everyone_on_screen_and_on_paper() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let report = report(&["no heart attack", "heart attack"], |examples, round| {
        tally(2, examples, round)
    });
    let page = Page::write(&report);
    page.open(&mut browser);
    check_everywhere(&mut browser, "two classes");

    browser.show_as(DESKTOP, false);
    let names =
        "[...document.querySelectorAll('figcaption')].map(({ textContent }) => textContent)";
    let curves = ["Loss", "Accuracy", "Balanced accuracy", "AUROC"];
    let plots = ["heart attack: observed by predicted"; 2];
    let expected = [&curves[..], &curves, &plots].concat();
    assert_eq!(browser.eval(names), json!(expected));
    // Each curve has all rounds, and each plot of a calibration its groups, within their pictures.
    let points = "[...document.querySelectorAll('.curve')].map((curve) => curve.points.length)";
    assert_eq!(browser.eval(points), json!(vec![ROUNDS; 8]));
    let groups = "['own', 'all'].map((side) => {
        const circles = document.querySelectorAll(`#calibration-${side} circle`);
        const rows = document.querySelectorAll(`#calibration-${side}-table tbody tr`);
        return circles.length === rows.length && circles.length > 3;
    })";
    assert_eq!(browser.eval(groups), json!([true, true]));
    let told = browser
        .eval("document.querySelector('#calibration-all figure > svg').getAttribute('aria-label')");
    let told = told.as_str().unwrap();
    assert!(told.starts_with("Observed share of heart attack by its predicted probability: "));
    let first = text(&mut browser, "#rounds-table tbody tr");
    assert!(first.starts_with('0'), "{first}");
}

#[test]
fn reports_of_many_classes_and_of_a_quantity_are_for_everyone() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let names: Vec<_> = (1..=32)
        .map(|class| format!("a long name of class {class}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for classes in [5, 16, 32] {
        let of = |examples, round| tally(classes, 20 * examples, round);
        let page = Page::write(&report(&names[..classes as usize], of));
        page.open(&mut browser);
        check_everywhere(&mut browser, &format!("{classes} classes"));
    }
    let page = Page::write(&report(&[], quantity));
    page.open(&mut browser);
    check_everywhere(&mut browser, "a quantity");
    let shown = text(&mut browser, "#curves-own");
    for figure in ["MAE", "RMSE", "R²"] {
        assert!(shown.contains(figure), "{shown}");
    }
    let nothing = |_, _| Tally::new(Metrics::Classes { classes: 2 });
    let page = Page::write(&report(&["a", "b"], nothing));
    page.open(&mut browser);
    check_everywhere(&mut browser, "nothing is held back");
}

#[test]
fn names_of_others_do_not_run_and_the_policy_lets_nothing_else_in() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let hostile = "</script><script>document.title = 'run'</script>\
        <img src=x onerror=\"document.title = 'run'\">";
    let mut report = report(&["healthy", hostile], |examples, round| {
        tally(2, examples, round)
    });
    report.parties.owner = Owner::Node {
        node: hostile.to_owned(),
        consortium: hostile.to_owned(),
        consortium_id: hostile.to_owned(),
    };
    report.parties.nodes[0].name = hostile.to_owned();
    let page = Page::write(&report);
    page.open(&mut browser);
    check_everywhere(&mut browser, "hostile names");
    assert_eq!(text(&mut browser, "h1"), hostile);
    assert_eq!(browser.eval("document.querySelectorAll('img').length"), 0);
    assert_ne!(browser.eval("document.title"), "run");

    // The control: a script that is there all the same does not run, and the browser says why.
    let path = page.folder.path().join("report.html");
    let html = std::fs::read_to_string(&path).unwrap();
    let spoilt = html.replace("</main>", "<script>document.title = 'run'</script></main>");
    std::fs::write(&path, spoilt).unwrap();
    page.open(&mut browser);
    assert_ne!(browser.eval("document.title"), "run");
    let complaints = browser.take_complaints().join("\n");
    assert!(
        complaints.contains("Content Security Policy"),
        "{complaints}"
    );
}

#[test]
fn the_checks_find_what_is_wrong_with_a_report() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let report = report(&["healthy", "ill"], |examples, round| {
        tally(2, examples, round)
    });
    let page = Page::write(&report);
    for (spoil, fault) in [
        (
            "document.querySelector('#confusion-own-caption').remove()",
            "which is not there",
        ),
        (
            "document.querySelector('.shade-4, .shade-5, .shade-6, .shade-7').className = 'dark'",
            "has a contrast of 1.",
        ),
        (
            "document.querySelector('#calibration-own svg').removeAttribute('aria-label')",
            "has no name",
        ),
        (
            "document.querySelector('#rounds-table').closest('div').removeAttribute('tabindex')",
            "scrolls, but not from the keyboard",
        ),
    ] {
        page.open(&mut browser);
        browser.show_as(DESKTOP, false);
        assert_eq!(faults(&mut browser), [""; 0]);
        let style = "const sheet = new CSSStyleSheet();
            sheet.replaceSync('.dark { background: #222 !important }');
            document.adoptedStyleSheets = [sheet];";
        browser.eval(&format!("{style} {spoil}; 0"));
        let found = faults(&mut browser).join("\n");
        assert!(found.contains(fault), "{spoil}: {found}");
    }
}
