//! The operator's page, and in [`report`] that of a run, in a real browser: before, during and
//! after a run and after a restart, on a desktop and on a phone, light and dark. Without Chromium
//! these tests are skipped, loudly, or fail where it is required.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod browser;
mod report;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use browser::Browser;
use fl_network::dashboard::{Dashboard, RelayProgress};
use fl_network::report_text::{ReportFormatter, RoundLine};
use fl_network::time::unix_s;
use fl_protocol::manifest::Manifest;
use fl_protocol::metrics::{AnswerTally, Tally};
use fl_protocol::round::relay::Report;
use fl_protocol::sim::Network;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const ROUNDS: u64 = 12;
pub(crate) const DESKTOP: u32 = 1280;
pub(crate) const PHONE: u32 = 390;

/// What a relay of three nodes reports over all rounds, with the figures of a model that learns:
/// much in the first round, little later.
fn run() -> (Arc<Manifest>, Vec<Report>) {
    let mut network = Network::new(3, ROUNDS, 7);
    network.run_to_the_end();
    let mut reports = std::mem::take(&mut network.seen.reports);
    for report in &mut reports {
        if let Report::Completed(completed) = report {
            let (loss_sum, right) = match completed.round {
                1 => (2302.6, 104),
                round => (300.0 + 400.0 / round as f64, 950 - 200 / round),
            };
            completed.totals.tally = Tally::Answers(AnswerTally {
                right,
                wrong: 1000 - right,
                loss_sum,
            });
        }
    }
    // A node that leaves in order says so to the relay; in a simulation nobody leaves.
    let nodes = network.consortium.manifest.roster().keys();
    reports.extend(nodes.map(|node| Report::Left(*node)));
    (network.consortium.manifest, reports)
}

/// A relay's page, and who tells it what the relay reports. It ends as a process does that is
/// killed, when it is dropped.
struct Page {
    dashboard: Option<Dashboard>,
    address: SocketAddr,
    formatter: ReportFormatter,
    /// Rounds that are complete.
    rounds: VecDeque<RoundLine>,
    process: Runtime,
}

impl Page {
    fn open(manifest: &Arc<Manifest>) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::open_at(address, manifest, VecDeque::new())
    }

    fn open_at(address: SocketAddr, manifest: &Arc<Manifest>, rounds: VecDeque<RoundLine>) -> Self {
        let process = Runtime::new().unwrap();
        let progress = RelayProgress::new(manifest, ROUNDS, rounds.clone(), unix_s());
        let opened = process.block_on(Dashboard::open(address, progress));
        let dashboard = opened.unwrap();
        Self {
            address: dashboard.address(),
            dashboard: Some(dashboard),
            formatter: ReportFormatter::new(manifest.clone()),
            rounds,
            process,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn tell<'a>(&mut self, reports: impl IntoIterator<Item = &'a Report>) {
        for report in reports {
            let line = self.formatter.tell(report);
            self.dashboard.as_ref().unwrap().update(report, &line);
            self.rounds.extend(line.round);
        }
    }

    /// The relay ends in order.
    fn close(&mut self) {
        self.process
            .block_on(self.dashboard.take().unwrap().close());
    }
}

/// Returns what is wrong with the page as it is shown now.
pub(crate) fn faults(browser: &mut Browser) -> Vec<String> {
    let Value::Array(found) = browser.eval(include_str!("checks.js")) else {
        panic!("the checks return no list");
    };
    let mut found: Vec<_> = found.iter().map(Value::to_string).collect();
    let tree = browser.accessibility_tree();
    let named = [
        "button",
        "columnheader",
        "figure",
        "group",
        "heading",
        "image",
        "link",
        "progressbar",
        "region",
        "rowheader",
        "table",
    ];
    for node in &tree {
        let (role, name) = (&node["role"]["value"], &node["name"]["value"]);
        let nameless = name.as_str().unwrap_or_default().trim().is_empty();
        if nameless && named.iter().any(|known| role == known) {
            found.push(format!("a {role} has no name: {node}"));
        }
    }
    for role in ["banner", "main", "contentinfo"] {
        let of = tree.iter().filter(|node| node["role"]["value"] == role);
        let count = of.count();
        if count != 1 {
            found.push(format!("{count} landmarks are {role}"));
        }
    }
    found
}

/// Checks the page in every form.
pub(crate) fn check(browser: &mut Browser, stage: &str) {
    for (width, dark) in [
        (DESKTOP, false),
        (DESKTOP, true),
        (PHONE, false),
        (PHONE, true),
    ] {
        browser.show_as(width, dark);
        let found = faults(browser);
        assert!(
            found.is_empty(),
            "{stage}, {width} pixels, dark {dark}: {found:#?}"
        );
    }
}

