//! The attack at the seam of the real relay.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use fl_network::kit::Kit;
use fl_network::quic::Server;
use fl_network::relay::{Interceptor, Parcel, serve_intercepted};
use fl_network::store::RelayStore;
use fl_protocol::identity::NodeId;
use fl_protocol::round::{Head, Refusal};
use fl_protocol::sim::settings;
use fl_protocol::wire::{BodyId, NodeFrame};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{Attack, Command, Record};

/// The real relay, and where it runs.
pub(super) struct Relay {
    pub(super) kit: Kit,
    pub(super) rounds: u64,
    pub(super) address: SocketAddr,
    /// Where it has its state folders.
    pub(super) folder: PathBuf,
}

impl Relay {
    /// Runs until all rounds are done, and returns where it stands then; or until nobody is left to
    /// command it. Tells `bound` whenever nodes can connect.
    pub(super) fn run(
        &self,
        attack: Box<dyn Attack>,
        refused: Sender<(NodeId, Refusal)>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        bound: &Sender<()>,
    ) -> Option<Head> {
        let model = Arc::new(self.kit.initial().unwrap());
        let cheat = Arc::new(Mutex::new(Cheat {
            attack,
            record: Record::new(self.kit.manifest.clone(), model.clone()),
            refused,
            absent: BTreeSet::new(),
        }));
        loop {
            let mut command = None;
            let stop = async { command = Some(commands.recv().await) };
            let head = self.serve(&cheat, bound, stop);
            let Some(command) = command else {
                return Some(head);
            };
            let Command::Rerun { without } = command?;
            let mut cheat = cheat.lock().unwrap();
            cheat.absent = without.into_iter().collect();
            cheat.record.restart(model.clone());
        }
    }

    /// Serves from the first round on until all are done or `stop` completes, and forgets them.
    fn serve(
        &self,
        cheat: &Arc<Mutex<Cheat>>,
        bound: &Sender<()>,
        stop: impl Future<Output = ()>,
    ) -> Head {
        let manifest = &self.kit.manifest;
        let nodes = manifest.roster().len();
        // Where the manifest does not say who takes part, all do that are not kept away.
        let least = match manifest.participation().is_any() {
            true => nodes - cheat.lock().unwrap().absent.len(),
            false => 0,
        };
        let settings = settings(self.rounds, 1.0, least);
        let state = tempfile::tempdir_in(&self.folder).unwrap();
        let store = RelayStore::open(state.path(), manifest).unwrap();
        // The socket goes with it, so that the next relay can have the address.
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let tls = self.kit.server_tls().unwrap();
            let server = Server::bind(self.address, tls, nodes).unwrap();
            // Only the first time is waited for.
            let _ = bound.send(());
            let serving =
                serve_intercepted(&self.kit, server, store, settings, cheat.clone(), stop);
            serving.await.unwrap()
        })
    }
}

/// What has the last word on what the relay sends, and the first on what it hears.
struct Cheat {
    attack: Box<dyn Attack>,
    record: Record,
    refused: Sender<(NodeId, Refusal)>,
    /// Nodes that are cut off whenever they come.
    absent: BTreeSet<NodeId>,
}

impl Interceptor for Cheat {
    fn send(&mut self, to: NodeId, parcels: &mut Vec<Parcel>) {
        if let [Parcel::TurnAway(refusal)] = &parcels[..]
            && !matches!(refusal, Refusal::Convicted(_))
        {
            panic!("{} is turned away: {refusal}", self.record.name(to));
        }
        self.record.sent(parcels);
        self.attack.send(&self.record, to, parcels);
    }

    fn receive(&mut self, from: NodeId, frame: &mut NodeFrame) -> Option<Vec<(NodeId, Parcel)>> {
        if self.absent.contains(&from) {
            return Some(vec![(from, Parcel::Close)]);
        }
        self.record.heard.push((from, frame.clone()));
        match frame {
            NodeFrame::Refused { refusal, .. } => {
                // The test may have seen enough.
                let _ = self.refused.send((from, refusal.clone()));
                return Some(vec![(from, Parcel::Close)]);
            }
            // In a rerun without some, for whom the holders have voted is what it does not want to
            // know.
            NodeFrame::Hello(hello) if !self.absent.is_empty() => hello.voted_for.clear(),
            _ => {}
        }
        self.attack.receive(&self.record, from, frame)
    }

    fn received(&mut self, from: NodeId, body: BodyId) {
        self.record.bodies.push((from, body));
    }
}
