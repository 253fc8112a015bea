//! The linear part of a tag: an inner product with secret coefficients, over the integers modulo
//! 2^61 − 1.

use crate::Word;
use crate::tag::{Coefficients, TAG_BLOCK, Tag};

/// `Σ_e alpha[e / 2^16] · beta[e % 2^16] · vector[e]`, words taken as signed, where `vector[0]` is
/// element `first_element` of the whole.
///
/// # Panics
///
/// If there are too few coefficients.
pub fn tag<W: Word>(vector: &[W], first_element: u64, coefficients: Coefficients<'_>) -> Tag {
    (first_element..)
        .zip(vector)
        .map(|(element, word)| {
            let block = TAG_BLOCK as u64;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "coefficients are in memory"
            )]
            let (k, l) = ((element / block) as usize, (element % block) as usize);
            let value = i128::from(word.to_signed());
            coefficients.alpha[k]
                * coefficients.beta.coefficient(l)
                * Tag::from_integers([value; 2])
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Beta;

    fn beta() -> Beta {
        Beta::new(coefficients(TAG_BLOCK as i128, 5).into_iter())
    }

    fn coefficients(count: i128, salt: i128) -> Vec<Tag> {
        let value = |i: i128| (i + salt) * 0x0123_4567_89ab_cdef;
        (1..=count)
            .map(|i| Tag::from_integers([value(i), value(i + count)]))
            .collect()
    }

    #[test]
    fn the_tag_of_a_sum_is_the_sum_of_the_tags() {
        let (alpha, beta) = (coefficients(2, 1), beta());
        let coefficients = Coefficients {
            alpha: &alpha,
            beta: &beta,
        };
        let a: Vec<u32> = (0..70_000_u32)
            .map(|i| i.wrapping_mul(77) % 1_000)
            .collect();
        let b: Vec<u32> = a.iter().map(|x| 5_u32.wrapping_sub(*x)).collect();
        let sum: Vec<u32> = a.iter().zip(&b).map(|(a, b)| a.wrapping_add(*b)).collect();
        let tag = |vector: &[u32]| tag(vector, 0, coefficients);
        assert_eq!(tag(&a) + tag(&b), tag(&sum));
        assert_eq!(tag(&vec![0; 70_000]), Tag::default());

        // Negative controls: one step in one element, and two elements that have changed places.
        let mut other = sum.clone();
        other[69_999] ^= 1;
        assert_ne!(tag(&other), tag(&sum));
        let mut swapped = a.clone();
        swapped.swap(3, 65_539);
        assert_ne!(tag(&swapped), tag(&a));
    }

    #[test]
    fn a_part_of_a_vector_is_tagged_alone() {
        let (alpha, beta) = (coefficients(2, 1), beta());
        let coefficients = Coefficients {
            alpha: &alpha,
            beta: &beta,
        };
        let vector: Vec<u64> = (0..65_600_i64)
            .map(|i| (i - 500).cast_unsigned() << 40)
            .collect();
        let (head, tail) = vector.split_at(65_530);
        assert_eq!(
            tag(head, 0, coefficients) + tag(tail, 65_530, coefficients),
            tag(&vector, 0, coefficients)
        );
    }
}
