//! The size that images are to have.

use std::fmt;
use std::str::FromStr;

use crate::error::excerpt;
use crate::{Error, Schema, Shape};

/// The size that images are to have, written `28x28` (height and width) or `3x32x32` (channels,
/// height and width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Nothing to have those that there are.
    channels: Option<usize>,
    height: usize,
    width: usize,
}

impl ImageSize {
    /// Returns the shape of images of this size, which have `channels` unless it says how many.
    pub(crate) fn shape(&self, channels: usize) -> Shape {
        Shape::Image {
            channels: self.channels.unwrap_or(channels),
            height: self.height,
            width: self.width,
        }
    }

    /// Returns the channels, if it says how many.
    pub(crate) fn channels(&self) -> Option<usize> {
        self.channels
    }

    /// Checks that it is the size that was agreed on.
    ///
    /// # Errors
    ///
    /// [`Error::SizeMismatch`] if it is another one.
    pub(crate) fn check(&self, schema: &Schema) -> Result<(), Error> {
        let expected = schema.shape();
        match expected {
            Shape::Image { channels, .. } if self.shape(channels) == expected => Ok(()),
            _ => Err(Error::SizeMismatch {
                size: *self,
                expected,
            }),
        }
    }
}

impl FromStr for ImageSize {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::ImageSize`] if it is not two or three numbers of 1 or more, joined by `x`, or an
    /// image would have more than [`Shape::MAX_SIZE`] pixels.
    fn from_str(text: &str) -> Result<Self, Error> {
        let numbers: Result<Vec<usize>, _> = text.split(['x', 'X', '×']).map(str::parse).collect();
        let size = match numbers.as_deref() {
            Ok(&[height, width]) => Some((None, height, width)),
            Ok(&[channels, height, width]) => Some((Some(channels), height, width)),
            _ => None,
        };
        let size = size.map(|(channels, height, width)| Self {
            channels,
            height,
            width,
        });
        let size = size.filter(|size| (1..=Shape::MAX_SIZE).contains(&size.shape(1).size()));
        size.ok_or_else(|| Error::ImageSize(excerpt(text)))
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(channels) = self.channels {
            write!(f, "{channels}x")?;
        }
        write!(f, "{}x{}", self.height, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_two_or_three_numbers() {
        for text in ["28x28", "3x32x32", "1x1"] {
            assert_eq!(text.parse::<ImageSize>().unwrap().to_string(), text);
        }
        assert_eq!("3×2X1".parse::<ImageSize>().unwrap().to_string(), "3x2x1");
        for text in [
            "",
            "28",
            "x28",
            "28x",
            "0x28",
            "1x2x3x4",
            "-1x2",
            "28 x 28",
            "5000x5000",
        ] {
            let error = text.parse::<ImageSize>().unwrap_err().to_string();
            assert!(error.contains("no size of images"), "{text}: {error}");
        }
    }

    #[test]
    fn it_is_that_of_a_schema_or_an_error() {
        let classes = ["a", "b"].map(str::to_owned).to_vec();
        let schema = Schema::new(
            "3x4x5".parse::<ImageSize>().unwrap().shape(1),
            vec![],
            classes,
        );
        let schema = schema.unwrap();
        for (text, fits) in [
            ("4x5", true),
            ("3x4x5", true),
            ("1x4x5", false),
            ("5x4", false),
        ] {
            let size: ImageSize = text.parse().unwrap();
            assert_eq!(size.check(&schema).is_ok(), fits, "{text}");
        }
    }
}
