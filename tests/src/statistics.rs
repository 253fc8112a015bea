//! Whether bytes look like chance to somebody who counts, whether two sources of them can be told
//! apart, and how alike two vectors are.
//!
//! The thresholds are so wide that a true source is taken for a false one less than once in 10^15
//! times; what is not hidden is farther off by orders of magnitude.

/// χ² with 255 degrees of freedom leaves this range less than once in 10^16 times.
const CHI_SQUARE: std::ops::Range<f64> = 105.0..505.0;
/// A normal variable is this many standard deviations off once in 10^18 times.
pub const DEVIATIONS: f64 = 9.0;

/// Whether `bytes` look like uniform words of 32 bits: every byte value and every bit as frequent
/// as chance has it.
pub fn is_uniform(bytes: &[u8]) -> bool {
    let mut counts = [0_u64; 256];
    let mut ones = [0_u64; 32];
    for word in bytes.as_chunks::<4>().0 {
        word.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let word = u32::from_le_bytes(*word);
        for (bit, ones) in ones.iter_mut().enumerate() {
            *ones += u64::from(word >> bit & 1);
        }
    }
    let expected = bytes.len() as f64 / 256.0;
    let square = |count: &u64| (*count as f64 - expected).powi(2) / expected;
    let chi_square: f64 = counts.iter().map(square).sum();
    let words = bytes.len() as f64 / 4.0;
    let far = |ones: &u64| (*ones as f64 - words / 2.0).abs() / (words / 4.0).sqrt() > DEVIATIONS;
    CHI_SQUARE.contains(&chi_square) && !ones.iter().any(far)
}

/// `a` − `b`, word by word.
pub fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let words = a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0);
    words
        .flat_map(|(a, b)| {
            u32::from_le_bytes(*a)
                .wrapping_sub(u32::from_le_bytes(*b))
                .to_le_bytes()
        })
        .collect()
}

/// Learns from the first half of the words of both sources, which must be as many, how often each
/// byte value comes at each place of a word, and then says of each word of the second halves where
/// it is from. Returns by how many standard deviations it is right more often than one who guesses.
pub fn told_apart(a: &[u8], b: &[u8]) -> f64 {
    let (a, b) = (a.as_chunks::<4>().0, b.as_chunks::<4>().0);
    let middle = a.len().min(b.len()) / 2;
    let frequencies = |words: &[[u8; 4]]| {
        let mut counts = [[1.0_f64; 256]; 4];
        for word in words {
            for (counts, byte) in counts.iter_mut().zip(word) {
                counts[usize::from(*byte)] += 1.0;
            }
        }
        counts
    };
    let (of_a, of_b) = (frequencies(&a[..middle]), frequencies(&b[..middle]));
    let is_of_a = |word: &[u8; 4]| {
        let likelihood = |of: &[[f64; 256]; 4]| {
            let bytes = of.iter().zip(word);
            bytes
                .map(|(counts, byte)| counts[usize::from(*byte)].ln())
                .sum::<f64>()
        };
        likelihood(&of_a) > likelihood(&of_b)
    };
    let right = a[middle..2 * middle]
        .iter()
        .filter(|word| is_of_a(word))
        .count()
        + b[middle..2 * middle]
            .iter()
            .filter(|word| !is_of_a(word))
            .count();
    (right as f64 - middle as f64) / (middle as f64 / 2.0).sqrt()
}

/// The scalar product of two vectors of one length.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The cosine of the angle between two vectors of one length, of which none is zero.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// What is left of a vector without the part that points where `common` does.
pub fn apart(vector: &[f64], common: &[f64]) -> Vec<f64> {
    let along = dot(vector, common) / dot(common, common);
    let pairs = vector.iter().zip(common);
    pairs
        .map(|(value, common)| value - along * common)
        .collect()
}

/// The first vector less the second one, of the same length.
pub fn less(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}
