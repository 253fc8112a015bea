//! Codes with which the relay closes a connection. Only [`REFUSED`] is final: the node must not
//! come back.

/// The node is refused.
pub(crate) const REFUSED: u32 = 1;
/// Another connection of the node has taken its place.
pub(crate) const REPLACED: u32 = 2;
/// The node does not read or write fast enough.
pub(crate) const SLOW: u32 = 3;
/// The node does not speak the protocol.
pub(crate) const BROKEN: u32 = 4;
