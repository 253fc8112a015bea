//! What rounds cost, and how it is shown.

use std::collections::BTreeMap;
use std::fmt;

use fl_network::program::logging::bytes;
use fl_trainer::Sharing;
use fl_trainer::node::{RoundReport, Step};
use serde::{Deserialize, Serialize};

use crate::args::BenchRound;

/// What a round cost a node: seconds since it was let go, and bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeCosts {
    /// Round, from 1.
    pub(crate) round: u64,
    pub(crate) steps: Vec<(Step, f64)>,
    pub(crate) traffic: Traffic,
}

/// Bytes of a node and round.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Messages and bodies.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// With what QUIC adds, as UDP payload.
    pub(crate) udp_sent: u64,
    pub(crate) udp_received: u64,
}

impl Traffic {
    /// The mean of many, or nothing of none.
    fn mean<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
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
            round: report.round,
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
pub(crate) struct Costs {
    pub(crate) seconds: f64,
    /// When every party had its new state on disk.
    pub(crate) on_disk: f64,
    pub(crate) collected: f64,
    /// By number of the node.
    pub(crate) nodes: Vec<(usize, NodeCosts)>,
}

/// All rounds of a federation, and what its processes took for them.
#[derive(Default)]
pub(crate) struct Rounds {
    /// From round 1 on.
    pub(crate) rounds: Vec<Costs>,
    pub(crate) relay_cpu_s: f64,
    /// Of a node, in the mean.
    pub(crate) node_cpu_s: f64,
    /// Before the first node, so that of the program itself.
    pub(crate) relay_memory_idle: u64,
    pub(crate) relay_memory: u64,
    pub(crate) node_memory: u64,
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
    /// Median until every party has its new state on disk; of the bare federation, which keeps
    /// nothing, that of the round.
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
    /// Medians over nodes and rounds, in the order of [`PHASES`]; none where nodes train, for their
    /// clocks begin after it.
    phases_s: Vec<(&'static str, Option<f64>)>,
}

/// All federations.
#[derive(Serialize)]
pub(crate) struct Summary {
    nodes: usize,
    parameters: usize,
    /// What the nodes train on.
    data: Option<String>,
    rounds: u64,
    scheme: String,
    secure: Measured,
    plain: Measured,
    bare: Measured,
}

impl Summary {
    /// Of the rounds of each mode, in the order of [`Mode::ALL`](crate::mode::Mode::ALL).
    pub(crate) fn new(
        args: &BenchRound,
        parameters: usize,
        [secure, plain, bare]: &[Rounds; 3],
    ) -> Self {
        let holders = match args.scheme {
            Sharing::Peer => 0,
            Sharing::Committee { holders, .. } => holders,
        };
        let training = args.data.is_some();
        Self {
            nodes: args.nodes,
            parameters,
            data: args.data.as_ref().map(ToString::to_string),
            rounds: args.rounds,
            scheme: args.scheme.to_string(),
            secure: Measured::new(secure, holders, training),
            plain: Measured::new(plain, holders, training),
            bare: Measured::new(bare, 0, training),
        }
    }

    /// A row of times, and how the first compares with the others.
    fn times(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        of: impl Fn(&Measured) -> f64,
    ) -> fmt::Result {
        let seconds = self.each().map(of);
        row(f, name, seconds, seconds.map(|s| format!("{s:.4} s")))
    }

    /// The same of sizes.
    fn sizes(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        of: impl Fn(&Measured) -> u64,
    ) -> fmt::Result {
        let sizes = self.each().map(of);
        row(f, name, sizes.map(|size| size as f64), sizes.map(bytes))
    }

