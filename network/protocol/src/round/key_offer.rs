//! A round key on its way to the relay: what its node signed, and the key beside it.

use serde::{Deserialize, Serialize};

use super::message::{Keys, Signed};

/// Keys with the public round key that they speak of. Only who seals to it needs the key itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyOffer {
    /// The node's word.
    pub keys: Signed<Keys>,
    /// The public half of its round key. Opaque here.
    pub round_key: Vec<u8>,
}
