//! Who runs a node: organisations count, so one must not count twice by another spelling.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name of an organisation, in bytes.
const MAX_BYTES: usize = 256;

/// The name of an organisation.
///
/// Names that differ in upper and lower case or in white space only are equal: `St. Mary` and
/// `st.  mary ` are one organisation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Organisation {
    name: String,
    /// What is compared.
    folded: String,
}

impl Organisation {
    /// Returns the organisation of this name, or `None` if the name is longer than 256 bytes, has
    /// nothing but white space, or a character that does not print.
    pub fn new(name: &str) -> Option<Self> {
        let folded = name.split_whitespace().collect::<String>();
        // Upper case first: of some letters that have one form there, several are lower case.
        let folded = folded.to_uppercase().to_lowercase();
        let named = !folded.is_empty() && name.len() <= MAX_BYTES && prints(name);
        named.then(|| Self {
            name: name.to_owned(),
            folded,
        })
    }
}

/// Returns whether each character prints, as no control, invisible character or odd space does.
fn prints(name: &str) -> bool {
    let plain = name.replace(['\'', '"', '\\'], "");
    plain.escape_debug().eq(plain.chars())
}

impl TryFrom<String> for Organisation {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name).ok_or("an organisation has a name of 1 to 256 bytes, all of which print")
    }
}

impl From<Organisation> for String {
    fn from(organisation: Organisation) -> Self {
        organisation.name
    }
}

impl fmt::Display for Organisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Organisation {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Organisation {}

impl PartialOrd for Organisation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Organisation {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organisation(name: &str) -> Organisation {
        Organisation::new(name).unwrap()
    }

    #[test]
    fn an_organisation_is_one_however_it_is_spelled() {
        for (one, other) in [
            ("St. Mary", "st.  mary "),
            ("St. Mary", "ST.MARY"),
            ("Charité", "CHARITÉ"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
        ] {
            assert_eq!(organisation(one), organisation(other));
            assert_eq!(organisation(one).cmp(&organisation(other)), Ordering::Equal);
        }
        for (one, other) in [("St. Mary", "St Mary"), ("a", "b"), ("Charité", "Charite")] {
            assert_ne!(organisation(one), organisation(other));
        }
        assert_eq!(organisation("St.  Mary").to_string(), "St.  Mary");
    }

    #[test]
    fn a_name_that_does_not_show_what_it_is_names_nothing() {
        for name in [
            "",
            "  ",
            "St.\u{200b}Mary",
            "St.\u{ad}Mary",
            "St.\u{a0}Mary",
            "St.\tMary",
            "St. Mary\n",
            "\u{202e}yraM",
            "\u{feff}St. Mary",
            &"x".repeat(MAX_BYTES + 1),
        ] {
            assert!(Organisation::new(name).is_none(), "{name:?}");
        }
        for name in [
            "d'Or \"x\" \\",
            "Ⅳ 病院",
            "O’Neill & Co. (2)",
            &"x".repeat(MAX_BYTES),
        ] {
            assert!(Organisation::new(name).is_some(), "{name:?}");
        }
    }
}
