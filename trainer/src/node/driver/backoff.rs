//! How long a node waits before it tries again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(10);

/// Waits that double, each shortened at random by up to half, so that nodes which a relay lost at
/// the same time do not all come back at the same time.
pub(super) struct Backoff {
    /// The next wait, unshortened.
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Begins with the shortest wait again.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Goes on with the longest.
    pub(super) fn lengthen(&mut self) {
        self.next = LAST;
    }

    /// Returns the next wait. `chance`, from 0 to 1, says how much of what may be left out is not.
    pub(super) fn wait(&mut self, chance: f64) -> Duration {
        let wait = self.next.mul_f64((1.0 + chance.clamp(0.0, 1.0)) / 2.0);
        self.next = (2 * self.next).min(LAST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_are_never_longer_nor_shorter_than_half() {
        let (mut longest, mut shortest) = (Backoff::new(), Backoff::new());
        let mut expected = FIRST;
        for _ in 0..100 {
            let (wait, half) = (longest.wait(1.0), shortest.wait(0.0));
            assert_eq!((wait, half), (expected, expected / 2));
            expected = (2 * expected).min(Duration::from_secs(10));
        }
        longest.reset();
        assert_eq!(longest.wait(1.0), FIRST);
        longest.lengthen();
        assert_eq!(longest.wait(0.0), Duration::from_secs(5));
        assert_eq!(longest.wait(1.0), Duration::from_secs(10));
    }
}
