//! The files of models that a run leaves.

use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::files::{self, FileError};

/// Bytes that are hashed at a time.
const BLOCK_BYTES: usize = 1 << 16;

/// A file with a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    /// The file's name, without its folder.
    pub name: String,
    /// The round after which the model was the global one.
    pub round: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
}

impl ModelFile {
    /// Reads a file to tell its hash.
    ///
    /// # Errors
    ///
    /// [`FileError::Read`], [`FileError::NotAFile`].
    pub fn read(path: &Path, round: u64) -> Result<Self, FileError> {
        let mut file = files::open(path)?;
        let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK_BYTES]);
        loop {
            match file.read(&mut block) {
                Ok(0) => break,
                Ok(read) => hash.update(&block[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::read(path, error)),
            }
        }
        let name = path.file_name().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            round,
            sha256: hex::encode(hash.finalize()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_hash_that_sha256sum_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        // More than a block: `yes | head -c 100000 | sha256sum`.
        std::fs::write(&path, "y\n".repeat(50_000)).unwrap();
        let file = ModelFile::read(&path, 7).unwrap();
        assert_eq!((file.name.as_str(), file.round), ("m.safetensors", 7));
        let hash = "b09c7baa455eaf62ef3dc74eed1c2b2e67c111dce2aece99984e6a18c2644d24";
        assert_eq!(file.sha256, hash);
        let missing = ModelFile::read(&folder.path().join("none"), 7);
        assert!(matches!(missing, Err(FileError::Read { .. })));
    }
}
