//! What carries the protocol: transport, relay, client, keys, state on disk, the operator's view.
//!
//! [`quic`] and [`tls`] carry the messages of [`fl_protocol`] between a [`client`] and the
//! [`relay`], which [`report_text`] and the [`dashboard`] let its operator see; [`pki`] issues
//! certificates, [`kit`] holds what a party starts with, [`store`] keeps what it remembers and
//! [`audit`] what it can show later. [`memory`] keeps secrets from leaving a process's memory, and
//! [`program`] is what the programs have in common. Nothing in this crate can open a share.

pub mod audit;
pub mod client;
pub mod dashboard;
pub mod files;
pub mod kit;
pub mod memory;
pub mod opener;
pub mod pki;
pub mod program;
pub mod quic;
pub mod relay;
pub mod report_text;
pub mod run_report;
pub mod store;
pub mod time;
pub mod tls;
