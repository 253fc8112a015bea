//! The protocol of secure federated averaging, as pure state machines and the bytes that they
//! exchange.
//!
//! [`round`] decides what nodes and relay do, [`manifest`] is what a consortium agreed on,
//! [`metrics`] what is counted of a model, [`identity`] who speaks, [`fingerprint`] how people
//! compare what they have, [`histories`] whom a further consortium on the same data would set
//! apart, [`wire`] how messages are encoded, and [`audit`] what a party logs and how anyone checks
//! a log later.
//!
//! Nothing here performs I/O, reads a clock or draws randomness: time, keys and seeds are
//! arguments. A driver hands what happens to a machine, and carries out the actions that it gets
//! back, in their order:
//!
//! * an entry to log is on the log before whatever comes after it is done;
//! * what is to be kept or recorded is durable before whatever comes after it is done;
//! * what could not be done is reported back, and the machine says what to do instead.
//!
//! Nothing in this crate can open a share.

pub mod audit;
pub mod digest;
pub mod error;
pub mod fingerprint;
pub mod histories;
pub mod identity;
pub mod manifest;
pub mod metrics;
pub mod parameters;
pub mod ring_bytes;
pub mod round;
#[cfg(any(test, feature = "testing"))]
pub mod sim;
pub mod wire;
