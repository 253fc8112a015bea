//! An honest relay and honest nodes, between which frames are reordered, doubled, lost, altered and
//! misdirected, and one of which also lies.

use std::time::Duration;

use fl_protocol::digest::Digest;
use fl_protocol::sim;
use fl_protocol::sim::{Content, Delivery, Faults, Network, OpenSecrets, Timing, Verdict, Way};
use fl_protocol::wire::{NodeFrame, RelayFrame};

use super::{Conduct, Step, altered, lies, steps, trouble};
use crate::fixture::{NODES, consortium};

const ROUNDS: u64 = 2;

/// Arbitrary trouble, and then, if nobody interfered with what is on a connection, peace, in which
/// all rounds end.
pub(crate) fn network(data: &[u8]) {
    network_of(Conduct::Sound, data);
}

/// The same with nodes of any conduct.
pub(crate) fn network_of(conduct: Conduct, data: &[u8]) {
    let mut troubled = Troubled::new(conduct);
    for step in steps(data) {
        troubled.step(*step);
    }
    if !troubled.network.is_hostile {
        troubled.network.run_to_the_end();
        let turned_away = &troubled.network.seen.turned_away;
        assert!(
            turned_away.is_empty(),
            "an honest node is turned away: {turned_away:?}"
        );
    }
}

/// What becomes of the next delivery.
#[derive(Default)]
enum Fate {
    #[default]
    Arrives,
    Lost,
    Altered(usize),
    Misdirected(usize),
}

/// Everything that was ever sent, to be sent again, and what comes next.
#[derive(Default)]
struct Wires {
    ups: Vec<NodeFrame>,
    downs: Vec<RelayFrame>,
    next: Fate,
}

impl Faults for Wires {
    fn watch(&mut self, delivery: &Delivery) {
        match &delivery.content {
            Content::ToRelay(frame) => self.ups.push(frame.clone()),
            Content::ToNode(frame) => self.downs.push(frame.clone()),
            Content::Piece { .. } | Content::Body(_) => {}
        }
    }

    fn judge(&mut self, delivery: &mut Delivery) -> Verdict {
        let arrives = match std::mem::take(&mut self.next) {
            Fate::Arrives => true,
            Fate::Lost => false,
            Fate::Altered(which) => alter(&mut delivery.content, which).is_some(),
            Fate::Misdirected(node) => {
                delivery.node = node;
                matches!(delivery.content, Content::ToNode(_))
            }
        };
        match arrives {
            true => Verdict::Deliver,
            false => Verdict::Drop,
        }
    }
}

/// Flips a bit, unless that makes it undecodable.
fn alter(content: &mut Content, which: usize) -> Option<()> {
    match content {
        Content::ToRelay(frame) => *frame = altered(frame, which)?,
        Content::ToNode(frame) => *frame = altered(frame, which)?,
        Content::Piece { bytes, .. } | Content::Body(bytes) => {
            let at = which % bytes.len().max(1);
            *bytes.get_mut(at)? ^= 1;
        }
    }
    Some(())
}

struct Troubled {
    conduct: Conduct,
    network: Network<OpenSecrets<Conduct>, Wires>,
}

impl Troubled {
    /// All nodes are connected.
    fn new(conduct: Conduct) -> Self {
        let settings = sim::settings(ROUNDS, 1.0, 3);
        let (consortium, timing) = (consortium().clone(), Timing::instant());
        let secrets = |identity: &_| conduct.secrets(identity);
        let mut network = Network::with(consortium, settings, timing, secrets, Wires::default(), 1);
        (0..=NODES).for_each(|_| network.step());
        Self { conduct, network }
    }

    fn step(&mut self, [what, who, which]: Step) {
        let (node, which) = (usize::from(who) % NODES, usize::from(which));
        let what = what % trouble::KINDS;
        let network = &mut self.network;
        let honest = [
            trouble::GO_ON,
            trouble::CUT,
            trouble::CONNECT,
            trouble::CRASH,
            trouble::WORK,
            trouble::WAIT,
            trouble::RESTART_RELAY,
        ];
        network.is_hostile |= !honest.contains(&what);
        match what {
            trouble::GO_ON => (0..=which).for_each(|_| network.step()),
            trouble::UP => network.hasten(node, Way::Up, which),
            trouble::DOWN => network.hasten(node, Way::Down, which),
            trouble::UP_AGAIN => {
                if let Some(frame) = pick(&network.faults.ups, which) {
                    network.inject(node, Content::ToRelay(frame));
                }
            }
            trouble::DOWN_AGAIN => {
                if let Some(frame) = pick(&network.faults.downs, which) {
                    network.inject(node, Content::ToNode(frame));
                }
            }
            trouble::DROP_UP => self.next(node, Way::Up, Fate::Lost),
            trouble::DROP_DOWN => self.next(node, Way::Down, Fate::Lost),
            trouble::ALTER_UP => self.next(node, Way::Up, Fate::Altered(which)),
            trouble::ALTER_DOWN => self.next(node, Way::Down, Fate::Altered(which)),
            trouble::LIE => self.lie(usize::from(who), which),
            trouble::CUT => network.cut(node),
            trouble::CONNECT => network.connect(node),
            trouble::CRASH => {
                network.crash(node, Some(Duration::ZERO));
                let host = &mut network.members[node].host;
                self.conduct.forget(host);
                if which % 4 == 0 {
                    host.disk.outbox = None;
                }
            }
            trouble::WORK => network.finish_work(node),
            trouble::WAIT => network.wait(Duration::from_secs(which as u64)),
            trouble::RESTART_RELAY => network.restart_relay(Duration::ZERO, true),
            _ => self.next(node, Way::Down, Fate::Misdirected(which % NODES)),
        }
    }

    /// The first that is under way this way has this fate.
    fn next(&mut self, node: usize, way: Way, fate: Fate) {
        self.network.faults.next = fate;
        self.network.hasten(node, way, 0);
        self.network.faults.next = Fate::Arrives;
    }

    /// A lie about the attempt whose context was last heard of.
    fn lie(&mut self, about: usize, which: usize) {
        self.network.is_dishonest = true;
        let downs = self.network.faults.downs.iter().rev();
        let mut heard = downs.filter_map(context);
        let head = self.network.relay.disk.head;
        let ctx = heard.next().unwrap_or(head.previous);
        let frame = lies::lie(&head, ctx, about, which);
        self.network.inject(lies::LIAR, Content::ToRelay(frame));
    }
}

/// The context of the attempt of which this frame tells.
fn context(frame: &RelayFrame) -> Option<Digest> {
    match frame {
        RelayFrame::Collect { ctx, .. } => Some(*ctx),
        RelayFrame::Shares(shares) => {
            let share = shares.first()?.share.verify(&consortium().manifest, 0);
            share.ok().map(|share| share.ctx)
        }
        _ => None,
    }
}

fn pick<T: Clone>(list: &[T], which: usize) -> Option<T> {
    list.get(which % list.len().max(1)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rounds that are complete after the seed, without the peace that follows.
    fn after(name: &str) -> u64 {
        let seeds = trouble::networks();
        let seed = seeds.iter().find(|(seed, _)| seed == name);
        let mut troubled = Troubled::new(Conduct::Sound);
        let (_, data) = seed.expect("a seed of this name");
        steps(data).for_each(|step| troubled.step(*step));
        troubled.network.relay.disk.head.round
    }

    #[test]
    fn trouble_comes_in_the_middle_of_rounds() {
        assert_eq!(after("peace"), ROUNDS);
        assert_eq!(after("cut"), 1);
    }
}
