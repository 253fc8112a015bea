//! Which handshakes may be under way at the same time.
//!
//! Anyone can begin a handshake, and each costs the relay memory and a signature. So those under
//! way have a budget for every network, which is a /24 of IPv4 or a /48 of IPv6, and one in total.
//! Where a budget is spent, a newcomer takes the place of the oldest handshake of the network, and
//! in it of the address, that has the most. Who floods the relay thus ends handshakes of its own:
//! whoever has a single one under way is given up only if nobody has two.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Handshakes of one network, beside two for every node: more than a /24 has addresses, so that
/// each of them has one.
const NEAR: usize = 256;
/// Networks that can spend their whole budget at the same time.
const NETWORKS: usize = 4;
/// From this part of a budget on, only addresses that were shown to be right get a place.
const CROWDED: usize = 4;
/// A handshake keeps its place for so long, unless others have markedly fewer. That bounds how many
/// are begun in a second.
const GRACE: Duration = Duration::from_millis(500);

/// The handshakes under way, each with the task that runs it.
pub(super) struct Handshakes<T> {
    /// The most of one network.
    near_max: usize,
    /// The most of all.
    max: usize,
    networks: BTreeMap<IpAddr, Network<T>>,
}

/// Those of one network.
struct Network<T>(BTreeMap<IpAddr, VecDeque<Handshake<T>>>);

struct Handshake<T> {
    /// When it began.
    begun: Duration,
    task: T,
}

/// What is done about a newcomer.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Answer<T> {
    /// Its handshake begins, and this one is given up for it.
    Begin { in_place_of: Option<T> },
    /// It is asked to show that it receives at its address.
    Prove,
    /// It gets no answer. If it is a node, it knocks again within a second or two.
    Ignore,
}

impl<T> Handshakes<T> {
    /// Has none yet, and room for so many nodes.
    pub(super) fn new(nodes: usize) -> Self {
        let near_max = nodes.saturating_mul(2).saturating_add(NEAR);
        Self {
            near_max,
            max: near_max.saturating_mul(NETWORKS),
            networks: BTreeMap::new(),
        }
    }

    /// Returns what is done about a newcomer from `address`, which `is_validated` if it was shown
    /// to be right. Whatever the newcomer takes the place of is not under way any more.
    pub(super) fn judge(
        &mut self,
        address: IpAddr,
        is_validated: bool,
        now: Duration,
    ) -> Answer<T> {
        let (address, network) = (address.to_canonical(), network_of(address));
        let near = self.networks.get(&network).map_or(0, Network::len);
        let all: usize = self.networks.values().map(Network::len).sum();
        if !is_validated && (near >= self.near_max / CROWDED || all >= self.max / CROWDED) {
            return Answer::Prove;
        }
        let greatest = match (near < self.near_max, all < self.max) {
            (true, true) => return Answer::Begin { in_place_of: None },
            (false, _) => Some(network),
            (true, false) => self.greatest(),
        };
        let crowd =
            greatest.and_then(|greatest| Some((greatest, self.networks.get_mut(&greatest)?)));
        let Some((greatest, crowd)) = crowd else {
            return Answer::Ignore;
        };
        // If it only changed places with its like, nobody would get far.
        let has_fewer = match greatest == network {
            true => crowd.of(address) + 1 < crowd.most(),
            false => near + 1 < crowd.len(),
        };
        let is_old = |handshake: &Handshake<T>| now.saturating_sub(handshake.begun) >= GRACE;
        match crowd.pop(|oldest| has_fewer || is_old(oldest)) {
            None => Answer::Ignore,
            in_place_of => Answer::Begin { in_place_of },
        }
    }

    /// A handshake with `address` is under way.
    pub(super) fn begin(&mut self, address: IpAddr, now: Duration, task: T) {
        let network = self.networks.entry(network_of(address)).or_default();
        let queue = network.0.entry(address.to_canonical()).or_default();
        queue.push_back(Handshake { begun: now, task });
    }

