//! A relay that cheats, for real nodes to meet.
//!
//! It is the real relay with an [interceptor](fl_network::relay::Interceptor): before anything
//! leaves, an [`Attack`] may change it, and before the machine hears a node, the attack may take
//! the frame away. Given an attack that changes nothing it is an honest relay.
//!
//! A node that refuses is cut off, without the machine hearing why, and may come back, so that one
//! run can mount many attacks, one after the other.

mod cheat;
pub mod met;
mod record;
mod run;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use fl_network::kit::Kit;
use fl_protocol::identity::NodeId;
use fl_protocol::round::{Head, Refusal};
use fl_protocol::wire::NodeFrame;
use tokio::sync::mpsc;

use crate::deployed::{Consortium, PATIENCE, own_address};

use cheat::Relay;

pub use fl_network::relay::{Flow, Parcel};
pub use record::{Record, header, result};
pub use run::{Lie, Run, VICTIM, committee, consortium, everyone, lie};

/// What a relay does to its nodes.
pub trait Attack: Send + 'static {
    /// Changes what an honest relay sends to a node at one time.
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>);

    /// Takes a frame away from the honest machine, if it gives what to send in answer, and to whom.
    fn receive(
        &mut self,
        _record: &Record,
        _from: NodeId,
        _frame: &NodeFrame,
    ) -> Option<Vec<(NodeId, Parcel)>> {
        None
    }
}

impl<F: FnMut(&Record, NodeId, &mut Vec<Parcel>) + Send + 'static> Attack for F {
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        self(record, to, parcels);
    }
}

/// What a test tells the relay to do.
enum Command {
    /// Forget all rounds, and begin again with everyone but these.
    Rerun { without: Vec<NodeId> },
}

/// A running relay that cheats. It stops when dropped.
pub struct HostileRelay {
    /// Where nodes find it.
    pub address: SocketAddr,
    names: BTreeMap<NodeId, String>,
    commands: mpsc::UnboundedSender<Command>,
    refusals: Receiver<(NodeId, Refusal)>,
    done: Receiver<Head>,
}

impl HostileRelay {
    /// Starts it for so many rounds.
    ///
    /// # Panics
    ///
    /// If the kit is unusable.
    pub fn start(consortium: &Consortium, rounds: u64, attack: impl Attack) -> Self {
        let kit = Kit::load(&consortium.kit("relay")).unwrap();
        let roster = kit.manifest.roster().iter();
        let names = roster.map(|(id, member)| (*id, member.name.clone()));
        let names = names.collect();
        let (commands, orders) = mpsc::unbounded_channel();
        let (refused, refusals) = channel();
        let (ended, done) = channel();
        let (bound, listening) = channel();
        let relay = Relay {
            kit,
            rounds,
            address: own_address(),
            folder: consortium.path().to_owned(),
        };
        let address = relay.address;
        std::thread::spawn(move || {
            if let Some(head) = relay.run(Box::new(attack), refused, orders, &bound) {
                // Whoever started it may not care.
                let _ = ended.send(head);
            }
        });
        listening.recv_timeout(PATIENCE).unwrap();
        Self {
            address,
            names,
            commands,
            refusals,
            done,
        }
    }

    /// The next refusal that a node sent, and the node's name.
    ///
    /// # Panics
    ///
    /// If none comes within [`PATIENCE`].
    pub fn refusal(&self) -> (String, Refusal) {
        let (node, refusal) = self.refusals.recv_timeout(PATIENCE).unwrap();
        (self.names[&node].clone(), refusal)
    }

    /// Has the relay forget everything, and begin again without these nodes.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn rerun_without(&self, nodes: &[&str]) {
        let absent = |name: &String| nodes.contains(&name.as_str());
        let without = self.names.iter().filter(|(_, name)| absent(name));
        let without = without.map(|(id, _)| *id).collect();
        self.commands.send(Command::Rerun { without }).unwrap();
    }

    /// Waits until all rounds are done. Returns where the relay stands, and the refusals that
    /// nobody has asked for.
    ///
    /// # Panics
    ///
    /// If that takes longer than [`PATIENCE`].
    pub fn finished(self) -> (Head, Vec<Refusal>) {
        let head = self.done.recv_timeout(PATIENCE).unwrap();
        let refusals = self.refusals.try_iter().map(|(_, refusal)| refusal);
        (head, refusals.collect())
    }
}
