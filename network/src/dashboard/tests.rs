use std::collections::VecDeque;
use std::net::Ipv4Addr;

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::metrics::{AnswerTally, Tally, Totals};
use fl_protocol::round::Refusal;
use fl_protocol::round::relay::Completed;
use fl_protocol::sim::Consortium;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::places::CONNECTIONS_MAX;
use super::*;
use crate::report_text::ReportFormatter;
use crate::store::{RelayStore, RoundHistory};

fn completed(round: u64) -> Report {
    Report::Completed(Box::new(Completed {
        round,
        attempts: 1,
        nodes: 3,
        totals: Totals {
            examples: 300,
            clipped: 0,
            tally: Tally::Answers(AnswerTally {
                right: 45,
                wrong: 5,
                loss_sum: 12.5,
            }),
        },
        model: Digest([7; 32]),
    }))
}

/// Returns a dashboard on a port of its own, and what is needed to tell it something.
async fn open() -> (Dashboard, ReportFormatter, [NodeId; 3]) {
    let Consortium {
        identities,
        manifest,
    } = Consortium::new(3);
    let ids = [0, 1, 2].map(|node: usize| identities[node].node_id());
    let progress = RelayProgress::new(&manifest, 10, VecDeque::new(), 1_000);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let dashboard = Dashboard::open(address, progress).await.unwrap();
    (dashboard, ReportFormatter::new(manifest), ids)
}

fn tell(dashboard: &Dashboard, formatter: &mut ReportFormatter, report: &Report) {
    dashboard.update(report, &formatter.tell(report));
}

