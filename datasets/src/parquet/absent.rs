//! Parquet files, where nothing is built that reads them.

use std::path::Path;

use super::ParquetError;
use crate::{Error, LoadOptions, Loaded, Schema};

pub(crate) fn load(path: &Path, _: &LoadOptions) -> Result<Loaded, Error> {
    not_built(path)
}

pub(crate) fn load_unlabelled(path: &Path, _: &Schema) -> Result<Loaded, Error> {
    not_built(path)
}

fn not_built(path: &Path) -> Result<Loaded, Error> {
    let path = path.into();
    Err(ParquetError::NotBuilt { path }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_parquet_says_so() {
        let path = Path::new("data.parquet");
        let error = load(path, &LoadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("built without"), "{error}");
    }
}