pub(crate) fn text(browser: &mut Browser, selector: &str) -> String {
    let text = browser.eval(&format!("document.querySelector({selector:?}).innerText"));
    text.as_str().unwrap().to_owned()
}

fn wait_for_phase(browser: &mut Browser, phase: &str) {
    let is_shown = format!("document.querySelector('#phase')?.textContent === {phase:?}");
    browser.wait_for(&is_shown);
}

/// Returns what is shown in the colour of what is wrong.
fn alarms(browser: &mut Browser) -> Vec<String> {
    let found = browser.eval(include_str!("alarms.js"));
    serde_json::from_value(found).unwrap()
}

/// Returns the position behind the report that the participants of this round are fixed.
fn within(reports: &[Report], round: u64) -> usize {
    let fixed =
        |report: &Report| matches!(report, Report::Participants { round: of, .. } if *of == round);
    1 + reports.iter().position(fixed).unwrap()
}

#[test]
fn the_page_is_for_everyone_before_during_and_after_a_run_and_a_restart() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (manifest, reports) = run();
    let mut page = Page::open(&manifest);
    browser.open(&page.url());
    wait_for_phase(&mut browser, "Waiting to begin round 1 of 12");
    assert_eq!(text(&mut browser, "h1"), "test");
    check(&mut browser, "before");
    assert_eq!(alarms(&mut browser), [""; 0]);

    let middle = within(&reports, 6);
    page.tell(&reports[..middle]);
    wait_for_phase(
        &mut browser,
        "Round 6 of 12: shares and masked sums are on their way",
    );
    assert_eq!(alarms(&mut browser), [""; 0]);
    let lost = *manifest.roster().keys().next().unwrap();
    let (missing, since, same_participants) = (vec![lost], Duration::from_secs(40), true);
    page.tell(&[
        Report::Lost(lost),
        Report::Waiting {
            missing,
            since,
            same_participants,
        },
    ]);
    browser.wait_for("!document.querySelector('#waiting').hidden");
    let shown = alarms(&mut browser).join("\n");
    let waiting = format!("Waiting for {} since", manifest.name_of(lost));
    for alarm in ["connection lost", &waiting] {
        assert!(shown.contains(alarm), "{shown}");
    }
    check(&mut browser, "during");
    assert_eq!(browser.take_complaints(), [""; 0]);

    // The relay is killed, and the page misses it.
    let (address, former) = (page.address, page.rounds.clone());
    page.process.shutdown_timeout(Duration::from_secs(10));
    browser.wait_for("failedSince !== null");
    let shown = alarms(&mut browser).join("\n");
    assert!(
        shown.contains("The relay has not answered since"),
        "{shown}"
    );
    check(&mut browser, "without a relay");

    // It is started again; the page that is open has the rounds before.
    let mut page = Page::open_at(address, &manifest, former);
    page.tell(&[Report::Began { round: 5 }]);
    wait_for_phase(&mut browser, "Waiting to begin round 6 of 12");
    let rounds = "document.querySelectorAll('#rounds tr').length";
    assert_eq!(browser.eval(rounds), 5);
    assert_eq!(text(&mut browser, "#connection"), "Live");
    check(&mut browser, "after a restart");
    assert_eq!(alarms(&mut browser), [""; 0]);

    let joined = |report: &&Report| matches!(report, Report::Joined(_));
    page.tell(reports.iter().filter(joined));
    page.tell(&reports[middle..]);
    let model = serde_json::to_value(page.rounds.back()).unwrap()["model"].to_string();
    page.close();
    wait_for_phase(&mut browser, "Complete: all 12 rounds are done");
    // The page asks for it still, in vain.
    browser.wait_for("failedSince !== null");
    check(&mut browser, "after");
    assert_eq!(text(&mut browser, "#connection"), "The relay has ended");
    assert_eq!(alarms(&mut browser), [""; 0]);
    let nodes = text(&mut browser, "#nodes");
    assert_eq!(nodes.matches("has left, with the model").count(), 3);
    let last = text(&mut browser, "#figures");
    for figure in ["93.40 %", "0.3333", &model[1..9]] {
        assert!(last.contains(figure), "{figure}: {last}");
    }
    assert_eq!(browser.eval(rounds), 12);
}

