//! Arrays of numbers, as IDX and safetensors hold them, and what becomes of them.
//!
//! Pixels end in `[0, 1]`, in the order `[channels, height, width]`. Integers are scaled by the
//! range of their *type*, `(v - min) / (max - min)`: 255 of `uint8` is 1, and 0 of `int16` is just
//! above a half. The range of the data would be another one at every node. Floats must be in
//! `[0, 1]` already.

mod element;
mod error;
pub(crate) mod safetensors;

use std::path::Path;

pub(crate) use element::{Element, Order};
pub use error::ArrayError;

use crate::records::{Classes, Records};
use crate::{Error, Shape};

/// The dimensions that channels are recognised by: grey, colour, colour with alpha.
const CHANNELS: [usize; 3] = [1, 3, 4];

/// An array, borrowed from the bytes of its file.
#[derive(Debug)]
pub(crate) struct Array<'a> {
    pub(crate) element: Element,
    pub(crate) order: Order,
    /// The first is the number of examples.
    pub(crate) dimensions: Vec<usize>,
    /// As many numbers as the product of the dimensions.
    pub(crate) data: &'a [u8],
}

/// Where the channels of pictures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    /// Before height and width.
    First,
    /// After them.
    Last,
}

impl Array<'_> {
    /// Returns the dimensions, joined by ×.
    pub(crate) fn dimensions_in_words(&self) -> String {
        let words: Vec<_> = self.dimensions.iter().map(ToString::to_string).collect();
        words.join("×")
    }

    /// Returns the number of examples.
    pub(crate) fn count(&self) -> usize {
        self.dimensions.first().copied().unwrap_or_default()
    }

    /// Returns the shape of pictures of two or three dimensions, and where their channels are: the
    /// one dimension at either end that is 1, 3 or 4.
    pub(crate) fn pictures(&self, path: &Path) -> Result<(Shape, Channels), Error> {
        let (channels, height, width, place) = match *self.dimensions {
            [_, height, width] => (1, height, width, Channels::First),
            [_, first, second, last] => {
                match (CHANNELS.contains(&first), CHANNELS.contains(&last)) {
                    (true, false) => (first, second, last, Channels::First),
                    (false, true) => (last, first, second, Channels::Last),
                    (true, true) => return Err(self.two_channels(path)),
                    (false, false) => return Err(self.no_channels(path)),
                }
            }
            _ => return Err(self.no_channels(path)),
        };
        let shape = Shape::Image {
            channels,
            height,
            width,
        };
        Ok((shape, place))
    }

    fn two_channels(&self, path: &Path) -> Error {
        let (path, dimensions) = (path.into(), self.dimensions_in_words());
        ArrayError::TwoChannels { path, dimensions }.into()
    }

    fn no_channels(&self, path: &Path) -> Error {
        let (path, dimensions) = (path.into(), self.dimensions_in_words());
        ArrayError::NoChannels { path, dimensions }.into()
    }

    /// Returns the pixels of pictures of `shape`, in `[0, 1]` and with the channels first.
    pub(crate) fn pixels(
        &self,
        path: &Path,
        shape: Shape,
        place: Channels,
    ) -> Result<Vec<f32>, Error> {
        let mut pixels = match self.element.range() {
            Some((min, max)) => self.floats(|number| (number - min) / (max - min)),
            None => self.floats(|number| number),
        };
        // Channels of one are at both ends.
        if let (Shape::Image { channels: 2.., .. }, Channels::Last) = (shape, place) {
            put_channels_first(&mut pixels, shape);
        }
        let size = shape.size().max(1);
        let odd = |pixel: &f32| !(0.0..=1.0).contains(pixel);
        match pixels.iter().enumerate().find(|(_, pixel)| odd(pixel)) {
            None => Ok(pixels),
            Some((at, &value)) => Err(Error::Intensity {
                path: path.into(),
                example: at / size + 1,
                pixel: at % size + 1,
                value,
            }),
        }
    }

    /// Returns the numbers, each mapped by `scaled`.
    #[expect(clippy::cast_possible_truncation, reason = "features are of 32 bits")]
    pub(crate) fn floats(&self, scaled: impl Fn(f64) -> f64) -> Vec<f32> {
        let mut floats = Vec::with_capacity(self.data.len() / self.element.size());
        self.element.numbers(self.order, self.data, |number| {
            floats.push(scaled(number) as f32);
        });
        floats
    }

    /// Returns the numbers as labels.
    pub(crate) fn labels(&self, path: &Path) -> Result<Vec<i128>, Error> {
        let labels = self.element.integers(self.order, self.data);
        let error = || ArrayError::Labels {
            path: path.into(),
            found: self.element.name().to_owned(),
        };
        Ok(labels.ok_or_else(error)?)
    }
}

fn put_channels_first(pixels: &mut [f32], shape: Shape) {
    let Shape::Image { channels, .. } = shape else {
        return;
    };
    let area = shape.size() / channels.max(1);
    let mut picture = Vec::with_capacity(shape.size());
    for pixels in pixels.chunks_exact_mut(shape.size().max(1)) {
        picture.clear();
        picture.extend_from_slice(pixels);
        for (channel, plane) in pixels.chunks_exact_mut(area.max(1)).enumerate() {
            let values = picture.iter().skip(channel).step_by(channels);
            for (pixel, &value) in plane.iter_mut().zip(values) {
                *pixel = value;
            }
        }
    }
}

