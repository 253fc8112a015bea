//! What rounds cost, and how it is shown.

use std::fmt;

use fl_trainer::Sharing;
use fl_trainer::node::{RoundReport, Step};
use serde::{Deserialize, Serialize};

use crate::args::BenchRound;
use crate::output::bytes;

/// What a round cost a node: seconds since it was let go, and bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NodeCosts {
    pub(super) steps: Vec<(Step, f64)>,
    pub(super) traffic: Traffic,
}

/// Bytes of a node and round.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Traffic {
    /// Messages and bodies.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// With what QUIC adds, as UDP payload.
    pub(super) udp_sent: u64,
    pub(super) udp_received: u64,
}

impl Traffic {
    /// The mean of many, or nothing of none.
    fn mean<'a>(all: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let (mut sum, mut count) = (Self::default(), 0);
        for one in all {
            count += 1;
            sum.sent += one.sent;
            sum.received += one.received;
            sum.udp_sent += one.udp_sent;
            sum.udp_received += one.udp_received;
        }
        (count > 0).then(|| Self {
            sent: sum.sent / count,
            received: sum.received / count,
            udp_sent: sum.udp_sent / count,
            udp_received: sum.udp_received / count,
        })
    }
}

impl From<RoundReport> for NodeCosts {
    fn from(report: RoundReport) -> Self {
        let steps = report.steps.iter();
        Self {
            steps: steps.map(|(step, at)| (*step, at.as_secs_f64())).collect(),
            traffic: Traffic {
                sent: report.payload_up,
                received: report.payload_down,
                udp_sent: report.bytes_up,
                udp_received: report.bytes_down,
            },
        }
    }
}

/// One round; times in seconds since the nodes were let go.
#[derive(Default)]
pub(super) struct Costs {
    pub(super) seconds: f64,
    /// When every party had its new state on disk.
    pub(super) on_disk: f64,
    pub(super) collected: f64,
    /// By number of the node.
    pub(super) nodes: Vec<(usize, NodeCosts)>,
}

/// All rounds of a federation, and what its processes took for them.
#[derive(Default)]
pub(super) struct Rounds {
    pub(super) rounds: Vec<Costs>,
    pub(super) relay_cpu_s: f64,
    pub(super) nodes_cpu_s: f64,
    /// Before the first node, so that of the program itself.
    pub(super) relay_memory_idle: u64,
    pub(super) relay_memory: u64,
    pub(super) node_memory: u64,
}

/// A part of a round that ends with a moment of it.
#[derive(Clone, Copy)]
enum End {
    At(Step),
    Collected,
    Ready,
}

/// The parts of a round, in order. With a committee its votes and reveals count as upload.
const PHASES: [(&str, End); 8] = [
    ("keys and shares", End::At(Step::Shares)),
    ("masking", End::At(Step::Masked)),
    ("outbox, sums announced", End::At(Step::Asked)),
    ("upload", End::Collected),
    ("averaging at the relay", End::At(Step::Announced)),
    ("download", End::At(Step::Downloaded)),
    ("checking, averaging", End::At(Step::Averaged)),
    ("acknowledgements", End::Ready),
];

