//! A program's settings in a TOML file, which flags overrule.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::files::{FileError, read_limited};

/// Far more than all settings of a program.
const MOST_BYTES: usize = 1 << 20;

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not TOML, or has a setting that there is not.
    #[error("in {path}: {source}")]
    Toml {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
}

/// Reads the file, or gives the settings of an empty one where there is none.
///
/// # Errors
///
/// A [`ConfigError`].
pub fn read<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, ConfigError> {
    let Some(path) = path else {
        return Ok(T::default());
    };
    let bytes = read_limited(path, MOST_BYTES)?;
    toml::from_slice(&bytes).map_err(|source| ConfigError::Toml {
        path: path.to_owned(),
        source: Box::new(source),
    })
}
