//! The coefficients of the elements of a block, laid out to be multiplied fast.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Tag;

/// Secret coefficients, one for each element of a block. Erased on drop.
///
/// A product with 61 bits is not what CPUs have many of, so each value is cut into two limbs, whose
/// products with 32 bits fit in 64. The limbs of two consecutive elements lie side by side, like
/// two words of a vector, so that SIMD takes them as they are.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Beta {
    limbs: [Vec<u64>; Self::LIMBS],
    len: usize,
}

impl Beta {
    /// Limbs of a coefficient: low and high of the first value, low and high of the second.
    pub const LIMBS: usize = 4;
    /// Bits of a low limb. A high limb has one less.
    pub const LIMB_BITS: u32 = 31;

    /// The coefficients, in order. The length is known in advance because a vector that grows
    /// leaves secrets behind.
    pub fn new(coefficients: impl ExactSizeIterator<Item = Tag>) -> Self {
        let len = coefficients.len();
        let mut limbs = [(); Self::LIMBS].map(|()| vec![0; len.div_ceil(2)]);
        for (element, coefficient) in coefficients.enumerate() {
            let [a, b] = coefficient.values().map(|value| {
                let high = value >> Self::LIMB_BITS;
                [value - (high << Self::LIMB_BITS), high]
            });
            for (pairs, limb) in limbs.iter_mut().zip([a, b].into_iter().flatten()) {
                pairs[element / 2] |= limb << shift(element);
            }
        }
        Self { limbs, len }
    }

    /// Returns the number of coefficients.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The coefficient of an element.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn coefficient(&self, element: usize) -> Tag {
        assert!(element < self.len, "one coefficient an element");
        let limb = |limb: usize| {
            let pair = self.limbs[limb][element / 2];
            pair >> shift(element) & u64::from(u32::MAX)
        };
        Tag([0, 2].map(|low| limb(low) | limb(low + 1) << Self::LIMB_BITS))
    }

    /// Each limb of all coefficients, those of elements 2i and 2i + 1 in the low and the high half
    /// of number i.
    pub fn pairs(&self) -> [&[u64]; Self::LIMBS] {
        self.limbs.each_ref().map(Vec::as_slice)
    }
}

/// Returns where the limbs of an element are in their pairs.
fn shift(element: usize) -> u32 {
    match element.is_multiple_of(2) {
        true => 0,
        false => u32::BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::MODULUS;

    #[test]
    fn coefficients_come_back_from_limbs_that_fit() {
        let values = [0, 1, MODULUS - 1, 1 << 31, (1 << 31) - 1, 1 << 60, 0x155];
        let coefficients = values.map(|value| Tag([value, MODULUS - 1 - value]));
        let beta = Beta::new(coefficients.into_iter());
        assert_eq!(beta.len(), values.len());
        let back = [0, 1, 2, 3, 4, 5, 6].map(|element| beta.coefficient(element));
        assert_eq!(back, coefficients);
        for (limb, pairs) in beta.pairs().into_iter().enumerate() {
            let bits = Beta::LIMB_BITS - u32::from(limb % 2 == 1);
            for pair in pairs {
                assert_eq!((pair & u64::from(u32::MAX)) >> bits, 0);
                assert_eq!(pair >> 32 >> bits, 0);
            }
        }
    }
}