/// Returns the examples with these labels, whose classes are the numbers that occur.
pub(crate) fn records(
    path: &Path,
    shape: Shape,
    features: Vec<f32>,
    labels: &[i128],
) -> Result<Records, Error> {
    if labels.is_empty() {
        return Err(Error::Empty { path: path.into() });
    }
    let mut classes = Classes::default();
    let labels = (1..)
        .zip(labels)
        .map(|(row, label)| classes.index(path, &label.to_string(), row));
    let labels = labels.collect::<Result<_, _>>()?;
    Ok(Records {
        path: path.into(),
        shape,
        features,
        classes: classes.into_vec(),
        labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array<'a>(element: Element, dimensions: &[usize], data: &'a [u8]) -> Array<'a> {
        Array {
            element,
            order: Order::Big,
            dimensions: dimensions.to_vec(),
            data,
        }
    }

    fn image(channels: usize, height: usize, width: usize) -> Shape {
        Shape::Image {
            channels,
            height,
            width,
        }
    }

    #[test]
    fn the_channels_are_the_dimension_of_1_3_or_4() {
        let path = Path::new("images");
        for (dimensions, shape, place) in [
            (&[9, 5, 7][..], image(1, 5, 7), Channels::First),
            (&[9, 3, 5, 7], image(3, 5, 7), Channels::First),
            (&[9, 5, 7, 4], image(4, 5, 7), Channels::Last),
            (&[9, 1, 5, 2], image(1, 5, 2), Channels::First),
        ] {
            let found = array(Element::U8, dimensions, &[]).pictures(path);
            assert_eq!(found.unwrap(), (shape, place));
        }
        let found = array(Element::U8, &[9, 3, 5, 4], &[]).pictures(path);
        assert!(
            matches!(&found, Err(Error::Array(ArrayError::TwoChannels { dimensions, .. }))
                if dimensions == "9×3×5×4"),
            "{found:?}"
        );
        for dimensions in [&[9, 5, 6, 7][..], &[9]] {
            let found = array(Element::U8, dimensions, &[]).pictures(path);
            assert!(matches!(
                found,
                Err(Error::Array(ArrayError::NoChannels { .. }))
            ));
        }
    }

    #[test]
    fn channels_are_put_first() {
        let data = [1, 10, 100, 2, 20, 200, 3, 30, 103, 4, 40, 104];
        let last = array(Element::U8, &[2, 1, 2, 3], &data);
        let pixels = last
            .pixels(Path::new("rgb"), image(3, 1, 2), Channels::Last)
            .unwrap();
        let bytes: Vec<f32> = pixels.iter().map(|pixel| (pixel * 255.0).round()).collect();
        let expected = [1, 2, 10, 20, 100, 200, 3, 4, 30, 40, 103, 104].map(|byte| byte as f32);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn integers_are_scaled_by_the_range_of_their_type() {
        let path = Path::new("images");
        let scaled = |element, data: &[u8]| {
            let array = array(element, &[1, 1, data.len() / 2], data);
            array
                .pixels(path, image(1, 1, data.len() / 2), Channels::First)
                .unwrap()
        };
        assert_eq!(
            scaled(Element::U8, &[0, 51, 255, 102]),
            [0.0, 0.2, 1.0, 0.4]
        );
        assert_eq!(scaled(Element::I8, &[0x80, 0x7f]), [0.0, 1.0]);
        let scaled = scaled(Element::I16, &[0x80, 0, 0x7f, 0xff, 0, 0]);
        assert_eq!(scaled, [0.0, 1.0, 32768.0 / 65535.0]);
    }

    #[test]
    fn floats_must_be_intensities() {
        for odd in [1.5, -0.1, f32::NAN, f32::INFINITY] {
            let data = [0.0, 1.0, 0.5, odd].map(f32::to_be_bytes).concat();
            let array = array(Element::F32, &[2, 1, 2], &data);
            let found = array.pixels(Path::new("x"), image(1, 1, 2), Channels::First);
            assert!(
                matches!(
                    found,
                    Err(Error::Intensity {
                        example: 2,
                        pixel: 2,
                        ..
                    })
                ),
                "{found:?}"
            );
        }
    }

    #[test]
    fn labels_are_integers_and_classes_those_that_occur() {
        let data = [7_i16, -1, 7].map(i16::to_be_bytes).concat();
        let path = Path::new("labels");
        let labels = array(Element::I16, &[3], &data).labels(path).unwrap();
        let table = Shape::Table { columns: 1 };
        let records = records(path, table, vec![0.0; 3], &labels).unwrap();
        assert_eq!(records.labels, [0, 1, 0]);
        assert_eq!(records.schema().unwrap().classes(), ["-1", "7"]);
        let floats = array(Element::F32, &[1], &[0; 4]).labels(path);
        assert!(matches!(
            floats,
            Err(Error::Array(ArrayError::Labels { .. }))
        ));
    }
}
