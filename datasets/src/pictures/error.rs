//! What can be wrong with folders of pictures.

use std::path::PathBuf;

use crate::Shape;

/// Why pictures were not read.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The folder is of no known layout.
    #[error(
        "{folder} has no train-images-idx3-ubyte and no subfolder; give a folder of IDX files, or \
         one with a subfolder of pictures for each class"
    )]
    Layout {
        /// The folder.
        folder: PathBuf,
    },
    /// A file has the name of no picture.
    #[error(
        "{path} is no .png, .jpg or .jpeg inside a class's folder{}; move it elsewhere",
        others(*more)
    )]
    Stray {
        /// The first such file.
        path: PathBuf,
        /// Files like it in the same folder.
        more: usize,
    },
    /// A folder is where only pictures are expected.
    #[error(
        "{path} is a folder inside a class's folder; put pictures into the class's folder itself, \
         or give the folder of which the subfolders are the classes"
    )]
    Nested {
        /// The inner folder.
        path: PathBuf,
    },
    /// A folder lies beside `train`, and is no test set.
    #[error("{path} lies beside the folder train, but is neither test nor val; move it elsewhere")]
    BesideTrain {
        /// The folder.
        path: PathBuf,
    },
    /// There are two folders that may be the test set.
    #[error(
        "{folder} has {first} as well as {second}, and there is one test set; move one of them \
         elsewhere, or its pictures into train"
    )]
    TwoTestSets {
        /// The folder.
        folder: PathBuf,
        /// The name of one.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// A symbolic link, which might lead to anybody's data.
    #[error(
        "{path} is a symbolic link, and links are not followed; copy the folder with what they \
         lead to (cp -rL)"
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The name of a class's folder is not UTF-8.
    #[error("the name of {path} is not UTF-8, but is to be a class's; rename the folder")]
    ClassName {
        /// The folder.
        path: PathBuf,
    },
    /// A folder with pictures is none of the schema's classes.
    #[error("{path} is none of the classes {classes}; rename or remove the folder")]
    UnknownClass {
        /// The folder.
        path: PathBuf,
        /// The first classes, joined by commas.
        classes: String,
    },
    /// A file is damaged or no picture.
    #[error("{path} is no PNG or JPEG, cut short or damaged ({said}); copy it again or remove it")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        said: String,
    },
    /// A picture of a kind that is not read.
    #[error("{path} is {found}, which is not read; save it as grey or RGB, without transparency")]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A picture is too large to be decoded. A file that holds it may be small.
    #[error("{path} is {shape}, more than {max} numbers; make it smaller")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size by its header.
        shape: Shape,
        /// Numbers that are decoded at most.
        max: usize,
    },
    /// A file is too large to be read.
    #[error("{path} is more than {max} bytes; make the picture smaller")]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are read at most.
        max: u64,
    },
    /// Pictures differ in size, and nothing says which one is wanted.
    #[error(
        "{differing} of {count} pictures in {folder} are not {first} as the first is, such as \
         {path} with {found}; say to which size they are to be brought (as 64x64, or by a \
         schema), or make them alike"
    )]
    Sizes {
        /// The folder.
        folder: PathBuf,
        /// All pictures.
        count: usize,
        /// Those that are not like the first.
        differing: usize,
        /// The shape of the first.
        first: Shape,
        /// The first that is not.
        path: PathBuf,
        /// Its shape.
        found: Box<Shape>,
    },
    /// Pictures cannot be brought to so many channels.
    #[error("pictures are read in 1 channel (grey) or 3 (colour), not {channels}; choose of these")]
    Channels {
        /// Channels of the schema's shape.
        channels: usize,
    },
    /// There is not enough memory for all.
    #[error(
        "{count} pictures of {shape} in {folder} do not fit into memory; choose a smaller size, or \
         give fewer"
    )]
    Memory {
        /// The folder.
        folder: PathBuf,
        /// Pictures in it.
        count: usize,
        /// The shape that they would have.
        shape: Shape,
    },
}

fn others(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(", nor are {more} others beside it"),
    }
}
