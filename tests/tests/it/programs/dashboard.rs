//! The relay's dashboard, while real nodes go through rounds.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use fl_tests::deployed::{Process, Signal};
use serde_json::Value;

use crate::support::consortium::{DATA, NODES, consortium, ended, succeed};

/// The body that comes for a path.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Ok(body.to_owned())
}

/// Where the relay says that its dashboard is.
fn dashboard(relay: &Process) -> SocketAddr {
    let line = relay.line("the dashboard is http://");
    line.split("http://").nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_dashboard_shows_rounds_from_the_first_node_to_the_relays_end() {
    let consortium = consortium();
    let flags = ["--rounds", "2", "--json", "--dashboard", "127.0.0.1:0"];
    let (relay, address) = consortium.relay(&flags);
    let page = dashboard(&relay);
    assert!(get(page, "/").unwrap().contains("<title>fl-relay</title>"));
    // Whoever only connects is in nobody's way.
    let idle: Vec<_> = (0..60).map(|_| TcpStream::connect(page).unwrap()).collect();

    let mut seen: Value = serde_json::from_str(&get(page, "/status.json").unwrap()).unwrap();
    assert_eq!(seen["phase"]["name"], "gathering");
    let here = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap();
        let here = nodes
            .iter()
            .filter(|node| node["connection"] == "connected");
        here.count()
    };
    assert_eq!(here(&seen), 0);

    let processes = NODES.map(|node| consortium.node(node, address, DATA));
    let (mut phases, mut most_here) = (Vec::new(), 0);
    while seen["phase"]["name"] != "stopped" {
        let path = format!("/status.json?seen={}", seen["revision"]);
        seen = serde_json::from_str(&get(page, &path).unwrap()).unwrap();
        phases.push(seen["phase"]["name"].as_str().unwrap().to_owned());
        most_here = most_here.max(here(&seen));
    }
    succeed(processes);
    let ended = relay.ended().succeeded();
    drop(idle);

    assert_eq!(most_here, 3);
    // A state that another follows at once may never be seen; these last as long as training, or
    // are the last.
    let first = |phase: &str| phases.iter().position(|seen| seen == phase);
    assert!(
        first("training").unwrap() < first("stopped").unwrap(),
        "{phases:?}"
    );
    assert_eq!(seen["rounds_done"], 2);
    // The very lines that the relay printed.
    assert_eq!(seen["rounds"], Value::Array(ended.json()));
    for node in seen["nodes"].as_array().unwrap() {
        assert_eq!(node["participant"], true, "{node}");
        assert_eq!(node["connection"], "left", "{node}");
    }
    assert!(get(page, "/").is_err(), "it ends with the relay");

    // One that is started again has the rounds before.
    let flags = ["--rounds", "3", "--dashboard", "127.0.0.1:0"];
    let (relay, _) = consortium.relay(&flags);
    relay.line("resumed after round 2");
    let shown = get(dashboard(&relay), "/status.json").unwrap();
    let models = |status: &Value| {
        let rounds = status["rounds"].as_array().unwrap().iter();
        rounds
            .map(|round| round["model"].clone())
            .collect::<Vec<_>>()
    };
    let again: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(models(&again), models(&seen));
    assert_eq!(models(&again).len(), 2);
    relay.signal(Signal::TERM);
    relay.ended().succeeded();
}

#[test]
fn a_dashboard_whose_port_is_taken_ends_the_relay_before_it_serves() {
    let consortium = consortium();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let command = consortium.serve(&["--listen", "127.0.0.1:0", "--dashboard", &address]);
    ended(command).refused(&["the dashboard cannot listen on", &address]);
}
