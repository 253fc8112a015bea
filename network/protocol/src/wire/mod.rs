//! What travels: frames of the control stream, headers of bulk bodies, and their encoding.
//!
//! Control frames are `serde` types in bincode's fixed-width little-endian encoding, one enum for
//! each direction. Bulk bodies (masked sums, results, models) are raw little-endian words on
//! streams of their own and are never serialised element by element.

mod codec;
mod frame;
#[cfg(test)]
mod tests;

pub use codec::{MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, decode, encode};
pub use frame::{
    BodyId, BodyKind, BulkHeader, Hello, MAX_BULK_HEADER_BYTES, NodeFrame, RelayFrame,
};
