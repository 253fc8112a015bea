//! Adds shares to a vector: what a node holds of the others' inputs.

use super::chacha20;
use crate::Word;

/// `vector += Σ PRG(key)` over `keys`, where `vector[0]` is element `first_element` of the whole.
pub fn sum<W: Word>(vector: &mut [W], first_element: u64, keys: &[[u8; 32]]) {
    for key in keys {
        for (element, share) in vector.iter_mut().zip(chacha20::share(key, first_element)) {
            *element = element.wrapping_add(share);
        }
    }
}