async fn send(dashboard: &Dashboard, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(dashboard.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // Bytes that nobody read make the end a reset.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(dashboard: &Dashboard, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost:1\r\n\r\n");
    send(dashboard, request.as_bytes()).await
}

async fn status(dashboard: &Dashboard, query: &str) -> Value {
    let answer = get(dashboard, &format!("/status.json{query}")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn the_page_comes_with_all_it_needs_and_asks_nobody_else() {
    let (dashboard, ..) = open().await;
    let page = get(&dashboard, "/").await;
    assert!(page.contains("content-type: text/html; charset=utf-8\r\n"));
    for (path, kind) in [
        ("/style.css", "text/css"),
        ("/chart.js", "text/javascript"),
        ("/script.js", "text/javascript"),
    ] {
        assert!(page.contains(&format!("\"{path}\"")), "{path}");
        let file = get(&dashboard, path).await;
        let kind = format!("content-type: {kind}; charset=utf-8\r\n");
        assert!(file.contains(&kind), "{file}");
        // The one address in it is the name of SVG's elements, which nobody fetches.
        let file = file.replace("http://www.w3.org/2000/svg", "");
        assert!(!file.contains("//www") && !file.contains("http:") && !file.contains("https:"));
        assert!(!file.contains("innerHTML"));
    }
    assert!(!page.contains("access-control"));
    for line in [
        "content-security-policy: default-src 'none'; script-src 'self';",
        "; frame-ancestors 'none'\r\n",
        "cross-origin-resource-policy: same-origin\r\n",
        "x-content-type-options: nosniff\r\n",
        "cache-control: no-store\r\n",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn the_status_follows_the_reports() {
    let (dashboard, mut formatter, [a, b, c]) = open().await;
    let begun = status(&dashboard, "").await;
    assert_eq!(begun["consortium"], "test");
    assert_eq!(begun["rounds_wanted"], 10);
    assert_eq!(begun["phase"], json!({"name": "gathering"}));
    assert_eq!(begun["nodes"][0]["name"], "node-0");
    assert_eq!(begun["nodes"][0]["connection"], "away");

    let mut line = |report| tell(&dashboard, &mut formatter, &report);
    line(Report::Began { round: 4 });
    for node in [a, b, c] {
        line(Report::Joined(node));
    }
    let (round, attempt, nodes) = (5, 2, 3);
    line(Report::Opened {
        round,
        attempt,
        nodes,
    });
    let training = status(&dashboard, "").await;
    assert_eq!(training["rounds_done"], 4);
    assert_eq!(training["nodes"][0]["connection"], "connected");
    let phase = json!({"name": "training", "attempt": 2, "asked": 3});
    assert_eq!(training["phase"], phase);

    line(Report::Participants {
        round,
        nodes: vec![a, b],
    });
    line(Report::Waiting {
        missing: vec![b, a],
        since: Duration::from_secs(20),
        same_participants: true,
    });
    let waiting = status(&dashboard, "").await;
    assert_eq!(waiting["phase"], json!({"name": "collecting"}));
    let part = |node: usize| waiting["nodes"][node]["participant"].as_bool();
    assert_eq!(
        [part(0), part(1), part(2)],
        [Some(true), Some(true), Some(false)]
    );
    assert_eq!(waiting["waiting_for"]["names"], json!(["node-0", "node-1"]));
    let since = waiting["waiting_for"]["since_unix_s"].as_u64().unwrap();
    assert!(waiting["now_unix_s"].as_u64().unwrap() - since >= 20);

    line(Report::Lost(c));
    line(Report::Joined(a));
    let waiting = status(&dashboard, "").await;
    assert_eq!(waiting["waiting_for"]["names"], json!(["node-1"]));
    line(Report::Collected { round });
    assert_eq!(status(&dashboard, "").await["phase"]["name"], "averaging");
    line(completed(5));
    let done = status(&dashboard, "").await;
    assert_eq!(done["rounds_done"], 5);
    assert_eq!(done["waiting_for"], Value::Null);
    let line = &done["rounds"][0];
    assert_eq!(
        (&line["round"], &line["examples"]),
        (&json!(5), &json!(300))
    );
    assert_eq!(
        (&line["before"]["loss"], &line["before"]["accuracy"]),
        (&json!(0.25), &json!(0.9))
    );
    assert_eq!(done["notices"].as_array().unwrap().len(), 1);
    assert_eq!(done["notices"][0]["text"], "node-2 disconnected");

    let (nodes, acknowledged) = (vec![a, b], Vec::new());
    let rolled_back = Report::RolledBack {
        round,
        nodes,
        acknowledged,
    };
    tell(&dashboard, &mut formatter, &rolled_back);
    let again = status(&dashboard, "").await;
    assert_eq!(
        (&again["rounds_done"], &again["rounds"]),
        (&json!(4), &json!([]))
    );
    let line = again["notices"][1]["text"].as_str().unwrap();
    assert!(line.ends_with("is refused by node-0, node-1"), "{line}");
}

#[tokio::test]
async fn rounds_before_a_restart_are_shown_up_to_where_the_relay_stands() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Consortium::new(3).manifest;
    let store = RelayStore::open(folder.path(), &manifest).unwrap();
    let (mut history, _) = RoundHistory::open(&store).unwrap();
    let mut formatter = ReportFormatter::new(manifest.clone());
    let lines = [1, 2, 3].map(|round| formatter.tell(&completed(round)).round.unwrap());
    for line in &lines {
        history.append(line).unwrap();
    }
    // The third was told of, and did not come to the disk before the relay was lost.
    let (_, rounds) = RoundHistory::open(&store).unwrap();
    let progress = RelayProgress::new(&manifest, 10, rounds, 1_000);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let dashboard = Dashboard::open(address, progress).await.unwrap();
    tell(&dashboard, &mut formatter, &Report::Began { round: 2 });
    let shown = status(&dashboard, "").await;
    assert_eq!(shown["rounds_done"], 2);
    let former = serde_json::to_value(&lines[..2]).unwrap();
    assert_eq!(shown["rounds"], former);
    tell(&dashboard, &mut formatter, &completed(3));
    let shown = status(&dashboard, "").await;
    assert_eq!(shown["rounds"].as_array().unwrap().len(), 3);
    assert_eq!(shown["rounds"][2]["round"], 3);
}

/// How each node is connected, by name.
fn connections(shown: &Value) -> Vec<&str> {
    let nodes = shown["nodes"].as_array().unwrap().iter();
    let connections = nodes.map(|node| node["connection"].as_str().unwrap());
    connections.collect()
}

#[tokio::test]
async fn a_node_that_leaves_in_order_is_not_lost() {
    for (last, stopped) in [(10, "left"), (9, "away")] {
        let (dashboard, mut formatter, [a, b, c]) = open().await;
        let mut line = |report| tell(&dashboard, &mut formatter, &report);
        for node in [a, b, c] {
            line(Report::Joined(node));
        }
        line(completed(last));
        line(Report::Left(a));
        line(Report::Lost(b));
        let shown = status(&dashboard, "").await;
        assert_eq!(connections(&shown), ["left", "lost", "connected"]);
        // After the last round the relay has waited for all who were still connected.
        dashboard.progress.send_modify(|progress| progress.stop(9));
        let shown = status(&dashboard, "").await;
        assert_eq!(connections(&shown), ["left", "lost", stopped]);
    }
}

#[tokio::test]
async fn who_has_seen_the_last_state_waits_for_another() {
    let (dashboard, mut formatter, [a, ..]) = open().await;
    let revision = status(&dashboard, "").await["revision"].as_u64().unwrap();
    // A state that is not the last is answered at once.
    let other = format!("?seen={}", revision + 1);
    assert_eq!(status(&dashboard, &other).await["revision"], revision);

    let seen = format!("?seen={revision}");
    let (later, ()) = tokio::join!(status(&dashboard, &seen), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tell(&dashboard, &mut formatter, &Report::Joined(a));
    });
    assert_eq!(later["revision"], revision + 1);

    let last = format!("?seen={}", revision + 1);
    let shown = dashboard.progress.subscribe();
    let (stopped, ()) = tokio::join!(super::status(Some(&last[1..]), shown), dashboard.close());
    let body = http_body_util::BodyExt::collect(stopped.into_body()).await;
    let stopped: Value = serde_json::from_slice(&body.unwrap().to_bytes()).unwrap();
    assert_eq!(stopped["phase"]["name"], "stopped");
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_answered_to() {
    let (dashboard, ..) = open().await;
    for (host, answered) in [
        ("localhost", true),
        ("localhost:8080", true),
        ("127.0.0.1:8080", true),
        ("[::1]:8080", true),
        ("[::ffff:127.0.0.1]", true),
        ("attacker.example", false),
        ("attacker.example:8080", false),
        ("localhost.attacker.example", false),
        ("192.0.2.1", false),
        ("user@127.0.0.1@attacker.example", false),
        ("", false),
    ] {
        let request = format!("GET /status.json HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let answer = send(&dashboard, request.as_bytes()).await;
        let code = if answered { "200 OK" } else { "421 " };
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code}")),
            "{host}: {answer}"
        );
        assert_eq!(answer.contains("test"), answered, "{host}");
    }
    let without = send(&dashboard, b"GET /status.json HTTP/1.0\r\n\r\n").await;
    assert!(without.contains(" 421 "), "{without}");
}

#[tokio::test]
async fn a_page_of_another_site_is_not_answered() {
    let (dashboard, ..) = open().await;
    for (site, mode, answered) in [
        ("same-origin", "cors", true),
        ("none", "navigate", true),
        ("cross-site", "navigate", true),
        ("cross-site", "no-cors", false),
        ("cross-site", "cors", false),
        ("same-site", "cors", false),
    ] {
        let request = format!(
            "GET /status.json HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: {site}\r\n\
             sec-fetch-mode: {mode}\r\n\r\n"
        );
        let answer = send(&dashboard, request.as_bytes()).await;
        assert_eq!(answer.contains(" 200 OK"), answered, "{site}: {answer}");
        assert_eq!(answer.contains(" 403 "), !answered, "{site}: {answer}");
    }
}

#[tokio::test]
async fn what_is_no_request_for_something_shown_gets_its_code_and_the_next_its_answer() {
    let (dashboard, ..) = open().await;
    let long = format!(
        "GET / HTTP/1.1\r\nx: {}\r\n\r\n",
        "x".repeat(MAX_HEAD_BYTES)
    );
    for (request, code) in [
        ("GET /other HTTP/1.1\r\nhost: localhost\r\n\r\n", "404"),
        (
            "GET /status.json?seen=x HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "400",
        ),
        (
            "GET /status.json?seen=-1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "400",
        ),
        (
            "GET /status.json?x=1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx",
            "405",
        ),
        (
            "DELETE /status.json HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "405",
        ),
        ("\0\u{1}\u{2}\r\n\r\n", "400"),
        (&long, "431"),
    ] {
        let answer = send(&dashboard, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{request}: {answer}"
        );
    }
    let head = send(&dashboard, b"HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert_eq!(status(&dashboard, "").await["rounds_done"], 0);
}

/// A connection from this address of the loopback network that has sent so much, and no more.
async fn connected(dashboard: &Dashboard, from: [u8; 4], sent: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut stream = socket.connect(dashboard.address()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

/// Whether the other side has ended the connection by now.
fn is_ended(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

const ONE: [u8; 4] = [127, 0, 0, 1];
const OTHER: [u8; 4] = [127, 0, 0, 2];
const HALF: &str = "GET /status.json HTTP/1.1\r\nhost: local";
const REST: &str = "host\r\n\r\n";

#[tokio::test]
async fn who_brings_no_request_makes_room_for_who_does() {
    let (dashboard, ..) = open().await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        for _ in 0..CONNECTIONS_MAX {
            slow.push(connected(&dashboard, ONE, HALF).await);
        }
        assert_eq!(status(&dashboard, "").await["consortium"], "test");
    }
    // Places are no more than there may be: the oldest had to go.
    let mut left = slow.split_off(slow.len() - CONNECTIONS_MAX);
    for stream in &mut slow {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    // The control: who is slow and has a place is answered in the end.
    let last = left.last_mut().unwrap();
    assert!(!is_ended(last));
    last.write_all(REST.as_bytes()).await.unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn who_takes_many_places_makes_room_for_who_takes_few() {
    let (dashboard, ..) = open().await;
    let revision = status(&dashboard, "").await["revision"].as_u64().unwrap();
    let mut one = connected(&dashboard, ONE, HALF).await;
    let waits = format!("GET /status.json?seen={revision} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut others = Vec::new();
    for _ in 0..2 * CONNECTIONS_MAX {
        others.push(connected(&dashboard, OTHER, &waits).await);
    }
    // Which has the first of them ended, though the one came before it.
    let _ = others[0].read_to_end(&mut Vec::new()).await;
    assert!(!is_ended(&one));
    one.write_all(REST.as_bytes()).await.unwrap();
    let mut answer = String::new();
    one.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let (dashboard, ..) = open().await;
    for sent in ["", HALF] {
        let begun = tokio::time::Instant::now();
        let mut stream = connected(&dashboard, ONE, sent).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let took = begun.elapsed();
        assert!((REQUEST..CONNECTION).contains(&took), "{sent:?}: {took:?}");
    }
}

#[tokio::test]
async fn what_is_said_again_and_again_takes_one_place() {
    let (dashboard, mut formatter, [a, b, _]) = open().await;
    let clock = |node| Report::Refused(node, Refusal::Clock { ahead_min: -15 });
    for _ in 0..100 {
        tell(&dashboard, &mut formatter, &clock(a));
        tell(&dashboard, &mut formatter, &clock(b));
    }
    let shown = status(&dashboard, "").await;
    let notices = shown["notices"].as_array().unwrap();
    let texts: Vec<_> = notices
        .iter()
        .map(|it| it["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    let told = "node-1: the node's clock is 15 min behind the relay's";
    assert!(texts[1].starts_with(told), "{texts:?}");
}

#[tokio::test]
async fn what_is_kept_to_be_shown_is_bounded() {
    let (dashboard, mut formatter, [a, ..]) = open().await;
    for round in 1..=1_200 {
        tell(&dashboard, &mut formatter, &completed(round));
        let (relay, node) = (round, 0);
        let refused = Report::Refused(a, Refusal::CannotCatchUp { relay, node });
        tell(&dashboard, &mut formatter, &refused);
    }
    let shown = status(&dashboard, "").await;
    let rounds = shown["rounds"].as_array().unwrap();
    assert_eq!(
        (rounds.len(), &rounds[999]["round"]),
        (1_000, &json!(1_200))
    );
    assert_eq!(shown["notices"].as_array().unwrap().len(), 50);
}
