//! Known answers, made by `vectors/make.py` from the text of the protocol, and answers that must
//! not come out.

mod seeds;
mod session;
mod signatures;
mod tags;

use anyhow::Result;
use serde::de::DeserializeOwned;

fn bytes<const N: usize>(hex: &str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(hex, &mut bytes)?;
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    Ok(serde_json::from_str(json)?)
}
