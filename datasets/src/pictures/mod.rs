//! Folders of pictures, PNG and JPEG, with a subfolder for each class.
//!
//! ```text
//! scans/benign/1.png            scans/train/benign/1.png
//! scans/benign/2.jpeg     or    scans/train/malignant/7.png
//! scans/malignant/7.png         scans/test/benign/2.png
//! ```
//!
//! * Classes are the names of the folders that hold pictures. `val`, `valid` or `validation` may
//!   stand for `test`; two of them are refused.
//! * Pictures come in the order of their classes, and of their names in these, by the bytes.
//! * What the system hides there (`.DS_Store`, `Thumbs.db`) is skipped. Any other file, a folder in
//!   a class's folder, a pipe or a device is an error. So is a symbolic link: what it leads to may
//!   be anybody's data. The folder that was asked for may be a link.
//! * What a file is, its first bytes say, not its name.
//! * Pixels are divided by 255, or by 65,535 where they have 16 bits. Palettes are colours. Alpha
//!   is dropped where all is opaque, and a transparent pixel is an error. Colour profiles, gamma
//!   and the orientation that cameras note (EXIF) change nothing.
//! * With a schema, pictures are brought to its channels, height and width: colours to grey by the
//!   weights of BT.601, grey to three equal colours, and sizes as [`resize::write`] says, without
//!   regard to proportions. With a size they are brought to that, and to its channels or, if it has
//!   none, to colours if one picture is in colour. Without either, all must be as the first.

mod decode;
mod error;
mod folder;
pub(crate) mod parallel;
mod resize;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub(crate) use decode::shape_of;
pub use error::PictureError;

use self::decode::Picture;
use self::folder::Part;
use crate::records::{Classes, Records};
use crate::{Error, ImageSize, Loaded, Schema, Shape, parts};

/// Loads the folder, against `schema` or the one that fits its own data, brought to `size`.
pub(crate) fn load(
    folder: &Path,
    schema: Option<&Schema>,
    size: Option<ImageSize>,
) -> Result<Loaded, Error> {
    let (train, test) = folder::parts(folder)?;
    let parts = || [Some(&train), test.as_ref()].into_iter().flatten();
    let shape = match schema {
        Some(schema) => {
            parts().try_for_each(|part| part.check_classes(schema))?;
            let first = || train.pictures().first().map(|first| decode::shape(first));
            wanted(folder, schema, first)?
        }
        None => {
            let pictures = parts().flat_map(Part::pictures).collect::<Vec<_>>();
            let mut shapes = vec![Shape::Table { columns: 0 }; pictures.len()];
            parallel::for_each(pictures.iter().zip(&mut shapes), |(path, shape)| {
                *shape = decode::shape(path)?;
                Ok(())
            })?;
            common_shape(folder, &shapes, size, |at| pictures[at].clone())?
        }
    };
    let records = |part: &Part| records(part, shape);
    let (train, test) = (records(&train)?, test.as_ref().map(records).transpose()?);
    parts::loaded(train, test, schema)
}

/// Returns the shape of the schema, if pictures can be brought to it. `first` is that of the first.
///
/// # Errors
///
/// The schema is not one of pictures, or of other channels than 1 or 3.
pub(crate) fn wanted(
    path: &Path,
    schema: &Schema,
    first: impl FnOnce() -> Option<Result<Shape, Error>>,
) -> Result<Shape, Error> {
    match schema.shape() {
        shape @ Shape::Image {
            channels: 1 | 3, ..
        } => Ok(shape),
        Shape::Image { channels, .. } => Err(PictureError::Channels { channels }.into()),
        expected @ Shape::Table { .. } => Err(Error::ShapeMismatch {
            path: path.into(),
            expected,
            found: first().transpose()?.unwrap_or(expected),
        }),
    }
}

/// Returns the shape that all pictures have, or that they are brought to by a size: in colour if
/// one is, unless the size says otherwise. `path` names each picture.
///
/// # Errors
///
/// There are none, or they differ and there is no size.
pub(crate) fn common_shape(
    folder: &Path,
    shapes: &[Shape],
    size: Option<ImageSize>,
    path: impl Fn(usize) -> PathBuf,
) -> Result<Shape, Error> {
    let Some(&first) = shapes.first() else {
        let path = folder.into();
        return Err(Error::Empty { path });
    };
    if let Some(size) = size {
        let in_colour = |shape: &Shape| matches!(shape, Shape::Image { channels: 3, .. });
        let channels = match shapes.iter().any(in_colour) {
            true => 3,
            false => 1,
        };
        return match size.channels() {
            None | Some(1 | 3) => Ok(size.shape(channels)),
            Some(channels) => Err(PictureError::Channels { channels }.into()),
        };
    }
    let mut others = (0..shapes.len()).filter(|&at| shapes[at] != first);
    if let Some(at) = others.next() {
        return Err(PictureError::Sizes {
            folder: folder.into(),
            count: shapes.len(),
            differing: 1 + others.count(),
            first,
            path: path(at),
            found: shapes[at].into(),
        }
        .into());
    }
    match first.size() > Shape::MAX_SIZE {
        true => Err(Error::Shape(first)),
        false => Ok(first),
    }
}

/// Returns room for the pixels of so many pictures.
///
/// # Errors
///
/// They do not fit into memory.
pub(crate) fn pixels(folder: &Path, count: usize, shape: Shape) -> Result<Vec<f32>, Error> {
    let mut pixels = Vec::new();
    let length = count.checked_mul(shape.size());
    let length = length.filter(|&length| pixels.try_reserve_exact(length).is_ok());
    let length = length.ok_or_else(|| PictureError::Memory {
        folder: folder.into(),
        count,
        shape,
    })?;
    pixels.resize(length, 0.0);
    Ok(pixels)
}

/// Decodes the picture in these bytes, called `path` in errors, and writes it to `pixels`, those of
/// `shape`.
///
/// # Errors
///
/// The picture cannot be decoded.
pub(crate) fn write(
    path: &Path,
    bytes: &[u8],
    shape: Shape,
    pixels: &mut [f32],
) -> Result<(), Error> {
    resized(&Picture::decode(path, bytes)?, shape, pixels)
}

/// Writes a picture to `pixels`, those of `shape`.
fn resized(picture: &Picture, shape: Shape, pixels: &mut [f32]) -> Result<(), Error> {
    let Shape::Image { height, width, .. } = shape else {
        return Err(Error::Shape(shape));
    };
    resize::write(picture, height, width, pixels);
    Ok(())
}

/// The pictures of a part, brought to `shape`.
fn records(part: &Part, shape: Shape) -> Result<Records, Error> {
    let mut classes = Classes::default();
    let mut labels = vec![];
    for class in &part.classes {
        let label = classes.index(&part.path, &class.name, labels.len() as u64 + 1)?;
        labels.resize(labels.len() + class.files.len(), label);
    }
    let pictures = part.pictures();
    let mut features = pixels(&part.path, pictures.len(), shape)?;
    let places = features.chunks_exact_mut(shape.size());
    parallel::for_each(pictures.iter().zip(places), |(path, pixels)| {
        resized(&Picture::open(path)?, shape, pixels)
    })?;
    Ok(Records {
        path: part.path.clone(),
        shape,
        features,
        classes: classes.into_vec(),
        labels,
    })
}