/// One federation, as it is printed: times in seconds.
#[derive(Serialize)]
struct Measured {
    median_s: f64,
    least_s: f64,
    most_s: f64,
    /// Median until every party has its new state on disk; of the plain federation, which keeps nothing, that of the round.
    on_disk_s: f64,
    /// Of a node that holds nothing of others. All nodes may be holders.
    node: Option<Traffic>,
    /// Of a holder, where there is a committee.
    holder: Option<Traffic>,
    relay_cpu_s: f64,
    node_cpu_s: f64,
    relay_memory_idle_bytes: u64,
    relay_memory_bytes: u64,
    node_memory_bytes: u64,
    /// Medians over nodes and rounds, in the order of [`PHASES`].
    phases_s: Vec<(&'static str, Option<f64>)>,
}

/// Both federations.
#[derive(Serialize)]
pub(super) struct Summary {
    nodes: usize,
    parameters: usize,
    rounds: u64,
    scheme: String,
    secure: Measured,
    plain: Measured,
}

impl Summary {
    pub(super) fn new(args: &BenchRound, secure: Rounds, plain: Rounds) -> Self {
        let holders = match args.scheme {
            Sharing::Peer => 0,
            Sharing::Committee { holders, .. } => holders,
        };
        Self {
            nodes: args.nodes,
            parameters: args.params,
            rounds: args.rounds,
            scheme: args.scheme.to_string(),
            secure: Measured::new(&secure, holders),
            plain: Measured::new(&plain, 0),
        }
    }
}

impl Measured {
    /// The first `holders` nodes are a committee.
    fn new(all: &Rounds, holders: usize) -> Self {
        let seconds: Vec<_> = all.rounds.iter().map(|round| round.seconds).collect();
        let on_disk: Vec<_> = all.rounds.iter().map(|round| round.on_disk).collect();
        let nodes = || all.rounds.iter().flat_map(|round| &round.nodes);
        let count = nodes().count().max(1) as u64;
        let traffic = |holding: bool| {
            let of_kind = nodes().filter(|(number, _)| (*number < holders) == holding);
            Traffic::mean(of_kind.map(|(_, node)| &node.traffic))
        };
        Self {
            median_s: median(&seconds).unwrap_or(0.0),
            least_s: seconds.iter().copied().fold(f64::INFINITY, f64::min),
            most_s: seconds.iter().copied().fold(0.0, f64::max),
            on_disk_s: median(&on_disk).unwrap_or(0.0),
            node: traffic(false),
            holder: traffic(true),
            relay_cpu_s: all.relay_cpu_s / seconds.len() as f64,
            node_cpu_s: all.nodes_cpu_s / count as f64,
            relay_memory_idle_bytes: all.relay_memory_idle,
            relay_memory_bytes: all.relay_memory,
            node_memory_bytes: all.node_memory,
            phases_s: all.phases(),
        }
    }
}

impl Rounds {
    fn phases(&self) -> Vec<(&'static str, Option<f64>)> {
        let mut phases = PHASES.map(|(name, _)| (name, Vec::new()));
        for round in &self.rounds {
            for (_, node) in &round.nodes {
                let mut before = 0.0;
                for ((_, end), (_, lengths)) in PHASES.iter().zip(&mut phases) {
                    let at = match end {
                        // An attempt that was repeated counts as a whole.
                        End::At(step) => node.steps.iter().rfind(|(done, _)| done == step),
                        End::Collected => Some(&(Step::Asked, round.collected)),
                        End::Ready => Some(&(Step::Averaged, round.seconds)),
                    };
                    if let Some((_, at)) = at {
                        // Processes take a moment to say what they have done.
                        lengths.push((at - before).max(0.0));
                        before = *at;
                    }
                }
            }
        }
        let medians = phases
            .iter()
            .map(|(name, lengths)| (*name, median(lengths)));
        medians.collect()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secure, plain) = (&self.secure, &self.plain);
        let model = 4.0 * self.parameters as f64;
        writeln!(
            f,
            "{} nodes x {} parameters ({} a model), {}; {} rounds, each party a process",
            self.nodes,
            self.parameters,
            bytes(4 * self.parameters as u64),
            self.scheme,
            self.rounds
        )?;
        writeln!(f, "{:34}{:>12}{:>12}{:>8}", "", "secure", "plain", "ratio")?;
        let seconds = [
            ("round, median", secure.median_s, plain.median_s),
            ("round, least", secure.least_s, plain.least_s),
            ("round, most", secure.most_s, plain.most_s),
            ("all on disk, median", secure.on_disk_s, plain.on_disk_s),
            ("relay, CPU", secure.relay_cpu_s, plain.relay_cpu_s),
            ("node, CPU", secure.node_cpu_s, plain.node_cpu_s),
        ];
        for (name, secure, plain) in seconds {
            let ratio = secure / plain;
            writeln!(f, "{name:34}{secure:>10.4} s{plain:>10.4} s{ratio:>8.3}")?;
        }
        let open = plain.node.unwrap_or_default();
        for (who, traffic) in [("node", secure.node), ("holder", secure.holder)] {
            let Some(traffic) = traffic else { continue };
            let sizes = [
                ("sent", traffic.sent, open.sent),
                ("received", traffic.received, open.received),
                ("sent, UDP", traffic.udp_sent, open.udp_sent),
                ("received, UDP", traffic.udp_received, open.udp_received),
            ];
            for (name, secure, plain) in sizes {
                size(f, &format!("{who}, {name}"), secure, plain)?;
            }
        }
        let memory = [
            (
                "relay, peak memory",
                secure.relay_memory_bytes,
                plain.relay_memory_bytes,
            ),
            (
                "node, peak memory",
                secure.node_memory_bytes,
                plain.node_memory_bytes,
            ),
        ];
        for (name, secure, plain) in memory {
            size(f, name, secure, plain)?;
        }
        for (name, measured) in [("secure", secure), ("plain", plain)] {
            let idle = measured.relay_memory_idle_bytes;
            let above = measured.relay_memory_bytes.saturating_sub(idle);
            writeln!(
                f,
                "{name} relay: {} before the first node, and at most {:.2} models more",
                bytes(idle),
                above as f64 / model,
            )?;
        }
        writeln!(f, "phases, medians over nodes and rounds:")?;
        for ((name, secure), (_, plain)) in secure.phases_s.iter().zip(&plain.phases_s) {
            let (secure, plain) = (length(*secure), length(*plain));
            writeln!(f, "  {name:32}{secure:>12}{plain:>12}")?;
        }
        Ok(())
    }
}

fn size(f: &mut fmt::Formatter<'_>, name: &str, secure: u64, plain: u64) -> fmt::Result {
    let ratio = secure as f64 / plain as f64;
    let (secure, plain) = (bytes(secure), bytes(plain));
    writeln!(f, "{name:34}{secure:>12}{plain:>12}{ratio:>8.3}")
}

fn length(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.4} s"))
}
