//! Where the relay stands, put together from what it reports.

use std::collections::{BTreeMap, VecDeque};

use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::relay::Report;
use serde::{Serialize, Serializer};
use tracing::Level;

use crate::report_text::{LogLine, RoundLine};
use crate::store::ROUNDS_MAX;

/// Warnings that are kept to be shown.
const NOTICES_MAX: usize = 50;

/// What the dashboard shows: what the relay's log lines and `--json` say, and the manifest's nodes.
/// Nothing of it is secret.
#[derive(Clone, Debug, Serialize)]
pub struct RelayProgress {
    /// Grows with every change.
    pub(super) revision: u64,
    consortium: String,
    /// Rounds to complete.
    rounds_wanted: u64,
    /// Last completed round, those before a restart included.
    rounds_done: u64,
    phase: RoundPhase,
    /// Since when it is in this phase.
    phase_since_unix_s: u64,
    #[serde(serialize_with = "values")]
    nodes: BTreeMap<NodeId, NodeStatus>,
    /// Nothing goes on without these.
    waiting_for: Option<Waiting>,
    /// Completed rounds, those before a restart included; the oldest first, no more than
    /// [`ROUNDS_MAX`].
    rounds: VecDeque<RoundLine>,
    /// Warnings; the oldest first, no more than [`NOTICES_MAX`].
    notices: VecDeque<Notice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "name")]
enum RoundPhase {
    /// Enough nodes for a round are not here yet.
    Gathering,
    /// Nodes train.
    Training { attempt: u32, asked: usize },
    /// Participants are fixed; shares and masked sums are on their way.
    Collecting,
    /// All masked sums are here.
    Averaging,
    /// A round is complete.
    Completed,
    /// The relay has stopped.
    Stopped,
}

