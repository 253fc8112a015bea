//! Words from outside.

use std::fmt;

/// Words from outside, fit to be shown: one line of at most [`Reason::MAX`] bytes before escaping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason(String);

impl Reason {
    /// Bytes that are kept.
    pub const MAX: usize = 256;

    /// Keeps the first [`Reason::MAX`] bytes, and escapes whatever does not print: controls, line
    /// ends, and the characters that change the direction of the text around them.
    pub fn new(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(Self::MAX)]);
        let mut shown = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '\'' | '"' => shown.push(character),
                _ => shown.extend(character.escape_debug()),
            }
        }
        Self(shown)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "no reason given"
        } else {
            &self.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_from_outside_cannot_forge_a_line_or_flood_a_log() {
        let shown = Reason::new("ok\nERROR \u{1b}[31mfake\u{202e}\"".as_bytes()).to_string();
        assert_eq!(shown, "ok\\nERROR \\u{1b}[31mfake\\u{202e}\"");
        assert_eq!(
            Reason::new(&vec![b'x'; 100_000]).to_string().len(),
            Reason::MAX
        );
        assert_eq!(Reason::new(b"\xff\xfe").to_string(), "\u{fffd}\u{fffd}");
        assert_eq!(Reason::new(b"").to_string(), "no reason given");
    }
}
