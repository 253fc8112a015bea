//! The protocol of secure federated averaging, and what carries it.
//!
//! [`round`] is the protocol as pure state machines, [`manifest`] what a consortium agreed on, [`identity`] who
//! speaks, [`wire`] how messages are encoded. Nothing in this crate can open a share.

pub mod digest;
pub mod error;
pub mod identity;
pub mod manifest;
pub mod round;
#[cfg(test)]
mod testing;
pub mod wire;
pub mod words;
