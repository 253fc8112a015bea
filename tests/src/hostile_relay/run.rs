//! Real nodes under a hostile relay, and lists of lies that are told to one of them.

use std::collections::VecDeque;

use fl_network::kit::Kit;
use fl_protocol::identity::NodeId;
use fl_protocol::round::Refusal;
use fl_protocol::wire::{NodeFrame, RelayFrame};

use super::{Attack, HostileRelay, Parcel, Record};
use crate::deployed::{ANY, Consortium, Process, wait_until};

/// Who is lied to.
pub const VICTIM: &str = "a";

/// What all nodes have.
const DATA: &str = "breast-cancer";

/// A consortium of these nodes, joined by commas, whose rounds are short. The relay may choose who
/// takes part in them.
pub fn consortium(nodes: &str) -> Consortium {
    founded(nodes, &ANY)
}

/// The same, where everyone takes part.
pub fn everyone(nodes: &str) -> Consortium {
    founded(nodes, &[])
}

/// The same with a committee: `scheme` is `committee:K,T`, and the first K nodes hold the seeds.
pub fn committee(nodes: &str, scheme: &str) -> Consortium {
    founded(nodes, &[&ANY[..], &["--scheme", scheme]].concat())
}

fn founded(nodes: &str, flags: &[&str]) -> Consortium {
    let short = ["--data", DATA, "--local-epochs", "1"];
    Consortium::found(nodes, &[&short[..], flags].concat())
}

/// A hostile relay and real nodes.
pub struct Run<'a> {
    /// The relay.
    pub relay: HostileRelay,
    consortium: &'a Consortium,
    nodes: Vec<(String, Process)>,
    rounds: u64,
}

impl<'a> Run<'a> {
    /// Starts the relay, for so many rounds, and a process for each of these nodes, joined by
    /// commas.
    pub fn start(
        consortium: &'a Consortium,
        nodes: &str,
        rounds: u64,
        attack: impl Attack,
    ) -> Self {
        let mut run = Self {
            relay: HostileRelay::start(consortium, rounds, attack),
            consortium,
            nodes: Vec::new(),
            rounds,
        };
        nodes.split(',').for_each(|node| run.launch(node));
        run
    }

    /// A node's process.
    ///
    /// # Panics
    ///
    /// If there is none of this name.
    pub fn node(&self, name: &str) -> &Process {
        &self.nodes.iter().find(|(node, _)| node == name).unwrap().1
    }

    /// Waits until a node says that it refuses, and why.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn says(&self, node: &str, refusal: &Refusal) {
        let manifest = Kit::load(&self.consortium.kit(node)).unwrap().manifest;
        let told = manifest.with_names(refusal);
        self.node(node).line(&format!("refused: {told}"));
    }

    /// Kills a node and starts it again.
    ///
    /// # Panics
    ///
    /// If there is none of this name.
    pub fn restart(&mut self, name: &str) {
        let at = self.nodes.iter().position(|(node, _)| node == name);
        self.nodes.remove(at.unwrap()).1.kill();
        self.launch(name);
    }

    /// Waits until a node that is proven to have lied has ended for that.
    ///
    /// # Panics
    ///
    /// If it does not, or there is none of this name.
    pub fn ends_convicted(&mut self, name: &str) {
        let at = self.nodes.iter().position(|(node, _)| node == name);
        let (_, node) = self.nodes.remove(at.unwrap());
        node.ended().refused(&["proven to have lied", name]);
    }

    fn launch(&mut self, name: &str) {
        let node = self.consortium.node(name, self.relay.address, DATA);
        self.nodes.push((name.to_owned(), node));
    }

    /// Waits for the relay and all nodes to complete all rounds, and checks that they hold one
    /// model. Returns the refusals that nobody has asked for.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub fn completes(self) -> Vec<Refusal> {
        let (head, refusals) = self.relay.finished();
        assert_eq!(head.round, self.rounds);
        for (name, node) in self.nodes {
            node.ended().succeeded();
            let stands = self.consortium.stands(&name).unwrap();
            assert_eq!(stands["round"], self.rounds, "{name}");
            assert_eq!(stands["model"], head.model.to_hex(), "{name}");
            assert_eq!(stands["previous"], head.previous.to_hex(), "{name}");
        }
        refusals
    }
}