    fn each(&self) -> [&Measured; 3] {
        [&self.secure, &self.plain, &self.bare]
    }
}

impl Measured {
    /// The first `holders` nodes are a committee. With `training` the rounds include it.
    fn new(all: &Rounds, holders: usize, training: bool) -> Self {
        let seconds: Vec<_> = all.rounds.iter().map(|round| round.seconds).collect();
        let on_disk: Vec<_> = all.rounds.iter().map(|round| round.on_disk).collect();
        let nodes = || all.rounds.iter().flat_map(|round| &round.nodes);
        let traffic = |holding: bool| {
            let of_kind = nodes().filter(|(number, _)| (*number < holders) == holding);
            // By node first: they do not all send the same, and the last report of one may come too
            // late to count.
            let mut of_each: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (number, node) in of_kind {
                of_each.entry(number).or_default().push(&node.traffic);
            }
            let means = of_each.into_values().filter_map(Traffic::mean);
            Traffic::mean(&means.collect::<Vec<_>>())
        };
        Self {
            median_s: median(&seconds).unwrap_or(0.0),
            least_s: seconds.iter().copied().fold(f64::INFINITY, f64::min),
            most_s: seconds.iter().copied().fold(0.0, f64::max),
            on_disk_s: median(&on_disk).unwrap_or(0.0),
            node: traffic(false),
            holder: traffic(true),
            relay_cpu_s: all.relay_cpu_s / seconds.len() as f64,
            node_cpu_s: all.node_cpu_s / seconds.len() as f64,
            relay_memory_idle_bytes: all.relay_memory_idle,
            relay_memory_bytes: all.relay_memory,
            node_memory_bytes: all.node_memory,
            phases_s: if training { Vec::new() } else { all.phases() },
        }
    }
}

impl Rounds {
    /// Adds what a round cost node `number`.
    pub(crate) fn add(&mut self, number: usize, costs: NodeCosts) {
        let index = usize::try_from(costs.round.saturating_sub(1)).ok();
        if let Some(round) = index.and_then(|index| self.rounds.get_mut(index)) {
            round.nodes.push((number, costs));
        }
    }

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
        writeln!(
            f,
            "{} nodes x {} parameters ({} a model), {}; {} rounds, each party a process",
            self.nodes,
            self.parameters,
            bytes(4 * self.parameters as u64),
            self.scheme,
            self.rounds
        )?;
        if let Some(data) = &self.data {
            writeln!(f, "training on {data} included")?;
        }
        let columns = ["secure", "plain", "bare", "to plain", "to bare"];
        line(f, "", columns)?;
        self.times(f, "round, median", |of| of.median_s)?;
        self.times(f, "round, least", |of| of.least_s)?;
        self.times(f, "round, most", |of| of.most_s)?;
        self.times(f, "all on disk, median", |of| of.on_disk_s)?;
        self.times(f, "relay, CPU", |of| of.relay_cpu_s)?;
        self.times(f, "node, CPU", |of| of.node_cpu_s)?;
        for who in ["node", "holder"] {
            let of_kind = |of: &Measured| if who == "node" { of.node } else { of.holder };
            if of_kind(&self.secure).is_none() {
                continue;
            }
            // The bare federation has no holders.
            let traffic = |of: &Measured| of_kind(of).or(of.node).unwrap_or_default();
            self.sizes(f, &format!("{who}, sent"), |of| traffic(of).sent)?;
            self.sizes(f, &format!("{who}, received"), |of| traffic(of).received)?;
            self.sizes(f, &format!("{who}, sent, UDP"), |of| traffic(of).udp_sent)?;
            self.sizes(f, &format!("{who}, received, UDP"), |of| {
                traffic(of).udp_received
            })?;
        }
        self.sizes(f, "relay, peak memory", |of| of.relay_memory_bytes)?;
        self.sizes(f, "node, peak memory", |of| of.node_memory_bytes)?;
        let idle = self.each().map(|of| bytes(of.relay_memory_idle_bytes));
        line(f, "relay, before any node", idle)?;
        let model = 4.0 * self.parameters as f64;
        let above = self.each().map(|of| {
            of.relay_memory_bytes
                .saturating_sub(of.relay_memory_idle_bytes)
        });
        let above = above.map(|above| format!("{:.2}", above as f64 / model));
        line(f, "relay, above that, models", above)?;
        if self.data.is_none() {
            writeln!(f, "phases, medians over nodes and rounds:")?;
        }
        for (number, (name, _)) in self.secure.phases_s.iter().enumerate() {
            let lengths = self.each().map(|of| length(of.phases_s[number].1));
            line(f, &format!("  {name}"), lengths)?;
        }
        Ok(())
    }
}

/// A value of each federation as it is shown, and the first's ratios to the others.
fn row(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    [secure, plain, bare]: [f64; 3],
    shown: [String; 3],
) -> fmt::Result {
    let ratios = [secure / plain, secure / bare].map(|ratio| match ratio.is_finite() {
        true => format!("{ratio:.3}"),
        false => "–".to_owned(),
    });
    line(f, name, shown.into_iter().chain(ratios))
}

/// A name and its columns.
fn line<S: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    columns: impl IntoIterator<Item = S>,
) -> fmt::Result {
    write!(f, "{name:28}")?;
    for column in columns {
        write!(f, "{column:>12}")?;
    }
    writeln!(f)
}

fn length(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.4} s"))
}