#[test]
fn the_charts_show_all_rounds_and_any_figure_of_the_model() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (manifest, reports) = run();
    let mut page = Page::open(&manifest);
    page.tell(&reports[..within(&reports, 10)]);
    browser.open(&page.url());
    browser.wait_for("document.querySelectorAll('figure').length === 2");
    browser.show_as(DESKTOP, false);
    // The first round changes the model more than all others together, which take most of the
    // height all the same.
    let spread = browser.eval(
        "[...document.querySelectorAll('figure')].map((figure) => {
            const points = [...figure.querySelectorAll('circle')].slice(1);
            const at = points.map((point) => point.cy.baseVal.value);
            const plot = figure.querySelector('svg svg');
            return (Math.max(...at) - Math.min(...at)) / plot.height.baseVal.value;
        })",
    );
    for share in spread.as_array().unwrap() {
        assert!(share.as_f64().unwrap() > 0.5, "{spread}");
    }
    let charts = text(&mut browser, "#charts");
    for outside in ["2.3026 after round 0", "10.40 % after round 0"] {
        assert!(charts.contains(outside), "{charts}");
    }
    let told = browser.eval("document.querySelector('figure > svg').getAttribute('aria-label')");
    let expected = "Loss of the model by round, from 2.3026 after round 0 to 0.3444 after round 8";
    assert_eq!(told, expected);

    // Nor does a bad round press the others into a line, or a first one where nothing follows.
    let spike = "shown.rounds.forEach((round, at) => {
        round.before.loss = at === 4 ? 50 : 1 + at / 10;
        round.before.accuracy = at === 0 ? 0.4 : 0.95;
    });
    show();";
    browser.eval(spike);
    let charts = text(&mut browser, "#charts");
    for outside in ["50.0000 after round 4.", "40.00 % after round 0."] {
        assert!(charts.contains(outside), "{charts}");
    }
    check(&mut browser, "with outliers");

    let others = "for (const round of shown.rounds) {
        round.before.balanced_accuracy = 1 / round.round;
        round.before.unknown = null;
    }
    show();";
    browser.eval(others);
    check(&mut browser, "with another figure");
    let columns = text(&mut browser, "#rounds-columns");
    let names = browser
        .eval("[...document.querySelectorAll('figcaption')].map((caption) => caption.textContent)");
    assert_eq!(names, json!(["Loss", "Accuracy", "Balanced accuracy"]));
    assert!(columns.contains("Balanced accuracy before"), "{columns}");
    assert!(!columns.contains("nknown"), "{columns}");

    // A relay that its operator stops before the end has nothing wrong either.
    page.close();
    let stopped = "Stopped after round 9 of 12; start the relay again to go on";
    wait_for_phase(&mut browser, stopped);
    check(&mut browser, "stopped");
    assert_eq!(alarms(&mut browser), [""; 0]);
    let nodes = text(&mut browser, "#nodes");
    assert_eq!(nodes.matches("not connected").count(), 3, "{nodes}");
}

#[test]
fn the_checks_find_what_is_wrong() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (manifest, reports) = run();
    let mut page = Page::open(&manifest);
    page.tell(&reports[..within(&reports, 10)]);
    browser.open(&page.url());
    browser.wait_for("document.querySelectorAll('figure').length === 2");
    assert_eq!(faults(&mut browser), [""; 0]);
    for (spoil, fault) in [
        ("document.documentElement.lang = ''", "no language"),
        ("document.title = ''", "no title"),
        (
            "document.querySelector('main').remove()",
            "landmarks are main",
        ),
        (
            "document.querySelector('h2').outerHTML = '<h4>x</h4>'",
            "a heading of level 4",
        ),
        (
            "document.querySelector('#nodes th').removeAttribute('scope')",
            "heads nothing",
        ),
        (
            "document.querySelector('#done').removeAttribute('aria-labelledby')",
            "has no name",
        ),
        (
            "document.querySelector('figure svg').removeAttribute('aria-label')",
            "has no name",
        ),
        (
            "document.querySelector('#nodes').id = 'rounds'",
            "two elements have the id",
        ),
        (
            "document.querySelector('#done-text').id = 'x'",
            "which is not there",
        ),
        (
            "document.querySelector('h1').className = 'faint'",
            "has a contrast of 1.",
        ),
        (
            "document.querySelector('table').className = 'wide'",
            "scrolls, but not from",
        ),
        (
            "document.querySelector('footer').className = 'wide'",
            "pixels wide, the window",
        ),
        (
            "document.querySelector('svg text').classList.add('far')",
            "is outside of its chart",
        ),
        (
            "document.querySelectorAll('svg text')[1].setAttribute('y', 16)",
            "overlap",
        ),
    ] {
        browser.open(&page.url());
        browser.wait_for("document.querySelectorAll('figure').length === 2");
        browser.show_as(DESKTOP, false);
        let style = "const sheet = new CSSStyleSheet();
            sheet.replaceSync(`.faint { color: #eee !important } .wide { width: 3000px !important }
                .far { transform: translateX(-200px) }`);
            document.adoptedStyleSheets = [sheet];
            document.querySelectorAll('[tabindex]').forEach((element) => {
                if (element.querySelector('#nodes')) element.removeAttribute('tabindex');
            });
            show = () => {};";
        browser.eval(&format!("{style} {spoil}; 0"));
        let found = faults(&mut browser).join("\n");
        assert!(found.contains(fault), "{spoil}: {found}");
    }
}
