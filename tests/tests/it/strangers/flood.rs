//! Half-open handshakes: somebody who begins many, shows that he receives at his addresses if he is
//! asked to, and is deaf to all else that the relay says.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::Duration;

use fl_tests::deployed::wait_until;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, ClientConfig, Connecting, Endpoint, EndpointConfig, Runtime, TokioRuntime,
    TransportConfig, UdpPoller,
};

use super::without_a_key;

/// How often the flood is looked after, ...
const TICK: Duration = Duration::from_millis(5);
/// ... how many handshakes are begun then while there are not enough, ...
const BEGUN: usize = 20;
/// ... and how many in all at most, so that a test which hangs does not flood for ever.
const BEGUN_MAX: usize = 100_000;

/// A flood, which ends when this is dropped.
pub(super) struct Flood {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default, Debug)]
struct Counts {
    stop: AtomicBool,
    /// Handshakes begun.
    begun: AtomicUsize,
    /// Datagrams of the relay to which the flood was deaf.
    unheard: AtomicUsize,
}

impl Flood {
    /// Begins so many handshakes with `relay` from each of these addresses in turn, and leaves them
    /// half-open. Returns once all are begun, and some answered.
    pub(super) fn standing(addresses: &[Ipv4Addr], relay: SocketAddr, at_once: usize) -> Self {
        Self::begin(addresses, relay, (at_once, at_once))
    }

    /// As [`Flood::standing`], and replaces the oldest all the time.
    pub(super) fn rolling(addresses: &[Ipv4Addr], relay: SocketAddr, at_once: usize) -> Self {
        Self::begin(addresses, relay, (at_once, BEGUN_MAX))
    }

    fn begin(addresses: &[Ipv4Addr], relay: SocketAddr, most: (usize, usize)) -> Self {
        let counts = Arc::<Counts>::default();
        let sockets: Vec<_> = addresses
            .iter()
            .map(|address| UdpSocket::bind((*address, 0)).unwrap())
            .collect();
        let counted = counts.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .unwrap()
                .block_on(flood(sockets, relay, most, &counted));
        });
        let flood = Self {
            counts,
            thread: Some(thread),
        };
        wait_until("answer to a flood", || flood.unheard() > 0);
        wait_until("flood", || flood.begun() >= most.0);
        flood
    }

    /// Returns how many handshakes were begun so far.
    pub(super) fn begun(&self) -> usize {
        self.counts.begun.load(Ordering::Relaxed)
    }

    /// Returns how many datagrams of the relay were not listened to.
    pub(super) fn unheard(&self) -> usize {
        self.counts.unheard.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It fails only if the flood did, of which its own message tells.
            let _ = thread.join();
        }
    }
}

/// Begins handshakes until it is to stop: so many at once, and so many in all.
async fn flood(
    sockets: Vec<UdpSocket>,
    relay: SocketAddr,
    (at_once, in_all): (usize, usize),
    counts: &Arc<Counts>,
) {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(None);
    let mut config = ClientConfig::new(Arc::new(without_a_key()));
    config.transport_config(Arc::new(transport));
    let endpoints = sockets.into_iter().map(|socket| {
        let heard = DeafSocket {
            socket: TokioRuntime.wrap_udp_socket(socket).unwrap(),
            counts: counts.clone(),
        };
        let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        Endpoint::new_with_abstract_socket(config, None, Arc::new(heard), runtime).unwrap()
    });
    let endpoints: Vec<_> = endpoints.collect();
    let mut half_open = VecDeque::<Connecting>::new();
    let mut next = endpoints.iter().cycle().take(in_all);
    while !counts.stop.load(Ordering::Relaxed) {
        if let Some(endpoint) = next.next() {
            let connecting = endpoint.connect_with(config.clone(), relay, "localhost");
            half_open.push_back(connecting.unwrap());
            counts.begun.fetch_add(1, Ordering::Relaxed);
        }
        if half_open.len() > at_once {
            half_open.pop_front();
        }
        if half_open.len() >= at_once || half_open.len().is_multiple_of(BEGUN) {
            tokio::time::sleep(TICK).await;
        }
    }
    for endpoint in &endpoints {
        endpoint.close(0_u32.into(), b"");
        let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    }
}

/// A socket that hears nothing but the question whether it is where it says it is.
#[derive(Debug)]
struct DeafSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    counts: Arc<Counts>,
}

/// Whether a datagram is a Retry packet (RFC 9000, section 17.2.5).
fn is_retry(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xf0 == 0xf0)
}

impl AsyncUdpSocket for DeafSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.socket.poll_recv(cx, buffers, meta))?;
        for (buffer, meta) in buffers.iter_mut().zip(meta).take(received) {
            // Several datagrams of one length, of which the last may be shorter.
            let (mut heard, mut at) = (0, 0);
            while at < meta.len {
                let end = meta.len.min(at + meta.stride.max(1));
                if is_retry(&buffer[at..end]) {
                    buffer.copy_within(at..end, heard);
                    heard += end - at;
                } else {
                    self.counts.unheard.fetch_add(1, Ordering::Relaxed);
                }
                at = end;
            }
            meta.len = heard;
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }
}
