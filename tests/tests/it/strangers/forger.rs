//! Forged first packets. Their keys follow from an id that the client sends in the clear (RFC 9001,
//! section 5.2), so that whoever sees a client's first packet can answer in the relay's name.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::Side;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::Version;

/// QUIC's code for the TLS alert `unknown_ca`: the client's certificate is from nobody who is
/// known.
pub(super) const UNKNOWN_CA: u64 = 0x100 + 48;

const VERSION: u32 = 1;
const ID_BYTES: usize = 8;
const NUMBER_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
const DATAGRAM_BYTES: usize = 1_200;

/// Somebody at the relay's address who answers every first packet with a forged close.
pub(super) struct Forger {
    pub(super) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forger {
    pub(super) fn at(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        // So that the thread sees the end.
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1 << 16];
            while !stopped.load(Ordering::Relaxed) {
                match socket.recv_from(&mut buffer) {
                    Ok((bytes, client)) => {
                        if let Some(close) = forged_close(&buffer[..bytes]) {
                            socket.send_to(&close, client).unwrap();
                        }
                    }
                    Err(error) => assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                        ),
                        "{error}"
                    ),
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Then the address is free again.
            let _ = thread.join();
        }
    }
}

/// An answer to a client's first packet, in the relay's name, that closes the connection with
/// [`UNKNOWN_CA`].
fn forged_close(first: &[u8]) -> Option<Vec<u8>> {
    let (kind, rest) = first.split_first()?;
    let (version, rest) = rest.split_at_checked(4)?;
    if kind & 0xf0 != 0xc0 || version != VERSION.to_be_bytes() {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let (relay_id, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, rest) = rest.split_first()?;
    let (client_id, _) = rest.split_at_checked(usize::from(*length))?;

    let mut header = vec![0xc0 | u8::try_from(NUMBER_BYTES - 1).unwrap()];
    header.extend(VERSION.to_be_bytes());
    header.push(*length);
    header.extend(client_id);
    header.push(u8::try_from(ID_BYTES).unwrap());
    header.extend([7; ID_BYTES]);
    // No token.
    header.push(0);
    let payload_bytes = DATAGRAM_BYTES - header.len() - 2 - NUMBER_BYTES - TAG_BYTES;
    header.extend(two_bytes(NUMBER_BYTES + payload_bytes + TAG_BYTES));
    let number_at = header.len();
    header.extend([0; NUMBER_BYTES]);

    // CONNECTION_CLOSE: the code, the frame at fault (none), and a reason without a letter. Zeros
    // are padding.
    let mut payload = vec![0x1c];
    payload.extend(two_bytes(usize::try_from(UNKNOWN_CA).unwrap()));
    payload.resize(payload_bytes, 0);

    let suite = TLS13_AES_128_GCM_SHA256.tls13()?.quic_suite()?;
    let keys = suite.keys(relay_id, Side::Server, Version::V1).local;
    let tag = keys
        .packet
        .encrypt_in_place(0, &header, &mut payload)
        .unwrap();
    payload.extend(tag.as_ref());
    let (head, number) = header.split_at_mut(number_at);
    // The sample begins where the number would end if it had four bytes, which it has.
    let sample = &payload[..keys.header.sample_len()];
    keys.header
        .encrypt_in_place(sample, &mut head[0], number)
        .unwrap();
    header.extend(payload);
    Some(header)
}

/// A variable-length integer of two bytes.
fn two_bytes(value: usize) -> [u8; 2] {
    (0x4000 | u16::try_from(value).unwrap()).to_be_bytes()
}
