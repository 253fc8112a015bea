//! What a party sees of the others, and where keys are written.

mod consortia;
mod holders;
mod keys;
#[cfg(target_os = "linux")]
mod memory;
mod relay;
mod training_time;

/// Whether `part` stands somewhere in `bytes`.
fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let first = part[0];
    bytes
        .windows(part.len())
        .any(|window| window[0] == first && window == part)
}