    /// The handshake of this task is over, if it was still under way.
    pub(super) fn end(&mut self, is_it: impl Fn(&T) -> bool) {
        for network in self.networks.values_mut() {
            for queue in network.0.values_mut() {
                queue.retain(|handshake| !is_it(&handshake.task));
            }
            network.0.retain(|_, queue| !queue.is_empty());
        }
        self.networks.retain(|_, network| network.len() > 0);
    }

    /// The network with the most, of several the one whose oldest is the oldest.
    fn greatest(&self) -> Option<IpAddr> {
        let networks = self.networks.iter();
        let greatest = networks.max_by_key(|(_, network)| {
            let oldest = network.0.values().filter_map(|queue| queue.front());
            let begun = oldest.map(|handshake| handshake.begun).min();
            (network.len(), Reverse(begun))
        });
        greatest.map(|(network, _)| *network)
    }
}

impl<T> Network<T> {
    fn len(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }

    /// Those of one address.
    fn of(&self, address: IpAddr) -> usize {
        self.0.get(&address).map_or(0, VecDeque::len)
    }

    /// Those of the address that has the most.
    fn most(&self) -> usize {
        self.0.values().map(VecDeque::len).max().unwrap_or(0)
    }

    /// Takes away the oldest handshake of the address with the most, if that `may` be.
    fn pop(&mut self, may: impl Fn(&Handshake<T>) -> bool) -> Option<T> {
        let queues = self.0.values_mut();
        let queue = queues.max_by_key(|queue| {
            let begun = queue.front().map(|handshake| handshake.begun);
            (queue.len(), Reverse(begun))
        })?;
        if !may(queue.front()?) {
            return None;
        }
        queue.pop_front().map(|handshake| handshake.task)
    }
}

