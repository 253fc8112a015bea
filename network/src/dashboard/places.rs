//! Who has a connection to the dashboard, and who makes room for another.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use tokio::task::AbortHandle;

/// Connections at a time, so that whoever opens many takes no file descriptors away from the relay.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// The connections in the order of their coming, with where they come from.
#[derive(Default)]
pub(super) struct Places(Vec<(IpAddr, AbortHandle)>);

impl Places {
    /// Ends a connection if all places are taken: the oldest of whoever has the most. So nobody
    /// keeps the others out, and a request that comes at once finds time to be answered.
    pub(super) fn make_room(&mut self) {
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() < CONNECTIONS_MAX {
            return;
        }
        let mut taken = HashMap::<IpAddr, usize>::new();
        for (origin, _) in &self.0 {
            *taken.entry(*origin).or_default() += 1;
        }
        let most = taken.values().max();
        let of_most = |(origin, _): &(IpAddr, _)| taken.get(origin) == most;
        if let Some(oldest) = self.0.iter().position(of_most) {
            self.0.remove(oldest).1.abort();
        }
    }

    /// Puts down a connection from `address`.
    pub(super) fn take(&mut self, address: IpAddr, task: AbortHandle) {
        self.0.push((origin(address), task));
    }
}

/// Returns what counts as one address: of IPv6 the network, in which a single machine can have as
/// many addresses as it likes.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let origin = |text: &str| origin(text.parse().unwrap());
        assert_eq!(origin("2001:db8:0:1::1"), origin("2001:db8:0:1:ffff::2"));
        assert_ne!(origin("2001:db8:0:1::1"), origin("2001:db8:0:2::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
    }
}