/// A change to what goes to the victim. It says whether this was the time for it, and changes
/// nothing if not.
type Tell = Box<dyn FnMut(&Record, &mut Vec<Parcel>) -> bool + Send>;

/// How the victim meets a lie.
enum Met {
    /// It refuses, for such a reason.
    Refused(fn(&Refusal) -> bool),
    /// It gives the connection up, for a reason that begins with these words.
    GivenUp(&'static str),
}

/// Something that is told to the victim once.
pub struct Lie {
    tell: Tell,
    met: Met,
}

impl Lie {
    /// One that is refused.
    pub fn refused(
        met: fn(&Refusal) -> bool,
        tell: impl FnMut(&Record, &mut Vec<Parcel>) -> bool + Send + 'static,
    ) -> Self {
        let (tell, met) = (Box::new(tell), Met::Refused(met));
        Self { tell, met }
    }

    /// One over which the victim gives the connection up, for a reason that begins with these
    /// words.
    pub fn given_up(
        words: &'static str,
        tell: impl FnMut(&Record, &mut Vec<Parcel>) -> bool + Send + 'static,
    ) -> Self {
        let (tell, met) = (Box::new(tell), Met::GivenUp(words));
        Self { tell, met }
    }
}

/// Tells the lies one after the other, each at the first time that suits it and when those before
/// are refused: of several that travel together only the first would be answered.
struct Liar {
    lies: VecDeque<(Tell, bool)>,
    /// Refusals of the lies so far.
    due: usize,
}

impl Attack for Liar {
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        if record.name(to) != VICTIM {
            return;
        }
        let is_refusal = |(from, frame): &&(NodeId, NodeFrame)| {
            *from == to && matches!(frame, NodeFrame::Refused { .. })
        };
        if record.heard.iter().filter(is_refusal).count() < self.due {
            // Once its body is there, the others can complete the round before it is back to be
            // told the rest.
            parcels.retain(|parcel| !matches!(parcel, Parcel::Frame(RelayFrame::Collect { .. })));
        } else if let Some((tell, is_refused)) = self.lies.front_mut()
            && tell(record, parcels)
        {
            self.due += usize::from(*is_refused);
            self.lies.pop_front();
        }
    }
}

/// Runs so many rounds among these nodes, and tells the victim all `lies`. Each must be met as it
/// should be, and all rounds completed by the very same processes.
///
/// # Panics
///
/// If not.
pub fn lie(consortium: &Consortium, nodes: &str, rounds: u64, lies: Vec<Lie>) {
    let lies = lies.into_iter().map(|Lie { tell, met }| {
        let is_refused = matches!(met, Met::Refused(_));
        ((tell, is_refused), met)
    });
    let (lies, met): (VecDeque<_>, Vec<_>) = lies.unzip();
    let run = Run::start(consortium, nodes, rounds, Liar { lies, due: 0 });
    let mut given_up = Vec::new();
    for (index, met) in met.into_iter().enumerate() {
        match met {
            Met::Refused(fits) => {
                let (node, refusal) = run.relay.refusal();
                assert!(node == VICTIM && fits(&refusal), "{index}: {refusal:?}");
                run.says(VICTIM, &refusal);
            }
            Met::GivenUp(words) => {
                let line = format!("no connection to the relay: {words}");
                given_up.push(line.clone());
                let times = given_up.iter().filter(|other| **other == line).count();
                let said = || run.node(VICTIM).so_far().matches(&line).count();
                wait_until(&line, || said() >= times);
            }
        }
    }
    assert_eq!(run.completes(), []);
}
