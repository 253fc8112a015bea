//! Decoding PNG and JPEG.

use std::fmt::Display;
use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Limits, Transformations};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::PictureError;
use crate::file::DataFile;
use crate::{Error, Shape};

/// The most numbers in a picture that is decoded, 2²⁶: 22 million pixels in colour.
const MAX_NUMBERS: usize = 4 * Shape::MAX_SIZE;
/// Bytes of the largest file: such a picture of 16 bits that is not compressed at all.
const MAX_FILE: u64 = 2 * MAX_NUMBERS as u64 + (1 << 20);
/// Bytes in which most headers end. What cameras put before them may be longer.
const HEADER: u64 = 1 << 12;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// A decoded picture, grey or in colour.
#[derive(Debug)]
pub(super) struct Picture {
    /// 1 or 3.
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// `[height, width, channels]`, of one byte each or of two.
    samples: Vec<u8>,
    sixteen_bits: bool,
}

impl Picture {
    /// Decodes the picture in a file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Self::decode(path, &read(path)?)
    }

    /// Decodes the picture in these bytes of the file `path`.
    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        match Format::of(path, bytes)? {
            Format::Png => Self::png(path, bytes),
            Format::Jpeg => Self::jpeg(path, bytes),
        }
    }

    fn png(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let broken = |error| broken(path, error);
        let mut decoder = png(bytes);
        check_size(path, png_shape(&mut decoder).map_err(broken)?)?;
        let mut reader = decoder.read_info().map_err(broken)?;
        let (colour, depth) = reader.output_color_type();
        let size = reader.output_buffer_size();
        let size = size.ok_or_else(|| broken(png::DecodingError::LimitsExceeded))?;
        let mut samples = vec![0; size];
        let frame = reader.next_frame(&mut samples).map_err(broken)?;
        reader.finish().map_err(broken)?;
        let (channels, has_alpha) = match colour {
            ColorType::Grayscale => (1, false),
            ColorType::GrayscaleAlpha => (1, true),
            ColorType::Rgb | ColorType::Indexed => (3, false),
            ColorType::Rgba => (3, true),
        };
        let picture = Self {
            channels,
            height: frame.height as usize,
            width: frame.width as usize,
            samples,
            sixteen_bits: depth == BitDepth::Sixteen,
        };
        match has_alpha {
            true => picture.without_alpha(path),
            false => Ok(picture),
        }
    }

    /// The picture without the alpha that its samples have. Only the opaque is taken: on which
    /// ground the rest is to be seen, nobody says.
    fn without_alpha(mut self, path: &Path) -> Result<Self, Error> {
        let sample = 1 + usize::from(self.sixteen_bits);
        let colours = self.channels * sample;
        let mut samples = Vec::with_capacity(self.height * self.width * colours);
        for pixel in self.samples.chunks_exact(colours + sample) {
            let (colour, alpha) = pixel.split_at(colours);
            if alpha.iter().any(|&byte| byte != u8::MAX) {
                return Err(kind(path, "partly transparent"));
            }
            samples.extend_from_slice(colour);
        }
        self.samples = samples;
        Ok(self)
    }

    fn jpeg(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let broken = |error| broken(path, error);
        let mut decoder = jpeg(bytes);
        decoder.decode_headers().map_err(broken)?;
        let (colours, shape) = jpeg_shape(path, &decoder)?;
        check_size(path, shape)?;
        decoder.set_options(decoder.options().jpeg_set_out_colorspace(colours));
        let samples = decoder.decode().map_err(broken)?;
        if !is_complete(bytes) {
            return Err(broken("there is no end of the picture".into()));
        }
        let Shape::Image {
            channels,
            height,
            width,
        } = shape
        else {
            return Err(Error::Shape(shape));
        };
        match samples.len() == shape.size() {
            true => Ok(Self {
                channels,
                height,
                width,
                samples,
                sixteen_bits: false,
            }),
            false => Err(broken("there are other pixels than the header says".into())),
        }
    }

    /// Writes row `y` to `row`, `[channels, width]` in `[0, 1]`, grey or in colour as its length
    /// has it.
    pub(super) fn row(&self, y: usize, row: &mut [f32]) {
        match self.sixteen_bits {
            false => self.numbers(y, row, |[byte]: [u8; 1]| f32::from(byte) / 255.0),
            true => self.numbers(y, row, |word| f32::from(u16::from_be_bytes(word)) / 65535.0),
        }
    }

    fn numbers<const N: usize>(
        &self,
        y: usize,
        row: &mut [f32],
        number: impl Fn([u8; N]) -> f32 + Copy,
    ) {
        let (words, _) = self.samples.as_chunks::<N>();
        let mut rows = words.chunks_exact(self.width * self.channels);
        let words = rows.nth(y).unwrap_or_default();
        let (colours, _) = words.as_chunks::<3>();
        let is_grey = row.len() == self.width;
        let mut planes = row.chunks_exact_mut(self.width);
        if self.channels == 1 {
            // Grey is the same in each colour.
            for (value, &word) in planes.flat_map(|plane| plane.iter_mut().zip(words)) {
                *value = number(word);
            }
        } else if is_grey {
            for (value, colour) in row.iter_mut().zip(colours) {
                *value = luma(colour.map(number));
            }
        } else if let (Some(red), Some(green), Some(blue)) =
            (planes.next(), planes.next(), planes.next())
        {
            let planes = red.iter_mut().zip(green).zip(blue);
            for (((red, green), blue), colour) in planes.zip(colours) {
                [*red, *green, *blue] = colour.map(number);
            }
        }
    }
}

