//! Pictures of every kind, and bytes that are none.

use std::fs;

use proptest::prelude::*;

use super::super::tests::{GREY, encode, palette};
use super::*;

const PROGRESSIVE: &[u8] = include_bytes!("../samples/progressive.jpg");
const COLOUR: &[u8] = include_bytes!("../samples/colour.jpg");
const CMYK: &[u8] = include_bytes!("../samples/cmyk.jpg");

fn decode(bytes: &[u8]) -> Result<Picture, Error> {
    Picture::decode(Path::new("picture"), bytes)
}

/// Row `y` in so many channels, in units of `max`.
fn row(picture: &Picture, y: usize, channels: usize, max: f32) -> Vec<f32> {
    let mut row = vec![-1.0; channels * picture.width];
    picture.row(y, &mut row);
    row.iter().map(|number| number * max).collect()
}

fn assert_near(found: &[f32], expected: &[f32], most: f32) {
    assert_eq!(found.len(), expected.len());
    let near = found
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() <= most);
    assert!(near, "{found:?} for {expected:?}");
}

#[test]
fn grey_is_read_in_every_depth() {
    let bytes = encode(
        (2, 2),
        ColorType::Grayscale,
        BitDepth::Eight,
        &[0, 51, 255, 102],
    );
    let picture = decode(&bytes).unwrap();
    assert_eq!((picture.channels, picture.height, picture.width), (1, 2, 2));
    assert_near(&row(&picture, 1, 1, 255.0), &[255.0, 102.0], 1e-4);
    // Grey in colour.
    assert_near(
        &row(&picture, 0, 3, 255.0),
        &[0.0, 51.0, 0.0, 51.0, 0.0, 51.0],
        1e-4,
    );
    let words = [1_u16, 65535].map(u16::to_be_bytes).concat();
    let bytes = encode((2, 1), ColorType::Grayscale, BitDepth::Sixteen, &words);
    assert_near(
        &row(&decode(&bytes).unwrap(), 0, 1, 65535.0),
        &[1.0, 65535.0],
        1e-2,
    );
    let bytes = encode((4, 1), ColorType::Grayscale, BitDepth::Two, &[0b0001_1011]);
    let found = row(&decode(&bytes).unwrap(), 0, 1, 3.0);
    assert_near(&found, &[0.0, 1.0, 2.0, 3.0], 1e-6);
}

#[test]
fn colour_is_read_by_channels_and_turned_grey_by_brightness() {
    let bytes = encode(
        (2, 1),
        ColorType::Rgb,
        BitDepth::Eight,
        &[255, 0, 1, 0, 100, 2],
    );
    let picture = decode(&bytes).unwrap();
    let expected = [255.0, 0.0, 0.0, 100.0, 1.0, 2.0];
    assert_near(&row(&picture, 0, 3, 255.0), &expected, 1e-4);
    let grey = [0.299 * 255.0 + 0.114, 58.7 + 0.228];
    assert_near(&row(&picture, 0, 1, 255.0), &grey, 1e-4);
    let words = [1_u16, 2, 65535].map(u16::to_be_bytes).concat();
    let bytes = encode((1, 1), ColorType::Rgb, BitDepth::Sixteen, &words);
    assert_near(
        &row(&decode(&bytes).unwrap(), 0, 3, 65535.0),
        &[1.0, 2.0, 65535.0],
        1e-2,
    );
}

#[test]
fn palettes_are_colours() {
    let picture = decode(&palette(None)).unwrap();
    assert_eq!(picture.channels, 3);
    let expected = [40.0, 10.0, 50.0, 20.0, 60.0, 30.0];
    assert_near(&row(&picture, 0, 3, 255.0), &expected, 1e-4);
}

#[test]
fn alpha_is_dropped_where_all_is_opaque() {
    let opaque = [1, 2, 3, 255, 4, 5, 6, 255];
    let bytes = encode((2, 1), ColorType::Rgba, BitDepth::Eight, &opaque);
    let expected = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
    assert_near(&row(&decode(&bytes).unwrap(), 0, 3, 255.0), &expected, 1e-4);
    let words = [500_u16, 65535].map(u16::to_be_bytes).concat();
    let bytes = encode((1, 1), ColorType::GrayscaleAlpha, BitDepth::Sixteen, &words);
    assert_near(
        &row(&decode(&bytes).unwrap(), 0, 1, 65535.0),
        &[500.0],
        1e-2,
    );
    assert!(decode(&palette(Some(&[255, 255]))).is_ok());

    let words = [500_u16, 65534].map(u16::to_be_bytes).concat();
    for transparent in [
        encode((1, 1), ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 254]),
        encode((1, 1), ColorType::GrayscaleAlpha, BitDepth::Sixteen, &words),
        palette(Some(&[255, 0])),
    ] {
        let found = decode(&transparent);
        assert!(
            matches!(found, Err(Error::Picture(PictureError::Kind { .. }))),
            "{found:?}"
        );
    }
}