#[derive(Clone, Debug, Serialize)]
struct NodeStatus {
    name: String,
    organisation: String,
    connection: NodeConnection,
    /// Holds seeds for the round, in the committee scheme.
    holder: bool,
    /// Takes part in the round.
    participant: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum NodeConnection {
    /// The node has not come yet, or the relay has stopped before the end.
    Away,
    /// It is connected.
    Connected,
    /// It was connected, and has more to do.
    Lost,
    /// It has left in order, with the last of all rounds.
    Left,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Waiting {
    /// In alphabetical order.
    names: Vec<String>,
    since_unix_s: u64,
    /// When it was last said. It is said again and again while it lasts.
    told_unix_s: u64,
    /// Whether the round must have exactly its former participants.
    same_participants: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Notice {
    unix_s: u64,
    text: String,
}

impl RelayProgress {
    /// Before the relay serves. `rounds` are those that it has completed before, the oldest first,
    /// `unix_s` is now, in seconds of Unix time.
    pub fn new(
        manifest: &Manifest,
        rounds_wanted: u64,
        mut rounds: VecDeque<RoundLine>,
        unix_s: u64,
    ) -> Self {
        rounds.drain(..rounds.len().saturating_sub(ROUNDS_MAX));
        let nodes = manifest.roster().iter().map(|(id, member)| {
            let node = NodeStatus {
                name: member.name.clone(),
                organisation: member.organisation.to_string(),
                connection: NodeConnection::Away,
                holder: false,
                participant: false,
            };
            (*id, node)
        });
        Self {
            revision: 0,
            consortium: manifest.name().to_owned(),
            rounds_wanted,
            rounds_done: 0,
            phase: RoundPhase::Gathering,
            phase_since_unix_s: unix_s,
            nodes: nodes.collect(),
            waiting_for: None,
            rounds,
            notices: VecDeque::new(),
        }
    }

    /// Takes in a report, and how it was put into words.
    pub(super) fn update(&mut self, report: &Report, line: &LogLine, unix_s: u64) {
        self.revision += 1;
        match report {
            Report::Began { round } | Report::Recovered { round } => {
                self.rounds_done = *round;
                // Nor did a later one come to anything, whatever was told of it.
                self.rounds.retain(|line| line.round <= *round);
            }
            Report::Joined(node) => self.connection(node, NodeConnection::Connected),
            Report::Lost(node) => self.connection(node, NodeConnection::Lost),
            Report::Left(node) => self.connection(node, NodeConnection::Left),
            Report::Opened { attempt, nodes, .. } => {
                for node in self.nodes.values_mut() {
                    (node.holder, node.participant) = (false, false);
                }
                let (attempt, asked) = (*attempt, *nodes);
                self.enter(RoundPhase::Training { attempt, asked }, unix_s);
            }
            Report::Holders { nodes, .. } => {
                for id in nodes {
                    self.nodes.entry(*id).and_modify(|node| node.holder = true);
                }
            }
            Report::Participants { nodes, .. } => {
                for id in nodes {
                    let node = self.nodes.entry(*id);
                    node.and_modify(|node| node.participant = true);
                }
                self.enter(RoundPhase::Collecting, unix_s);
            }
            Report::Plateau { round, .. } => self.rounds_wanted = *round,
            Report::Collected { .. } => self.enter(RoundPhase::Averaging, unix_s),
            Report::Abandoned { .. } => self.enter(RoundPhase::Gathering, unix_s),
            Report::RolledBack { round, .. } => {
                self.rounds_done = round.saturating_sub(1);
                self.rounds.pop_back_if(|line| line.round == *round);
                self.enter(RoundPhase::Gathering, unix_s);
            }
            Report::Completed(completed) => {
                self.rounds_done = completed.round;
                self.enter(RoundPhase::Completed, unix_s);
            }
            Report::Waiting {
                since,
                same_participants,
                missing,
            } => {
                let nodes = missing.iter().filter_map(|id| self.nodes.get(id));
                let mut names: Vec<_> = nodes.map(|node| node.name.clone()).collect();
                names.sort_unstable();
                self.waiting_for = Some(Waiting {
                    names,
                    since_unix_s: unix_s.saturating_sub(since.as_secs()),
                    told_unix_s: unix_s,
                    same_participants: *same_participants,
                });
                // It has its own place.
                return;
            }
            Report::Refused(..)
            | Report::Convicted(_)
            | Report::Late(..)
            | Report::Behind { .. } => {}
        }
        if let Some(round) = &line.round {
            push(&mut self.rounds, round.clone(), ROUNDS_MAX);
        }
        if line.level == Level::WARN {
            let text = line.text.clone();
            // What is said again and again, once, when it was said last.
            self.notices.retain(|notice| notice.text != text);
            push(&mut self.notices, Notice { unix_s, text }, NOTICES_MAX);
        }
    }

    /// The relay has stopped: no node is connected any more. After the last round those that were
    /// have taken its result, since the relay waits for that.
    pub(super) fn stop(&mut self, unix_s: u64) {
        self.revision += 1;
        let stopped = match self.rounds_done >= self.rounds_wanted {
            true => NodeConnection::Left,
            false => NodeConnection::Away,
        };
        for node in self.nodes.values_mut() {
            if node.connection == NodeConnection::Connected {
                node.connection = stopped;
            }
        }
        self.enter(RoundPhase::Stopped, unix_s);
    }

    fn connection(&mut self, node: &NodeId, connection: NodeConnection) {
        let Some(node) = self.nodes.get_mut(node) else {
            return;
        };
        node.connection = connection;
        let here = connection == NodeConnection::Connected;
        if let Some(waiting) = &mut self.waiting_for {
            waiting.names.retain(|name| !here || *name != node.name);
        }
        self.waiting_for.take_if(|waiting| waiting.names.is_empty());
    }

    fn enter(&mut self, phase: RoundPhase, unix_s: u64) {
        self.phase = phase;
        self.phase_since_unix_s = unix_s;
        self.waiting_for = None;
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// The nodes by name; ids are nothing to read.
fn values<S: Serializer>(nodes: &BTreeMap<NodeId, NodeStatus>, to: S) -> Result<S::Ok, S::Error> {
    let mut nodes: Vec<_> = nodes.values().collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    to.collect_seq(nodes)
}
