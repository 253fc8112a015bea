//! Bringing a picture to another size.

use super::decode::Picture;

/// The pixels of a line that one pixel of the wanted line is made of, and their weights.
struct Span {
    start: usize,
    /// They add up to 1.
    weights: Vec<f32>,
}

/// Writes the picture to `pixels`, `[channels, height, width]` in `[0, 1]`.
///
/// A picture of another size is stretched to the wanted one, by a triangle filter that is as wide
/// as the coarser of both grids: bilinear interpolation where it grows, a weighted mean of the area
/// where it shrinks. Pillow's `BILINEAR` and torchvision's `antialias=True` are the same.
pub(super) fn write(picture: &Picture, height: usize, width: usize, pixels: &mut [f32]) {
    let area = height * width;
    let channels = pixels.len() / area.max(1);
    let across = spans(picture.width, width);
    let down = spans(picture.height, height);
    let mut row = vec![0.0; channels * picture.width];
    let mut mixed = row.clone();
    for (y, span) in down.iter().enumerate() {
        match span.weights[..] {
            [_] => picture.row(span.start, &mut mixed),
            _ => mix(picture, span, &mut row, &mut mixed),
        }
        let lines = pixels.chunks_exact_mut(width).skip(y).step_by(height);
        for (line, mixed) in lines.zip(mixed.chunks_exact(picture.width)) {
            if picture.width == width {
                line.copy_from_slice(mixed);
                continue;
            }
            for (pixel, span) in line.iter_mut().zip(&across) {
                let values = mixed.iter().skip(span.start).zip(&span.weights);
                let sum: f32 = values.map(|(value, weight)| value * weight).sum();
                *pixel = sum.clamp(0.0, 1.0);
            }
        }
    }
}

/// Writes the weighted mean of the span's rows to `mixed`.
fn mix(picture: &Picture, span: &Span, row: &mut [f32], mixed: &mut [f32]) {
    mixed.fill(0.0);
    for (y, weight) in (span.start..).zip(&span.weights) {
        picture.row(y, row);
        for (sum, value) in mixed.iter_mut().zip(&*row) {
            *sum += weight * value;
        }
    }
    // Rounding may take the sum of the weights past 1.
    mixed.iter_mut().for_each(|sum| *sum = sum.clamp(0.0, 1.0));
}

/// What each of `to` pixels is made of, in a line of `from`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a line are small, and not negative"
)]
fn spans(from: usize, to: usize) -> Vec<Span> {
    if from == to {
        let one = |start| Span {
            start,
            weights: vec![1.0],
        };
        return (0..to).map(one).collect();
    }
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let span = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        // The pixels whose centres are within reach.
        let start = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let weight = |at: usize| 1.0 - ((at as f64 + 0.5 - centre) / reach).abs();
        let weights: Vec<_> = (start..end).map(|at| weight(at).max(0.0)).collect();
        let sum: f64 = weights.iter().sum();
        Span {
            start,
            weights: weights.iter().map(|weight| (weight / sum) as f32).collect(),
        }
    };
    (0..to).map(span).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use png::{BitDepth, ColorType};
    use proptest::prelude::*;

    use super::super::tests::encode;
    use super::*;

    fn resized(size: (u32, u32), samples: &[u8], height: usize, width: usize) -> Vec<f32> {
        let bytes = encode(size, ColorType::Grayscale, BitDepth::Eight, samples);
        let picture = Picture::decode(Path::new("picture"), &bytes).unwrap();
        let mut pixels = vec![-1.0; height * width];
        write(&picture, height, width, &mut pixels);
        pixels.iter().map(|pixel| pixel * 255.0).collect()
    }

    fn assert_near(found: &[f32], expected: &[f32]) {
        let near = found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(
            near && found.len() == expected.len(),
            "{found:?} for {expected:?}"
        );
    }

    #[test]
    fn a_picture_of_the_wanted_size_stays_as_it_is() {
        assert_near(&resized((2, 2), &[1, 2, 3, 4], 2, 2), &[1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn what_grows_is_interpolated() {
        let expected = [0.0, 25.0, 75.0, 100.0];
        assert_near(&resized((2, 1), &[0, 100], 1, 4), &expected);
        assert_near(&resized((1, 2), &[0, 100], 4, 1), &expected);
        assert_near(&resized((1, 1), &[7], 2, 3), &[7.0; 6]);
    }

    #[test]
    fn what_shrinks_is_a_mean_of_the_area() {
        // 0.5, 1.5, 1.5 and 0.5 of a line of four make one half of it, of which one is beyond its
        // end: the weights are 3, 3 and 1 of 7.
        assert_near(&resized((4, 1), &[70, 0, 0, 0], 1, 2), &[30.0, 0.0]);
        assert_near(&resized((1, 4), &[0, 0, 70, 0], 2, 1), &[10.0, 30.0]);
        assert_near(&resized((2, 2), &[0, 10, 20, 30], 1, 1), &[15.0]);
    }

    #[test]
    fn channels_stay_apart() {
        let samples = [0, 50, 90, 100, 50, 90];
        let bytes = encode((2, 1), ColorType::Rgb, BitDepth::Eight, &samples);
        let picture = Picture::decode(Path::new("picture"), &bytes).unwrap();
        let mut pixels = vec![-1.0; 3 * 2 * 4];
        write(&picture, 2, 4, &mut pixels);
        let pixels: Vec<_> = pixels.iter().map(|pixel| pixel * 255.0).collect();
        let ramp = [0.0, 25.0, 75.0, 100.0].repeat(2);
        assert_near(&pixels, &[ramp, vec![50.0; 8], vec![90.0; 8]].concat());
    }

    proptest! {
        #[test]
        fn every_size_is_brought_to_every_other_and_flat_stays_flat(
            from in (1_u32..40, 1_u32..40),
            to in (1_usize..40, 1_usize..40),
            value: u8,
        ) {
            let samples = vec![value; (from.0 * from.1) as usize];
            let found = resized(from, &samples, to.0, to.1);
            prop_assert!(found.iter().all(|pixel| (pixel - f32::from(value)).abs() < 1e-3));
        }
    }
}
