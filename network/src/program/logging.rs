//! Results on standard output; log lines and errors on standard error: terse, with colours only in
//! a terminal, filtered by `RUST_LOG`.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use tracing::error;
use tracing_subscriber::EnvFilter;

/// Sets up logging for a binary; the default level is `info`.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,quinn=error,quinn_proto=error"));
    // A second call, as in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}

/// Prints a line. A reader that has seen enough and is gone, like `head`, ends nothing.
pub fn say(line: impl Display) {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => error!(%error, "cannot print"),
        _ => {}
    }
}

/// Returns a number of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// Returns an error with its causes, each said once: some errors already name their cause in their
/// own words.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::StorageFull)
        {
            said += "; make room and start again, nothing is lost";
        }
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::files::read_limited;

    #[test]
    fn sizes_are_told_in_a_unit_that_suits_them() {
        assert_eq!(bytes(9_999), "9999 B");
        assert_eq!(bytes(10_000), "10 kB");
        assert_eq!(bytes(9_999_499), "9999 kB");
        assert_eq!(bytes(10_000_000), "10.0 MB");
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = read_limited(Path::new("/no/such/file"), 1).unwrap_err();
        let cause = error.source().unwrap().to_string();
        let error = anyhow::Error::from(error).context("the kit cannot be used");
        let said = explain(error.as_ref());
        assert!(said.starts_with("the kit cannot be used: cannot read /no/such/file: "));
        assert_eq!(said.matches(&cause).count(), 1, "{said}");
    }
}