#[test]
fn jpeg_is_read_grey_in_colour_and_progressive() {
    let ramp: Vec<f32> = (0..16).map(|x| 16.0 * x as f32).collect();
    let grey = decode(GREY).unwrap();
    assert_eq!((grey.channels, grey.height, grey.width), (1, 16, 16));
    assert_near(&row(&grey, 7, 1, 255.0), &ramp, 4.0);
    for (bytes, most) in [(COLOUR, 6.0), (PROGRESSIVE, 30.0)] {
        let colour = decode(bytes).unwrap();
        assert_eq!((colour.channels, colour.height, colour.width), (3, 16, 16));
        let expected = [&ramp[..], &[112.0; 16], &[128.0; 16]].concat();
        assert_near(&row(&colour, 7, 3, 255.0), &expected, most);
    }
    let cmyk = decode(CMYK);
    assert!(
        matches!(cmyk, Err(Error::Picture(PictureError::Kind { .. }))),
        "{cmyk:?}"
    );
}

#[test]
fn pictures_cut_anywhere_are_errors() {
    let pixels: Vec<u8> = (0..=255).collect();
    let png = encode((16, 16), ColorType::Grayscale, BitDepth::Eight, &pixels);
    for whole in [&png, GREY, COLOUR, PROGRESSIVE] {
        for length in 0..whole.len() {
            let found = decode(&whole[..length]);
            assert!(
                matches!(found, Err(Error::Picture(PictureError::Broken { .. }))),
                "{length} of {} bytes: {found:?}",
                whole.len()
            );
        }
    }
    assert!(decode(&[COLOUR, &[0xff, 0xda, 0, 1]].concat()).is_ok());
    let mut damaged = png.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert!(matches!(
        decode(&damaged),
        Err(Error::Picture(PictureError::Broken { .. }))
    ));
}

/// The PNG with other sizes in its header, and the checksum that belongs to them.
fn with_size(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut png = png.to_vec();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let mut checksum = flate2::Crc::new();
    checksum.update(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
    png
}

#[test]
fn what_would_be_too_large_is_not_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.png");
    let png = encode((1, 1), ColorType::Rgb, BitDepth::Eight, &[0; 3]);
    for (width, height) in [(1 << 13, 1 << 13), (1 << 30, 1 << 30), (u32::MAX >> 1, 1)] {
        let bomb = with_size(&png, width, height);
        fs::write(&path, &bomb).unwrap();
        for found in [decode(&bomb).map(drop), shape(&path).map(drop)] {
            let large = matches!(found, Err(Error::Picture(PictureError::TooLarge { .. })));
            assert!(large, "{found:?}");
        }
    }
    // Within the limit it is as damaged as any other.
    let found = decode(&with_size(&png, 1 << 12, 1 << 12));
    assert!(matches!(
        found,
        Err(Error::Picture(PictureError::Broken { .. }))
    ));
    let mut jpeg = GREY.to_vec();
    let frame = jpeg
        .windows(2)
        .position(|bytes| bytes == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    let found = decode(&jpeg);
    assert!(
        matches!(found, Err(Error::Picture(PictureError::TooLarge { .. }))),
        "{found:?}"
    );

    fs::File::create(&path)
        .unwrap()
        .set_len(MAX_FILE + 1)
        .unwrap();
    let found = Picture::open(&path);
    assert!(matches!(
        found,
        Err(Error::Picture(PictureError::FileTooLarge { .. }))
    ));
}

#[test]
fn the_shape_is_that_of_the_decoded_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture");
    // What a camera puts before the header.
    let note = [&[0xff, 0xd8, 0xff, 0xed, 0xff, 0xff][..], &[0; 0xfffd]].concat();
    let noted = [&note, &COLOUR[2..]].concat();
    for bytes in [&palette(None)[..], GREY, COLOUR, PROGRESSIVE, &noted] {
        fs::write(&path, bytes).unwrap();
        let picture = Picture::open(&path).unwrap();
        let expected = Shape::Image {
            channels: picture.channels,
            height: picture.height,
            width: picture.width,
        };
        assert_eq!(shape(&path).unwrap(), expected);
    }
    for bytes in [&b"GIF89a"[..], b"", b"\xff\xd8\xff"] {
        fs::write(&path, bytes).unwrap();
        let found = shape(&path);
        assert!(matches!(
            found,
            Err(Error::Picture(PictureError::Broken { .. }))
        ));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_rejected(
        start in prop::sample::select(vec![PNG, JPEG, b""]),
        bytes: Vec<u8>,
    ) {
        let _ = decode(&[start, &bytes].concat());
    }

    #[test]
    fn changed_pictures_are_decoded_or_rejected(
        which in 0_usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let pixels: Vec<u8> = (0..=255).collect();
        let png = encode((16, 16), ColorType::Grayscale, BitDepth::Eight, &pixels);
        let palette = palette(Some(&[255]));
        let mut bytes = [&png[..], &palette, GREY, COLOUR, PROGRESSIVE][which].to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(picture) = decode(&bytes) {
            let last = row(&picture, picture.height - 1, 3, 1.0);
            prop_assert!(last.iter().all(|number| (0.0..=1.0).contains(number)));
        }
    }
}
