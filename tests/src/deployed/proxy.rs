//! A piece of network between a node and the relay that can be cut, to the byte.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Forwards datagrams between one node and the relay.
pub struct Proxy {
    /// Where the node finds it.
    pub address: SocketAddr,
    /// From the node to the relay.
    pub up: Arc<Gate>,
    /// From the relay to the node.
    pub down: Arc<Gate>,
    stop: Arc<AtomicBool>,
}

/// One direction.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    dropped: Condvar,
}

#[derive(Default)]
struct State {
    passage: Passage,
    dropped: bool,
}

/// What gets through.
#[derive(Default)]
enum Passage {
    #[default]
    Everything,
    /// So many bytes more.
    Bytes(usize),
    /// Datagrams of at most so many bytes.
    Short(usize),
}

impl Gate {
    /// Lets so many bytes more pass, then nothing.
    pub fn cut_after(&self, bytes: usize) {
        *self.state.lock().unwrap() = State {
            passage: Passage::Bytes(bytes),
            dropped: false,
        };
    }

    /// Lets only datagrams up to so many bytes pass. A connection lives on acknowledgements, which
    /// are short, for as long as it takes, while no message of more than that gets through.
    pub fn cut_longer_than(&self, bytes: usize) {
        *self.state.lock().unwrap() = State {
            passage: Passage::Short(bytes),
            dropped: false,
        };
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// Waits until something was held back.
    ///
    /// # Panics
    ///
    /// After [`PATIENCE`].
    pub fn wait_for_cut(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        while !state.dropped {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing was held back");
            state = self.dropped.wait_timeout(state, left).unwrap().0;
        }
    }

    fn passes(&self, bytes: usize) -> bool {
        let mut state = self.state.lock().unwrap();
        let passes = match &mut state.passage {
            Passage::Everything => true,
            Passage::Bytes(left) => {
                let rest = left.checked_sub(bytes);
                // Once something is held back, nothing shorter slips through.
                *left = rest.unwrap_or_default();
                rest.is_some()
            }
            Passage::Short(longest) => bytes <= *longest,
        };
        if !passes {
            state.dropped = true;
            self.dropped.notify_all();
        }
        passes
    }
}

impl Proxy {
    /// A whole line to `relay`.
    pub fn to(relay: SocketAddr) -> Self {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (front, back) = (bind(), bind());
        let proxy = Self {
            address: front.local_addr().unwrap(),
            up: Arc::default(),
            down: Arc::default(),
            stop: Arc::default(),
        };
        let node = Arc::new(Mutex::new(None));
        let (from, to, seen) = (
            front.try_clone().unwrap(),
            back.try_clone().unwrap(),
            node.clone(),
        );
        let forward = move |datagram: &[u8], source| {
            *seen.lock().unwrap() = Some(source);
            to.send_to(datagram, relay)
        };
        proxy.run(from, proxy.up.clone(), forward);
        let forward = move |datagram: &[u8], _| match *node.lock().unwrap() {
            Some(node) => front.send_to(datagram, node),
            None => Ok(0),
        };
        proxy.run(back, proxy.down.clone(), forward);
        proxy
    }

    fn run(
        &self,
        socket: UdpSocket,
        gate: Arc<Gate>,
        forward: impl Fn(&[u8], SocketAddr) -> std::io::Result<usize> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        // So that the thread sees the end.
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stop.load(Ordering::Relaxed) {
                match socket.recv_from(&mut buffer) {
                    // A datagram that cannot be sent is lost, as anywhere.
                    Ok((bytes, source)) if gate.passes(bytes) => {
                        let _ = forward(&buffer[..bytes], source);
                    }
                    // A refused connection is a message about an earlier datagram.
                    Ok(_) => {}
                    Err(error) => assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::WouldBlock
                                | ErrorKind::TimedOut
                                | ErrorKind::ConnectionRefused
                                | ErrorKind::Interrupted
                        ),
                        "{error}"
                    ),
                }
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
