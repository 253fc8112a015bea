//! How fast bodies must come.

use std::num::NonZeroU64;
use std::time::Duration;

/// How slow a peer may be: the guard against one that holds a stream open by trickling bytes.
///
/// What is counted is the time that the receiver spends waiting for bytes, not what it does
/// between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Waiting that is always allowed.
    pub grace: Duration,
    /// On top of the grace, one second of waiting is allowed for each this many bytes asked for.
    pub bytes_per_second: NonZeroU64,
}

impl Pace {
    /// Longest time to wait until `bytes` have arrived.
    pub fn allowance(&self, bytes: u64) -> Duration {
        let rate = self.bytes_per_second.get();
        let fraction = Duration::from_secs(bytes % rate).div_f64(rate as f64);
        self.grace
            .saturating_add(Duration::from_secs(bytes / rate))
            .saturating_add(fraction)
    }
}
