//! The clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds of Unix time now.
pub fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
