//! Subtracts and adds shares in one pass: what a node does with its input, and with what the others
//! sent.

use super::{split, sum};
use crate::Word;

/// `vector += Σ PRG(plus) − Σ PRG(minus)`, where `vector[0]` is element `first_element` of the
/// whole.
pub fn mask<W: Word>(vector: &mut [W], first_element: u64, minus: &[[u8; 32]], plus: &[[u8; 32]]) {
    split(vector, first_element, minus);
    sum(vector, first_element, plus);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_and_subtracted_cancels() {
        let (a, b) = ([1; 32], [2; 32]);
        let vector: Vec<u64> = (0..100).collect();
        let mut masked = vector.clone();
        mask(&mut masked, 40, &[a, b], &[b, a]);
        assert_eq!(masked, vector);
        // Negative control.
        mask(&mut masked, 40, &[a], &[b]);
        assert_ne!(masked, vector);
    }
}
