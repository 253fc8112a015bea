//! What a single cell says.

/// What stands in a cell that has no value, in any case, beside nothing at all.
const MISSING: [&str; 7] = ["na", "n/a", "#n/a", "nan", "null", "?", "missing"];

/// What else stands for a missing number.
const NO_NUMBER: [&str; 3] = ["-", ".", "none"];

/// The character before the fraction of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decimal {
    /// `1.5`; there may be commas between groups of three digits.
    Point,
    /// `1,5`; there may be points between groups of three digits.
    Comma,
}

/// Returns whether a cell of any column is without a value.
pub(crate) fn is_missing(cell: &str) -> bool {
    cell.is_empty() || !begins_as_number(cell) && is_one_of(cell, &MISSING)
}

/// Returns whether a cell among numbers is without a value.
pub(crate) fn is_missing_number(cell: &str) -> bool {
    is_missing(cell) || !begins_as_number(cell) && is_one_of(cell, &NO_NUMBER)
}

/// Returns whether a cell begins as numbers do, and no word does.
pub(crate) fn begins_as_number(cell: &str) -> bool {
    matches!(cell.as_bytes(), [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..])
}

/// Returns whether a cell is digits, with a minus before them or not. Then it is a number.
pub(crate) fn is_plain_integer(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').unwrap_or(cell).as_bytes();
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Returns whether a cell is digits, with a minus before them and a point among them or not. Then
/// it is a number.
pub(crate) fn is_plain_number(cell: &str) -> bool {
    let bytes = cell.strip_prefix('-').unwrap_or(cell).as_bytes();
    let whole = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    match bytes.split_at(whole.count()) {
        ([], _) => false,
        (_, [b'.', fraction @ ..]) => fraction.iter().all(u8::is_ascii_digit),
        (_, rest) => rest.is_empty(),
    }
}

fn is_one_of(cell: &str, words: &[&str]) -> bool {
    words.iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// Returns the number in a cell, if it is one. It may be infinite.
pub(crate) fn number(cell: &str, decimal: Decimal) -> Option<f64> {
    // Anything else would be taken for a name, such as `infinity`.
    if !cell.contains(|c: char| c.is_ascii_digit()) && !cell.ends_with("inf") {
        return None;
    }
    match decimal {
        Decimal::Point if !cell.contains(',') => cell.parse().ok(),
        Decimal::Point => without_groups(cell, ',')?.parse().ok(),
        Decimal::Comma if !cell.contains('.') => cell.replacen(',', ".", 1).parse().ok(),
        Decimal::Comma => {
            let plain = without_groups(cell, '.')?;
            plain.replacen(',', ".", 1).parse().ok()
        }
    }
}

/// Returns a number without what separates its groups of three digits, if they are such groups.
fn without_groups(cell: &str, separator: char) -> Option<String> {
    let end = match separator {
        ',' => cell.find('.'),
        _ => cell.find(','),
    };
    let (whole, rest) = cell.split_at(end.unwrap_or(cell.len()));
    let mut groups = whole.split(separator);
    let first = groups.next()?.trim_start_matches(['-', '+']);
    let is_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    // `0,123` is a fraction with another mark, and no number of groups.
    let is_first = (1..=3).contains(&first.len()) && is_digits(first) && !first.starts_with('0');
    let are_grouped = groups.all(|group| group.len() == 3 && is_digits(group));
    (is_first && are_grouped && !rest.contains(separator))
        .then(|| [&whole.replace(separator, ""), rest].concat())
}

/// Returns what a cell says that is `true` or `false`, in any case.
pub(crate) fn boolean(cell: &str) -> Option<bool> {
    match cell {
        _ if cell.eq_ignore_ascii_case("true") => Some(true),
        _ if cell.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Returns the years from the beginning of 2000 to a day, written `2024-02-29` or `29.02.2024`. A
/// time of day may follow the former, and does not count.
pub(crate) fn date(cell: &str) -> Option<f64> {
    /// Days of a year of the Gregorian calendar, on average.
    const DAYS_A_YEAR: f64 = 365.2425;
    let (year, month, day) = match cell.split_once('-') {
        Some((year, rest)) => {
            let day = rest.split(['T', ' ']).next()?;
            let (month, day) = day.split_once('-')?;
            (year, month, day)
        }
        None => {
            let (day, rest) = cell.split_once('.')?;
            let (month, year) = rest.split_once('.')?;
            (year, month, day)
        }
    };
    let digits = |text: &str, most: usize| -> Option<i64> {
        let is_short = (1..=most).contains(&text.len());
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        (is_short && is_digits).then(|| text.parse().ok())?
    };
    let (month, day) = (digits(month, 2)?, digits(day, 2)?);
    let year = digits(year, 4).filter(|_| year.len() == 4)?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=length).contains(&day) {
        return None;
    }
    let days = days_to(year, month) + day - days_to(2000, 1) - 1;
    Some(days as f64 / DAYS_A_YEAR)
}

/// Days from the beginning of the year 0 to that of a month.
fn days_to(year: i64, month: i64) -> i64 {
    // Years that begin in March have the leap day at their end.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5
}

/// Returns the name of the class that a label stands for: numbers that are equal are one class.
pub(crate) fn class(label: &str, decimal: Decimal) -> String {
    match number(label, decimal) {
        // Nothing else is told apart by its spelling alone: `007` may be somebody.
        Some(value) if value.is_finite() && !has_leading_zero(label) => {
            let value = if value == 0.0 { 0.0 } else { value };
            value.to_string()
        }
        _ => label.to_owned(),
    }
}

fn has_leading_zero(label: &str) -> bool {
    let bytes = label.trim_start_matches(['-', '+']).as_bytes();
    matches!(bytes, [b'0', next, ..] if next.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_points_commas_and_groups() {
        for (cell, value) in [
            ("1", 1.0),
            ("-3.5e2", -350.0),
            ("1,234", 1234.0),
            ("-1,234,567.5", -1_234_567.5),
            (".5", 0.5),
        ] {
            assert_eq!(number(cell, Decimal::Point), Some(value), "{cell}");
        }
        for (cell, value) in [
            ("1", 1.0),
            ("59,1", 59.1),
            ("-1.234,5", -1234.5),
            ("1.234.567", 1_234_567.0),
            ("2,5e3", 2500.0),
            ("1.200", 1200.0),
        ] {
            assert_eq!(number(cell, Decimal::Comma), Some(value), "{cell}");
        }
        for cell in [
            "", "x", "1 2", "1,2,3", "12,34.5", "1.2.3", "1,,000", "0,123", "infinity", "0x10",
        ] {
            assert_eq!(number(cell, Decimal::Point), None, "{cell}");
        }
        for cell in ["1,2,3", "1.2,3.4", "1,2.3", "3.25"] {
            assert_eq!(number(cell, Decimal::Comma), None, "{cell}");
        }
        assert_eq!(number("-inf", Decimal::Point), Some(f64::NEG_INFINITY));
        assert_eq!(number("1e999", Decimal::Point), Some(f64::INFINITY));
    }

    #[test]
    fn plain_numbers_are_numbers() {
        for (cell, is_plain) in [
            ("0", true),
            ("-12.5", true),
            ("5.", true),
            (".5", false),
            ("", false),
            ("-", false),
            (".", false),
            ("1.2.3", false),
            ("1e3", false),
            ("1,000", false),
            ("+1", false),
        ] {
            assert_eq!(is_plain_number(cell), is_plain, "{cell}");
            assert!(
                !is_plain || number(cell, Decimal::Point).is_some(),
                "{cell}"
            );
            assert_eq!(is_plain_integer(cell), cell == "0", "{cell}");
        }
    }

    #[test]
    fn dates_are_years_from_2000_on() {
        let days = |cell: &str| date(cell).map(|years| (years * 365.2425).round());
        for (cell, expected) in [
            ("2000-01-01", 0.0),
            ("2000-03-01", 60.0),
            ("29.02.2024", 8825.0),
            ("2024-02-29T12:30:00", 8825.0),
            ("2024-02-29 12:30", 8825.0),
            ("1.1.1999", -365.0),
            ("1970-01-01", -10957.0),
        ] {
            assert_eq!(days(cell), Some(expected), "{cell}");
        }
        for cell in [
            "",
            "2023-02-29",
            "2023-13-01",
            "2023-00-01",
            "2023-01-00",
            "23-01-01",
            "1.2.3",
            "01/02/2023",
            "2023-01",
            "+2023-01-01",
            "-5",
            "3.14",
        ] {
            assert_eq!(date(cell), None, "{cell}");
        }
    }

    #[test]
    fn equal_numbers_are_one_class_and_names_stay_as_they_are() {
        for (label, name) in [
            ("0", "0"),
            ("0.0", "0"),
            ("-0.0", "0"),
            ("1.00", "1"),
            ("2.5", "2.5"),
            ("1e3", "1000"),
            ("yes", "yes"),
            ("007", "007"),
            ("inf", "inf"),
        ] {
            assert_eq!(class(label, Decimal::Point), name, "{label}");
        }
    }

    #[test]
    fn what_stands_for_nothing_is_missing() {
        for cell in ["", "NA", "n/a", "NaN", "NULL", "?", "#N/A", "Missing"] {
            assert!(is_missing(cell) && is_missing_number(cell), "{cell}");
        }
        for cell in ["-", ".", "None"] {
            assert!(!is_missing(cell) && is_missing_number(cell), "{cell}");
        }
        assert!(!is_missing("no") && !is_missing_number("0"));
    }
}
