//! What the relay can tell of a node from the time that it takes to train.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use fl_protocol::identity::NodeId;
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_tests::deployed::{Consortium, data};
use fl_tests::hostile_relay::{Attack, HostileRelay, Parcel, Record};

use crate::support::consortium::{DATA, NODES, succeed};

const ROUNDS: u64 = 10;

/// Training examples of the nodes a, b and c. The last is only there since three must be.
const EXAMPLES: [u32; 3] = [256, 1536, 24];

/// The figure of a and b where they have the same.
const FIGURE: u32 = 1536;

/// A relay that does what an honest one does, and takes the time from its opening of a round to a
/// node's keys.
struct Stopwatch {
    opened: BTreeMap<NodeId, Instant>,
    taken: Sender<(String, Duration)>,
}

impl Attack for Stopwatch {
    fn send(&mut self, _: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        let opens = |parcel: &Parcel| matches!(parcel, Parcel::Frame(RelayFrame::Open { .. }));
        if parcels.iter().any(opens) {
            // From the first attempt at a round on.
            self.opened.entry(to).or_insert_with(Instant::now);
        }
    }

    fn receive(
        &mut self,
        record: &Record,
        from: NodeId,
        frame: &NodeFrame,
    ) -> Option<Vec<(NodeId, Parcel)>> {
        if let NodeFrame::Keys(_) = frame
            && let Some(opened) = self.opened.remove(&from)
        {
            let name = record.name(from).to_owned();
            // The test may have seen enough.
            let _ = self.taken.send((name, opened.elapsed()));
        }
        None
    }
}

/// How many times as many examples as a the relay believes that b has, if the manifest has these
/// figures: the ratio of their median times.
fn estimated_ratio(figures: [u32; 3]) -> f64 {
    let parties = NODES.iter().zip(figures);
    let parties: Vec<_> = parties
        .map(|(node, figure)| format!("{node}={figure}"))
        .collect();
    let flags = ["--data", DATA, "--local-epochs", "80"];
    let consortium = Consortium::found(&parties.join(","), &flags);
    let (taken, times) = channel();
    let stopwatch = Stopwatch {
        opened: BTreeMap::new(),
        taken,
    };
    let relay = HostileRelay::start(&consortium, ROUNDS, stopwatch);
    let patients = data::patients();
    let processes = NODES.iter().zip(EXAMPLES).map(|(node, examples)| {
        // A fifth is held back.
        let rows = patients.iter().cycle().take(examples as usize / 4 * 5);
        let file = data::csv(consortium.path(), &format!("{node}.csv"), rows);
        consortium.node(node, relay.address, &file)
    });
    let processes: Vec<_> = processes.collect();
    assert_eq!(relay.finished().0.round, ROUNDS);
    for process in processes {
        process.ended().succeeded();
    }
    let mut seen = BTreeMap::<_, Vec<_>>::new();
    for (node, time) in times.try_iter() {
        seen.entry(node).or_default().push(time);
    }
    let median = |node: &str| {
        let times = seen.get_mut(node).unwrap();
        assert_eq!(times.len() as u64, ROUNDS, "{node}");
        times.sort();
        times[times.len() / 2].as_secs_f64()
    };
    let [a, b] = ["a", "b"].map(median);
    println!(
        "figures {figures:?}: a takes {a:.3} s, b takes {b:.3} s, {:.2} times as long",
        b / a
    );
    b / a
}

#[test]
fn the_time_of_training_tells_the_figure_in_the_manifest_and_not_the_number_of_examples() {
    let ratio = estimated_ratio([FIGURE, FIGURE, 24]);
    assert!((0.75..1.33).contains(&ratio), "{ratio}");
}

#[test]
fn where_the_figures_are_the_numbers_of_examples_the_time_of_training_tells_them() {
    // b has six times as many examples. It takes less than six times as long where the nodes share
    // the cores of a machine.
    let ratio = estimated_ratio(EXAMPLES);
    assert!(ratio > 2.0, "{ratio}");
}

#[test]
fn a_node_whose_padding_does_not_fit_into_the_agreed_time_says_so() {
    let nodes = "a=1000000,b=500,c=500";
    let consortium = Consortium::found(nodes, &["--data", DATA, "--training-s", "1"]);
    let (relay, address) = consortium.relay(&["--rounds", "1"]);
    let nodes = NODES.map(|node| consortium.node(node, address, DATA));
    nodes[0].line("the agreed 1 s for training are not enough for this node's figure");
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 1);
}
