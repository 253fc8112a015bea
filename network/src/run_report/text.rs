//! Numbers and tables as they are read.

use fl_protocol::metrics::Share;
use maud::{Markup, html};
use time::OffsetDateTime;

/// A whole number, with a comma at every thousand.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of 0 to 1 in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}\u{a0}%", 100.0 * share)
}

/// A share with its interval.
pub(super) fn interval(share: Share) -> String {
    let (low, high) = (100.0 * share.low, 100.0 * share.high);
    format!("{} ({low:.1}–{high:.1})", percent(share.value))
}

/// A time by the clock of all places.
pub(super) fn utc(unix_s: u64) -> String {
    let time = i64::try_from(unix_s)
        .ok()
        .and_then(|unix_s| OffsetDateTime::from_unix_timestamp(unix_s).ok());
    time.map_or_else(String::new, |time| {
        format!(
            "{}-{:02}-{:02} {:02}:{:02} UTC",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute()
        )
    })
}

/// What a table is like.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Length {
    /// It is shown whole.
    Short,
    /// It is shown in a window that can be scrolled.
    Long,
}

/// A table with its caption, which scrolls where it does not fit.
pub(super) fn table(id: &str, caption: &str, length: Length, rows: &Markup) -> Markup {
    let class = match length {
        Length::Short => "scroll",
        Length::Long => "scroll long",
    };
    let name = format!("{id}-caption");
    html! {
        div class=(class) role="group" aria-labelledby=(name) tabindex="0" {
            table id=(id) {
                caption id=(name) { (caption) }
                (rows)
            }
        }
    }
}

/// The head of a table: a name for each column.
pub(super) fn columns<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Markup {
    html! {
        thead { tr { @for name in names { th scope="col" { (name.as_ref()) } } } }
    }
}

/// A row of numbers under its name.
pub(super) fn row(name: &str, cells: impl IntoIterator<Item = Option<String>>) -> Markup {
    html! {
        tr {
            th scope="row" { (name) }
            @for cell in cells { td { (cell.as_deref().unwrap_or("–")) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        let counts = [0, 999, 1_000, 12_345, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "12,345", "1,234,567"]);
        let share = Share::of(7, 10).unwrap();
        assert_eq!(interval(share), "70.00\u{a0}% (39.7–89.2)");
        assert_eq!(utc(1_764_493_261), "2025-11-30 09:01 UTC");
        assert_eq!(utc(u64::MAX), "");
    }
}
