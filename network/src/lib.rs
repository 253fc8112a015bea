//! The protocol of secure federated averaging, and what carries it.
//!
//! [`round`] is the protocol as pure state machines, [`manifest`] what a consortium agreed on, [`identity`] who
//! speaks, [`wire`] how messages are encoded. [`quic`] and [`tls`] carry them between a [`client`] and the
//! [`relay`], which [`told`] and the [`dashboard`] let its operator see; [`pki`] issues certificates, [`kit`] holds what
//! a party starts with, [`config`] reads what its operator has chosen, [`store`] keeps what it remembers and [`audit`]
//! what it can show later.
//! Nothing in this crate can open a share.

pub mod audit;
pub mod client;
pub mod config;
pub mod dashboard;
pub mod digest;
pub mod error;
pub mod files;
pub mod identity;
pub mod kit;
pub mod logging;
pub mod manifest;
pub mod pki;
pub mod quic;
pub mod relay;
pub mod round;
pub mod signals;
pub mod store;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod told;
pub mod wire;
pub mod words;