/// How bright a colour is, by the weights of BT.601.
fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// Returns the shape of the picture in a file, of which only the header is read.
pub(super) fn shape(path: &Path) -> Result<Shape, Error> {
    let beginning = DataFile::open(path)?.beginning(HEADER)?;
    shape_of(path, &beginning).or_else(|_| shape_of(path, &read(path)?))
}

/// Returns the shape of the picture in these bytes, called `path` in errors, of which only the
/// header is read.
pub(crate) fn shape_of(path: &Path, bytes: &[u8]) -> Result<Shape, Error> {
    let shape = match Format::of(path, bytes)? {
        Format::Png => png_shape(&mut png(bytes)).map_err(|error| broken(path, error))?,
        Format::Jpeg => {
            let mut decoder = jpeg(bytes);
            decoder
                .decode_headers()
                .map_err(|error| broken(path, error))?;
            jpeg_shape(path, &decoder)?.1
        }
    };
    check_size(path, shape)?;
    Ok(shape)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = DataFile::open(path)?.read(MAX_FILE)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(PictureError::FileTooLarge {
            path: path.into(),
            max: MAX_FILE,
        }
        .into()),
        false => Ok(bytes),
    }
}

enum Format {
    Png,
    Jpeg,
}

impl Format {
    /// What the bytes are, whatever the file's name says.
    fn of(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            _ if bytes.starts_with(PNG) => Ok(Self::Png),
            _ if bytes.starts_with(JPEG) => Ok(Self::Jpeg),
            _ => Err(broken(path, "it begins as neither")),
        }
    }
}

/// A decoder that expands palettes and few bits to bytes.
fn png(bytes: &[u8]) -> png::Decoder<Cursor<&[u8]>> {
    let limits = Limits {
        bytes: 8 * MAX_NUMBERS,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

fn png_shape(decoder: &mut png::Decoder<Cursor<&[u8]>>) -> Result<Shape, png::DecodingError> {
    let info = decoder.read_header_info()?;
    Ok(Shape::Image {
        channels: match info.color_type {
            ColorType::Grayscale | ColorType::GrayscaleAlpha => 1,
            ColorType::Rgb | ColorType::Rgba | ColorType::Indexed => 3,
        },
        height: info.height as usize,
        width: info.width as usize,
    })
}

/// A decoder that refuses what is cut short, rather than to fill it up with grey.
fn jpeg(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let longest = usize::from(u16::MAX);
    let options = DecoderOptions::default().set_strict_mode(true);
    let options = options.set_max_width(longest).set_max_height(longest);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

/// Whether a JPEG has its end, which the decoder does not ask for. What cameras put behind it
/// counts for nothing, nor does the end of a small picture inside the header.
fn is_complete(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    // Behind 0xff: a byte of data, a restart inside a scan, or filling.
    let is_marker = |code: u8| !matches!(code, 0 | 0xd0..=0xd7 | 0xff);
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let is_marker = |pair: &[u8]| matches!(*pair, [0xff, code] if is_marker(code));
        let Some(at) = rest.windows(2).position(is_marker) else {
            return false;
        };
        let next = match rest.get(at + 1..).unwrap_or_default() {
            [END, ..] => return true,
            [_, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return false,
        };
        rest = rest.get(at + 2 + next..).unwrap_or_default();
    }
}

/// The colours and the shape that the picture is decoded to.
fn jpeg_shape(
    path: &Path,
    decoder: &JpegDecoder<ZCursor<&[u8]>>,
) -> Result<(ColorSpace, Shape), Error> {
    let (colours, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => (ColorSpace::RGB, 3),
        Some(ColorSpace::CMYK | ColorSpace::YCCK) => return Err(kind(path, "in CMYK for print")),
        _ => return Err(kind(path, "in unusual colours")),
    };
    let info = decoder
        .info()
        .ok_or_else(|| broken(path, "it has no header"))?;
    let shape = Shape::Image {
        channels,
        height: info.height.into(),
        width: info.width.into(),
    };
    Ok((colours, shape))
}

/// Checks by the header that a picture is not too large to be decoded.
fn check_size(path: &Path, shape: Shape) -> Result<(), Error> {
    match (1..=MAX_NUMBERS).contains(&shape.size()) {
        true => Ok(()),
        false => Err(PictureError::TooLarge {
            path: path.into(),
            shape,
            max: MAX_NUMBERS,
        }
        .into()),
    }
}

fn broken(path: &Path, said: impl Display) -> Error {
    PictureError::Broken {
        path: path.into(),
        said: said.to_string(),
    }
    .into()
}

fn kind(path: &Path, found: &'static str) -> Error {
    PictureError::Kind {
        path: path.into(),
        found,
    }
    .into()
}

#[cfg(test)]
mod tests;
