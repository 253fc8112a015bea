//! A network that loses, delays and reorders datagrams, between one node and the relay.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Longest UDP payload.
const DATAGRAM_BYTES: usize = 65_536;

/// Cuts a node off, and counts what was lost.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<State>);

#[derive(Debug, Default)]
struct State {
    dark: AtomicBool,
    lost: AtomicU64,
    overtaken: AtomicU64,
}

impl Switch {
    /// From now on nothing gets through, or everything that the weather lets pass does.
    pub fn set_dark(&self, dark: bool) {
        self.0.dark.store(dark, Ordering::SeqCst);
    }

    /// Datagrams that were lost.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::SeqCst)
    }

    /// Datagrams that arrived after one that was sent later.
    pub fn overtaken(&self) -> u64 {
        self.0.overtaken.load(Ordering::SeqCst)
    }
}

/// What happens to datagrams, in both directions alike.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// A datagram is under way for a time in this range; those that are faster overtake.
    pub delay: Range<Duration>,
    /// Decides which ones.
    pub seed: u64,
    /// Cuts the node off.
    pub switch: Switch,
}

impl Weather {
    /// Puts this weather between a node and `relay`. Returns the address at which the node finds
    /// the relay.
    ///
    /// It lasts as long as the runtime.
    pub(super) async fn between(self, relay: SocketAddr) -> io::Result<SocketAddr> {
        let loopback = (Ipv4Addr::LOCALHOST, 0);
        let front = Arc::new(UdpSocket::bind(loopback).await?);
        let address = front.local_addr()?;
        let mut outward = Sky::new(self.clone(), 0);
        tokio::spawn(async move {
            // A node that reconnects does so from a new socket, and gets a new one towards the
            // relay.
            let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
            let mut buffer = vec![0; DATAGRAM_BYTES];
            while let Ok((length, node)) = front.recv_from(&mut buffer).await {
                let back = match backs.get(&node) {
                    Some(back) => back.clone(),
                    None => {
                        let back = Arc::new(UdpSocket::bind(loopback).await?);
                        let inward = Sky::new(self.clone(), 1 + backs.len() as u64);
                        tokio::spawn(answers(back.clone(), front.clone(), node, inward));
                        backs.insert(node, back.clone());
                        back
                    }
                };
                outward.pass(back, relay, &buffer[..length]);
            }
            io::Result::Ok(())
        });
        Ok(address)
    }
}

/// Carries what the relay sends to `back` to the node.
async fn answers(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    node: SocketAddr,
    mut sky: Sky,
) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let (length, _) = back.recv_from(&mut buffer).await?;
        sky.pass(front.clone(), node, &buffer[..length]);
    }
}

/// One direction.
struct Sky {
    weather: Weather,
    random: StdRng,
    sent: u64,
    arrivals: mpsc::UnboundedSender<u64>,
}

impl Sky {
    fn new(weather: Weather, direction: u64) -> Self {
        let (arrivals, mut arrived) = mpsc::unbounded_channel();
        let switch = weather.switch.clone();
        tokio::spawn(async move {
            let mut latest = 0;
            while let Some(number) = arrived.recv().await {
                if number < latest {
                    switch.0.overtaken.fetch_add(1, Ordering::SeqCst);
                }
                latest = latest.max(number);
            }
        });
        let random = StdRng::seed_from_u64(weather.seed << 8 | direction);
        Self {
            weather,
            random,
            sent: 0,
            arrivals,
        }
    }

    /// Loses the datagram, or sends it after a while.
    fn pass(&mut self, through: Arc<UdpSocket>, to: SocketAddr, datagram: &[u8]) {
        let state = &self.weather.switch.0;
        let lost = self.random.random_bool(self.weather.loss);
        let delay = self.random.random_range(self.weather.delay.clone());
        if lost || state.dark.load(Ordering::SeqCst) {
            state.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        self.sent += 1;
        let (number, arrivals, datagram) = (self.sent, self.arrivals.clone(), datagram.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // UDP promises nothing, and the ends may be gone.
            let _ = through.send_to(&datagram, to).await;
            let _ = arrivals.send(number);
        });
    }
}
