//! How far the clocks of a node and the relay may be apart.
//!
//! Clocks decide one thing: whether a round key, or a member of the manifest, has expired. A node
//! whose clock is late offers keys that the others take for expired, and one whose clock is early
//! takes theirs for that. So a round key is good for as long as two nodes may be apart on top of
//! all timeouts, and the relay turns away who is further from it: early, and with a reason that
//! both operators can act on. No party takes the time from another.

use super::refusal::Refusal;

/// Most seconds by which a node's clock may differ from the relay's.
pub const CLOCK_TOLERANCE_S: u64 = 300;

/// Most seconds by which the clocks of two nodes differ that the relay lets in.
pub(super) const KEY_ALLOWANCE_S: u64 = 2 * CLOCK_TOLERANCE_S;

/// Checks what a node's clock shows, in seconds of Unix time, against the relay's.
///
/// # Errors
///
/// [`Refusal::Clock`] if they differ by more than [`CLOCK_TOLERANCE_S`].
pub(super) fn check_clock(node_unix_s: u64, relay_unix_s: u64) -> Result<(), Refusal> {
    let apart = node_unix_s.abs_diff(relay_unix_s);
    if apart <= CLOCK_TOLERANCE_S {
        return Ok(());
    }
    let minutes = i64::try_from(apart.saturating_add(30) / 60).unwrap_or(i64::MAX);
    let ahead_min = match node_unix_s > relay_unix_s {
        true => minutes,
        false => -minutes,
    };
    Err(Refusal::Clock { ahead_min })
}

/// Returns a time of so many minutes in words, without its sign.
pub(super) fn in_words(minutes: i64) -> String {
    match minutes.unsigned_abs() {
        minutes @ 0..=119 => format!("{minutes} min"),
        minutes @ 120..=2879 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_refused_from_where_it_may_do_harm() {
        let now = 1_700_000_000;
        for good in [now, now + CLOCK_TOLERANCE_S, now - CLOCK_TOLERANCE_S] {
            assert_eq!(check_clock(good, now), Ok(()));
        }
        for (wrong, told) in [
            (now + 301, "5 min ahead of"),
            (now - 900, "15 min behind"),
            (now - 7_200, "2 h behind"),
            (now + 86_400 * 400, "400 days ahead of"),
            (0, "19675 days behind"),
            (u64::MAX, "days ahead of"),
        ] {
            let refusal = check_clock(wrong, now).unwrap_err();
            let text = refusal.to_string();
            assert!(text.contains(&format!("{told} the relay's")), "{text}");
            assert!(!refusal.is_final(), "the clock can be set");
        }
    }
}