impl<T> Default for Network<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// The first address of the network that has a budget of its own: what one customer of a provider
/// has at least.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0 << 8).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !0 << 80).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: usize = 3;
    const NEAR_MAX: usize = NEAR + 2 * NODES;
    const START: Duration = Duration::ZERO;
    const BEGUN: Answer<u32> = Answer::Begin { in_place_of: None };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Handshakes whose tasks are numbers, in the order in which they knock.
    struct Relay {
        handshakes: Handshakes<u32>,
        knocked: u32,
    }

    impl Relay {
        fn new() -> Self {
            let handshakes = Handshakes::new(NODES);
            Self {
                handshakes,
                knocked: 0,
            }
        }

        fn knock(&mut self, address: IpAddr, is_validated: bool, now: Duration) -> Answer<u32> {
            self.knocked += 1;
            let answer = self.handshakes.judge(address, is_validated, now);
            if let Answer::Begin { .. } = answer {
                self.handshakes.begin(address, now, self.knocked);
            }
            answer
        }

        /// Knocks so often, from where it may be seen to be right.
        fn flood(&mut self, address: IpAddr, times: usize, now: Duration) {
            for _ in 0..times {
                self.knock(address, true, now);
            }
        }

        fn under_way(&self, network: IpAddr) -> usize {
            let network = self.handshakes.networks.get(&network_of(network));
            network.map_or(0, Network::len)
        }

        fn all(&self) -> usize {
            self.handshakes.networks.values().map(Network::len).sum()
        }
    }

    #[test]
    fn a_flood_from_one_network_takes_no_place_of_another() {
        let mut relay = Relay::new();
        for host in 0..=255 {
            relay.flood(IpAddr::from([198, 51, 100, host]), 100, START);
        }
        assert_eq!(relay.under_way(ip("198.51.100.7")), NEAR_MAX);
        for address in ["203.0.113.5", "2001:db8::5"] {
            assert_eq!(relay.knock(ip(address), true, START), BEGUN, "{address}");
            assert_eq!(relay.under_way(ip(address)), 1);
        }
    }

    #[test]
    fn an_address_beside_a_flood_gets_a_place_at_once_and_keeps_it() {
        let (flood, node) = (ip("198.51.100.7"), ip("198.51.100.8"));
        let mut relay = Relay::new();
        relay.flood(flood, 1_000, START);
        let first = Answer::Begin {
            in_place_of: Some(1),
        };
        assert_eq!(relay.knock(node, true, START), first);
        // However long, and from however many addresses of a /24.
        let mut now = START;
        for host in 0..=255 {
            now += GRACE;
            relay.flood(IpAddr::from([198, 51, 100, host]), 1_000, now);
            assert!(relay.under_way(node) <= NEAR_MAX);
            let network = &relay.handshakes.networks[&network_of(node)];
            assert!(network.of(node) >= 1, "{host}");
        }
    }

    #[test]
    fn from_the_address_of_a_flood_the_oldest_give_way_once_they_had_their_time() {
        let address = ip("198.51.100.7");
        let mut relay = Relay::new();
        relay.flood(address, NEAR_MAX, START);
        let early = GRACE - Duration::from_millis(1);
        assert_eq!(relay.knock(address, true, early), Answer::Ignore);
        for oldest in 1..=3 {
            let answer = Answer::Begin {
                in_place_of: Some(oldest),
            };
            assert_eq!(relay.knock(address, true, GRACE), answer);
        }
        assert_eq!(relay.under_way(address), NEAR_MAX);
    }

    #[test]
    fn floods_from_many_networks_give_way_to_one_that_has_fewer() {
        let mut relay = Relay::new();
        for third in 0..2 * NETWORKS {
            let third = u8::try_from(third).unwrap();
            relay.flood(IpAddr::from([10, 0, third, 1]), NEAR_MAX, START);
        }
        let most = relay.handshakes.max;
        assert_eq!(relay.all(), most);
        let node = ip("203.0.113.5");
        let answer = relay.knock(node, true, START);
        assert!(matches!(
            answer,
            Answer::Begin {
                in_place_of: Some(_)
            }
        ));
        assert_eq!((relay.all(), relay.under_way(node)), (most, 1));
    }

    #[test]
    fn sources_that_may_be_forged_use_up_a_part_and_then_have_to_prove_themselves() {
        let mut relay = Relay::new();
        let address = ip("198.51.100.7");
        for _ in 0..NEAR_MAX / CROWDED {
            assert_eq!(relay.knock(address, false, START), BEGUN);
        }
        assert_eq!(relay.knock(address, false, START), Answer::Prove);
        assert_eq!(relay.knock(address, true, START), BEGUN);
        // Of any network each, as they can be where they are forged.
        for host in 0..100_000_u32 {
            let address = Ipv4Addr::from_bits(0x0a00_0000 + 256 * host);
            relay.knock(address.into(), false, START);
        }
        assert_eq!(relay.all(), relay.handshakes.max / CROWDED);
        assert_eq!(relay.knock(ip("203.0.113.5"), true, START), BEGUN);
    }

    #[test]
    fn a_handshake_that_is_over_leaves_its_place() {
        let mut relay = Relay::new();
        let address = ip("198.51.100.7");
        relay.flood(address, NEAR_MAX, START);
        assert_eq!(relay.knock(address, true, START), Answer::Ignore);
        relay.handshakes.end(|task| *task == 5);
        assert_eq!(relay.knock(address, true, START), BEGUN);
        for task in 0..=relay.knocked {
            relay.handshakes.end(|other| *other == task);
        }
        assert!(relay.handshakes.networks.is_empty());
    }

    #[test]
    fn all_nodes_of_a_large_consortium_may_knock_at_once_from_one_address() {
        let mut handshakes = Handshakes::new(1_000);
        let address = ip("198.51.100.7");
        for node in 0..2_000 {
            let answer = handshakes.judge(address, true, START);
            assert_eq!(answer, BEGUN, "{node}");
            handshakes.begin(address, START, node);
        }
    }

    #[test]
    fn networks_are_a_24_of_ipv4_and_a_48_of_ipv6() {
        for (one, other, together) in [
            ("198.51.100.7", "198.51.100.200", true),
            ("198.51.100.7", "198.51.101.7", false),
            ("198.51.100.7", "::ffff:198.51.100.9", true),
            ("2001:db8:1:2::3", "2001:db8:1:ffff::1", true),
            ("2001:db8:1::3", "2001:db8:2::3", false),
        ] {
            let same = network_of(ip(one)) == network_of(ip(other));
            assert_eq!(same, together, "{one} {other}");
        }
    }
}
